"""The compiled warp against OpenCV's."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlib.augment import warp as module
from handlib.augment.warp import warp


def picture(width, height, seed=0):
    """Random pixels of four channels: the steepest there are."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)


def around(angle, zoom, shear, shift, start, size):
    """(2, 3): turns, zooms and shears about the middle of ``start``, to that of ``size``, moved."""
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[c, -s + shear], [s, c]])
    middles = [(np.array(sides) - 1) / 2 for sides in (start, size)]
    return np.column_stack([linear, middles[1] + shift - linear @ middles[0]])


SIDES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(max_examples=150, deadline=None)
@given(
    start=SIDES,
    size=SIDES,
    angle=st.sampled_from([0, np.pi / 2, np.pi]) | st.floats(-4, 4),
    zoom=st.floats(0.3, 20),
    shear=st.sampled_from([0, 0.3]),
    shift=st.sampled_from([0, 0.5, -7.25, 1000]),
    mirror=st.booleans(),
)
def test_it_is_opencvs_but_for_rounding(start, size, angle, zoom, shear, shift, mirror):
    affine = around(angle, zoom, shear, shift, start, size) @ np.diag([1 - 2 * mirror, 1, 1])
    smooth = cv2.GaussianBlur(picture(*start), (5, 5), 0)
    ours, theirs = warp(smooth, affine, size), cv2.warpAffine(smooth, affine, size)
    assert ours.shape == theirs.shape and ours.dtype == np.uint8 and ours.flags.c_contiguous
    # Half of 1/256 px either way, at the black border too, and two roundings.
    assert np.abs(ours.astype(int) - theirs).max() <= 3


def test_a_whole_step_moves_pixels_unchanged():
    image = picture(30, 20)
    moved = warp(image, np.array([[1.0, 0, 4], [0, 1, -3]]), (30, 20))
    np.testing.assert_array_equal(moved[:17, 4:], image[3:, :26])
    assert not moved[17:].any() and not moved[:, :4].any()
    np.testing.assert_array_equal(warp(image, np.eye(3)[:2], (30, 20)), image)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e300, -1e300, 1e-300])
def test_no_numbers_read_beyond_the_picture(value):
    """Whatever they give, it is of the picture: its one colour, or less where it ends."""
    image = np.full((20, 30, 4), 200, np.uint8)
    for at in np.ndindex(2, 3):
        affine = np.array([[1.0, 0.2, 3], [-0.2, 1, 2]])
        affine[at] = value
        assert warp(image, affine, (40, 25)).max() <= 200


def test_what_is_too_large_for_it_is_left_to_opencv(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 29)
    image, affine = picture(30, 20), around(0.3, 1, 0, 0, (30, 20), (30, 20))
    theirs = cv2.warpAffine(image, affine, (30, 20))
    np.testing.assert_array_equal(warp(image, affine, (30, 20)), theirs)


def test_the_largest_are_right_to_their_end():
    image = np.zeros((2, module.LARGEST, 4), np.uint8)
    image[:, -5:] = 255
    affine = np.array([[1.0, 0, 20.5 - module.LARGEST], [0, 1, 0]])
    theirs = cv2.warpAffine(image, affine, (30, 2)).astype(int)
    assert np.abs(warp(image, affine, (30, 2)) - theirs).max() <= 1
