"""Sweeps that run here, their files, and the scripts of jobs."""

import json
import os
import signal
import subprocess

import pytest
from launched import handlib, wait_until, write_notebook

from handlib import cli, slurm
from handlib.notebooks import RunError
from handlib.run_commands import _values, time_limit
from handlib.runfolder import matching
from handlib.slurm import Machines, job_script, run_command
from handlib.status import ANSWER_S, status, stop
from handlib.sweeps import _told, combinations, read_sweep

PARAMETERS = "run_dir = ''\nlr = 1.0\nname = 'x'\nsizes = [1]"


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "experiments"))
    return tmp_path / "experiments"


def test_every_combination_has_its_turn():
    assert combinations({"a": [1, 2], "b": ["x"]}) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    with pytest.raises(RunError, match="'b' has no values"):
        combinations({"a": [1], "b": []})
    assert _values("1e-3,3e-4") == ["1e-3", "3e-4"]
    assert _values("[1, 2],[3]") == ["[1, 2]", "[3]"]
    assert _values("[[1,2],[3,4]], [5]") == ["[[1,2],[3,4]]", "[5]"]


def test_a_file_may_vary_share_or_list(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text("steps = 5\nlr = [1e-3, 1e-4]\n[[members]]\nseed = 1\n[[members]]\nseed = 2")
    found = read_sweep(file)
    assert len(found) == 4
    assert found[0] == {"steps": 5, "lr": 1e-3, "seed": 1}
    other = tmp_path / "sweep.json"
    other.write_text(json.dumps({"lr": [0.1, 0.2]}))
    assert read_sweep(other) == [{"lr": 0.1}, {"lr": 0.2}]


def test_members_that_were_made_otherwise_are_not_taken_for_finished(experiments, tmp_path, capsys):
    book = str(write_notebook(tmp_path / "any.ipynb", "1", parameters=PARAMETERS))
    sweep = ["sweep", book, "--name", "s", "-p", "lr", "1,2"]
    assert cli.main(sweep) == 0 and "all finished" in capsys.readouterr().out
    assert cli.main(sweep) == 0 and capsys.readouterr().out.count("finished before") == 2
    assert cli.main([*sweep, "-p", "name", "y"]) == 1
    assert "was made with other settings of any" in capsys.readouterr().err
    words = ["submit", book, "--name", "s-lr=1", "--dry-run", "-p", "lr", "1"]
    assert cli.main([*words, "-p", "name", "z"]) == 1
    assert "was made with other settings of any" in capsys.readouterr().err


def test_a_sweep_is_named_after_the_notebook_that_varies(experiments, capsys):
    assert cli.main(["sweep", "-p", "lr", "1e-3,3e-4", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 runs of 01_explore_data, 02_train, 03_visualize_meshes, 04_evaluate each: " in said
    assert f"{experiments}/sweep-02_train-lr-*" in said


def test_members_have_folders_of_their_own(experiments, tmp_path, capsys):
    book = str(write_notebook(tmp_path / "any.ipynb", "1", parameters=PARAMETERS))
    words = ["--name", "a b", "-p", "name", "a>1,a<1,a+1,a-1", "--dry-run"]
    assert cli.main(["sweep", book, *words]) == 0
    said = capsys.readouterr().out
    (file,) = experiments.glob("*/sweep.json")
    folders = list(json.loads(file.read_text()))
    assert len(folders) == 4 and not list(experiments.glob("*/run.json"))  # no runs yet
    pattern = said.splitlines()[0].split("/")[-1].removesuffix("-*")
    assert all(name.startswith(f"{pattern}-") for name in folders)
    long = ",".join(letter * 300 for letter in "ab")
    assert cli.main(["sweep", book, "--name", "l", "-p", "name", long, "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--processes", "0"], "invalid number from 1 on"),
        (["sweep", "--at-once", "-1"], "invalid number from 1 on"),
        (
            ["synthesize", "--out", "x", "--samples", "-3"],
            "--samples: invalid number from 1 on value",
        ),
        (["synthesize", "--out", "x", "--samples", "3", "--workers", "0"], "--workers: invalid"),
        (["submit", "--param", "lr", "2"], "unrecognized arguments: --param"),
        (["submit", "--time", "8h"], "8h is no time limit; Slurm takes minutes, minutes:seconds, "),
        (["sweep", "--time", "1-"], "1- is no time limit"),
    ],
)
def test_words_that_would_be_taken_wrongly_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        cli.main(words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["90", "90:00", "8:00:00", "1-0", "1-12:30", "2-00:00:00"])
def test_time_limits_are_those_of_slurm(text):
    assert time_limit(text) == text


def test_one_damaged_run_hides_no_other(experiments, tmp_path, capsys):
    book = str(write_notebook(tmp_path / "any.ipynb", "1", parameters=PARAMETERS))
    for name in ("sound", "x[1]"):
        assert cli.main(["run", book, "--name", name]) == 0
    (experiments / "x[1]" / "job.json").write_text("[]")
    found = status()
    assert found["sound"]["state"] == "finished" and "damaged" in found["x[1]"]["state"]
    assert list(status(["x[1]"])) == ["x[1]"]


def test_a_run_is_found_by_its_folder_too(experiments, monkeypatch, capsys):
    for name in ("k1", "k2"):
        (experiments / name).mkdir(parents=True)
        (experiments / name / "run.json").write_text("{}")
    monkeypatch.chdir(experiments.parent)
    for given in ("k1/", "experiments/k1", "experiments/k1/", str(experiments / "k1"), "./k1"):
        assert list(status([given])) == ["k1"]
    assert sorted(status(["experiments/k*"])) == ["k1", "k2"]
    assert list(stop(["k1/"])) == ["k1"]
    with pytest.raises(RunError, match="no run elsewhere/k1 in"):
        status(["elsewhere/k1"])
    with pytest.raises(RunError, match=r"no run k11 in .*; did you mean 'k[12]'\?"):
        status(["k11"])


def test_names_that_hold_commas_are_told_apart():
    with pytest.raises(RunError, match="no setting mine; known: plain, large; small"):
        matching(["plain, large", "small"], ["mine"], "setting")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "lr = ", "a.toml"),
        ("a.json", "[1]", "is a table of parameters"),
        ("a.json", '{"members": 3}', "members is a list of tables"),
        ("a.json", '{"lr": []}', "no values"),
        ("a.TOML", "day = 2026-01-01", "a.TOML: .*date is not JSON"),
    ],
)
def test_a_file_that_is_no_sweep_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=message):
        read_sweep(tmp_path / name)
    with pytest.raises(RunError, match=r"nowhere\.toml"):
        read_sweep(tmp_path / "nowhere.toml")


def test_a_sweep_here_runs_its_failed_member_again(experiments, tmp_path, capfd):
    flag = tmp_path / "mended"
    cell = f"from pathlib import Path\nassert lr < 1 or Path({str(flag)!r}).exists(), 'too high'"
    path = write_notebook(tmp_path / "any.ipynb", cell, parameters=PARAMETERS)
    words = ["sweep", str(path), "-p", "lr", "0.1,4", "--name", "s", "--at-once", "2"]
    assert cli.main(words) == 1
    out, errors = capfd.readouterr()
    assert "lr=0.1: finished" in out
    assert "lr=4: failed" in out and "too high" in out
    assert "1 of 2 runs did not finish; the same command runs these again" in errors
    assert "too high" in (experiments / "s-lr=4" / "log.txt").read_text()
    first = (experiments / "s-lr=0.1" / "notebooks" / "any.ipynb").stat().st_mtime_ns
    flag.touch()
    assert cli.main(words) == 0
    assert (experiments / "s-lr=0.1" / "notebooks" / "any.ipynb").stat().st_mtime_ns == first
    assert {row["state"] for row in status(["s-*"]).values()} == {"finished"}
    capfd.readouterr()
    assert cli.main(["status", "s-lr=4"]) == 0
    assert "s-lr=4" in capfd.readouterr().out


def test_what_became_of_a_member_is_said_once():
    assert _told({"state": "stopped", "message": "stopped after 84 steps"}) == (
        "stopped after 84 steps"
    )
    assert _told({"state": "failed", "message": "in cell 3"}) == "failed in cell 3"
    assert _told({"state": "finished", "message": ""}) == "finished"


def test_an_interrupt_ends_a_sweep(experiments, tmp_path):
    cell = "import time; time.sleep(60)"
    path = write_notebook(tmp_path / "slow.ipynb", cell, parameters=PARAMETERS)
    words = ("sweep", path, "-p", "lr", "1,2,3", "--name", "s")
    process = handlib(*words, start_new_session=True)
    wait_until(lambda: (experiments / "s-lr=1/notebooks/slow.partial.ipynb").exists())
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; the same command goes on from here" in errors
    assert "lr=1: stopped" in out
    assert not (experiments / "s-lr=2" / "state.json").exists()


def test_a_stopped_sweep_begins_no_other_member(experiments, tmp_path):
    cell = "from pathlib import Path; import time"
    cell += "\nwhile not Path(run_dir, 'STOP').exists(): time.sleep(0.1)"
    path = write_notebook(tmp_path / "slow.ipynb", cell, parameters=PARAMETERS)
    words = ("sweep", path, "-p", "lr", "1,2,3", "--name", "s")
    process = handlib(*words)
    wait_until(lambda: (experiments / "s-lr=1/notebooks/slow.partial.ipynb").exists())
    (experiments / "torn").mkdir()
    (experiments / "torn/sweep.json").write_text("{")
    said = stop(["s-*"])
    assert list(said) == ["s-lr=2", "s-lr=3", "s-lr=1"]
    assert "told not to begin" in said["s-lr=3"] and "told to stop" in said["s-lr=1"]
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "2 of 3 runs did not finish" in errors
    assert "stop: handlib stop 's-*'" in out
    assert not (experiments / "s-lr=2" / "state.json").exists()
    # The same command goes on.
    process = handlib(*words)
    wait_until(lambda: (experiments / "s-lr=2/notebooks/slow.partial.ipynb").exists())
    stop(["s-*"])
    process.communicate(timeout=60)


def test_a_sweep_is_checked_before_anything_starts(experiments, tmp_path, capsys):
    path = write_notebook(tmp_path / "any.ipynb", "1", parameters=PARAMETERS)
    assert cli.main(["sweep", str(path), "-p", "lr", "0.1,fast"]) == 1
    assert "type float" in capsys.readouterr().err
    assert cli.main(["sweep", str(path), "-p", "lr", "0.1,0.1"]) == 1
    assert "the same parameters" in capsys.readouterr().err
    assert cli.main(["sweep", str(path), "-p", "lr", "0.1,1", "--name", "../s"]) == 1
    assert "name of a folder" in capsys.readouterr().err
    for words in ([], ["-p", "lr", "0.1"]):
        assert cli.main(["sweep", str(path), *words]) == 1
        assert "nothing to vary: give a parameter several values" in capsys.readouterr().err
    assert not experiments.exists() or not list(experiments.glob("*alone*"))
    assert cli.main(["stop", "nobody"]) == 1
    assert "no run nobody" in capsys.readouterr().err


def test_a_refused_job_is_told_in_words(experiments, tmp_path, monkeypatch, capsys):
    (program := tmp_path / "sbatch").write_text("#!/bin/sh\necho sbatch: error: no x >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = write_notebook(tmp_path / "any.ipynb", "1", parameters=PARAMETERS)
    assert cli.main(["submit", str(path), "--name", "j"]) == 1
    assert "Slurm did not take the job: error: no x" in capsys.readouterr().err


def test_a_slurm_that_does_not_answer_holds_up_neither_status_nor_stop(
    experiments, monkeypatch, capsys
):
    waited = []

    def run(command, timeout=None, **options):
        waited.append(timeout)
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(slurm.subprocess, "run", run)
    (experiments / "sent").mkdir(parents=True)
    (experiments / "sent" / "run.json").write_text("{}")
    (experiments / "sent" / "job.json").write_text('{"job": "7"}')
    assert cli.main(["status"]) == 0
    out, errors = capsys.readouterr()
    assert "sent" in out and errors.count(f"Slurm did not answer in {ANSWER_S} s") == 1
    assert cli.main(["stop", "sent"]) == 0
    out, errors = capsys.readouterr()
    assert "whether job 7 waits is not known" in out and "Slurm did not answer" in errors
    assert set(waited) == {ANSWER_S}


def test_a_job_is_a_script_that_a_shell_reads(experiments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slurm, "queue", dict)
    path = write_notebook(tmp_path / "any's.ipynb", "1", parameters=PARAMETERS)
    words = ["submit", str(path), "-p", "name", "a b'c", "-p", "sizes", "[1, 2]", "--gpus", "4"]
    assert cli.main([*words, "--nodes", "2", "--time", "1:00:00", "--dry-run", "--name", "j"]) == 0
    assert "nothing was submitted" in capsys.readouterr().out
    script = experiments / "j" / "slurm" / "job.sh"
    for option in ("nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "time=1:00:00"):
        assert f"#SBATCH --{option}\n" in script.read_text()
    assert "--processes 8" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)
    # What the shell makes of it is what was asked for.
    line = next(line for line in script.read_text().splitlines() if line.startswith("handlib"))
    shown = subprocess.run(
        ["bash", "-c", line.replace("handlib run", "printf '%s\\n'").removesuffix("&")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.splitlines()[:4] == [str(path), "-p", "name", "a b'c"]
    array = job_script("s", tmp_path, Machines(), [["x", "a b"], ["y"]], "0,1")
    assert "  0) set -- x 'a b' ;;" in array
    assert run_command(["02_train"], {"steps": 3}, "n", 1)[-2:] == ["3", "--name=n"]
