"""Traps of notebooks that run headless, each met once and measured; the others are in test_runs.py,
test_processes.py, test_slurm.py and test_notebooks.py."""

import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from launched import handlib, write_notebook
from papermill.clientwrap import PapermillNotebookClient
from posed_hands import PosedHands

from handlib import runs
from handlib.augment import named_transforms
from handlib.data import HandDataset


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "experiments"))
    return tmp_path / "experiments"


def test_a_notebook_that_calls_exit_is_not_finished(experiments, tmp_path):
    path = write_notebook(tmp_path / "exits.ipynb", "raise SystemExit(0)", "print('never')")
    with pytest.raises(runs.RunError, match=r"called exit\(\), 1 cells were left"):
        runs.run_notebooks([path], name="exits")
    assert not (experiments / "exits" / "metrics.json").exists()


def test_what_is_printed_again_and_again_stays_small(experiments, tmp_path):
    lines = "import sys\nfor i in range(2000):\n    print(f'step {i}', end='\\r', flush=True)"
    path = write_notebook(tmp_path / "bars.ipynb", lines)
    run_dir = runs.run_notebooks([path])
    executed = nbformat.read(run_dir / "notebooks" / "bars.ipynb", as_version=4)
    assert [output.text for output in executed.cells[-1].outputs] == ["step 1999\r"]


def test_what_is_printed_faster_than_it_is_read_is_not_lost(experiments, tmp_path, monkeypatch):
    """Of more than 2,000 lines the last ones were, and with them the word that the cell was done:
    after a minute the run failed."""
    read, waited = PapermillNotebookClient.process_message, []

    def busy(client, message, *where):
        if message["msg_type"] == "stream" and not waited:
            waited.append(time.sleep(4))
        return read(client, message, *where)

    monkeypatch.setattr(PapermillNotebookClient, "process_message", busy)
    lines = "for i in range(5000):\n    print(f'step {i}', end='\\r', flush=True)"
    run_dir = runs.run_notebooks([write_notebook(tmp_path / "fast.ipynb", lines)])
    executed = nbformat.read(run_dir / "notebooks" / "fast.ipynb", as_version=4)
    assert waited and [output.text for output in executed.cells[-1].outputs] == ["step 4999\r"]


def test_paths_are_those_of_the_caller(experiments, tmp_path, monkeypatch):
    (tmp_path / "books").mkdir()
    cell = "from pathlib import Path\nassert Path('here').exists(), Path.cwd()\nprint(run_dir)"
    write_notebook(tmp_path / "books" / "where.ipynb", cell)
    (tmp_path / "here").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MP_EXPERIMENTS", "elsewhere")
    run_dir = runs.run_notebooks(["books/where.ipynb"])
    assert run_dir.is_absolute() and run_dir.parent == tmp_path / "elsewhere"


def test_what_workers_are_given_can_be_sent_to_them(hand):
    for name in ("light", "full", "course"):
        data = HandDataset(PosedHands(hand, 3), named_transforms(name, 64), seed=1)
        sent = pickle.loads(pickle.dumps(data))
        assert (sent[0, 1].image == data[0, 1].image).all()


def test_many_runs_start_at_once(experiments, tmp_path):
    """Kernels that take ports lose some to each other: 4 of 192."""
    path = write_notebook(tmp_path / "tiny.ipynb", "print(seed)", parameters="run_dir=''\nseed=0")

    def launch(number):
        process = handlib("run", path, "-p", "seed", number, "--name", f"tiny-{number}")
        out, errors = process.communicate(timeout=300)
        return process.returncode, out, errors

    with ThreadPoolExecutor(16) as pool:
        ended = list(pool.map(launch, range(16)))
    assert [code for code, *_ in ended] == 16 * [0], ended
    assert all(re.search(rf"^{number}$", out, re.M) for number, (_, out, _) in enumerate(ended))
    assert not [errors for _, _, errors in ended if "Warning" in errors]
    assert len(list(experiments.iterdir())) == 16
