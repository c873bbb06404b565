"""Runs as jobs of a real Slurm, one machine of it, which the tests start."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import slurm_cluster
from launched import training_notebook, wait_until, write_notebook

from handlib import cli, runs
from handlib.runlog import read_records
from handlib.status import status


@pytest.fixture(scope="module")
def slurm():
    """Environment that reaches the cluster."""
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    # Its own short path: Unix sockets have short names, and munge looks at who owns the folders.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    try:
        with slurm_cluster.cluster(folder) as environment:
            yield environment
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def experiments(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "experiments"


def state(name):
    return status([name])[name]["state"]


def steps(run_dir):
    return [r["step"] for r in read_records(run_dir / "metrics.jsonl") if "loss" in r]


def job(run_dir):
    return json.loads((run_dir / "job.json").read_text())["job"]


def log(run_dir):
    return (run_dir / "slurm" / f"{job(run_dir)}.log").read_text()


def release(number):
    """Slurm lets a job that was put back wait for two minutes: within the second in which the one
    before was ended, a new one would be taken for that, and cancelled."""
    time.sleep(2)
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], check=True)


def test_two_tasks_train_one_model(experiments, tmp_path, capsys):
    words = ["submit", str(training_notebook(tmp_path)), "-p", "steps", "4", "--name", "two"]
    assert cli.main([*words, "--processes", "2"]) == 0
    said = capsys.readouterr().out
    two = experiments / "two"
    assert f"job {job(two)}" in said and f"{job(two)}.log" in said
    assert cli.main(words) == 1
    assert "waits or runs already" in capsys.readouterr().err
    assert state("two").split()[0] in ("waiting", "running", "completing")
    wait_until(lambda: state("two") == "running")
    wait_until(lambda: state("two") == "finished")
    assert "[1/1] training" in log(two)
    assert steps(two) == [1, 2, 3, 4]
    seen = [json.loads((two / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert seen[0]["weights"] == seen[1]["weights"]
    assert len(seen[0]["seen"]) == len(seen[1]["seen"]) == 8
    assert not {map(tuple, seen[0]["seen"])} & {map(tuple, seen[1]["seen"])}
    assert cli.main(words) == 0
    assert "finished before" in capsys.readouterr().out


def test_a_sweep_runs_its_failed_member_again(experiments, tmp_path, capsys):
    flag = tmp_path / "mended"
    cell = f"from pathlib import Path\nassert lr < 1 or Path({str(flag)!r}).exists(), 'too high'"
    path = write_notebook(tmp_path / "any.ipynb", cell, parameters="run_dir = ''\nlr = 1.0")
    words = ["sweep", str(path), "-p", "lr", "0.1,0.2,0.3,4", "--name", "s", "--submit"]
    assert cli.main(words) == 0
    first = (experiments / "s" / "job.sh").read_text()
    assert "#SBATCH --array=0,1,2,3\n" in first

    def states():
        return [row["state"] for row in status(["s-*"]).values()]

    wait_until(lambda: sorted(states()) == ["failed", *3 * ["finished"]])
    assert "too high" in json.loads((experiments / "s-lr=4" / "state.json").read_text())["message"]
    flag.touch()
    wait_until(lambda: not squeue())
    assert cli.main(words) == 0
    assert "#SBATCH --array=3\n" in (experiments / "s" / "job.sh").read_text()
    wait_until(lambda: states() == 4 * ["finished"])
    capsys.readouterr()
    assert cli.main(words) == 0
    assert capsys.readouterr().out.count("finished before") == 4


def squeue():
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout


def test_a_job_that_reaches_its_limit_goes_on_in_the_queue(experiments, tmp_path):
    path = training_notebook(tmp_path)
    whole = runs.run_notebooks([path], {"steps": "120"}, "whole")
    words = ["submit", str(path), "-p", "steps", "120", "-p", "pause", "0.8", "--name", "parts"]
    # Slurm looks at limits every half minute: the warning comes 40 to 70 s after the start.
    assert cli.main([*words, "--time", "2", "--warning", "50"]) == 0
    parts = experiments / "parts"
    for _ in range(8):  # a busy machine may be warned again and again
        wait_until(lambda: state("parts").startswith(("waiting (Begin", "finished")))
        if state("parts") == "finished":
            break
        (parts / "fast").touch()
        release(job(parts))
        wait_until(lambda: not state("parts").startswith("waiting"))
    assert state("parts") == "finished"
    assert "goes back into the queue, and goes on from here" in log(parts)
    one, other = (
        safetensors.numpy.load_file(run / "checkpoints/last/model.safetensors")
        for run in (whole, parts)
    )
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_stop_ends_a_running_and_a_waiting_job(experiments, tmp_path, capsys):
    path = training_notebook(tmp_path)
    words = ["submit", str(path), "-p", "steps", "500", "-p", "pause", "0.2"]
    assert cli.main([*words, "--processes", "2", "--name", "long"]) == 0
    assert cli.main([*words, "--name", "next"]) == 0
    wait_until(lambda: steps(experiments / "long"))
    assert state("next").startswith("waiting")
    assert cli.main(["stop", "next", "long"]) == 0
    said = capsys.readouterr().out
    assert "taken out of the queue" in said and "told to stop" in said
    wait_until(lambda: state("long") == "stopped")
    wait_until(lambda: state("next") == "new")
    assert 0 < max(steps(experiments / "long")) < 500
    assert cli.main(["stop", "long"]) == 0
    assert "does not run" in capsys.readouterr().out
