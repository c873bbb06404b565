"""Bad inputs and faults, each really produced, and what came of it.

A case is a generator function: what it does before its ``yield`` prepares the fault; after it, a
user's command meets the fault. What it returns, if anything, is what a user would see.
``docs/make_reliability.py`` writes the table of all of them, ``test_faults.py`` tries them.
"""

import contextlib
import errno
import functools
import hashlib
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from fake_data import write_mp, write_public

from handlib.runs import RunError

REPOSITORY = Path(__file__).parents[1]
VARIABLES = ("MANO", "MP_DATA", "MP_BACKGROUNDS", "MP_EXPERIMENTS", "HANDLIB_CACHE")
# What the command line shows as one line, and a notebook as the last line of a failed cell.
EXPECTED = (RunError, OSError, ValueError, FloatingPointError, MemoryError)
REFUSED, WARNED, GOES_ON = "one message", "a warning, goes on", "goes on"


@dataclass
class Case:
    group: str
    what: str
    how: str  # it was produced
    happens: str
    says: str  # pattern that the message has: the file and the remedy
    function: object
    slow: bool  # needs processes of its own

    def __str__(self):
        return f"{self.group}: {self.what}"


@dataclass
class Outcome:
    happened: str
    message: str
    lost: str
    seconds: float


CASES = []


def case(group, what, how, happens, says, slow=False):
    """Register a generator function as a case."""

    def register(function):
        CASES.append(Case(group, what, how, happens, says, function, slow))
        return function

    return register


class Failed(Exception):
    """A handlib command that ended with an error."""


@dataclass
class Place:
    """Where a case happens: a folder of its own, and what cases need."""

    folder: Path
    lost: str = ""  # of finished work, where files of before have changed
    how: str = ""  # it was produced, where that depends on the machine
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def dataset(self, name="data", layout="public"):
        """A made-up dataset of 8 poses in two looks that a case may break."""
        shutil.copytree(_made_up(layout), self.folder / name)
        return self.folder / name

    def set(self, **variables):
        os.environ.update({name: str(value) for name, value in variables.items()})

    def picture(self, path, size=(64, 64)):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), _noise(*size))
        return path

    def handlib(self, *words, **variables):
        """Run a handlib command; its output. Raises Failed with its last lines."""
        return self.python("-m", "handlib.cli", *map(str, words), **variables)

    def python(self, *words, **variables):
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), **variables}
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True, text=True, env=environment, cwd=self.folder, timeout=500,
        )  # fmt: skip
        if done.returncode:
            raise Failed(done.stderr.strip())
        return done.stdout

    def small_disk(self, name):
        """A folder that is a disk of its own, where that may be mounted; see ``full``."""
        self.disk = self.folder / name
        self.is_mounted = self._mount(self.disk, "size=128m")
        return self.disk

    @contextlib.contextmanager
    def full(self):
        """The small disk has no room; where there is none, no file may grow beyond 1 kB."""
        if self.is_mounted:
            self.how = "a tmpfs, filled"
            filler = self.disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            yield
            filler.unlink()
            return
        self.how = "RLIMIT_FSIZE of 1 kB"
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def read_only(self, name):
        """A folder that cannot be written to, even by root."""
        folder = self.folder / name
        if self._mount(folder, "ro"):
            self.how = "a file system mounted read-only"
        elif os.getuid():
            folder.chmod(0o555)
            self.undo.callback(folder.chmod, 0o755)
            self.how = "mode 555"
        else:
            self.how = "a folder below /sys"
            return Path("/sys")
        return folder

    def _mount(self, folder, options):
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.getuid() or not shutil.which("mount"):
            return False
        if subprocess.run(command, capture_output=True).returncode:
            return False
        self.undo.callback(subprocess.run, ["umount", "-l", str(folder)], capture_output=True)
        return True

    @contextlib.contextmanager
    def killed(self, function, when):
        """A function runs in a forked process, in the block once ``when()`` holds; then SIGKILL."""
        child = os.fork()
        if not child:
            try:
                function()
            finally:
                os._exit(0)
        try:
            until = time.monotonic() + 200  # a first one compiles
            while not when():
                assert time.monotonic() < until, "the process that is to be killed does nothing"
                time.sleep(0.01)
            yield
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


def produce(case):
    """Let a case happen in a folder of its own; returns its Outcome.

    Raises:
        What is no message for a user, with its traceback.
    """
    kept = {name: os.environ.pop(name, None) for name in VARIABLES}
    os.environ["HANDLIB_CACHE"] = kept["HANDLIB_CACHE"] or str(_cache())
    with tempfile.TemporaryDirectory(prefix="faults") as name, contextlib.ExitStack() as undo:
        at = Place(Path(name).resolve(), undo=undo)
        undo.callback(_put_back, kept)
        started = time.perf_counter()
        with warnings.catch_warnings(record=True) as warned, _quiet() as printed:
            warnings.simplefilter("always")
            steps = case.function(at)
            next(steps)
            before = _contents(at.folder)
            happened, told = _meet(steps)
        told = told or "\n".join(str(w.message) for w in warned) or printed.getvalue()
        if happened == GOES_ON and any(not issubclass(w.category, _OTHERS) for w in warned):
            happened = WARNED
        after = _contents(at.folder)
        gone = [path for path, digest in before.items() if after.get(path) != digest]
        lost = at.lost or (f"changed: {', '.join(map(str, gone))}" if gone else "nothing")
        message = re.sub(r"/(tmp|var)/\S*?faults\w+", "DIR", told).strip()
        case.how = at.how or case.how
        return Outcome(happened, message, lost, time.perf_counter() - started)


_OTHERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def _meet(steps):
    try:
        next(steps)
    except StopIteration as end:
        return GOES_ON, end.value
    except Failed as error:
        if "Traceback" in str(error):
            raise
        return REFUSED, str(error)
    except EXPECTED as error:
        if "Traceback" in str(error):
            raise
        return REFUSED, str(error)
    raise AssertionError("a case yields once")


def _put_back(variables):
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def _quiet():
    errors = contextlib.redirect_stderr(io.StringIO())
    with contextlib.redirect_stdout(io.StringIO()) as out, errors:
        yield out


def _contents(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                found[path.relative_to(folder)] = content
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.ENOENT):
                raise
    return found


@functools.lru_cache
def _made_up(layout):
    folder = Path(tempfile.mkdtemp(prefix="made-up")) / "data"
    if layout == "public":
        write_public(folder, poses=8, versions=2)
    else:
        write_mp(folder, poses=(4, 2, 2), versions=1)
    return folder


@functools.lru_cache
def _cache():
    return Path(tempfile.mkdtemp(prefix="cache"))


def _noise(width, height):
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
