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
    with pytest.raises(runs.RunError, match=r"no trained run quick in .*there are: fast, slow"):
        runs.trained_runs("slow, quick")
    monkeypatch.setenv("MP_EXPERIMENTS", str(root / "empty"))
    with pytest.raises(runs.RunError, match="run 02_train first"):
        runs.trained_runs()


def test_the_table_shows_what_differs_and_only_that(root):
    table = compare.overview([root / "fast", root / "slow"])
    fast, slow = table["fast"], table["slow"]
    assert set(fast) == {"step", "minutes", "val PA-MPJPE (mm)", "lr", "parameter augmentation"}
    assert (fast["lr"], slow["lr"]) == ("0.01", "0.0001")
    assert (fast["parameter augmentation"], slow["parameter augmentation"]) == ("full", None)
    assert fast["step"] == 2 and fast["val PA-MPJPE (mm)"] > 0


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
