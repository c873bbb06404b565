"""Where handlib keeps files, and how it writes them without leaving halves behind."""

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

import platformdirs

from handlib.names import hint

PACKAGE = Path(__file__).resolve().parent
# File in a run's folder that ends its training at the next step.
STOP = "STOP"
_FULL = (ENOSPC, EDQUOT, EFBIG)
# Weights that come with handlib: trained on its own generator alone (see their README.md).
SHIPPED = PACKAGE / "weights"
# Where the network lies in a run, or in a folder of weights: the best one first.
CHECKPOINT_PLACES = ("", "checkpoints/best", "checkpoints/last", "best", "last")


def cache_dir():
    """Folder for things that can be made again: ``HANDLIB_CACHE`` or the user's cache folder."""
    return from_environment("HANDLIB_CACHE") or Path(platformdirs.user_cache_dir("handlib"))


def cache_folder(name):
    """A folder in ``cache_dir()``, made; OSError with a remedy where it cannot be."""
    return make_folder(cache_dir() / name, "set HANDLIB_CACHE to a folder that you may write to")


def make_folder(path, remedy="choose a folder that you may write to"):
    """The folder ``path``, made where it is not there; OSError with a remedy where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OSError(f"{path} is a file: {remedy}") from None
    except OSError as error:
        raise OSError(f"cannot write {path} ({error.strerror}): {remedy}") from None
    return path


def runs_root():
    """Folder of the runs: ``MP_EXPERIMENTS`` or ``outputs/`` of the repository."""
    return from_environment("MP_EXPERIMENTS") or PACKAGE.parent / "outputs"


def run_path(text):
    """The folder that a user means: a path, or the name of a run in ``runs_root``."""
    path = user_path(text)
    named = runs_root() / path
    return named if named.exists() and not path.exists() else path


def name_of_run(text):
    """The name, or the pattern of names, that a user means in ``runs_root``: shells complete a name
    to ``name/``, or to the path of the folder. Other paths stay as they are."""
    path = user_path(text)
    inside = len(path.parts) == 1 or path.parent.resolve() == runs_root().resolve()
    return path.name if inside else text


def run_folders():
    """Folders of the runs in ``runs_root``, oldest first, as {name: folder}."""
    files = sorted(runs_root().glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    return {file.parent.name: file.parent for file in files}


def has_model(path):
    """Whether a run, or a folder of weights, has a network to predict with: its best, or its last
    where none was evaluated yet."""
    return any((path / place / "model.safetensors").is_file() for place in CHECKPOINT_PLACES)


def existing_run(text, *others):
    """``run_path``; FileNotFoundError, telling which runs have weights, for a name of none.

    Args:
        others: words that the caller takes in place of a run.
    """
    path = run_path(text)
    if len(path.parts) == 1 and not path.exists():
        known = [*(name for name, path in run_folders().items() if has_model(path)), *others]
        there = hint(text, known) if known else "there is none yet: run 02_train first"
        raise FileNotFoundError(f"no run {text} in {runs_root()}, and no folder here; {there}")
    return path


def from_environment(name):
    """The path that an environment variable names; None where it is unset or blank."""
    text = os.environ.get(name, "").strip()
    return user_path(text, name) if text else None


def user_path(text, what="the path"):
    """The path that a user wrote, ``~`` resolved; ValueError where nobody has such a home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{what} begins with a home folder that does not exist: {text}. Write the whole path"
        ) from None


def user_paths(text, what="the path"):
    """Paths that a user wrote with commas between them; of a path that exists, itself."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    whole = user_path(text, what)
    with suppress(OSError):  # too long for one path
        if len(parts) < 2 or whole.exists():
            return [whole]
    return [user_path(part, what) for part in parts]


@contextmanager
def room_for(path):
    """Let an OSError of a full disk, or of a quota, name ``path`` and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            error.errno,
            "no space left on this disk (or in your quota); make room, or choose another folder: "
            "what is finished is kept, and the same command goes on from it",
            str(path),
        ) from error


@contextmanager
def atomic_write(path):
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds.

    A reader sees the old file or the whole new one. The bytes are on disk before the rename.
    """
    with room_for(path), _renamed(path) as temporary:
        yield temporary


@contextmanager
def _renamed(path):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        readable(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def readable(file):
    """Give a file the rights that new ones have: ``mkstemp`` and safetensors make private ones, and
    a dataset or checkpoint is for whoever may read the folder."""
    umask = os.umask(0)
    os.umask(umask)
    file.chmod(0o666 & ~umask)


@contextmanager
def locked(file, busy, wait_s=0):
    """Keep other processes out of the block, by a lock that ends with this one however that ends.

    Args:
        file: of the lock.
        busy: exception to raise where another process still has it after ``wait_s`` seconds.
    """
    from filelock import FileLock, Timeout  # a tenth of a second that only some commands need

    lock = FileLock(file, timeout=wait_s)
    with suppress(NotImplementedError):  # a file system without locks
        try:
            lock.acquire()
        except Timeout:
            raise busy from None
        except OSError as error:
            raise OSError(
                f"cannot write {file} ({error.strerror}): choose a folder that you may write to"
            ) from None
    try:
        yield
    finally:
        lock.release()


def write_json(path, value):
    """Write ``value`` as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")
