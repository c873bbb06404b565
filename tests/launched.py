"""Small notebooks for tests of the launcher: a training on a few hands, and whatever is asked."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil

TESTS = Path(__file__).parent
PARAMETERS = """\
run_dir = ""
steps = 8
batch_size = 4
pause = 0.0  # seconds after each step, while there is no file "fast" in the run's folder
save_every = 1
lr = 1e-3
seed = 0"""
TRAINING = f"""\
import hashlib, sys, time
sys.path.insert(0, {str(TESTS)!r})
import torch
from posed_hands import PosedHands
from handlib import plots, runs, training
from handlib.data import HandDataset
from handlib.evaluation import evaluate
from handlib.mano import load_hand_model
from handlib.model import make_model
from handlib.paths import write_json
from handlib.processes import rank
from handlib.recipe import TrainConfig
from handlib.training import Trainer, train

class Noting(HandDataset):
    seen = []

    def __getitem__(self, key):
        self.seen.append(key)
        return super().__getitem__(key)

torch.set_num_threads(1)
run = runs.open_run(run_dir, "training")
hand = load_hand_model()
model = make_model("small", hand, seed=seed, hidden=16)
config = TrainConfig(
    steps=steps, batch_size=batch_size, save_every=save_every, log_every=1, lr=lr, seed=seed,
    log_with=None,
)
val = HandDataset(PosedHands(hand, 5, seed=9))
data = Noting(PosedHands(hand, 10), seed=seed)
print("training", flush=True)
def wait(trainer):
    time.sleep(0 if (run.path / "fast").exists() else pause)

class Counting(Trainer):
    def train_step(self, batch):
        if not rank():
            with (run.path / "taken.txt").open("a") as file:
                file.write(f"{{self.step}}\\n")
        return super().train_step(batch)

training.Trainer = Counting
result = train(model, data, val, config, run.path, watchers=[wait])
run.go_on_unless_stopped(result)
weights = b"".join(v.detach().numpy().tobytes() for v in model.state_dict().values())
about = {{"weights": hashlib.sha256(weights).hexdigest(), "seen": data.seen}}
write_json(run.path / f"seen-{{rank()}}.json", about)
run.keep(plots.show_samples([val[0]]), "noise")
run.report("train", {{"step": result.step, "scores": evaluate(model, val)}})"""


def write_notebook(path, *cells, parameters="run_dir = ''\nseed = 0"):
    """A notebook of a parameters cell and these; returns its path."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    book.cells = [first, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    nbformat.write(book, path)
    return path


def training_notebook(folder):
    return write_notebook(folder / "training.ipynb", TRAINING, parameters=PARAMETERS)


def handlib(*words, experiments=None, **options):
    """``handlib WORDS`` as a process of its own, with its runs in the folder ``experiments``."""
    command = [sys.executable, "-m", "handlib.cli", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if experiments:
        environment["MP_EXPERIMENTS"] = str(experiments)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **streams | options)


def kernels(process):
    """Processes of the notebooks that a launched one has started."""
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if any("ipykernel" in word for word in _words(child))
    ]


def _words(child):
    """Of its command; none of a process that has just ended."""
    with suppress(psutil.Error):
        return child.cmdline()
    return []


def wait_until(happened, seconds=180):
    """Returns what ``happened()`` gives once that is true; AssertionError if it never is."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found
