"""Long annotation files, opened in no time: parsed once and kept as arrays in the cache folder.

FreiHAND's JSON lists of number arrays are parsed in blocks and kept as .npy files; later openings
and other processes map such a file into memory and share its pages.
"""

import codecs
import hashlib
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from handlib.paths import atomic_write, cache_folder
from handlib.reading import BadFile, require_file

WHOLE = "copy or extract the dataset again so that it is complete"
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
    require_file(path, WHOLE)
    if path.stat().st_size < SMALL:
        return _parse(path, shape)
    cached = _cached([path], shape) / f"{path.stem}.npy"
    with suppress(FileNotFoundError, ValueError, EOFError):  # not there yet, or damaged
        return np.load(cached, mmap_mode="r", allow_pickle=False)
    with atomic_write(cached) as temporary:
        np.save(temporary, _parse(path, shape))
    return np.load(cached, mmap_mode="r", allow_pickle=False)


def load_tables(name, build, paths):
    """Arrays made of whole files; made once where the files are large.

    Args:
        name: of the tables: change it when ``build`` makes other ones.
        build: function of the paths that returns a dict of arrays.
        paths: the files.

    Raises:
        FileNotFoundError: no such file. What ``build`` raises.
    """
    for path in paths:
        require_file(path, WHOLE)
    if sum(path.stat().st_size for path in paths) < SMALL:
        return build(*paths)
    cached = _cached(paths, name) / f"{name}.npz"
    if not cached.is_file():
        with atomic_write(cached) as temporary:
            np.savez(temporary, **build(*paths))
    try:
        with np.load(cached, allow_pickle=False) as tables:
            return dict(tables)
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(f"{cached} is damaged ({error}): delete it, it is made anew") from error


def _cached(paths, kind):
    """Folder for what is made of these files as they are now."""
    stats = [(path.resolve(), path.stat()) for path in paths]
    key = "|".join(f"{path}|{stat.st_size}|{stat.st_mtime_ns}" for path, stat in stats)
    digest = hashlib.sha256(f"{key}|{kind}".encode()).hexdigest()[:16]
    return cache_folder(f"annotations-{digest}")


def _parse(path, shape):
    """All numbers of a JSON list, in order; each entry must have as many as the others."""
    parts, rest, separator, count = [], b"", None, 0
    wanted, size = int(np.prod(shape)), path.stat().st_size
    bar = tqdm(total=size, desc=f"reading {path.name} once", unit="B", unit_scale=True,
               disable=size < BLOCK)  # fmt: skip
    with path.open("rb") as file, bar:
        while block := file.read(BLOCK):
            bar.update(len(block))
            text = rest + block.translate(None, b" \t\r\n")
            if separator is None:
                text = text.removeprefix(codecs.BOM_UTF8)  # of programs of Windows
                opened = len(text) - len(text.lstrip(b"["))
                separator = b"]" * (opened - 1) + b"," + b"[" * (opened - 1)
                text = text[opened:]
            *entries, rest = text.split(separator)
            parts.append(_entries(entries, path, wanted, count))
            count += len(entries)
    end = b"]" * ((len(separator) - 1) // 2 + 1) if separator else b"]"
    if not rest.endswith(end) or not rest.removesuffix(end):
        raise BadFile(
            f"{path} is truncated or is not a list of {shape} arrays ({count} entries): copy or "
            "extract it again"
        )
    parts.append(_entries([rest.removesuffix(end)], path, wanted, count))
    return np.concatenate(parts).reshape(-1, *shape)


def _entries(entries, path, wanted, before):
    """The numbers of entries, texts without their outer brackets, of so many numbers each."""
    text = b",".join(entries).translate(None, b"[]")
    null = text.find(b"null")
    if null >= 0:
        place = before + text.count(b",", 0, null) // wanted
        raise BadFile(f"{path}: entry {place} holds null, no number: copy or extract it again")
    numbers = _numbers(text, path)
    for place, entry in enumerate(entries, before):
        if entry.count(b",") != wanted - 1:
            raise BadFile(
                f"{path}: entry {place} has {entry.count(b',') + 1} numbers, expected {wanted}: "
                "copy or extract it again"
            )
    return numbers


def _numbers(text, path):
    """Numbers of comma-separated text."""
    if not text:
        return np.empty(0)
    try:
        values = np.fromstring(text.decode("ascii"), sep=",")
    except ValueError:
        values = ()
    # Older numpy only warns at a bad number and stops there: count the commas.
    if len(values) != text.count(b",") + 1:
        raise BadFile(f"{path} is not a JSON list of numbers: copy or extract it again")
    return values
