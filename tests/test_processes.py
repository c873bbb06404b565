"""A notebook on several processes, and runs that are stopped or killed."""

import json
import os
import signal
import time

import numpy as np
import psutil
import pytest
import safetensors.numpy
from launched import TESTS, handlib, kernels, training_notebook, wait_until, write_notebook

from handlib import runs
from handlib.runlog import read_records
from handlib.state import read_state


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "experiments"


def weights(run_dir):
    return safetensors.numpy.load_file(run_dir / "checkpoints/last/model.safetensors")


def same(one, other):
    one, other = weights(one), weights(other)
    return all(np.array_equal(one[name], other[name]) for name in one)


def losses(run_dir):
    return {r["step"]: r["loss"] for r in read_records(run_dir / "metrics.jsonl") if "loss" in r}


def results(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())["train"]


AGAIN = f"""\
import sys
sys.path.insert(0, {str(TESTS)!r})
from posed_hands import PosedHands
from handlib import runs
from handlib.checkpoints import load_checkpoint
from handlib.data import HandDataset
from handlib.evaluation import evaluate
from handlib.mano import load_hand_model
run, hand = runs.open_run(run_dir, "again"), load_hand_model()
model = load_checkpoint(run.path / "checkpoints" / "last", hand)
run.report("again", evaluate(model, HandDataset(PosedHands(hand, 5, seed=9))))"""


# -- several processes -----------------------------------------------------------------------
def test_two_processes_train_one_model(experiments, tmp_path, monkeypatch):
    path, given = training_notebook(tmp_path), {"steps": 4}
    one = runs.run_notebooks([path], given, "one")
    two = runs.run_notebooks([path], given, "two", processes=2)
    assert (two / "notebooks" / "training.ipynb").exists()
    assert (two / "ranks" / "training.rank1.ipynb").exists()
    # The same samples in each step: they differ by what each batch normalisation sees of them.
    assert losses(two)[1] == pytest.approx(losses(one)[1], rel=0.2)
    seen = [json.loads((two / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert seen[0]["weights"] == seen[1]["weights"]
    alone = json.loads((one / "seen-0.json").read_text())["seen"]
    assert seen[0]["seen"] == alone[0::2] and seen[1]["seen"] == alone[1::2]
    # Five validation hands, which two cannot share evenly: each counts once. The checkpoint that
    # the first process wrote gives one process the same metrics.
    again = runs.run_notebooks([write_notebook(tmp_path / "again.ipynb", AGAIN)], None, "two")
    found = json.loads((again / "metrics.json").read_text())
    assert found["again"] == pytest.approx(found["train"]["scores"], rel=1e-4)
    figures = [path.name for path in two.rglob("*.png")]
    assert figures == ["noise.png"]


def test_a_failing_process_is_named_with_its_notebook(experiments, tmp_path):
    fail = "import os\nif os.environ['RANK'] == '1': raise ValueError('a planted fault')"
    rest = "import torch.distributed as dist\nfrom accelerate import PartialState\n"
    rest += "PartialState(cpu=True)\ndist.barrier()"
    path = write_notebook(tmp_path / "fails.ipynb", fail, rest)
    with pytest.raises(runs.RunError, match=r"process 1 of 2: .* a planted fault") as caught:
        runs.run_notebooks([path], None, "fails", processes=2)
    assert "fails.rank1.partial.ipynb" in str(caught.value)
    state = read_state(experiments / "fails")
    assert state["state"] == "failed" and "a planted fault" in state["message"]


# -- stopped and killed ----------------------------------------------------------------------
def test_a_run_that_was_warned_ends_with_the_weights_of_an_undisturbed_one(experiments, tmp_path):
    path = training_notebook(tmp_path)
    whole = runs.run_notebooks([path], {"steps": 6}, "whole")
    words = ("run", path, "-p", "steps", 6, "-p", "pause", 1, "--name", "parts")
    parts = experiments / "parts"
    process = handlib(*words)
    wait_until(lambda: len(losses(parts)) >= 2)
    assert read_state(parts)["state"] == "running"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == os.EX_TEMPFAIL
    assert errors.startswith("handlib: stopped after ")
    assert "the same command goes on" in errors
    assert read_state(parts)["state"] == "stopped"
    assert len(losses(parts)) < 6
    assert not (parts / "metrics.json").exists()
    (parts / "fast").touch()
    assert handlib(*words).wait(180) == 0
    assert read_state(parts)["state"] == "finished"
    assert same(whole, parts)
    assert losses(whole) == losses(parts)


def test_what_takes_too_long_to_stop_is_ended_and_done_anew(experiments, tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLIB_GRACE_S", "0.5")
    path = write_notebook(
        tmp_path / "slow.ipynb",
        "import pathlib, time; pathlib.Path(run_dir, 'begun').touch(); time.sleep(seconds)",
        parameters="run_dir = ''\nseconds = 30.0",
    )
    process = handlib("run", path, "--name", "slow")
    wait_until((experiments / "slow/begun").exists)
    process.send_signal(signal.SIGUSR2)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == os.EX_TEMPFAIL
    assert "done anew" in errors


@pytest.mark.parametrize("after_s", [0, 0.3])
def test_a_run_stopped_while_its_kernel_starts_leaves_no_kernel(experiments, tmp_path, after_s):
    path = write_notebook(tmp_path / "slow.ipynb", "import time; time.sleep(30)")
    process = handlib("run", path, "--name", "slow")
    wait_until(lambda: kernels(process))
    left = kernels(process)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.count("\n") <= 2 and "Traceback" not in errors
    assert not psutil.wait_procs(left, timeout=5)[1]


@pytest.mark.parametrize(
    ("victim", "processes"), [("launcher", 1), ("launcher", 2), ("kernel", 2), ("rank", 2)]
)
def test_a_killed_run_goes_on(experiments, tmp_path, processes, victim):
    words = ("run", training_notebook(tmp_path), "-p", "steps", 6, "-p", "pause", 2)
    words += ("--name", "killed", "--processes", processes)
    killed = experiments / "killed"
    process = handlib(*words)
    wait_until(lambda: len(losses(killed)) >= 2)
    everyone = psutil.Process(process.pid).children(recursive=True)
    target = {
        "launcher": lambda: psutil.Process(process.pid),
        "kernel": lambda: kernels(process)[-1],
        "rank": lambda: kernels(process)[-1].parent(),
    }[victim]()
    before = max(losses(killed))
    target.kill()
    _, errors = process.communicate(timeout=180)
    assert process.returncode != 0
    if victim == "launcher":
        wait_until(lambda: read_state(killed)["state"] == "killed")
    else:
        assert "was killed" in errors
        assert read_state(killed)["state"] == "failed"
    (killed / "fast").touch()
    again = handlib(*words)
    _, errors = again.communicate(timeout=180)
    assert again.returncode == 0, errors
    assert results(killed)["step"] == 6
    resumed = json.loads((killed / "seen-0.json").read_text())["seen"]
    # Each step was saved, after its record: at most that one is taken again.
    assert len(resumed) <= 4 // processes * (6 - before + 1)
    assert not [child for child in everyone if child.is_running()]
