import dataclasses
import json
import random
import signal
import threading
from dataclasses import replace
from errno import ENOSPC

import numpy as np
import pytest
import torch
from posed_hands import PosedHands

from handlib import checkpoints, session
from handlib.augment import CHAINS, ColorJitter, Compose, Flip, Resize, Rotate, eval_transforms
from handlib.checkpoints import find_checkpoint, load_checkpoint
from handlib.data.dataset import HandDataset
from handlib.diagnose import find_faults
from handlib.evaluation import (
    evaluate,
    handedness_scores,
    in_the_mirror,
    official_scores,
    predict,
    score_each,
)
from handlib.geometry import project
from handlib.joints import ROOT
from handlib.losses import LossWeights
from handlib.mano import HandLayer
from handlib.model import make_model
from handlib.predictions import mirror_back
from handlib.presets import MODEL_PRESETS
from handlib.recipe import (
    USUAL,
    StepBatches,
    TrainConfig,
    make_optimizer,
    moving_average,
    parameter_groups,
    schedule_factor,
    usual,
)
from handlib.training import Trainer, train

QUICK = TrainConfig(steps=6, batch_size=4, log_every=1, save_every=100, log_with=None)


@pytest.fixture(scope="module")
def data(hand):
    """Ten hands whose images differ in each epoch: 2.5 batches of four."""
    return HandDataset(PosedHands(hand, 10), Compose([Rotate(), ColorJitter()]), seed=3)


@pytest.fixture
def model(hand):
    return make_model("small", hand, hidden=32, dropout=0.2)


def fresh(hand):
    return make_model("small", hand, hidden=32, dropout=0.2)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


# -- the training learns ---------------------------------------------------------------------
def test_one_batch_is_learnt_by_heart(hand, tmp_path):
    data = HandDataset(PosedHands(hand, 8))
    config = TrainConfig(steps=120, batch_size=8, lr=2e-3, log_with=None)
    model = make_model("small", hand)
    start = evaluate(model, data)["pa_mpjpe_mm"]
    result = train(model, data, None, config, tmp_path, LossWeights(regulariser=0, pose=10))
    assert start > 10
    assert evaluate(model, data)["pa_mpjpe_mm"] < 2
    assert result.finished
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 5


def test_a_model_begins_with_the_weights_of_another(hand, tmp_path):
    """Of a run or an export in half precision; whatever hand model they were trained with."""
    made = make_model("small", hand, seed=1)
    checkpoints.export(made, tmp_path / "weights", card={"what": "a test"})
    begun = checkpoints.begin("small", hand, str(tmp_path / "weights"), seed=2)
    for name, value in made.state_dict().items():
        expected = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(begun.state_dict()[name], expected)
    assert json.loads((tmp_path / "weights" / "card.json").read_text()) == {"what": "a test"}
    assert same(checkpoints.begin("small", hand, seed=1), made)
    other = dataclasses.replace(hand, v_template=1.1 * hand.v_template)
    assert same(checkpoints.begin("small", other, tmp_path / "weights"), begun)
    with pytest.raises(ValueError, match=r"another model .* begins with init 'random'"):
        checkpoints.begin("modern", hand, tmp_path / "weights")
    differ = r"another model \(keypoint_maps False, not True\): a network of its own begins"
    with pytest.raises(ValueError, match=differ):
        checkpoints.begin("small", hand, tmp_path / "weights", keypoint_maps=True)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        checkpoints.begin("small", hand, tmp_path / "nowhere")


def test_a_deeper_encoder_begins_as_the_shallower_one_and_learns(hand, tmp_path):
    shallow = make_model("modern", hand, seed=1, backbone="resnet-small", handedness=False)
    images = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8)
    for _ in range(3):  # batch norms that know of images
        shallow.look(images)
    checkpoints.export(shallow, tmp_path / "weights")
    deep = checkpoints.begin("modern", hand, tmp_path / "weights", seed=2, handedness=False)
    shallow.load_state_dict(checkpoints.begin(
        "modern", hand, tmp_path / "weights", backbone="resnet-small", handedness=False
    ).state_dict())  # fmt: skip
    new = [n for n, _ in deep.named_parameters() if n not in dict(shallow.named_parameters())]
    assert new
    assert all(name.startswith("backbone.encoder.stages.2.layers.") for name in new)
    with torch.no_grad():
        assert torch.equal(deep.eval().look(images).joints, shallow.eval().look(images).joints)
    # All of it learns once its last norms have departed from zero.
    optimizer = torch.optim.SGD(deep.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        deep.train().look(images).joints.square().sum().backward()
        optimizer.step()
    assert all(dict(deep.named_parameters())[name].grad.abs().max() > 0 for name in new)
    with pytest.raises(ValueError, match="begins with init 'random'"):
        checkpoints.begin("modern", hand, tmp_path / "weights", backbone="resnet-tiny",
                          handedness=False)  # fmt: skip


def test_each_preset_has_a_usual_training():
    assert set(USUAL) == set(MODEL_PRESETS)
    for preset in USUAL:
        settings = usual(preset, lr=7.0, batch_size=None, init="", weight_decay=-1.0, average=0.0)
        assert (settings["lr"], settings["average"]) == (7.0, 0.0)
        assert settings["weight_decay"] == USUAL[preset]["weight_decay"]
        assert settings["batch_size"] == USUAL[preset]["batch_size"] > 0
        assert settings.pop("init") in ("random", "pretrained", "shipped")
        assert settings.pop("augmentation") in CHAINS
        TrainConfig(**settings)
    with pytest.raises(ValueError, match="unknown preset 'large'"):
        usual("large")


# -- stopping and going on -------------------------------------------------------------------
@pytest.mark.parametrize("optimizer, average", [("adam", 0.0), ("adamw", 0.0), ("adamw", 0.5)])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(
    hand, data, tmp_path, optimizer, average
):
    config = replace(QUICK, optimizer=optimizer, weight_decay=0.05, eval_every=2, average=average)
    whole, parts = fresh(hand), fresh(hand)
    val = HandDataset(PosedHands(hand, 3, seed=9))
    train(whole, data, val, config, tmp_path / "whole")

    stopping = StopAfter(data, tmp_path / "parts", calls=4 * 4 + 2)
    first = train(parts, stopping, val, config, tmp_path / "parts")
    assert first.stopped == "STOP file"
    assert first.step == 5  # in the middle of the second epoch
    torch.manual_seed(999)  # whatever happens between two sessions
    resumed = fresh(hand)
    second = train(resumed, data, val, replace(config, workers=2), tmp_path / "parts")
    assert second.stopped == "finished"
    assert same(whole, resumed)
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / p / "metrics.jsonl").open()]
        for p in ("whole", "parts")
    ]
    assert losses[0] == losses[1]


def test_averaged_weights_are_what_a_run_leaves(hand, data, tmp_path):
    last, averaged = fresh(hand), fresh(hand)
    train(last, data, None, QUICK, tmp_path / "last")
    train(averaged, data, None, replace(QUICK, average=0.9), tmp_path / "averaged")
    assert not same(last, averaged)
    folder = find_checkpoint(tmp_path / "averaged" / "checkpoints" / "last")
    assert same(averaged, load_checkpoint(folder, hand))
    raw = fresh(hand)
    checkpoints.load_weights(raw, folder, checkpoints.TRAINING)
    assert same(last, raw)  # averaging changes nothing of the training itself


def test_a_moving_average_forgets_the_first_weights_soon_and_the_others_slowly():
    layer = torch.nn.Linear(1, 1, bias=False)
    average, expected = moving_average(layer, 0.75), None
    for n in range(60):
        value = float(n**2 % 7)
        torch.nn.init.constant_(layer.weight, value)
        average.update_parameters(layer)
        decay = min(0.75, (1 + n) / (10 + n))
        expected = value if n == 0 else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-4)


def test_a_moving_average_has_the_statistics_too_and_counts_no_part_of_a_batch():
    norm = torch.nn.BatchNorm1d(1)
    average = moving_average(norm, 0.75)
    for n in range(1, 40):
        norm(torch.full((4, 1), float(n)))
        average.update_parameters(norm)
    assert average.module.num_batches_tracked == norm.num_batches_tracked == 39
    assert norm.running_mean - 4 < average.module.running_mean < norm.running_mean - 1


def test_pretraining_comes_first_and_is_not_done_again(hand, data, tmp_path):
    config = replace(QUICK, pretrain_steps=3, eval_every=None)
    whole, parts = fresh(hand), fresh(hand)
    assert train(whole, data, None, config, tmp_path / "whole").step == QUICK.steps
    first, second = (
        [set(json.loads(line)) for line in (tmp_path / "whole" / p / "metrics.jsonl").open()]
        for p in ("pretrain", ".")
    )
    losses = {"loss_camera", "loss_pose", "loss_betas"}
    assert {n for names in first for n in names if n.startswith("loss_")} == losses
    assert "loss_joints" in second[0] and "loss_camera" not in second[0]

    (tmp_path / "parts").mkdir()
    # In the second step of the pretraining; then its third, and in the second of the training.
    for calls, where in ((4 + 2, "parts/pretrain"), (4 + 4 + 2, "parts")):
        stopping = StopAfter(data, tmp_path / "parts", calls)
        stopped = train(parts, stopping, None, config, tmp_path / "parts")
        assert (stopped.stopped, stopped.step) == ("STOP file", 2)
        assert stopped.run_dir == tmp_path / where
        parts = fresh(hand)
    assert train(parts, data, None, config, tmp_path / "parts").finished
    assert same(whole, parts)


def test_pretraining_takes_its_time_from_the_minutes_in_every_session(
    hand, data, tmp_path, monkeypatch
):
    left = []
    run = Trainer.run

    def noted(trainer):
        left.append(trainer.config.max_minutes)
        return run(trainer)

    monkeypatch.setattr(Trainer, "run", noted)
    config = replace(QUICK, pretrain_steps=3, eval_every=None, max_minutes=0.05)
    for steps, folder in ((None, "by the clock"), (QUICK.steps, "by steps")):
        left.clear()
        for _ in range(2):
            train(fresh(hand), data, None, replace(config, steps=steps), tmp_path / folder)
        first, again = left[1], left[3]
        assert 0.05 - first > 1e-4
        if steps is None:  # one budget: the second session does not take the pretraining for free
            assert again < (0.05 + first) / 2
        else:  # a session's own: what an earlier one pretrained takes nothing from it
            assert again > first


class StopAfter(HandDataset):
    """Data that ask for a stop, by the STOP file, when they are read the n-th time."""

    def __init__(self, data, run_dir, calls):
        super().__init__(data.reader, data.transforms, data.seed)
        self.run_dir, self.calls = run_dir, calls

    def __getitem__(self, key):
        self.calls -= 1
        if self.calls == 0:
            (self.run_dir / "STOP").touch()
        return super().__getitem__(key)


def test_a_stop_file_is_obeyed_once(hand, data, model, tmp_path):
    (tmp_path / "STOP").touch()
    assert train(model, data, None, QUICK, tmp_path).step == 0
    assert not (tmp_path / "STOP").exists()
    assert train(model, data, None, QUICK, tmp_path).finished


def test_the_deadline_ends_a_session_and_the_next_goes_on(hand, data, model, tmp_path):
    result = train(model, data, None, replace(QUICK, max_minutes=1e-9), tmp_path)
    assert result.stopped == "deadline"
    assert result.step < QUICK.steps
    assert train(model, data, None, QUICK, tmp_path).step == QUICK.steps


def test_minutes_alone_are_a_budget(hand, data, model, tmp_path):
    config = replace(QUICK, steps=None, max_minutes=0.02)
    result = train(model, data, None, config, tmp_path)
    assert result.finished
    assert result.step >= 1
    assert result.history[-1]["lr"] < 1e-3 / 2  # the schedule followed the clock
    again = train(model, data, None, config, tmp_path)
    assert (again.step, again.stopped) == (result.step, "finished")


def test_an_interrupt_ends_the_session_at_a_step_and_saves(hand, data, model, tmp_path):
    class Interrupting(StopAfter):
        def __getitem__(self, key):
            self.calls -= 1
            if self.calls == 0:
                signal.raise_signal(signal.SIGINT)
            return self.reader[0]

    before = signal.getsignal(signal.SIGINT)
    result = train(model, Interrupting(data, tmp_path, 6), None, QUICK, tmp_path)
    assert (result.stopped, result.step) == ("interrupt", 2)
    assert signal.getsignal(signal.SIGINT) is before
    assert find_checkpoint(tmp_path).name == "last"


def test_training_runs_outside_the_main_thread(hand, data, model, tmp_path):
    results = []
    run = lambda: results.append(train(model, data, None, QUICK, tmp_path))  # noqa: E731
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results[0].finished


def test_a_finished_run_is_not_trained_again(hand, data, model, tmp_path):
    train(model, data, None, QUICK, tmp_path)
    other = fresh(hand)
    result = train(other, data, None, QUICK, tmp_path)
    assert (result.step, result.stopped, len(result.history)) == (6, "finished", 6)
    assert same(model, other)


def test_other_settings_in_the_same_folder_are_refused(hand, data, model, tmp_path):
    train(model, data, None, replace(QUICK, steps=1), tmp_path)
    with pytest.raises(ValueError, match=r"trained with batch_size=4, not 2.*new run folder"):
        train(model, data, None, replace(QUICK, steps=1, batch_size=2), tmp_path)
    with pytest.raises(ValueError, match=r"joints=10.0, not 5"):
        train(model, data, None, replace(QUICK, steps=1), tmp_path, LossWeights(joints=5))


def test_numbers_that_are_not_finite_stop_the_run_and_spare_the_checkpoint(hand, data, tmp_path):
    model = fresh(hand)
    train(model, data, None, replace(QUICK, max_minutes=1e-9), tmp_path)
    good = {name: value.clone() for name, value in model.state_dict().items()}
    model.head[-1].bias.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(FloatingPointError, match=r"not finite.*last good weights"):
        train(model, data, None, QUICK, tmp_path)
    kept = load_checkpoint(tmp_path, hand).state_dict()
    assert all(torch.equal(kept[name], good[name]) for name in good)


def test_an_evaluation_after_a_diverging_step_says_the_remedy(hand, data, model, tmp_path):
    config = replace(QUICK, steps=2, lr=1e30, eval_every=1)
    with pytest.raises(FloatingPointError, match=r"prediction is not finite.*with a smaller lr"):
        train(model, data, HandDataset(PosedHands(hand, 3, seed=9)), config, tmp_path)


# -- what is written -------------------------------------------------------------------------
def test_records_say_loss_speed_and_where_the_time_went(hand, data, model, tmp_path):
    config = replace(QUICK, log_with="tensorboard", eval_every=3)
    val = HandDataset(PosedHands(hand, 3, seed=9))
    result = train(model, data, val, config, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert records == result.history
    keys = {"step", "epoch", "time", "loss", "loss_joints", "lr", "grad_norm", "images_per_s"}
    assert keys | {"s_data", "s_forward", "s_backward", "s_step"} <= records[0].keys()
    evaluations = [r for r in records if "val_pa_mpjpe_mm" in r]
    assert [r["step"] for r in evaluations] == [3, 6]
    assert result.best == min(evaluations, key=lambda r: r["val_pa_mpjpe_mm"])
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_the_best_checkpoint_predicts_what_was_measured(hand, data, model, tmp_path):
    val = HandDataset(PosedHands(hand, 5, seed=9))
    result = train(model, data, val, replace(QUICK, eval_every=2), tmp_path)
    best = load_checkpoint(tmp_path, hand)
    assert not best.training
    measured = evaluate(best, val, batch_size=2)
    assert measured["pa_mpjpe_mm"] == pytest.approx(result.best["val_pa_mpjpe_mm"], abs=1e-3)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_the_weights_that_it_begins_with_may_stay_the_best(hand, data, tmp_path, average):
    val = HandDataset(PosedHands(hand, 5, seed=9))
    config = replace(QUICK, lr=0.03, average=average, evaluate_first=True, eval_every=3)
    start, model = fresh(hand), fresh(hand)
    stopped = train(model, data, val, replace(config, max_minutes=1e-9), tmp_path)
    assert (stopped.step, [r["step"] for r in stopped.history]) == (0, [0])
    result = train(fresh(hand), data, val, config, tmp_path)
    evaluations = [r for r in result.history if "val_pa_mpjpe_mm" in r]
    assert [r["step"] for r in evaluations] == [0, 3, 6]
    assert result.best == evaluations[0]
    best = load_checkpoint(tmp_path, hand)
    assert same(best, start)
    measured = evaluate(best, val)["pa_mpjpe_mm"]
    assert measured == pytest.approx(result.best["val_pa_mpjpe_mm"], abs=1e-3)
    (fault,) = [f for f in find_faults(result.history) if "began with" in f]
    assert f"({measured:.2f} mm, at the end {evaluations[-1]['val_pa_mpjpe_mm']:.2f} mm)" in fault
    # The same steps as without looking first.
    plain = fresh(hand)
    train(plain, data, val, replace(config, evaluate_first=False), tmp_path / "plain")
    model = fresh(hand)
    checkpoints.load_weights(model, find_checkpoint(tmp_path / "checkpoints" / "last"))
    assert same(model, plain)


def test_a_checkpoint_of_another_hand_or_damaged_says_so(hand, data, model, tmp_path):
    with pytest.raises(FileNotFoundError, match="02_train"):
        load_checkpoint(tmp_path, hand)
    train(model, data, None, replace(QUICK, steps=1), tmp_path)
    with pytest.raises(ValueError, match="was trained with 'stand-in hand'"):
        load_checkpoint(tmp_path, replace(hand, v_template=hand.v_template * 2))
    weights = tmp_path / "checkpoints/last/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model.safetensors is missing or damaged"):
        load_checkpoint(tmp_path, hand)


def test_weights_of_another_model_are_refused(hand, model, tmp_path):
    checkpoints.export(model, tmp_path)
    with pytest.raises(ValueError, match="weights of another model"):
        checkpoints.load_weights(make_model("small", hand, hidden=16), tmp_path)


@pytest.mark.parametrize("moment", ["before the renames", "between the renames"])
def test_a_save_that_is_killed_leaves_the_one_before(hand, data, model, tmp_path, moment):
    train(model, data, None, replace(QUICK, steps=1), tmp_path)
    last = tmp_path / "checkpoints/last"
    (tmp_path / "checkpoints/.last.new").mkdir()  # half of the next one
    if moment == "between the renames":
        last.rename(last.with_name("last.previous"))
    assert train(fresh(hand), data, None, replace(QUICK, steps=1), tmp_path).step == 1
    assert same(load_checkpoint(tmp_path, hand), model)


def test_a_save_that_the_disk_damages_leaves_the_one_before(hand, model, tmp_path, monkeypatch):
    checkpoints.export(model, tmp_path / "weights")

    def damage(path):
        if path.name == checkpoints.WEIGHTS:
            path.write_bytes(path.read_bytes()[:-9])

    monkeypatch.setattr(checkpoints, "_to_disk", damage)
    with pytest.raises(ValueError, match=r"model\.safetensors is missing or damaged"):
        checkpoints.export(fresh(hand), tmp_path / "weights")
    load_checkpoint(tmp_path / "weights", hand)


def test_a_save_that_a_full_disk_refuses_leaves_nothing(data, model, tmp_path, monkeypatch):
    def full(state, file):
        file.write_bytes(b"half")
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"could not save .*last .*No space left.*make room"):
        train(model, data, None, replace(QUICK, steps=1), tmp_path)
    assert not [*(tmp_path / "checkpoints").iterdir()]


def test_a_training_is_saved_every_so_many_steps_and_at_its_end(data, model, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Trainer, "save", lambda self, name: saved.append((name, self.step)))
    train(model, data, None, replace(QUICK, save_every=2), tmp_path)
    assert saved == [("last", 2), ("last", 4), ("last", 6), ("last", 6)]


def test_random_numbers_go_on_where_they_were():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    state = checkpoints.random_state()
    first, second = draw(), draw()
    checkpoints.set_random_state(state)
    again = draw()
    assert again == first and not set(again) & set(second)


# -- prediction ------------------------------------------------------------------------------
def test_predict_leaves_the_model_as_it_was_and_keeps_the_order(hand, data, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    torch.manual_seed(1)
    out = predict(model, data, batch_size=4)
    assert model.training
    assert torch.initial_seed() == 1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert out["id"].tolist() == list(range(10))
    assert out["pred_vertices"].shape == out["gt_vertices"].shape == (10, 778, 3)
    assert out["group"].tolist() == out["id"].tolist()  # where nothing else is known
    seen = [data[i].replace(group=7 + i // 2) for i in range(4)]
    assert predict(model, seen)["group"].tolist() == [7, 7, 8, 8]
    one = predict(model, data, batch_size=1)
    assert np.allclose(out["pred_joints"], one["pred_joints"], atol=1e-6)


def test_hands_without_meshes_need_no_memory_for_them(hand, model, data):
    """Half of what ``predict`` returns would be NaN."""
    bare = [data[i].replace(vertices=None) for i in range(5)]
    out = predict(model, bare, batch_size=2)
    assert "gt_vertices" not in out and out["pred_vertices"].shape == (5, 778, 3)
    assert official_scores(out) is None and "pa_mpvpe_mm" not in score_each(out)
    mixed = predict(model, [*bare[:3], data[3], bare[4]], batch_size=2)
    known = np.isfinite(mixed["gt_vertices"]).all((1, 2))
    assert known.tolist() == [False, False, False, True, False]
    assert mixed["gt_vertices"].dtype == np.float32
    np.testing.assert_array_equal(mixed["pred_joints"], out["pred_joints"])


def test_predictions_of_a_left_hand_are_mirrored_back(hand):
    """The mirrored photo of a hand gives the mirror image of what the photo gives."""
    rights, rng = PosedHands(hand, 4), np.random.default_rng(0)
    lefts = [Flip(1.0)(rights[i], rng) for i in range(3)]
    model = make_model("small", hand)
    torch.nn.init.normal_(model.head[-1].bias, std=0.3)  # no symmetric hand in the middle
    right = predict(model, HandDataset([rights[i] for i in range(4)], eval_transforms(64)))
    seen = predict(model, HandDataset([*lefts, rights[3]], eval_transforms(64)))
    assert seen["mirrored"].tolist() == [True] * 3 + [False] and seen["is_right"].all()
    np.testing.assert_allclose(seen["pred_vertices"], right["pred_vertices"], atol=1e-6)
    left = mirror_back(seen)
    assert left["is_right"].tolist() == [False] * 3 + [True] and not left["mirrored"].any()
    for name in ("pred_joints", "pred_vertices", "pred_root"):
        expected = right[name][:3] * [-1, 1, 1]
        np.testing.assert_allclose(left[name][:3], expected, atol=1e-5, err_msg=name)
    for name in ("joints_2d", "trans"):
        expected = [63, 0] + right[f"pred_{name}"][:3] * [-1, 1]
        np.testing.assert_allclose(left[f"pred_{name}"][:3], expected, atol=1e-4)
    for name, values in right.items():
        np.testing.assert_allclose(left[name][3], values[3], atol=1e-5, err_msg=name)
        assert left[name].dtype == values.dtype, name
    # The mirrored hand model makes those vertices of the mirrored pose and the same betas.
    pose, betas = (torch.tensor(left[f"pred_{name}"][:3]) for name in ("pose", "betas"))
    layer = HandLayer(hand.mirrored())
    vertices, joints = layer(layer.rotations(pose), betas)
    made = vertices - joints[:, ROOT : ROOT + 1]
    np.testing.assert_allclose(made, left["pred_vertices"][:3], atol=1e-5)
    # Annotations come back as they were, and are projected by their own camera.
    placed = torch.tensor(left["pred_joints"] + left["pred_root"][:, None])
    for name in ("K", "joints", "joints_2d", "vertices", "pose"):
        before = np.stack([getattr(s, name) for s in lefts])
        np.testing.assert_allclose(left[f"gt_{name}"][:3], before, atol=1e-4, err_msg=name)
    seen_root = project(placed, torch.tensor(left["gt_K"]))[:, ROOT]
    np.testing.assert_allclose(seen_root, left["pred_trans"], atol=1e-3)


class TellsByColour(torch.nn.Module):
    """A model whose log-odds of a right hand are positive where the left half is the lighter."""

    def __init__(self, net):
        super().__init__()
        self.net, self.bias = net, 0

    def forward(self, image, **others):
        prediction = self.net(image, **others)
        left, right = image.float().chunk(2, -1)
        prediction.right = self.bias + (left - right).mean((1, 2, 3))
        return prediction


def told(model, dataset):
    predictions = predict(model, dataset)
    return handedness_scores(predictions | in_the_mirror(model, dataset, predictions))


def test_an_unknown_side_is_found_and_the_hand_mirrored_back(hand):
    hands = PosedHands(hand, 4)
    light = np.where(np.arange(64) < 32, 200, 50).astype(np.uint8)  # as a right hand's photo is
    photos = [hands[i].replace(image=hands.images[i] // 8 + light[:, None]) for i in range(4)]
    rng = np.random.default_rng(0)
    lefts = [Flip(1.0)(photos[i], rng) for i in (1, 2)]
    unknown = [
        photos[0],
        *(s.replace(is_right=None) for s in lefts),
        photos[3].replace(is_right=None),
    ]
    model = TellsByColour(make_model("small", hand))
    torch.nn.init.normal_(model.net.head[-1].bias, std=0.3)
    right = predict(model, photos)
    dataset = HandDataset(unknown, eval_transforms(64))
    for given in (dataset, unknown):
        found = predict(model, given, sides="predicted", workers=0)
        assert found["mirrored"].tolist() == [False, True, True, False]
        assert found["has_is_right"].tolist() == [True, False, False, False]
        np.testing.assert_allclose(found["pred_joints"], right["pred_joints"], atol=1e-5)
    back = mirror_back(found)
    assert back["is_right"].tolist() == [True, False, False, True]
    for row, sample in enumerate(unknown):
        np.testing.assert_allclose(back["gt_joints_2d"][row], sample.joints_2d, atol=1e-4)
    assert not predict(model, unknown)["mirrored"].any()
    assert told(model, dataset) == {
        "handedness_accuracy": 1.0,
        "handedness_accuracy_one_view": 1.0,
    }
    wrong = HandDataset([photos[0], photos[1].replace(image=lefts[0].image)])
    assert evaluate(model, wrong)["handedness_accuracy"] == 0.5
    # One that calls every hand a left one, but right ones less so.
    model.bias = -1000
    assert told(model, dataset) == {
        "handedness_accuracy": 1.0,
        "handedness_accuracy_one_view": 0.5,
    }
    with pytest.raises(ValueError, match="trained with handedness=True"):
        predict(model.net, unknown, sides="predicted")
    assert "handedness_accuracy" not in evaluate(model.net, dataset)


# -- the recipe ------------------------------------------------------------------------------
def test_steps_see_every_sample_once_an_epoch_from_any_start_and_on_any_number_of_processes():
    def stream(count, **kwargs):
        batches = iter(StepBatches(10, 4, seed=5, **kwargs))
        return [next(batches) for _ in range(count)]

    steps = stream(5)
    flat = [key for batch in steps for key in batch]
    assert {epoch for epoch, _ in flat} == {0, 1}
    assert sorted(index for _, index in flat[:10]) == list(range(10))
    assert flat[10:] != [(1, index) for _, index in flat[:10]]  # a new order
    assert stream(2, start=3) == steps[3:]
    shares = [stream(5, rank=rank, world=2) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(b) for b in steps]


@pytest.mark.parametrize("backbone", ["resnet-tiny", "convnextv2-atto"])
def test_norms_and_biases_are_not_decayed(hand, backbone):
    model = make_model("small", hand, backbone=backbone, hidden=16)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, others = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0)
    decayed, others = ({names[id(p)] for p in g["params"]} for g in (decayed, others))
    assert decayed | others == set(names.values())
    norms = {n for n in names.values() if "norm" in n or "grn" in n or n.endswith("bias")}
    assert norms <= others
    assert {n for n in decayed if not n.endswith("weight")} == set()


def test_schedules(model):
    assert schedule_factor("constant", 0.3) == 1
    assert schedule_factor("cosine", 0) == pytest.approx(0.01)
    assert schedule_factor("cosine", 0.05) == pytest.approx(1)
    assert schedule_factor("cosine", 0.525) == pytest.approx(0.5)
    assert schedule_factor("cosine", 1) == pytest.approx(0)
    _, rate = make_optimizer(model, TrainConfig(optimizer="adam"))
    assert rate(0.1) == rate(0.9) == 1e-3


def test_adam_decays_weights_apart_from_their_gradients(model):
    """As an L2 term, the usual decay would outweigh the gradients."""
    config = TrainConfig(optimizer="adam", weight_decay=0.05, lr=1e-3)
    optimizer, _ = make_optimizer(model, config)
    weight = next(p for p in optimizer.param_groups[0]["params"] if p.ndim > 1)
    before = weight.detach().clone()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 1e-3 * 0.05))


def test_a_run_does_not_go_on_with_another_network(hand, data, tmp_path):
    train(fresh(hand), data, None, QUICK, tmp_path)
    other = make_model("small", hand, hidden=32, dropout=0.2, camera="perspective")
    with pytest.raises(ValueError, match="was trained with camera='weak', not 'perspective'"):
        train(other, data, None, QUICK, tmp_path)


def test_a_run_does_not_go_on_with_other_samples(hand, data, tmp_path):
    def go(*chain, seed=0):
        dataset = HandDataset(data.reader, Compose(chain), seed)
        train(fresh(hand), dataset, None, QUICK, tmp_path)

    go(Resize(64), Rotate(30))
    go(Resize(64), Rotate(30))
    told = r"was trained with transform 2='Rotate\(degrees=30\)', not 'Rotate\(degrees=60\)'"
    with pytest.raises(ValueError, match=told):
        go(Resize(64), Rotate(60))
    with pytest.raises(ValueError, match="was trained with transforms='Resize, Rotate'"):
        go(Resize(64))
    with pytest.raises(ValueError, match="was trained with data_seed=0, not 1"):
        go(Resize(64), Rotate(30), seed=1)


def test_validation_data_without_joints_cost_no_training(hand, data, tmp_path):
    blind = HandDataset([s.replace(joints=None) for s in data.reader], data.transforms)
    result = train(fresh(hand), data, blind, replace(QUICK, eval_every=2), tmp_path)
    assert result.finished and find_checkpoint(tmp_path).name == "best"


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="needs an end"):
        TrainConfig(steps=None)
    with pytest.raises(ValueError, match="unknown optimizer 'sgd'; known: adam, adamw, muon"):
        TrainConfig(optimizer="sgd")


def test_a_run_folder_takes_one_training_at_a_time(hand, data, model, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "LOCK_S", 0.1)
    with session.alone(tmp_path, 0), pytest.raises(OSError, match="another process is training"):
        train(model, data, None, QUICK, tmp_path)
    assert train(model, data, None, QUICK, tmp_path).finished
