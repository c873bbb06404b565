"""FreiHAND's annotation files: long JSON lists of number arrays, opened in no time.

A file is parsed once, in blocks, and kept as a .npy file in the cache folder; later openings
and other processes map that file into memory and share its pages.
"""

import hashlib
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from handlib.paths import atomic_write, cache_dir

SMALL = 1 << 20  # bytes below which parsing is faster than looking in the cache
BLOCK = 1 << 26  # bytes parsed at a time: training_verts.json is 1.5 GB of text


def load_annotation(path, shape):
    """Read a JSON list of equally shaped number arrays.

    Args:
        path: the JSON file.
        shape: shape of one entry; its nesting in the file may differ (FreiHAND's mano vectors
            are (1, 61)).

    Returns:
        (N, *shape) float64 array, memory-mapped where the file is large.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated or not such a list.
    """
    path = Path(path)
    require_file(path)
    stat = path.stat()
    if stat.st_size < SMALL:
        return _parse(path, shape)
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{shape}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    cached = cache_dir() / f"annotations-{digest}" / f"{path.stem}.npy"
    if not cached.is_file():
        with atomic_write(cached) as temporary:
            np.save(temporary, _parse(path, shape))
    return np.load(cached, mmap_mode="r")


def require_file(path):
    """FileNotFoundError with the remedy where a dataset's file is not there."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: copy or extract the dataset again so that it is complete"
        )


def _parse(path, shape):
    """All numbers of a JSON list, in order; brackets only have to balance."""
    parts, rest, depth, last = [], b"", 0, b""
    size = path.stat().st_size
    bar = tqdm(total=size, desc=f"reading {path.name} once", unit="B", unit_scale=True,
               disable=size < BLOCK)  # fmt: skip
    with path.open("rb") as file, bar:
        while block := file.read(BLOCK):
            bar.update(len(block))
            depth += block.count(b"[") - block.count(b"]")
            last = block.rstrip()[-1:] or last
            numbers = rest + block.translate(None, b"[] \t\r\n")
            cut = numbers.rfind(b",") + 1
            parts.append(_numbers(numbers[:cut], path))
            rest = numbers[cut:]
    parts.append(_numbers(rest, path))
    values = np.concatenate(parts)
    entry = int(np.prod(shape))
    if depth or last != b"]" or len(values) % entry:
        raise ValueError(
            f"{path} is truncated or is not a list of {shape} arrays "
            f"({len(values)} numbers): copy or extract it again"
        )
    return values.reshape(-1, *shape)


def _numbers(text, path):
    """Numbers of comma-separated text that may end in a comma."""
    text = text.rstrip(b",")
    if not text:
        return np.empty(0)
    try:
        values = np.fromstring(text.decode("ascii"), sep=",")
    except ValueError:
        values = ()
    # Older numpy only warns at a bad number and stops there: count the commas.
    if len(values) != text.count(b",") + 1:
        raise ValueError(f"{path} is not a JSON list of numbers: copy or extract it again")
    return values
