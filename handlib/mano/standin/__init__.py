"""The stand-in hand: a procedural hand in MANO's file format, for use before MANO is there."""

import hashlib
import pickle
from pathlib import Path

import numpy as np

from handlib.paths import atomic_write, cache_dir

# The arrays of the right hand as they are built, so that every machine has the same to the last
# bit (weights are trained for it) and none has to wait; ``build.ship`` writes it.
SHIPPED = Path(__file__).with_name("right.npz")


def standin_path(side="right"):
    """Path of the stand-in's ``MANO_RIGHT.pkl`` (or LEFT), built on first use and cached.

    The folder's name holds a hash of the builder's source, so a changed builder builds anew.
    """
    path = cache_dir() / f"standin-{source_hash()}" / f"MANO_{side.upper()}.pkl"
    if not path.exists():
        model = build_standin(side)
        with atomic_write(path) as temporary:
            temporary.write_bytes(pickle.dumps(model, protocol=2))
    return path


def shipped_path():
    """Path of an .npz of the right hand's arrays, or None: the builder has changed since."""
    if not SHIPPED.is_file():
        return None
    with np.load(SHIPPED, allow_pickle=False) as arrays:
        return SHIPPED if str(arrays["source_hash"]) == source_hash() else None


def build_standin(side="right"):
    """See ``build.build_standin``; what it imports takes as long as its work."""
    from .build import build_standin

    return build_standin(side)


def source_hash():
    """12 hexadecimal digits that change with the builder's source."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), here.parent / "articulation.py", here.parent / "mirror.py"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]
