"""Samples transformed and in random order: the same for any number of workers."""

import numpy as np
from torch.utils.data import Dataset, Sampler, Subset


class HandDataset(Dataset):
    """A reader with transforms.

    An item is asked for by (epoch, index), or by index for epoch 0; the random numbers of its
    transforms depend on seed, epoch and index alone, not on the worker that makes it.

    Args:
        reader: anything with ``len`` and ``reader[index] -> Sample``.
        transforms: callable (sample, rng) -> Sample, or None.
        seed: of the transforms.
    """

    def __init__(self, reader, transforms=None, seed=0):
        self.reader, self.transforms, self.seed = reader, transforms, seed

    @property
    def in_order(self):
        """Whether the samples are asked for in their order: a stream's are random as they come."""
        return getattr(self.reader, "in_order", False)

    def settings(self):
        """What decides how the samples come out, but for where they lie: dict of plain values."""
        chain = getattr(self.transforms, "transforms", [self.transforms])
        return {
            "source": getattr(self.reader, "source", None),
            "split": getattr(self.reader, "split", None),
            "data_seed": self.seed,
            "transforms": ", ".join(type(step).__name__ for step in chain),
            **{f"transform {n}": str(step) for n, step in enumerate(chain, 1)},
        }

    def __len__(self):
        return len(self.reader)

    def __getitem__(self, key):
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = self.reader[index]
        index = index + len(self) if index < 0 else index
        if self.transforms is None:
            return sample
        return self.transforms(sample, np.random.default_rng([self.seed, epoch, index]))


class ShuffledSampler(Sampler):
    """Yields (epoch, index): a new order each epoch, told by seed and epoch alone.

    Args:
        n: number of samples.
        seed: of the order.
        in_order: leave the samples in their order, for those that are random as they come.

    Attributes:
        epoch, start: which epoch comes next and at which position it begins, to resume exactly.
    """

    def __init__(self, n, seed=0, in_order=False):
        self.n, self.seed, self.in_order = n, seed, in_order
        self.epoch = self.start = 0

    def set_epoch(self, epoch, start=0):
        self.epoch, self.start = epoch, start

    def __len__(self):
        return self.n - self.start

    def __iter__(self):
        order = range(self.n)
        if not self.in_order:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n)
        for index in order[self.start :]:
            yield self.epoch, int(index)


def spread(dataset, n):
    """A Subset of n samples of a dataset, or all it has, from its first to its last."""
    places = np.linspace(0, len(dataset) - 1, min(n, len(dataset)))
    return Subset(dataset, places.round().astype(int).tolist())
