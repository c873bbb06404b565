"""Settings side by side on rendered hands; their trainings are tiny, their scores mean nothing."""

import json
import os

import numpy as np
import pytest

from handlib import ablation, cli, stream_training
from handlib.ablation import ablate, scores_table
from handlib.compare import over_seeds
from handlib.metrics import NotFinite
from handlib.reading import BadFile
from handlib.stream_training import train_on_stream

TINY = {"batch_size": 4, "workers": 0, "size": 64, "held_out": 6}
ONLY = "modern; boukhayma2019"


def test_settings_see_equally_many_hands_by_their_own_recipes(tmp_path, capsys, monkeypatch):
    done, _, reason = ablate(tmp_path, 7, ONLY, (0, 1), minutes=1e-9, **TINY)
    assert (done, reason) == ({}, "deadline")
    said = "modern, seed 0: stopped (deadline) after 0 of 2 steps; the same command goes on"
    assert said in capsys.readouterr().out
    scores, mean_pose, reason = ablate(tmp_path, 7, ONLY, (0, 1), **TINY)
    assert reason == ""
    assert {name: len(each) for name, each in scores.items()} == {"modern": 2, "boukhayma2019": 2}
    assert 10 < mean_pose["pa_mpjpe_mm"] < 30
    saved = {
        name: json.loads((tmp_path / f"{name}-1/checkpoints/last/trainer.json").read_text())
        for name in scores
    }
    configs = [each["config"] for each in saved.values()]
    assert [(c["optimizer"], c["lr"], c["average"]) for c in configs] == [
        ("muon", 2e-3, 0.999), ("adam", 1e-3, 0.0),
    ]  # fmt: skip
    assert [(c["steps"], c["batch_size"], c["seed"]) for c in configs] == [(2, 4, 1)] * 2
    monkeypatch.setattr(ablation, "Trainer", None)  # what is finished is not trained again
    assert ablate(tmp_path, 7, ONLY, (0, 1), **TINY) == (scores, mean_pose, "")
    assert len(ablate(tmp_path, 7, "modern", (0, 0), **TINY)[0]["modern"]) == 1
    with pytest.raises(BadFile, match=r"ablation.json is of .*'images': 8.*not of .*'images': 12"):
        ablate(tmp_path, 12, ONLY, (0,), **TINY)
    with pytest.raises(ValueError, match="seeds must be from 0 to "):
        ablate(tmp_path, 7, ONLY, (0, -1), **TINY)

    pa = [np.mean([one["pa_mpjpe_mm"] for one in scores[name]]) for name in scores]
    table = str(scores_table(scores, mean_pose, "of two"))
    assert f"{pa[1] / pa[0]:.2f}" in table and f"{mean_pose['pa_mpjpe_mm']:.2f}" in table


def test_the_command_on_several_processes(tmp_path, capfd):
    words = ["ablate", str(tmp_path), "--images", "8", "--only", "small", "--seeds", "3"]
    words += ["--batch-size", "4", "--workers", "0", "--processes", "2", "--size", "64"]
    assert cli.main([*words, "--renderings", "5"]) == 0
    out = capfd.readouterr().out
    assert out.count("small, seed 3: PA-MPJPE") == 1 and out.count("mean pose") == 1
    about = json.loads((tmp_path / "small-3/scores.json").read_text())
    assert (about["images"], about["renderings"]) == (8, 5)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_command_that_was_stopped_does_not_look_finished(tmp_path, capfd, processes):
    words = ["ablate", str(tmp_path), "--images", "4", "--only", "small", "--seeds", "3"]
    words += ["--batch-size", "4", "--workers", "0", "--processes", processes, "--size", "64"]
    (tmp_path / "STOP").touch()
    assert cli.main(words) == os.EX_TEMPFAIL
    said = capfd.readouterr()
    assert "handlib: stopped, all saved; the same command goes on" in said.err
    assert "stopped (STOP file) after 0 of 1 steps" in said.out and "mean pose" in said.out
    if processes == "2":
        assert cli.main(words) == 0
        assert "small, seed 3: PA-MPJPE" in capfd.readouterr().out
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["ablation.json"]


def test_an_interrupt_still_shows_what_is_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ablation.Trainer, "reason_to_stop", lambda self: "interrupt")
    words = ["ablate", str(tmp_path), "--images", "4", "--only", "small", "--seeds", "3"]
    assert cli.main([*words, "--batch-size", "4", "--workers", "0", "--size", "64"]) == 130
    said = capsys.readouterr()
    assert "mean pose" in said.out and "the same command goes on" in said.err


@pytest.mark.parametrize("module", [ablation, stream_training])
def test_scores_of_a_diverged_network_name_the_remedy(tmp_path, monkeypatch, module):
    def evaluate(*_):
        raise NotFinite("joints: a prediction is not finite, so there is no score")

    monkeypatch.setattr(module, "evaluate", evaluate)
    with pytest.raises(FloatingPointError, match=r"step [01]: evaluating, .*with a smaller lr"):
        if module is ablation:
            ablate(tmp_path, 4, "small", (0,), **TINY)
        else:
            train_on_stream(tmp_path, 1e-9, "small", batch_size=4, workers=0, held_out=1)


def test_trainings_share_what_is_rendered(tmp_path, monkeypatch):
    seen = {}

    class Watched(ablation.Trainer):
        def train_step(self, batch):
            seen.setdefault(self.run_dir.name, []).extend(batch["id"].tolist())
            return super().train_step(batch)

    monkeypatch.setattr(ablation, "Trainer", Watched)
    ablate(tmp_path, 16, "small; boukhayma2019", (0, 1), renderings=8, **TINY)
    assert len(list(tmp_path.glob("*.records"))) == 1
    # Each epoch has all hands, in an order that the seed tells.
    orders = {name: tuple(ids) for name, ids in seen.items()}
    assert len(orders) == 4 and orders["small-0"] == orders["boukhayma2019-0"]
    assert orders["small-0"] != orders["small-1"]
    for ids in orders.values():
        assert sorted(ids[:8]) == sorted(ids[8:]) == list(range(8)) and ids[:8] != ids[8:]
    monkeypatch.setattr(ablation, "held_out_set", None)  # it is told before anything is rendered
    with pytest.raises(BadFile, match=r"ablation.json is of .*'renderings': 8.*: 9"):
        ablate(tmp_path, 16, "small", (0,), renderings=9, **TINY)
    (tmp_path / "ablation.json").write_text("[")
    with pytest.raises(BadFile, match=r"ablation.json .*remove it"):
        ablate(tmp_path, 16, "small", (0,), renderings=8, **TINY)
    with pytest.raises(ValueError, match="renderings must be at least 1, got 0"):
        ablate(tmp_path, 16, "small", (0,), renderings=0, **TINY)


def test_spread_over_seeds():
    rows = over_seeds(
        {"a": [{"pa_mpjpe_mm": 9.0}, {"pa_mpjpe_mm": 11.0}], "b": [{"error_2d_px": 1}]}
    )
    assert rows == {"a": {"PA-MPJPE (mm)": "10.00 ± 1.41"}, "b": {"2D (px)": "1.00"}}
