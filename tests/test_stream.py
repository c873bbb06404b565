import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch

from handlib import checkpoints, cli
from handlib.augment import stream_transforms
from handlib.data import HandDataset, HandStream, collate, kept
from handlib.data.sending import batches
from handlib.geometry import project
from handlib.losses import LossWeights, total_loss, usual_weights
from handlib.model import inputs, make_model
from handlib.paths import locked
from handlib.reading import BadFile
from handlib.recipe import TrainConfig, step_loader
from handlib.runlog import read_records
from handlib.stream_training import LOSSES, average, read_card, train_on_stream

SIZE = 64


@pytest.fixture(scope="module")
def stream(hand):
    return HandStream(hand, SIZE, 1000, seed=4, absent=0.3)


def test_a_picture_depends_on_seed_and_index_alone(hand, stream):
    backwards = [HandStream(hand, SIZE, 1000, seed=4, absent=0.3)[i] for i in (7, 6, 5)][::-1]
    for first, second in zip((stream[i] for i in (5, 6, 7)), backwards, strict=True):
        assert np.array_equal(first.image, second.image)
        assert first.present == second.present
        if first.present:
            assert np.array_equal(first.joints, second.joints)
    other = HandStream(hand, SIZE, 1000, seed=5, absent=0.3)[5]
    assert not np.array_equal(other.image, stream[5].image)


def test_a_stream_ends(stream):
    n = len(stream)
    with pytest.raises(IndexError, match=f"sample {n} of {n}"):
        stream[n]
    np.testing.assert_array_equal(stream[-1].image, stream[n - 1].image)
    assert stream[-1].id == n - 1


def test_no_hand_comes_twice(hand):
    stream = HandStream(hand, SIZE, 1000, seed=4)
    poses = np.stack([stream[i].pose for i in range(300, 340)])
    apart = np.abs(poses[:, None] - poses[None]).max(-1)
    assert apart[~np.eye(40, dtype=bool)].min() > 0.01


def test_annotations_agree_with_each_other_and_with_the_picture(stream):
    samples = [s for i in range(60) if (s := stream[i]).present]
    covered = []
    for s in samples:
        assert np.abs(project(s.joints, s.K) - s.joints_2d).max() < 1e-6
        inside = s.joints_2d.round().astype(int)
        assert ((inside >= 0) & (inside < SIZE)).all()
        covered.append(s.mask[inside[:, 1], inside[:, 0]].mean())
        assert s.is_right
    # The joints lie within the hand, but for those at its rim or behind what it holds.
    assert min(covered) > 0.15 and np.mean(np.array(covered) > 0.7) > 0.7


def test_pictures_without_a_hand_have_no_annotation_and_train_presence_alone(hand, stream):
    samples = [stream[i] for i in range(60)]
    absent = [s for s in samples if not s.present]
    assert 8 <= len(absent) <= 28  # 30 % of 60
    assert all(s.annotations() == () and s.is_right is None for s in absent)
    batch = collate(absent)
    assert not batch["present"].any()
    model = make_model("modern", hand, input_size=SIZE)
    _, terms = total_loss(model(**inputs(batch)), batch, LossWeights())
    assert {name for name, value in terms.items() if value > 0} == {"presence"}


def test_some_pictures_without_a_hand_show_its_arm_alone(stream):
    arms = [
        stream.generator.render_arm(np.random.default_rng(i), *stream._hand(i)) for i in range(12)
    ]
    arms = [arm for arm in arms if arm is not None]
    assert len(arms) >= 6
    for arm in arms:
        places = project(arm.joints, arm.K)
        assert not ((places > 0) & (places < SIZE)).all(1).any()
        assert arm.mask[SIZE // 2, SIZE // 2] and arm.mask.mean() > 0.03


def test_a_stream_is_asked_for_in_order_and_a_dataset_is_not(stream):
    config = TrainConfig(steps=4, batch_size=8, log_with=None)
    steps = batches(step_loader(HandDataset(stream), config))
    ids = [b["id"].tolist() for b, _ in zip(steps, range(3))]
    assert ids == [list(range(k, k + 8)) for k in (0, 8, 16)]
    later = next(batches(step_loader(HandDataset(stream), config, start=2)))
    assert later["id"].tolist() == ids[2]


def test_a_stream_shows_left_hands_to_a_network_that_tells_the_side(stream):
    data = HandDataset(stream, stream_transforms(SIZE, left_hands=True))
    sides = [data[i].is_right for i in range(80)]
    assert 1 <= sides.count(False) <= 20
    assert all(
        HandDataset(stream, stream_transforms(SIZE))[i].is_right is not False for i in range(80)
    )


def test_pieces_of_a_training_begin_with_the_weights_of_the_piece_before(hand, tmp_path):
    small = {"batch_size": 4, "workers": 0, "log_every": 1, "evaluations": 1, "preset": "small"}
    small |= {"input_size": SIZE, "handedness": True, "presence": True, "held_out": 8}
    folder, scores = train_on_stream(tmp_path / "first", 0.06, **small)
    assert scores["pa_mpjpe_mm"] > 0
    first = safetensors.torch.load_file(folder / checkpoints.WEIGHTS)
    assert {v.dtype for v in first.values() if v.is_floating_point()} == {torch.float16}
    second, _ = train_on_stream(tmp_path / "second", 1e-6, start=folder, **small)
    again = safetensors.torch.load_file(second / checkpoints.WEIGHTS)
    # No step was taken: what came in goes out.
    assert all(torch.equal(first[name], again[name]) for name in first)
    pieces = read_card(second)["pieces"]
    assert [p["seed"] for p in pieces] == [0, 1]
    assert pieces[0]["images"] > 0 and pieces[1]["images"] == 0
    assert pieces[0]["held_out"] == scores
    # Weights that find the joints have other things to learn than random ones.
    losses = [asdict(LOSSES), asdict(usual_weights("shipped"))]
    assert [p["loss_weights"] for p in pieces] == losses


def test_a_training_may_see_its_pictures_again_and_again(hand, tmp_path, monkeypatch):
    small = {"batch_size": 4, "workers": 0, "log_every": 1, "evaluations": 1, "preset": "small"}
    small |= {"input_size": SIZE, "handedness": True, "presence": True, "held_out": 8}
    monkeypatch.setattr(kept, "WINDOW", 8)
    monkeypatch.setattr(kept, "LATEST", 2)
    folder, _ = train_on_stream(tmp_path, 0.05, repeat=3, **small)
    (piece,) = read_card(folder)["pieces"]
    assert piece["repeat"] == 3 and piece["images"] > 5
    (file,) = tmp_path.glob("*.records")
    assert file.stat().st_size > 0
    with pytest.raises(BadFile, match="was trained with samples="):
        train_on_stream(tmp_path, 0.1, repeat=2, **small)
    asked = []
    monkeypatch.setattr(HandStream, "__getitem__", lambda stream, index: asked.append(index))
    with pytest.raises(ValueError, match="repeat must be at least 1, got 0"):
        train_on_stream(tmp_path, 0.05, repeat=0, **small)
    assert not asked


def test_a_training_begins_with_any_weights(hand, tmp_path):
    small = {"batch_size": 4, "workers": 0, "log_every": 1, "evaluations": 1, "preset": "small"}
    small |= {"input_size": SIZE, "handedness": True, "presence": True, "held_out": 8}
    folder, _ = train_on_stream(tmp_path / "run", 0.01, **small)
    (folder / "card.json").unlink()  # a run of 02 has none
    checkpoint = tmp_path / "run/checkpoints/last"
    assert checkpoint.is_dir()
    for start in (tmp_path / "run", checkpoint):
        made, _ = train_on_stream(tmp_path / f"on-{start.name}", 1e-6, start=start, **small)
        (piece,) = read_card(made)["pieces"]
        assert piece["began_with"] == str(start) and piece["seed"] == 0
        assert piece["loss_weights"] == asdict(usual_weights("shipped"))
    began = [safetensors.torch.load_file(f / checkpoints.WEIGHTS) for f in (folder, made)]
    assert all(torch.equal(began[0][name], began[1][name]) for name in began[0])


def test_what_a_training_began_with_stays(hand, tmp_path, monkeypatch):
    """Whatever the next call says, its card lists the pieces that the weights came from."""
    small = {"batch_size": 4, "workers": 0, "log_every": 1, "evaluations": 1, "preset": "small"}
    small |= {"input_size": SIZE, "handedness": True, "presence": True, "held_out": 8}
    first, _ = train_on_stream(tmp_path / "first", 0.01, **small)
    other, _ = train_on_stream(tmp_path / "other", 0.01, seed=5, **small)
    second = tmp_path / "second"
    folder, scores = train_on_stream(second, 0.01, start=first, **small)
    card = read_card(folder)
    assert card["pieces"][:1] == read_card(first)["pieces"]
    last = json.loads((second / "checkpoints/last/trainer.json").read_text())
    assert card["pieces"][1]["minutes"] == pytest.approx(last["elapsed_s"] / 60, abs=0.06)
    monkeypatch.chdir(tmp_path)
    rendered = []
    with monkeypatch.context() as patch:
        patch.setattr("handlib.stream_training.held_out_set", lambda *_: rendered.append(1))
        refused = {"was begun with --start": {"start": other}, "batch_size=4": {"batch_size": 8}}
        for said, given in refused.items():
            with pytest.raises(BadFile, match=said):
                train_on_stream(second, 0.02, **{"start": first, "seed": 1} | small | given)
    assert not rendered and read_card(folder) == card
    assert train_on_stream(second, 0.01, start="first/weights", **small) == (folder, scores)
    assert [p["seed"] for p in read_card(folder)["pieces"]] == [0, 1]


def test_what_a_training_began_with_is_noted_when_it_has_its_folder(tmp_path, monkeypatch):
    small = {"batch_size": 4, "workers": 0, "preset": "small", "input_size": SIZE, "held_out": 2}
    first, _ = train_on_stream(tmp_path / "first", 0.005, **small)
    piece = tmp_path / "piece"
    piece.mkdir()
    with locked(piece / ".training.lock", BlockingIOError()), monkeypatch.context() as patch:
        patch.setattr("handlib.session.LOCK_S", 0)
        with pytest.raises(BlockingIOError, match="another process is training"):
            train_on_stream(piece, 0.01, **small)
    assert not (piece / "start.json").exists()  # of the other one
    train_on_stream(piece, 0.005, start=first, **small)
    noted = (piece / "start.json").read_text()
    shutil.rmtree(first)  # what it began with is in its checkpoint
    folder, _ = train_on_stream(piece, 0.006, start=first, **small)
    assert len(read_card(folder)["pieces"]) == 2
    shutil.rmtree(piece / "checkpoints/last")  # killed between two renames
    with pytest.raises(BadFile, match="was begun with --start"):
        train_on_stream(piece, 0.01, **small)
    assert (piece / "start.json").read_text() == noted


def test_held_out_hands_are_looked_at_once_in_a_step(hand, tmp_path, monkeypatch):
    """And not before the first one, however long it took to get there."""
    small = {"batch_size": 4, "workers": 0, "log_every": 1, "evaluations": 1000, "preset": "small"}
    small |= {"input_size": SIZE, "handedness": True, "presence": True, "held_out": 8}
    scored, steps = [], []
    monkeypatch.setattr(
        "handlib.stream_training.evaluate",
        lambda model, hands: scored.append(len(hands)) or {"pa_mpjpe_mm": float(len(scored))},
    )
    folder, scores = train_on_stream(tmp_path, 0.05, **small)
    steps = [r["step"] for r in read_records(tmp_path / "metrics.jsonl") if "val_pa_mpjpe_mm" in r]
    assert steps == sorted(set(steps)) and steps[0] > 0
    (piece,) = read_card(folder)["pieces"]
    assert scores == piece["held_out"] == {"pa_mpjpe_mm": float(len(scored))}
    assert len(scored) == len({*steps, piece["images"] // 4}) and {*scored} == {8}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--processes", "0"], "processes must be at least 1, got 0"),
        (["--threads", "0"], "threads must be at least 1, got 0"),
        (["--seed", "-1"], "seeds must be from 0 to 4294967295, got -1"),
        (["--seed", "4294967296"], "seeds must be from 0 to 4294967295, got 4294967296"),
        (["--minutes", "inf"], "max_minutes must be more than 0, and finite, got inf"),
    ],
)
def test_numbers_that_a_training_does_not_take_are_refused(tmp_path, capsys, given, said):
    assert cli.main(["train", str(tmp_path / "piece"), "--minutes", "1", *given]) == 1
    assert said in capsys.readouterr().err


def test_weights_between_two_pieces_of_a_training(hand, tmp_path, capsys):
    small = {"batch_size": 4, "workers": 0, "log_every": 1, "evaluations": 1, "preset": "small"}
    small |= {"input_size": SIZE, "handedness": True, "presence": True, "held_out": 8}
    one, _ = train_on_stream(tmp_path / "one", 0.02, **small)
    two, _ = train_on_stream(tmp_path / "two", 0.02, start=one, **small)
    other, _ = train_on_stream(tmp_path / "other", 1e-6, **small)
    scores = average([two, one], tmp_path / "mean", held_out=8)
    files = [f / checkpoints.WEIGHTS for f in (one, two, tmp_path / "mean")]
    a, b, mean = (safetensors.torch.load_file(file) for file in files)
    assert any(not torch.equal(a[name], b[name]) for name in a)
    for name, value in mean.items():
        expected = (a[name].float() + b[name].float()) / 2 if value.is_floating_point() else b[name]
        assert torch.equal(value, expected.to(value.dtype))
    pieces = read_card(tmp_path / "mean")["pieces"]
    assert pieces[:1] == read_card(one)["pieces"]
    averaged = pieces[1].pop("averaged")
    assert averaged == {"with": [1], "held_out": scores}
    assert pieces == read_card(two)["pieces"]
    assert cli.main(["average", str(tmp_path / "no"), str(one), str(other)]) == 1
    assert "weights of one training" in capsys.readouterr().err
    assert cli.main(["average", str(tmp_path / "no"), str(one), str(one)]) == 1
    assert "the same weights twice" in capsys.readouterr().err
    usual = {file.stat().st_mode & 0o777 for file in (tmp_path / "mean").iterdir()}
    (tmp_path / "usual").touch()
    assert usual == {(tmp_path / "usual").stat().st_mode & 0o777}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["nowhere"], "nowhere: give two or more weights of one training"),
        (["nowhere", "run"], "nowhere: no such folder"),
        (["run", "nowhere"], "run is not a piece of handlib train (no card.json): give the folder"),
    ],
)
def test_only_pieces_of_a_training_are_averaged(tmp_path, monkeypatch, capsys, weights, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert cli.main(["average", "mean", *weights]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("out", ["notes.txt", "run"])
def test_a_mean_of_weights_replaces_nothing(tmp_path, capsys, out):
    """As where the first word, the folder to write, was forgotten."""
    (tmp_path / "run").mkdir()
    for file in (kept := [tmp_path / "notes.txt", tmp_path / "run/metrics.jsonl"]):
        file.write_text("kept")
    assert cli.main(["average", *(str(tmp_path / name) for name in (out, "run", "run"))]) == 1
    assert f"{out} is there already: choose a new folder" in capsys.readouterr().err
    assert [file.read_text() for file in kept] == ["kept"] * 2


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("words", [["train", "--minutes", "1"], ["ablate", "--images", "8"]])
def test_a_training_needs_a_folder(tmp_path, capsys, words, processes):
    (out := tmp_path / "hand.mp4").touch()
    assert cli.main([*words, str(out), "--processes", processes]) == 1
    assert "hand.mp4 is a file: choose a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "processes, workers, all_are_told", [(2, 0, False), (2, 0, True), (1, 1, True)]
)
def test_a_training_stops_in_order(tmp_path, processes, workers, all_are_told):
    """Also where SIGTERM reaches all of its processes, as from a cluster: workers still read."""
    words = ["train", str(tmp_path / "piece"), "--preset", "small", "--minutes", "9"]
    words += ["--processes", str(processes), "--batch-size", "4", "--workers", str(workers)]
    command = [sys.executable, "-m", "handlib.cli", *words]
    with (tmp_path / "said").open("w+") as said:
        running = subprocess.Popen(command, stdout=said, stderr=said)
        started = time.monotonic()
        while "step 1" not in (tmp_path / "said").read_text():
            assert running.poll() is None and time.monotonic() - started < 200
            time.sleep(0.5)
        told = psutil.Process(running.pid)
        others = told.children(recursive=True) if all_are_told else []
        assert len(others) >= all_are_told * processes * workers
        for process in [*others, told]:
            process.send_signal(signal.SIGTERM)
        assert running.wait(200) == os.EX_TEMPFAIL
    assert not (tmp_path / "piece/STOP").exists()
    said = (tmp_path / "said").read_text()
    assert "Warning" not in said and "Traceback" not in said
    assert len(re.findall("stopped.*, all saved; the same command goes on", said)) == 1
    # What has not come to its end looks like it: the next piece cannot begin with it.
    assert "; weights" not in said and not (tmp_path / "piece/weights").exists()
    last = json.loads((tmp_path / "piece/checkpoints/last/trainer.json").read_text())
    assert last["step"] > 0 and last["elapsed_s"] > 0
