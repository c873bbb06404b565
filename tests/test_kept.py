"""Hands that are rendered once and read from a file."""

import errno
import os
import pickle
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from handlib.data import HandStream, kept
from handlib.data.kept import KeptHands, RepeatedHands

SIZE = 48


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(kept, "BLOCK", 4)


def watched(monkeypatch):
    """The hands that streams are asked for from now on."""
    asked, read = [], HandStream.__getitem__
    monkeypatch.setattr(HandStream, "__getitem__", lambda s, i: asked.append(i) or read(s, i))
    return asked


def assert_same(sample, rendered):
    """That a sample which was kept is the one that was rendered, in single precision."""
    got, expected = asdict(sample), asdict(rendered)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert got[name].dtype == value.dtype, name
            np.testing.assert_allclose(got[name], value, rtol=1e-6, atol=2e-5, err_msg=name)
        else:
            assert got[name] == (pytest.approx(value) if name == "scale" else value), name


def test_samples_are_those_of_the_stream(hand, tmp_path):
    settings = {"size": SIZE, "samples": 6, "seed": 3, "absent": 0.5}
    hands, stream = KeptHands(tmp_path, hand, **settings), HandStream(hand, **settings)
    assert len(hands) == 6 and hands[-1].id == 5
    assert len({stream[index].present for index in range(6)}) == 2
    for index in (5, 0, 3, 1, 2, 4):
        assert_same(hands[index], stream[index])
    hands[0].image[:] = 0  # a sample is nobody else's
    assert hands[0].image.any()
    with pytest.raises(IndexError, match="sample 6 of 6"):
        hands[6]
    sent = pickle.dumps(hands)  # to a process that reads samples
    assert len(sent) < hands[0].image.nbytes
    assert np.array_equal(pickle.loads(sent)[2].image, hands[2].image)


def test_what_is_there_is_not_rendered_again(hand, tmp_path, monkeypatch):
    first = KeptHands(tmp_path, hand, SIZE, 6)
    asked = watched(monkeypatch)
    assert len(KeptHands(tmp_path, hand, SIZE, 5)) == 5 and not asked
    last = first[5].image
    more = KeptHands(tmp_path, hand, SIZE, 9)
    assert asked == [4, 5, 6, 7, 8]  # the last block was cut short
    assert np.array_equal(more[5].image, last) and np.array_equal(first[5].image, last)
    KeptHands(tmp_path, hand, SIZE, 1, seed=1)
    KeptHands(tmp_path, hand, SIZE + 8, 1)
    assert len(list(tmp_path.glob("*.records"))) == 3


def test_it_goes_on_after_a_kill_and_after_a_full_disk(hand, tmp_path, monkeypatch):
    whole = KeptHands(tmp_path / "whole", hand, SIZE, 8)
    content = whole.file.read_bytes()
    killed = tmp_path / "killed" / whole.file.name
    killed.parent.mkdir()
    killed.write_bytes(content[: 5 * len(content) // 8 + 7])
    KeptHands(killed.parent, hand, SIZE, 8)
    assert killed.read_bytes() == content

    def full(dtype, samples):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kept, "_packed", full)
        with pytest.raises(OSError, match=r"no space left .* same command goes on.*\.records"):
            KeptHands(tmp_path / "full", hand, SIZE, 8)
    assert KeptHands(tmp_path / "full", hand, SIZE, 8).file.read_bytes() == content


def test_processes_that_ask_at_once_render_once(tmp_path):
    code = (
        "import sys; from handlib.data.kept import KeptHands; from handlib.mano import "
        f"load_hand_model; k = KeptHands({str(tmp_path)!r}, load_hand_model(), {SIZE}, 300, "
        "workers=1); print(k[299].image.sum())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, env=os.environ)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240) for process in started]
    assert said[0][0] == said[1][0] != b""
    assert sorted(b"rendering" in err for _, err in said) == [False, True]


@pytest.fixture
def ring(monkeypatch):
    """A ring of 12 hands of which those that come again are 8."""
    monkeypatch.setattr(kept, "WINDOW", 8)
    monkeypatch.setattr(kept, "LATEST", 4)


def test_hands_that_come_again_are_of_the_window_and_not_of_the_latest(hand, tmp_path, ring):
    hands = RepeatedHands(tmp_path, hand, SIZE, 3, seed=1)
    numbers = [hands.number(index) for index in range(8 + 3 * 400)]
    assert numbers[:8] == list(range(8))
    assert numbers[8::3] == list(range(8, 408))  # each hand is new once
    again = np.array(numbers[8:]).reshape(-1, 3)
    ages = (again[:, :1] - again[:, 1:]).ravel()
    assert ages.min() == 5 and ages.max() == 8
    counts = np.bincount(numbers)[:390]  # the last ones have yet to come again
    assert counts.mean() == pytest.approx(3, abs=0.05)
    assert hands.number(len(hands) - 3) == len(hands.stream) - 1 > hands.number(len(hands) - 1)
    other = RepeatedHands(tmp_path, hand, SIZE, 3, seed=2)
    assert [other.number(index) for index in range(300)] != numbers[:300]
    assert hands.in_order and pickle.loads(pickle.dumps(hands)).number(100) == numbers[100]


def test_what_comes_again_is_read(hand, tmp_path, ring, monkeypatch):
    hands = RepeatedHands(tmp_path, hand, SIZE, 3, seed=3, absent=0.3)
    stream = HandStream(hand, SIZE, 100, seed=3, absent=0.3)
    with monkeypatch.context() as patch:
        asked, seen = watched(patch), [hands[index] for index in range(50)]
        assert sorted(asked) == list(range(8 + 14))
    assert {sample.present for sample in seen} == {True, False}
    for index, sample in enumerate(seen):
        assert sample.id == hands.number(index)
        assert_same(sample, stream[sample.id])
    assert hands.file.stat().st_size <= 12 * hands._dtype.itemsize
    asked = watched(monkeypatch)
    again = pickle.loads(pickle.dumps(hands))  # another process, or the next call
    assert np.array_equal(again[49].image, seen[49].image) and not asked


def test_a_record_that_is_not_whole_is_rendered_anew(hand, tmp_path, ring, monkeypatch):
    hands = RepeatedHands(tmp_path, hand, SIZE, 2)
    first = [hands[index].image for index in range(8)]
    size = hands._dtype.itemsize
    with hands.file.open("r+b") as file:  # killed while it wrote
        file.seek(2 * size)
        file.write(bytes(size // 2))
        file.truncate(7 * size + size // 2)
    asked = watched(monkeypatch)
    for index in (*range(8), *range(8)):
        assert np.array_equal(hands[index].image, first[index])
    assert asked == [2, 7]


def test_a_ring_on_a_full_disk_is_told(hand, tmp_path, ring, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"no space left .* same command goes on.*\.records"):
        RepeatedHands(tmp_path, hand, SIZE, 2)[0]
