"""Cases of ``faults``: what happens to disks, folders, processes and saved work."""

import fcntl
import importlib.util
import json
import os
import random
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import nbformat
import torch
from faults import GOES_ON, REFUSED, case
from posed_hands import PosedHands

from handlib import checkpoints, compiled, runs
from handlib.data import HandDataset, annotations, open_dataset
from handlib.data.annotations import load_annotation
from handlib.data.synthesize import synthesize
from handlib.mano import load_hand_model, standin
from handlib.model import make_model
from handlib.recipe import TrainConfig
from handlib.training import train

TRAINING, SAVED, RENDERING, RUNS, CACHE = "training", "saved work", "rendering", "runs", "cache"
GO_ON = "the same again goes on|goes on from"


# -- training --------------------------------------------------------------------------------
def _train(at, *watchers, data=None, folder="run", steps=4, save_every=1, **settings):
    torch.set_num_threads(1)  # threads would not survive a fork
    hand = load_hand_model()
    data = data or HandDataset(PosedHands(hand, 8), seed=3)
    config = TrainConfig(
        steps=steps, batch_size=4, log_every=1, save_every=save_every, log_with=None, **settings
    )
    made = make_model("small", hand, hidden=32)
    return train(made, data, None, config, at.folder / folder, watchers=watchers)


def _at_step(step, function):
    """A watcher that calls a function of the trainer after a step."""
    return lambda trainer: function(trainer) if trainer.step == step else None


def _stop(trainer):
    trainer.stop_file.touch()


def _half(at, **settings):
    """Two finished steps of four."""
    assert _train(at, _at_step(2, _stop), **settings).step == 2


@contextmanager
def _keeping(at, step, folder="run"):
    """What is saved in a run folder must be whole and not before ``step``, whatever happens."""
    try:
        yield
    finally:
        last = checkpoints.find_checkpoint(at.folder / folder / "checkpoints/last")
        checkpoints.verify(last)
        saved = json.loads((last / "trainer.json").read_text())["step"]
        at.lost = "nothing" if saved >= step else f"{step - saved} steps"


@case(
    TRAINING,
    "the loss is not finite",
    "NaN put into a bias after step 2",
    REFUSED,
    r"step 2: the loss \(nan\).*checkpoints keeps the last good weights.*smaller lr",
)
def _nan(at):
    def poison(trainer):
        trainer.net.head[-1].bias.data.fill_(float("nan"))

    yield
    with _keeping(at, 2):
        _train(at, _at_step(2, poison))


@case(
    TRAINING,
    "not enough memory for a batch",
    "a layer that asks for a petabyte at step 2",
    REFUSED,
    "step 2: not enough memory for batch_size 4. Begin a new run with batch_size 2",
)
def _memory(at):
    def greedy(trainer):
        trainer.net.register_forward_pre_hook(lambda *_: torch.empty(1 << 50, dtype=torch.uint8))

    yield
    with _keeping(at, 2):
        _train(at, _at_step(2, greedy))


class _Deadly(PosedHands):
    def __getitem__(self, index):
        os.kill(os.getpid(), 9)


@case(
    TRAINING,
    "a process that reads samples is killed",
    "SIGKILL after two finished steps",
    REFUSED,
    "a process that reads samples was killed.*enough memory.*goes on from the last",
)
def _dead_worker(at):
    _half(at)
    yield
    with _keeping(at, 2):
        _train(at, data=HandDataset(_Deadly(load_hand_model(), 8), seed=3), workers=1)


@case(
    TRAINING,
    "an image breaks while it is trained on",
    "emptied after opening; one worker",
    REFUSED,
    "^DIR/data/training/rgb/[0-9]+.jpg is not a readable image.*copy it again.*skip_bad",
)
def _broken_image(at):
    root = at.dataset()
    reader = open_dataset(root)
    for path in (root / "training/rgb").iterdir():
        path.write_bytes(b"")
    yield
    _train(at, data=HandDataset(reader, seed=3), workers=1)


@case(
    TRAINING,
    "the disk is full",
    "",
    REFUSED,
    "could not save .*checkpoints/last .*is the disk full.*kept: make room.*goes on from it|"
    "metrics.jsonl.*no space left|no space left.*metrics.jsonl",
)
def _full_training(at):
    at.small_disk("run")
    _half(at)
    yield
    try:
        with _keeping(at, 2), at.full():
            _train(at)
    finally:
        with suppress(FileNotFoundError):
            (at.folder / "run/filler").unlink()
        assert _train(at).finished


@case(
    TRAINING,
    "the run folder is removed",
    "rm -r after step 2",
    REFUSED,
    "run is gone .*put it back.*or begin anew",
)
def _removed(at):
    yield
    at.lost = "nothing but what was removed"
    _train(at, _at_step(2, lambda trainer: shutil.rmtree(trainer.run_dir)), save_every=100)


@case(
    TRAINING,
    "the clock goes back",
    "time.time an hour less at each call",
    GOES_ON,
    "finished after 4 steps, times rising",
)
def _clock(at):
    true, calls = time.time, iter(range(10**9))
    at.undo.callback(setattr, time, "time", true)
    yield
    time.time = lambda: true() - 3600 * next(calls)
    result = _train(at)
    times = [record["time"] for record in result.history]
    assert times == sorted(times)
    return f"{result.stopped} after {result.step} steps, times rising"


@case(
    TRAINING,
    "the process is killed",
    "SIGKILL at some moment after step 3 of 40",
    GOES_ON,
    "finished after 40 steps",
)
def _killed(at):
    last = at.folder / "run/checkpoints/last/trainer.json"

    def begun():
        with suppress(OSError, ValueError):
            return json.loads(last.read_text())["step"] >= 3

    with at.killed(lambda: _train(at, steps=40), begun):
        time.sleep(random.random() / 5)
    yield
    with _keeping(at, 3):
        result = _train(at, steps=40)
    return f"{result.stopped} after {result.step} steps"


@case(
    TRAINING,
    "another setting in the same run folder",
    "clip 2 instead of 1",
    REFUSED,
    "run/checkpoints/last was trained with clip=1.0, not 2.0: .*or give a new run folder",
)
def _other_setting(at):
    _half(at)
    yield
    _train(at, clip=2.0)


# -- checkpoints -----------------------------------------------------------------------------
def _cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def _rewrite(folder, name, change):
    """Change a JSON file of a checkpoint as if it had been written so."""
    file = folder / name
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    listing = json.loads((folder / "files.json").read_text())
    listing[name] = checkpoints._checksum(file)
    (folder / "files.json").write_text(json.dumps(listing))


@case(
    SAVED,
    "the last checkpoint is damaged",
    "its weights cut short",
    GOES_ON,
    r"model.safetensors is missing or damaged(.|\n)*set aside as .*last.damaged; going on from "
    ".*last.previous",
)
def _damaged(at):
    _half(at)
    _cut(at.folder / "run/checkpoints/last/model.safetensors")
    yield
    result = _train(at)
    assert result.finished and (at.folder / "run/checkpoints/last.damaged").is_dir()
    at.lost = "nothing: one step is done again"


@case(
    SAVED,
    "both checkpoints are damaged",
    "the weights of both cut short",
    REFUSED,
    "model.safetensors is missing or damaged.*set aside as last.damaged.*begins anew",
)
def _both(at):
    _half(at)
    for name in ("last", "last.previous"):
        _cut(at.folder / "run/checkpoints" / name / "model.safetensors")
    yield
    at.lost = "nothing that could be read"
    _train(at)


def _loading(what, how, says, prepare):
    @case(SAVED, what, how, REFUSED, says)
    def steps(at):
        checkpoints.export(make_model("small", load_hand_model(), hidden=32), at.folder / "weights")
        prepare(at.folder / "weights")
        yield
        checkpoints.load_checkpoint(at.folder / "weights", load_hand_model())

    return steps


ANOTHER = "missing or damaged.*use another one"
_loading(
    "weights are cut short",
    "1 kB of model.safetensors",
    f"model.safetensors is {ANOTHER}",
    lambda folder: _cut(folder / "model.safetensors"),
)
_loading(
    "weights are gone",
    "model.safetensors deleted",
    f"model.safetensors is {ANOTHER}",
    lambda folder: (folder / "model.safetensors").unlink(),
)
_loading(
    "check sums are gone",
    "files.json deleted",
    "files.json is missing: use another checkpoint, or copy it again",
    lambda folder: (folder / "files.json").unlink(),
)
_loading(
    "there is no checkpoint",
    "an empty folder",
    "no checkpoint in .*weights.*02_train",
    lambda folder: [path.unlink() for path in folder.iterdir()],
)
_loading(
    "of a later version",
    "a field more in model.json",
    "model.json is not the description of a network .*'wings'.*use another checkpoint",
    lambda folder: _rewrite(folder, "model.json", lambda about: about["config"].update(wings=2)),
)
_loading(
    "of an earlier version",
    "model.json without the hand",
    "model.json is not the description of a network .*it lacks 'hand'.*use another checkpoint",
    lambda folder: _rewrite(folder, "model.json", lambda about: about.pop("hand")),
)
_loading(
    "of another network",
    "another width in model.json",
    "model.safetensors is damaged, or holds the weights of another model than",
    lambda folder: _rewrite(folder, "model.json", lambda about: about["config"].update(hidden=16)),
)


@case(
    SAVED,
    "trained with another hand model",
    "a hand twice as large",
    REFUSED,
    "weights was trained with 'stand-in hand' .*set or unset MANO.*or train again",
)
def _other_hand(at):
    hand = load_hand_model()
    checkpoints.export(make_model("small", hand, hidden=32), at.folder / "weights")
    yield
    other = replace(hand, v_template=2 * hand.v_template)
    checkpoints.load_checkpoint(at.folder / "weights", other)


@case(
    SAVED,
    "a run of an earlier version goes on",
    "trainer.json without the time",
    REFUSED,
    "trainer.json is not what a training writes .*it lacks 'elapsed_s'.*use another checkpoint",
)
def _old_run(at):
    _half(at)
    _rewrite(at.folder / "run/checkpoints/last", "trainer.json", lambda a: a.pop("elapsed_s"))
    yield
    _train(at)


@case(
    SAVED,
    "the record of a training is damaged",
    "a line of metrics.jsonl",
    REFUSED,
    "metrics.jsonl is not the record of a training .*move it away",
)
def _record(at):
    _half(at)
    file = at.folder / "run/metrics.jsonl"
    file.write_text(file.read_text().replace('"step": 1', '"step: 1', 1))
    yield
    _train(at)


# -- rendering -------------------------------------------------------------------------------
def _render(out, samples=8, **settings):
    from handlib.data import synthesize as module

    before, module._CHUNK = module._CHUNK, 2
    try:
        options = {"workers": 1, "progress": False, "size": 64} | settings
        return synthesize(out, samples, evaluation=2, **options)
    finally:
        module._CHUNK = before


def _parts(out):
    return lambda: len(list(out.glob(".parts/*.npz"))) >= 2


@case(
    RENDERING,
    "the disk is full",
    "",
    REFUSED,
    "no space left on this disk.*make room.*goes on from it: '.*data",
)
def _full_rendering(at):
    out = at.small_disk("disk") / "data"
    yield
    try:
        with at.full():
            _render(out)
    finally:
        with suppress(FileNotFoundError):
            (at.folder / "disk/filler").unlink()
        assert len(open_dataset(_render(out), "evaluation")) == 2


@case(
    RENDERING,
    "the process is killed",
    "SIGKILL after two chunks; then the folder is opened",
    REFUSED,
    "data is an unfinished synthetic dataset: run the same handlib synthesize again",
)
def _killed_rendering(at):
    out = at.folder / "data"
    with at.killed(lambda: _render(out, 100), _parts(out)):
        pass
    yield
    open_dataset(out)


@case(
    RENDERING,
    "the same command after it was killed",
    "SIGKILL after two chunks",
    GOES_ON,
    "files, byte for byte those of a rendering without interruption",
)
def _goes_on(at):
    out = at.folder / "data"
    with at.killed(lambda: _render(out, 20), _parts(out)):
        pass
    yield
    _render(out, 20)
    whole = _render(at.folder / "whole", 20)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*.*") if path.is_file())
    assert all((whole / path).read_bytes() == (out / path).read_bytes() for path in files)
    assert not (out / ".parts").exists()
    at.lost = "nothing"
    return f"{len(files)} files, byte for byte those of a rendering without interruption"


@case(
    RENDERING,
    "two at once into one folder",
    "a second process meanwhile",
    REFUSED,
    "another process is rendering into .*data: wait for it, or choose another folder",
)
def _two(at):
    out = at.folder / "data"
    yield
    with at.killed(lambda: _render(out, 200), _parts(out)):
        at.lost = "nothing"
        _render(out, 200)


@case(
    RENDERING,
    "another dataset is there",
    "another seed",
    REFUSED,
    r"data holds a synthetic dataset with other settings: seed 0 \(asked: 1\). Choose another",
)
def _other_seed(at):
    out = _render(at.folder / "data", 2)
    yield
    _render(out, 2, seed=1)


@case(
    RENDERING,
    "the folder holds other things",
    "a file in it",
    REFUSED,
    "data is not empty and holds no synthetic dataset: choose a new folder",
)
def _not_empty(at):
    (at.folder / "data").mkdir()
    (at.folder / "data/thesis.txt").write_text("finished work")
    yield
    _render(at.folder / "data")


@case(RENDERING, "a file is named", "--out FILE", REFUSED, "file is a file: choose a new folder")
def _out_file(at):
    (at.folder / "file").touch()
    yield
    _render(at.folder / "file")


@case(
    RENDERING,
    "the folder is read-only",
    "",
    REFUSED,
    "cannot write .*(Read-only|denied|not permitted).*choose a folder that you may write to",
)
def _read_only(at):
    out = at.read_only("shut") / "data"
    yield
    _render(out)


@case(
    RENDERING,
    "the settings of an unfinished dataset are damaged",
    "half of settings.json",
    REFUSED,
    "settings.json is truncated .*choose another folder, or delete this one",
)
def _settings(at):
    out = at.folder / "data"
    with at.killed(lambda: _render(out, 100), _parts(out)):
        pass
    (out / ".parts/settings.json").write_text('{"seed":')
    yield
    _render(out, 100)


SCRIPT = """
from handlib.data.synthesize import synthesize
synthesize({out!r}, 200, workers=2, progress=False, size=64)
"""


@case(
    RENDERING,
    "a script without a main guard",
    "synthesize(..., workers=2) at its top level",
    REFUSED,
    r'script.py calls synthesize outside of `if __name__ == "__main__":`, put it there',
    slow=True,
)
def _guard(at):
    script = at.folder / "script.py"
    script.write_text(
        "import sys\ntry:"
        + SCRIPT.format(out=str(at.folder / "data")).replace("\n", "\n    ")
        + "\nexcept OSError as error:\n    sys.exit(str(error))\n"
    )
    yield
    at.python(script)


# -- runs ------------------------------------------------------------------------------------
def _notebook(at, *cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    parameters = "run_dir = ''\nsteps = 5"
    book.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(book, at.folder / "book.ipynb")
    at.set(MP_EXPERIMENTS=at.folder / "runs")
    return str(at.folder / "book.ipynb")


def _running(what, how, says, given=None, cells=(), names=None, prepare=None, slow=False):
    @case(RUNS, what, how, REFUSED, says, slow)
    def steps(at):
        book = _notebook(at, *cells)
        if prepare:
            (at.folder / "runs/mine").mkdir(parents=True)
            prepare(at, at.folder / "runs/mine")
        yield
        runs.run_notebooks(names or [book], given or {}, "mine")

    return steps


def _lock(at, folder):
    file = at.undo.enter_context((folder / ".lock").open("w"))
    fcntl.flock(file, fcntl.LOCK_EX)


_running(
    "an unknown parameter",
    "-p stepz 3",
    "no parameter 'stepz' in book; did you mean 'steps'",
    {"stepz": "3"},
)
_running(
    "a parameter of another type",
    "-p steps many",
    "steps takes a value of type int, got 'many'",
    {"steps": "many"},
)
_running(
    "an unknown notebook",
    "handlib run 02_trian",
    "no notebook '02_trian'; handlib's own are",
    names=["02_trian"],
)
_running(
    "two at once in one run folder",
    "its lock is held",
    "another process is working in .*mine",
    prepare=_lock,
)
_running(
    "a run's description is cut short",
    "half of run.json",
    "run.json is truncated .*give another --name, or remove the folder",
    prepare=lambda at, folder: (folder / "run.json").write_text('{"para'),
)
_running(
    "a cell fails",
    "1 / 0",
    r"book failed in cell 3: ZeroDivisionError(.|\n)*book.partial.ipynb",
    cells=["1 / 0"],
    slow=True,
)
_running(
    "a notebook's process is killed",
    "SIGKILL in a cell",
    "its process was killed .*memory",
    cells=["import os; os.kill(os.getpid(), 9)"],
    slow=True,
)


@case(
    RUNS,
    "no trained run of that name",
    "trained='nowhere'",
    REFUSED,
    "nowhere has no trained model .*run 02_train first",
)
def _untrained(at):
    yield
    runs.trained_run(str(at.folder / "nowhere"))


# -- the cache -------------------------------------------------------------------------------
@case(CACHE, "parsed annotations are damaged", "half of the .npy", GOES_ON, "8 poses")
def _parsed(at):
    file = at.dataset() / "training_xyz.json"
    at.set(HANDLIB_CACHE=at.folder / "cache")
    at.undo.callback(setattr, annotations, "SMALL", annotations.SMALL)
    annotations.SMALL = 0
    load_annotation(file, (21, 3))
    (cached,) = (at.folder / "cache").rglob("*.npy")
    _cut(cached)
    yield
    at.lost = "nothing"
    return f"{len(load_annotation(file, (21, 3)))} poses"


@case(
    CACHE,
    "the stand-in hand that ships is damaged",
    "1 kB of right.npz",
    REFUSED,
    "right.npz is damaged .*install handlib again",
)
def _standin(at):
    copy = at.folder / "right.npz"
    copy.write_bytes(standin.SHIPPED.read_bytes()[:1000])
    at.undo.callback(setattr, standin, "SHIPPED", standin.SHIPPED)
    standin.SHIPPED = copy
    yield
    load_hand_model("")


KERNEL = """
from typing import NamedTuple
from handlib.compiled import njit

class {name}(NamedTuple):
    number: float

@njit(cache=True)
def double(pair):
    return 2 * pair.number

def run():
    return double({name}(3.0))
"""


def _loaded(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    sys.modules[file.stem] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run()


@case(
    CACHE,
    "code compiled by an earlier version",
    "its index names a class that is gone",
    GOES_ON,
    "6.0",
)
def _compiled(at):
    file = at.folder / "kernel_of_a_test.py"
    at.undo.callback(sys.modules.pop, file.stem, None)
    file.write_text(KERNEL.format(name="Pair"))
    _loaded(file)
    file.write_text(KERNEL.format(name="Couple"))
    compiled._folder.cache_clear()  # as in a new process
    yield
    at.lost = "nothing"
    return str(_loaded(file))


@case(CACHE, "compiled code has nowhere to go", "HANDLIB_CACHE read-only", GOES_ON, "6.0")
def _uncompiled(at):
    file = at.folder / "kernel_of_another_test.py"
    at.undo.callback(sys.modules.pop, file.stem, None)
    at.set(HANDLIB_CACHE=at.read_only("shut"))
    base = os.environ.pop("NUMBA_CACHE_DIR", None)
    if base:
        at.undo.callback(os.environ.__setitem__, "NUMBA_CACHE_DIR", base)
    file.write_text(KERNEL.format(name="Pair"))
    yield
    return str(_loaded(file))
