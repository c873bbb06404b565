"""Cases of ``faults``: what happens to renderings, runs and the cache."""

import fcntl
import importlib.util
import os
import sys
from contextlib import suppress

import nbformat
from faults import GOES_ON, REFUSED, case

from handlib import compiled, runs
from handlib.data import annotations, open_dataset
from handlib.data.annotations import load_annotation
from handlib.data.synthesize import synthesize
from handlib.mano import load_hand_model, standin

RENDERING, RUNS, CACHE = "rendering", "runs", "cache"


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


@case(
    RENDERING,
    "a file is named",
    "--out FILE",
    REFUSED,
    "file is a file: choose a folder that you may write to",
)
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
    "no notebook '02_trian'; did you mean '02_train'",
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
    cached.write_bytes(cached.read_bytes()[:1000])
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
