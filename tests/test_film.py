"""Films: what players are told, and what is left of one that cannot be written."""

import resource

import av
import cv2
import numpy as np
import pytest

from handlib.inference.film import Film
from handlib.paths import atomic_write

COLORS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (224, 172, 140)]


def stripes(width, height):
    """(H, W, 3) uint8: a stripe of each colour."""
    places = np.arange(width) * len(COLORS) // width
    return np.uint8(COLORS)[np.broadcast_to(places, (height, width))]


def read(path):
    """(seconds, picture RGB) of each frame, by OpenCV."""
    film, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = film.read()
        if not there:
            return frames
        frames.append((film.get(cv2.CAP_PROP_POS_MSEC) / 1000, frame[..., ::-1]))


def test_pictures_are_shown_at_their_times_in_their_colours(tmp_path):
    times = [0.0, 0.04, 0.2, 0.21, 1.0]  # a phone's are not evenly spaced
    picture = stripes(321, 241)  # H.264's sides are even
    with Film(tmp_path / "a.mp4", 25.0) as film:
        for time in times:
            film.add(picture, time)
    frames = read(tmp_path / "a.mp4")
    assert [time for time, _ in frames] == pytest.approx(times, abs=1e-4)
    for _, seen in frames:
        assert seen.shape == (242, 322, 3)
        for n, color in enumerate(COLORS):
            np.testing.assert_allclose(seen[120, 40 + 80 * n], color, atol=4)


def test_browsers_are_told_what_they_need(tmp_path):
    with Film(tmp_path / "a.mp4", 29.97) as film:
        film.add(stripes(64, 48), 0.5)  # the first one is there from the start
    with av.open(tmp_path / "a.mp4") as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        told = context.color_primaries, context.color_trc, context.colorspace, context.color_range
        assert told == (1, 13, 6, 1)
        assert [frame.time for frame in file.decode(video=0)] == [0]
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # shown before all of it is there


@pytest.mark.parametrize("size", [(17_000, 16), (16, 17_000)])
def test_a_picture_too_large_for_a_film_is_named_and_leaves_nothing(tmp_path, size):
    with (
        pytest.raises(ValueError, match=f"{size[0]} x {size[1]} px .* make the video smaller"),
        atomic_write(tmp_path / "a.mp4") as path,
        Film(path, 25) as film,
    ):
        film.add(stripes(*size), 0)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    noise, before = np.random.default_rng(0), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with (
            pytest.raises(OSError, match="no space left on this disk"),
            atomic_write(tmp_path / "a.mp4") as path,
            Film(path, 25) as film,
        ):
            for n in range(100):
                film.add(noise.integers(0, 255, (120, 160, 3), np.uint8), n / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_film_of_nothing_writes_nothing(tmp_path):
    with Film(tmp_path / "a.mp4", 25):
        pass
    assert not list(tmp_path.iterdir())
