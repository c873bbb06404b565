import json
from dataclasses import replace

import numpy as np
import pytest
from posed_hands import PosedHands

from handlib import compare, runs
from handlib.data import HandDataset
from handlib.model import make_model
from handlib.recipe import TrainConfig
from handlib.training import train

QUICK = TrainConfig(steps=2, batch_size=4, log_every=1, save_every=100, log_with=None)


@pytest.fixture(scope="module")
def root(hand, tmp_path_factory):
    """Two trained runs that differ in lr and in a notebook's parameter, and one without a model."""
    root = tmp_path_factory.mktemp("runs")
    data = HandDataset(PosedHands(hand, 8))
    for name, lr in (("fast", 1e-2), ("slow", 1e-4)):
        config = replace(QUICK, lr=lr)
        train(make_model("small", hand, hidden=16), data, data, config, root / name)
    given = {"02_train": {"lr": 1e-2, "augmentation": "full"}}
    about = {"parameters": given, "environment": {"MANO": ""}}
    (root / "fast" / "run.json").write_text(json.dumps(about))
    (root / "empty").mkdir()
    return root


def test_runs_are_found_and_a_missing_one_is_named(root, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(root))
    assert [path.name for path in runs.trained_runs()] == ["fast", "slow"]
    assert [path.name for path in runs.trained_runs("slow")] == ["slow"]
    assert [path.name for path in runs.trained_runs(f"fast/, {root}/slow")] == ["fast", "slow"]
    with pytest.raises(runs.RunError, match=r"no trained run quick in .*known: fast, slow"):
        runs.trained_runs("slow, quick")
    monkeypatch.setenv("MP_EXPERIMENTS", str(root / "empty"))
    with pytest.raises(runs.RunError, match="run 02_train first"):
        runs.trained_runs()


def test_a_run_that_was_not_evaluated_yet_is_compared_by_its_last_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    last = tmp_path / "stopped/checkpoints/last/model.safetensors"
    last.parent.mkdir(parents=True)
    for file in (last, tmp_path / "stopped/run.json"):
        file.touch()
    assert [path.name for path in runs.trained_runs("stopped")] == ["stopped"]
    with pytest.raises(runs.RunError, match="no trained run"):
        runs.trained_runs()  # what nobody named may be about to be trained


def test_the_table_shows_what_differs_and_only_that(root):
    table = compare.overview([root / "fast", root / "slow"])
    fast, slow = table["fast"], table["slow"]
    assert set(fast) == {"step", "minutes", "val PA-MPJPE (mm)", "lr", "parameter augmentation"}
    assert (fast["lr"], slow["lr"]) == ("0.01", "0.0001")
    assert (fast["parameter augmentation"], slow["parameter augmentation"]) == ("full", None)
    assert fast["step"] == 2 and fast["val PA-MPJPE (mm)"] > 0
    took = compare.history(root / "fast")[-1]["time"]  # as the table rounds it, and no sooner
    assert fast["minutes"] == pytest.approx(took / 60) and took > 0


def test_half_a_line_of_a_killed_run_is_left_out(root, tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text((root / "fast" / "metrics.jsonl").read_text() + '{"step": 3, "lo')
    assert compare.history(tmp_path) == compare.history(root / "fast")


def test_only_a_difference_beyond_chance_is_called_one():
    rng = np.random.default_rng(0)
    base = rng.normal(20, 5, 400)
    hands = np.repeat(np.arange(100), 4)
    errors = {
        "a": base,
        "worse": base + 1 + rng.normal(0, 2, 400),
        "same": base + 0.05 + rng.normal(0, 0.5, 400),
    }
    best, rows = compare.differences(errors, hands)
    assert best == min(errors, key=lambda name: errors[name].mean()) == "a"
    assert rows["worse"]["verdict"] == "worse" and rows["same"]["verdict"] == "not distinguishable"
    assert rows["worse"]["difference"].low < 1 < rows["worse"]["difference"].high
    # Unpaired, the hands' own spread would hide it.
    assert rows["worse"]["error"].low < rows["a"]["error"].high
    _, rows = compare.differences(errors, hands, "worse")
    assert rows["a"]["verdict"] == "better" and rows["a"]["difference"].high < 0


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("hands", [5, 60])
def test_equal_runs_are_seldom_told_apart(count, hands, monkeypatch):
    """However many they are: of several equal ones the best is the luckiest."""
    monkeypatch.setattr(compare, "mean_interval", lambda *_: None)  # slow, and tells no verdict
    rng, trials, wrong = np.random.default_rng(count), 300, 0
    for _ in range(trials):
        base = rng.normal(10, 2, hands)
        errors = {str(n): base + rng.normal(0, 1.5, hands) for n in range(count)}
        _, rows = compare.differences(errors, np.arange(hands))
        wrong += any(row["verdict"] in ("worse", "better") for row in rows.values())
    assert wrong / trials < 0.075  # 5 %, and two standard errors of 300 trials
    errors["0"] = errors["0"] + 9
    _, rows = compare.differences(errors, np.arange(hands))
    assert rows["0"]["verdict"] == "worse"


def test_a_reference_that_was_chosen_before_needs_less_evidence():
    rng = np.random.default_rng(0)
    errors = {str(n): rng.normal(10, 1, 50) for n in range(5)}
    widths = {}
    for reference in (None, "0"):
        best, rows = compare.differences(errors, reference=reference)
        each = [row["difference"] for name, row in rows.items() if name != best]
        widths[reference] = np.mean([interval.high - interval.low for interval in each])
    assert widths["0"] < widths[None]


def test_a_baseline_is_compared_but_never_the_reference_and_widens_nothing():
    rng = np.random.default_rng(0)
    base = rng.normal(10, 1, 50)
    errors = {str(n): base + rng.normal(n, 1, 50) for n in range(3)}
    for reference in (None, "1"):
        best, rows = compare.differences(errors, reference=reference)
        for shift, verdict in ((9, "worse"), (-9, "better")):
            beside = {"mean pose": base + shift + rng.normal(0, 1, 50)}
            same, more = compare.differences(errors, None, reference, beside)
            assert same == best and more.pop("mean pose")["verdict"] == verdict
            assert more == rows
    with pytest.raises(ValueError, match="no run mean pose to compare with; there are: 0, 1, 2"):
        compare.differences(errors, None, "mean pose", beside)


def test_equal_baselines_are_seldom_called_other_than_the_best_run(monkeypatch):
    monkeypatch.setattr(compare, "mean_interval", lambda *_: None)  # slow, and tells no verdict
    rng, trials, wrong = np.random.default_rng(0), 300, 0
    for _ in range(trials):
        base = rng.normal(10, 2, 60)
        errors = {str(n): base + rng.normal(0, 1.5, 60) for n in range(5)}
        equal = errors.pop("4")
        _, rows = compare.differences(errors, baselines={"mean pose": equal})
        wrong += rows["mean pose"]["verdict"] in ("worse", "better")
    assert wrong / trials < 0.075


def test_few_hands_tell_nothing():
    _, rows = compare.differences({"a": [10.0], "b": [10.0001]})
    assert (rows["b"]["verdict"], rows["b"]["difference"]) == ("too few hands", None)
    errors = np.arange(40.0) / 40
    for hands, verdict in ((4, "too few hands"), (5, "worse")):
        _, rows = compare.differences({"a": errors, "b": errors + 1}, np.arange(40) % hands)
        assert rows["b"]["verdict"] == verdict
    _, rows = compare.differences({"a": [5.0, np.nan], "b": [np.nan, 6.0]})  # nothing in common
    assert rows["b"]["verdict"] == "too few hands"
