import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from handlib import cli
from handlib.data import dataset_root, synthesize


def test_a_given_folder_or_the_environment_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_DATA", f" {tmp_path}/real ")
    assert dataset_root() == tmp_path / "real"
    assert dataset_root("~/mine").name == "mine"


def test_processes_that_start_together_make_the_data_one_after_the_other(hand, monkeypatch):
    """The ranks of a multi-GPU run all ask for it; who came second finds it made."""
    running, overlaps = [], []

    def slow(out, *args, **kwargs):
        overlaps.append(len(running))
        running.append(out)
        time.sleep(0.1)
        running.remove(out)
        return out

    monkeypatch.setattr(synthesize, "synthesize", slow)
    threads = [threading.Thread(target=dataset_root, kwargs={"samples": 3}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [0, 0, 0]


@pytest.mark.skipif(os.cpu_count() < 2, reason="one core: nothing but the script renders")
def test_a_script_without_a_guard_is_told_so_and_does_not_wait_for_itself(tmp_path):
    """Each process that renders reads the script, and would ask for the same dataset."""
    script = tmp_path / "script.py"
    script.write_text("from handlib.data import dataset_root\ndataset_root('', 40)\n")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120,
        env=os.environ | {"HANDLIB_CACHE": str(tmp_path / "cache")}, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "outside of `if __name__ ==" in done.stderr.splitlines()[-1]


def test_the_command_that_uses_a_dataset_can_be_pasted_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synthesize, "synthesize", lambda out, *_, **__: Path(out))
    assert cli.main(["synthesize", "--samples", "2", "--out", "my hands"]) == 0
    assert f"MP_DATA='{tmp_path}/my hands' handlib run" in capsys.readouterr().out
