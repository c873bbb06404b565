"""Where handlib keeps files, and how it writes them without leaving halves behind."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import platformdirs

# Weights that come with handlib: trained on its own generator alone (see their README.md).
SHIPPED = Path(__file__).parent / "weights"


def cache_dir():
    """Folder for things that can be made again: ``HANDLIB_CACHE`` or the user's cache folder."""
    return Path(
        os.environ.get("HANDLIB_CACHE") or platformdirs.user_cache_dir("handlib")
    ).expanduser()


@contextmanager
def atomic_write(path):
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds.

    A reader sees the old file or the whole new one. The bytes are on disk before the rename.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a dataset or checkpoint is for whoever may read the folder.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Write ``value`` as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")
