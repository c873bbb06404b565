"""Batches on their way from a loader's workers to the process that trains.

torch maps new shared memory for each batch, and frees it after: on both sides that takes longer
than to fill it, and the one that trains meanwhile holds Python's lock, without which nobody gives a
GPU work. So here a worker has a few blocks of memory, each is mapped once, and a batch takes one
that is no longer in use.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch.utils.data import get_worker_info

from handlib.data.sample import collate

_FROM_WORKER = "in DataLoader worker process"  # what torch writes before the worker's traceback
_ALIGNED = 64  # bytes, of every array in a block
_IN_USE = 0  # byte of a block: 1 from when a batch is written to when the next one is asked for


class BatchSender:
    """``collate`` for a ``DataLoader`` that is read by ``batches``.

    In a worker, the arrays of a batch are made in a block of shared memory.

    Raises:
        OSError: there is not enough of it.
    """

    def __init__(self):
        self.blocks, self.size = [], 0

    def __call__(self, samples):
        worker = get_worker_info()
        if worker is None:
            return _Sent(here=collate(samples))
        number = next((n for n, block in enumerate(self.blocks) if not block[_IN_USE]), None)
        if is_new := number is None:
            number = len(self.blocks)
            self.blocks.append(_shared(self.size))
        room = _Room(self.blocks[number])
        batch = collate(samples, room.take)
        if room.end > len(room.memory):  # as with the first batch, which tells how much it takes
            is_new, self.size = True, room.end
            self.blocks[number] = _shared(self.size)
            batch = collate(samples, _Room(self.blocks[number]).take)
        block = self.blocks[number]
        block[_IN_USE] = 1
        placed = {name: _Place.of(value, block) for name, value in batch.items()}
        return _Sent((worker.id, number), block if is_new else None, placed)


def _shared(size):
    try:
        return torch.zeros(max(size, _ALIGNED), dtype=torch.uint8).share_memory_()
    except RuntimeError as error:
        raise OSError(
            f"no shared memory for a batch of {size / 2**20:.0f} MB ({error}): give this machine "
            "or container more of it (docker run --shm-size=4g), or take a smaller batch, fewer "
            "workers or workers=0"
        ) from error


class _Room:
    """Hands out a block's memory, as long as there is any, and other memory then."""

    def __init__(self, block):
        self.memory, self.end = block.numpy(), _ALIGNED

    def take(self, shape, dtype):
        start, count = self.end, int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.end += -(-count // _ALIGNED) * _ALIGNED
        if self.end > len(self.memory):
            return np.empty(shape, dtype)
        return self.memory[start : start + count].view(dtype).reshape(shape)


@dataclass
class _Place:
    """Where in a block a tensor lies; strides and offset in elements."""

    dtype: torch.dtype
    shape: tuple
    strides: tuple
    offset: int

    @classmethod
    def of(cls, tensor, block):
        offset = (tensor.data_ptr() - block.data_ptr()) // tensor.element_size()
        return cls(tensor.dtype, tuple(tensor.shape), tensor.stride(), offset)

    def tensor(self, block):
        return block.view(self.dtype).as_strided(self.shape, self.strides, self.offset)


@dataclass
class _Sent:
    """A batch as it is sent."""

    key: tuple = ()
    """The worker's and the block's number."""
    block: torch.Tensor | None = None
    """Sent with its first batch; the reading process knows it from then on."""
    placed: dict = field(default_factory=dict)
    """name -> ``_Place`` of the tensors in the block."""
    here: dict = field(default_factory=dict)
    """name -> tensor of a batch that was made in the reading process."""

    def on(self, device, non_blocking=False):
        """The batch: a dict of tensors, on a device or, for None, where they are."""
        memory, here = self.block, self.here
        if device is not None:
            # What is in the block goes at once.
            memory = memory if memory is None else memory.to(device, non_blocking=non_blocking)
            here = send_to_device(here, device, non_blocking=non_blocking)
        return here or {name: place.tensor(memory) for name, place in self.placed.items()}

    def give_back(self):
        if self.block is not None:
            self.block[_IN_USE] = 0


def batches(loader, device=None):
    """The batches of a ``DataLoader`` with a ``BatchSender``, as ``collate`` makes them; a fault in
    one of its workers is told as one of its own.

    Args:
        device: move them there, to a GPU while it computes with the batch before; None leaves them.

    Yields:
        dict of tensors: good until the next batch is asked for, whose numbers may take their place.

    Raises:
        OSError, ValueError: what a sample raised, without the worker's traceback.
        ChildProcessError: a worker was killed.
    """
    if device is not None and torch.device(device).type == "cuda":
        yield from _ahead(_arriving(loader), device)
        return
    for sent in _arriving(loader):
        yield sent.on(device)
        sent.give_back()


def _ahead(arriving, device):
    """Batches on a GPU, each copied while the one before is in use."""
    stream, cuda = torch.cuda.Stream(device), torch.cuda.cudart()
    blocks, pinned = {}, []

    def pin(block):
        # Only from pinned memory is a copy made meanwhile; from other it is as correct.
        if block is None or (place := block.data_ptr()) in blocks:
            return
        blocks[place] = block
        if int(cuda.cudaHostRegister(place, len(block), 0)) == 0:
            pinned.append(place)
            return
        with suppress(RuntimeError):  # CUDA tells it to the next one who gives it work: not us
            torch.zeros(1, device=device)

    def copy():
        if (sent := next(arriving, None)) is None:
            return None
        pin(sent.block)
        with torch.cuda.stream(stream):
            tensors = sent.on(device, non_blocking=True)
        return sent, tensors, stream.record_event()

    try:
        coming = copy()
        while coming is not None:
            (sent, tensors, copied), coming = coming, copy()
            here = torch.cuda.current_stream(device)
            here.wait_event(copied)
            for tensor in tensors.values():
                tensor.record_stream(here)  # so that its memory waits for what is computed here
            yield tensors
            copied.synchronize()
            sent.give_back()
    finally:
        stream.synchronize()
        for place in pinned:
            cuda.cudaHostUnregister(place)


def _arriving(loader):
    """Each ``_Sent`` of a loader, with its block."""
    iterator, blocks = iter(loader), {}
    while (sent := _next(iterator, loader)) is not None:
        if sent.block is not None:
            blocks[sent.key] = sent.block
        sent.block = blocks.get(sent.key)
        yield sent


def _next(iterator, loader):
    """What comes next from a loader, None after the last."""
    try:
        return next(iterator, None)
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
