import subprocess
import time
from contextlib import contextmanager

import psutil
import pytest
import torch
from fake_data import fake_sample
from torch.utils.data import DataLoader, Dataset

from handlib.data import sending
from handlib.data.sample import collate
from handlib.data.sending import BatchSender, batches
from handlib.data.workers import start_worker


class Hands(Dataset):
    """26 hands of which no two are alike, some with less known about them."""

    def __init__(self, sizes=(64,)):
        self.sizes = sizes

    def __len__(self):
        return 26

    def __getitem__(self, index):
        size = self.sizes[index * len(self.sizes) // 26]
        sample = fake_sample(index, size=(size, size))
        return sample.replace(mask=None, pose=None) if index % 5 == 3 else sample


def sent(workers, data=None, device=None, batch_size=2):
    return batches(
        DataLoader(data or Hands(), batch_size, num_workers=workers, collate_fn=BatchSender()),
        device,
    )


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and ours[name].stride() == value.stride(), name
        assert torch.equal(ours[name].nan_to_num(7), value.nan_to_num(7)), name


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_batches_are_those_of_collate(workers, device):
    ours = sent(workers, device=device, batch_size=4)  # the last one is smaller
    for mine, other in zip(ours, DataLoader(Hands(), 4, collate_fn=collate), strict=True):
        assert_same(mine, other)


def test_a_batch_is_good_until_the_next_however_far_the_worker_is():
    whole = list(DataLoader(Hands(), 2, collate_fn=collate))
    for number, batch in enumerate(sent(1)):
        if number in (2, 3, 7):
            time.sleep(0.5)  # the worker makes what it is asked for meanwhile
        assert_same(batch, whole[number])


def test_memory_is_used_again():
    places = [batch["image"].data_ptr() for batch in sent(1)]
    # One is read, one waits, one is being made.
    assert len(places) == 13 and len(set(places)) <= 3


def test_a_batch_of_larger_images_takes_larger_memory():
    sizes = (32, 96, 48)
    whole = DataLoader(Hands(sizes), 1, collate_fn=collate)
    for mine, other in zip(sent(2, Hands(sizes), batch_size=1), whole, strict=True):
        assert_same(mine, other)


def test_a_batch_goes_to_a_device_at_once():
    """To one without numbers, as there need be no other."""
    whole = DataLoader(Hands(), 2, collate_fn=collate)
    for mine, other in zip(sent(1, device="meta"), whole, strict=True):
        assert {name: value.shape for name, value in mine.items()} == {
            name: value.shape for name, value in other.items()
        }
        assert all(value.is_meta for value in mine.values())
        assert len({value.untyped_storage()._cdata for value in mine.values()}) == 1


def test_too_little_shared_memory_is_told_with_the_remedy(monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(OSError, match=r"^no shared memory for a batch of .*No space.*shm-size"):
        list(sent(1))


class FakeGPU:
    """What ``batches`` asks of a GPU and its libraries, written down in ``told``."""

    def __init__(self, monkeypatch):
        self.told, self.pinned, self.refuses = [], set(), False
        for name in ("Stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, lambda device: self)
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "cudart", lambda: self)
        give_back = sending._Sent.give_back
        monkeypatch.setattr(sending._Sent, "on", lambda sent, *how, **more: self.copy(*how, **more))
        monkeypatch.setattr(
            sending._Sent, "give_back", lambda sent: (self.give_back(), give_back(sent))
        )

    def cudaHostRegister(self, place, size, flags):
        assert place not in self.pinned and size > 0
        if self.refuses:
            self.told.append("refused")
            return 304
        self.pinned.add(place)
        return 0

    def cudaHostUnregister(self, place):
        self.pinned.remove(place)

    @contextmanager
    def stream(self, stream):
        self.told.append("aside")
        yield
        self.told.append("back")

    def copy(self, device, non_blocking):
        self.told.append("copy" if non_blocking and self.told[-1] == "aside" else "wait for a copy")
        return {"image": self}

    def record_event(self):
        return self

    def wait_event(self, event):
        self.told.append("after the copy")

    def record_stream(self, stream):
        assert stream is self

    def synchronize(self):
        self.told.append("copied")

    def give_back(self):
        assert self.told[-1] == "copied"
        self.told.append("given back")


def test_a_gpu_is_given_a_batch_while_it_computes_with_the_one_before(monkeypatch):
    gpu = FakeGPU(monkeypatch)
    steps = sent(1, device="cuda")
    for _ in range(6):
        next(steps)
        gpu.told.append("step")
    one = ["aside", "copy", "back"]
    step = [*one, "after the copy", "step", "copied", "given back"]
    assert gpu.told == [*one, *(6 * step)[:-2]]
    assert 2 <= len(gpu.pinned) <= 4
    steps.close()  # as at a training's end
    assert not gpu.pinned


def test_the_last_batch_reaches_a_gpu(monkeypatch):
    gpu = FakeGPU(monkeypatch)
    assert len(list(sent(2, device="cuda"))) == gpu.told.count("given back") == 13
    assert not gpu.pinned


def test_memory_that_cannot_be_pinned_is_copied_as_it_is_and_the_error_forgotten(monkeypatch):
    gpu = FakeGPU(monkeypatch)
    gpu.refuses = True

    zeros = torch.zeros

    def told_of_the_error(*size, device=None, **more):
        if device is None:  # a worker makes a block
            return zeros(*size, **more)
        gpu.told.append("told")
        raise RuntimeError("CUDA error: OS call failed")

    monkeypatch.setattr(torch, "zeros", told_of_the_error)
    assert len(list(sent(2, device="cuda"))) == 13
    assert 2 <= gpu.told.count("refused") <= 8  # once for each block
    after = [gpu.told[n + 1] for n, word in enumerate(gpu.told) if word == "refused"]
    assert set(after) == {"told"}


def test_a_worker_is_ended_by_its_parent_alone():
    """A signal to all processes of a training leaves it the samples that it still needs."""
    before = psutil.Process().children()
    samples = iter(DataLoader(range(10**6), num_workers=1, worker_init_fn=start_worker))
    next(samples)
    (worker,) = (each for each in psutil.Process().children() if each not in before)
    for name in ("INT", "USR2", "TERM"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert [next(samples).item() for _ in range(50)] == list(range(1, 51))
    assert worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    worker.terminate()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
