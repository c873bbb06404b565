"""Rendered hands, kept in a file: trainings that see each several times render it once."""

import inspect
import json
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch.utils.data import DataLoader
from tqdm import tqdm

from handlib.data.dataset import one_thread_worker
from handlib.data.sample import SHAPES, Sample, row_of
from handlib.data.stream import BLOCK, HandStream
from handlib.data.synthesize import generator_version
from handlib.paths import room_for

_KNOWN = ("K", "joints", "vertices", "pose", "betas")


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
        made_of = [generator_version(), inspect.getsource(inspect.getmodule(HandStream))]
        made_of += [hand.fingerprint, stream.backgrounds.fingerprint(), size, seed, absent]
        digest = sha256(json.dumps(made_of).encode()).hexdigest()
        self.source, self.samples = stream.source, samples
        self.file = Path(folder) / f"hands-{size}px-{digest[:8]}.records"
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
        record = self._records[index]
        image, about = np.array(record["image"]), {"id": index, "source": self.source}
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
        worker_init_fn=one_thread_worker,
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
        for name in dtype.names if sample.present else ("image", "present"):
            record[name] = getattr(sample, name)
    return records.tobytes()
