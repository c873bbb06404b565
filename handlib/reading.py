"""Reading files that others wrote, JSON above all: a fault names the file and the remedy."""

import json
from contextlib import contextmanager
from pathlib import Path

AGAIN = "copy or extract it again"
# What damaged or foreign content makes of code that expects another form.
_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class BadFile(ValueError):
    """A file that is not what it should be; the message names it and says what to do."""


@contextmanager
def expecting(path, fault, remedy=AGAIN):
    """Turn what fails in the block, because a file is of another form, into one ``BadFile``.

    Args:
        path: of the file that is looked at in the block.
        fault: what it is then, as "not a COCO file".
        remedy: what the user can do.
    """
    try:
        yield
    except BadFile:
        raise
    except _FAULTS as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        said = f"{type(error).__name__}: {short(reason)}"
        raise BadFile(f"{path} is {fault} ({said}): {remedy}") from error


def read_json(path, remedy=AGAIN, compact=None, finite=True):
    """What a JSON file holds.

    Args:
        path: of the file.
        remedy: what the user can do where it cannot be read.
        compact: replaces each object by what it returns, as soon as the object is parsed: of a
            file of gigabytes, only what is needed stays in memory.
        finite: refuse NaN and Infinity, which Python writes and JSON does not know.

    Raises:
        FileNotFoundError, BadFile: missing, truncated or of another form, naming the file.
    """
    require_file(path, remedy)
    with expecting(path, "truncated or not the JSON that it should be", remedy):
        return parse_json(Path(path).read_bytes(), compact, finite)


def parse_json(text, compact=None, finite=True):
    """The value that text or bytes write in JSON; arguments as of ``read_json``.

    Raises:
        ValueError, RecursionError: no JSON, a key given twice, or nested too deep.
    """

    def made(pairs):
        entry = dict(pairs)
        if len(entry) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice[:80]!r} is given twice")
        return entry if compact is None else compact(entry)

    return json.loads(text, object_pairs_hook=made, parse_constant=_refuse if finite else None)


def short(text):
    """For a message: a file can make texts, and so errors, of any length."""
    return str(text)[:300]


def require_file(path, remedy=AGAIN):
    """FileNotFoundError with the remedy where a file is not there."""
    if not Path(path).is_file():
        what = "a folder, not a file" if Path(path).is_dir() else "missing"
        raise FileNotFoundError(f"{path} is {what}: {remedy}")


def require_finite(**arrays):
    """ValueError, with its name, for an array of numbers that holds NaN or infinity."""
    import numpy as np  # the command reads JSON before it needs arrays

    for name, values in arrays.items():
        # Numbers beyond 1e308 are read as infinity.
        if not np.isfinite(values).all():
            raise ValueError(f"{name} are not all finite numbers")


def _refuse(name):
    raise ValueError(f"{name} is not a number")
