"""numba's ``njit``, with its cache where an update cannot trip over it.

Left to itself, numba keeps compiled code beside the sources, and reads what an earlier version left
there before it asks whether that is stale: an index that names a class which is gone, or that was
cut short, is an error. Here each state of a source file has a folder of its own.
"""

import hashlib
import inspect
from functools import lru_cache, partial
from pathlib import Path

import numba

from handlib.paths import cache_dir


def njit(function=None, **flags):
    """``numba.njit``; the cache lies in ``cache_dir()``, or where NUMBA_CACHE_DIR says."""
    if function is None:
        return partial(njit, **flags)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_folder(inspect.getfile(function), before))
    try:
        return numba.njit(**flags)(function)
    finally:
        numba.config.CACHE_DIR = before


@lru_cache
def _folder(source, base):
    digest = hashlib.sha256(Path(source).read_bytes() + numba.__version__.encode()).hexdigest()
    return Path(base or cache_dir() / "compiled") / f"{Path(source).stem}-{digest[:12]}"
