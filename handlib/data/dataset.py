"""Samples transformed and in random order: the same for any number of workers."""

import re

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, Subset

from handlib.data.sample import collate

_FROM_WORKER = "in DataLoader worker process"  # what torch writes before the worker's traceback
# Bytes from which on a tensor is not copied from process to process but shared: that takes a
# handshake, and those for all 26 tensors of a batch took 7 % of a small network's step.
_SHARED = 2**18


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


def collate_to_send(samples):
    """As ``collate``, for a ``DataLoader`` that is read by ``batches``: small tensors as arrays,
    which go from a worker in one message."""
    return {
        name: value.numpy() if value.nbytes < _SHARED else value
        for name, value in collate(samples).items()
    }


def batches(loader):
    """The batches of a ``DataLoader``, of ``collate`` or ``collate_to_send``, as tensors; a fault
    in one of its workers is told as one of its own.

    Raises:
        OSError, ValueError: what a sample raised, without the worker's traceback.
        ChildProcessError: a worker was killed.
    """
    iterator = iter(loader)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except (OSError, ValueError) as error:
            if _FROM_WORKER not in str(error):
                raise
            told = re.split(rf"\n[\w.]*{type(error).__name__}: ", str(error))[-1]
            raise type(error)(told.strip()) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error) or _FROM_WORKER in str(error):
                raise
            raise ChildProcessError(
                f"a process that reads samples was killed ({str(error).splitlines()[0]}): is there "
                f"enough memory for {loader.num_workers} workers? The same again goes on from the "
                "last checkpoint; workers=0 needs least memory"
            ) from error
        yield {name: torch.as_tensor(value) for name, value in batch.items()}


def one_thread_worker(_worker):
    """Workers are parallel already: threads inside them only fight for cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
