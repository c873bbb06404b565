"""Rendered hands, kept in a file: trainings that see each several times render it once."""

import inspect
import json
import os
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch.utils.data import DataLoader
from tqdm import tqdm

from handlib.data.sample import SHAPES, Sample, row_of
from handlib.data.stream import BLOCK, HandStream
from handlib.data.synthesize import generator_version
from handlib.data.workers import start_worker
from handlib.paths import room_for

_KNOWN = ("K", "joints", "vertices", "pose", "betas")
# Of ``RepeatedHands``: from how many hands those that come again are taken, and how many that came
# last, and may still be in work elsewhere, are not among them.
WINDOW, LATEST = 50_000, 4096
_AGAIN = 4  # keeps these random numbers apart from those of a ``HandStream``


class KeptHands:
    """A reader of the first hands of a ``HandStream``, which are rendered where they are not yet.

    What is not whole after an interruption is rendered by the next one that asks for it; several
    processes may ask at the same time.

    Args:
        folder: where the file lies. Its name tells the settings and the generator's version.
        hand, size, samples, seed, absent: see ``HandStream``.
        workers: processes that render.

    Attributes:
        file: uncompressed records, about 47 kB each at 96 px, 75 at 128. Annotations have single
            precision.
    """

    def __init__(self, folder, hand, size, samples, seed=0, absent=0.0, workers=0):
        stream = HandStream(hand, size, samples, seed, absent=absent)
        self.source, self.samples = stream.source, samples
        self.file = Path(folder) / f"hands-{size}px-{_made_of(stream, hand, size)}.records"
        self._dtype = _record(size)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.file}.lock"):
            _render(stream, self.file, self._dtype, workers)

    @cached_property
    def _records(self):
        return np.memmap(self.file, self._dtype, "r", shape=(self.samples,))

    def __getstate__(self):
        """Without what was read: another process opens the file itself."""
        return {name: value for name, value in vars(self).items() if name != "_records"}

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        index = row_of(index, self.samples)
        return _sample(self._records[index], index, self.source)


class RepeatedHands:
    """A reader of the hands of an endless ``HandStream`` that shows each ``times`` times: every
    ``times``-th one is new, the others are some of the last ``WINDOW``, read from a file.

    At the beginning all are new, until there are twice as many as ``LATEST``. Which hand an item is
    does not depend on what is in the file: what it lacks is rendered. Several processes may read
    and write it at the same time.

    Args:
        folder: where the file lies. times: 2 or more. hand, size, seed, absent: see ``HandStream``.

    Attributes:
        in_order: see ``HandStream``.
        file: a ring of records, 4 GB at 128 px once it is full.
    """

    in_order = True

    def __init__(self, folder, hand, size, times, seed=0, absent=0.0):
        self.stream = HandStream(hand, size, 10**9, seed, absent=absent)
        self.times, self.seed = times, seed
        # A record is whole if it begins and ends with its hand's number, from 1 on.
        self._dtype = np.dtype([("begins", np.int64), ("hand", _record(size)), ("ends", np.int64)])
        self.file = Path(folder) / f"ring-{size}px-{_made_of(self.stream, hand, size)}.records"
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def __len__(self):
        return 2 * LATEST + self.times * (len(self.stream) - 2 * LATEST)

    def number(self, index):
        """The hand that an item shows: its index in the stream."""
        if index < 2 * LATEST:
            return index
        new, again = divmod(index - 2 * LATEST, self.times)
        new += 2 * LATEST
        if not again:
            return new
        rng = np.random.default_rng([self.seed, _AGAIN, index])
        return int(rng.integers(max(0, new - WINDOW), new - LATEST))

    def __getitem__(self, index):
        number = self.number(row_of(index, len(self)))
        place = number % (WINDOW + LATEST) * self._dtype.itemsize
        read = os.pread(self._open, self._dtype.itemsize, place)
        if len(read) == self._dtype.itemsize:
            record = np.frombuffer(read, self._dtype)[0]
            if record["begins"] == record["ends"] == number + 1:
                return _sample(record["hand"], number, self.stream.source)
        sample = self.stream[number]
        record = np.zeros((), self._dtype)
        record["begins"] = record["ends"] = number + 1
        _fill(record["hand"], sample)
        with room_for(self.file):
            os.pwrite(self._open, record.tobytes(), place)
        return sample

    @cached_property
    def _open(self):
        return os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)

    def __getstate__(self):
        """Without the open file: another process opens it itself."""
        return {name: value for name, value in vars(self).items() if name != "_open"}


def _made_of(stream, hand, size):
    """A short name of all that the pictures of a stream depend on."""
    made_of = [generator_version(), inspect.getsource(inspect.getmodule(HandStream))]
    made_of += [hand.fingerprint, stream.backgrounds.fingerprint()]
    made_of += [size, stream.seed, stream.absent]
    return sha256(json.dumps(made_of).encode()).hexdigest()[:8]


def _sample(record, index, source):
    """The ``Sample`` of a record, which is nobody else's."""
    image, about = np.array(record["image"]), {"id": index, "source": source}
    if not record["present"]:
        return Sample(image, **about, present=False, is_right=None)
    known = {name: np.float64(record[name]) for name in _KNOWN}
    mask, scale = np.array(record["mask"]), float(record["scale"])
    return Sample(image, **about, **known, mask=mask, scale=scale)


def _record(size):
    """dtype of a sample."""
    fields = [("image", np.uint8, (size, size, 3)), ("present", bool), ("mask", bool, (size, size))]
    fields += [(name, np.float32, SHAPES[name]) for name in _KNOWN]
    return np.dtype([*fields, ("scale", np.float32)])


def _render(stream, file, dtype, workers):
    """Write what the file lacks of the stream, a block at a time."""
    done = file.stat().st_size // dtype.itemsize if file.exists() else 0
    if done >= len(stream):
        return
    # A block that was cut short is made anew, in its place: others may read what there is of it.
    done -= done % BLOCK
    starts = range(done, len(stream), BLOCK)
    loader = DataLoader(
        stream,
        batch_sampler=[range(n, min(n + BLOCK, len(stream))) for n in starts],
        num_workers=workers,
        worker_init_fn=start_worker,
        collate_fn=partial(_packed, dtype),
    )
    file.touch()
    with (
        room_for(file),
        file.open("r+b") as out,
        tqdm(desc="rendering", initial=done, total=len(stream), unit="hand") as bar,
    ):
        out.seek(done * dtype.itemsize)
        for records in loader:
            out.write(records)
            bar.update(len(records) // dtype.itemsize)


def _packed(dtype, samples):
    records = np.zeros(len(samples), dtype)
    for record, sample in zip(records, samples):
        _fill(record, sample)
    return records.tobytes()


def _fill(record, sample):
    for name in record.dtype.names if sample.present else ("image", "present"):
        record[name] = getattr(sample, name)
