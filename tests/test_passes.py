"""What is compiled for the transforms, against plain and slower ways to the same."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlib.augment import warp as module
from handlib.augment.passes import before_screen, put_before, soft_edge
from handlib.augment.warp import warp


def picture(width, height, seed=0):
    """Random image and mask, as bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])


def by_opencv(image, mask, affine, size):
    return cv2.warpAffine(image, affine, size), cv2.warpAffine(mask, affine, size)


def around(angle, zoom, shear, shift, start, size):
    """(2, 3): turns, zooms and shears about the middle of ``start``, to that of ``size``, moved."""
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[c, -s + shear], [s, c]])
    middles = [(np.array(sides) - 1) / 2 for sides in (start, size)]
    return np.column_stack([linear, middles[1] + shift - linear @ middles[0]])


SIDES = st.tuples(st.integers(1, 90), st.integers(1, 90))


# No subnormal numbers: a training in the same process flushes them.
@settings(max_examples=150, deadline=None)
@given(
    start=SIDES,
    size=SIDES,
    angle=st.sampled_from([0, np.pi / 2, np.pi]) | st.floats(-4, 4, allow_subnormal=False),
    zoom=st.floats(0.3, 20),
    shear=st.sampled_from([0, 0.3]),
    shift=st.sampled_from([0, 0.5, -7.25, 1000]),
    mirror=st.booleans(),
)
def test_it_is_opencvs_but_for_rounding(start, size, angle, zoom, shear, shift, mirror):
    affine = around(angle, zoom, shear, shift, start, size) @ np.diag([1 - 2 * mirror, 1, 1])
    smooth = [cv2.GaussianBlur(pixels, (5, 5), 0) for pixels in picture(*start)]
    (image, hand), (theirs, mask) = warp(*smooth, affine, size), by_opencv(*smooth, affine, size)
    assert (image.shape, image.dtype) == (theirs.shape, np.uint8) and image.flags.c_contiguous
    assert (hand.shape, hand.dtype) == (mask.shape, np.bool_)
    # Half of 1/256 px either way, at the black border too, and two roundings.
    assert np.abs(image.astype(int) - theirs).max() <= 3
    np.testing.assert_array_equal(
        hand[np.abs(mask - 127.5) > 3], mask[np.abs(mask - 127.5) > 3] > 127
    )


def test_a_whole_step_moves_pixels_unchanged():
    image, mask = picture(30, 20)
    moved, hand = warp(image, mask, np.array([[1.0, 0, 4], [0, 1, -3]]), (30, 20))
    np.testing.assert_array_equal(moved[:17, 4:], image[3:, :26])
    np.testing.assert_array_equal(hand[:17, 4:], mask[3:, :26] >= 128)
    assert not moved[17:].any() and not moved[:, :4].any() and not hand[17:].any()
    np.testing.assert_array_equal(warp(image, mask, np.eye(3)[:2], (30, 20))[0], image)


def test_arrays_that_are_not_contiguous_are_read_right():
    image, mask = picture(30, 20)
    affine = around(0.3, 1.2, 0, 0, (30, 20), (40, 25))
    seen = warp(image[:, ::-1], mask[:, ::-1], affine, (40, 25))
    copied = warp(image[:, ::-1].copy(), mask[:, ::-1].copy(), affine, (40, 25))
    for one, other in zip(seen, copied):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e300, -1e300, 1e-300])
def test_no_numbers_read_beyond_the_picture(value):
    """Whatever they give, it is of the picture: its one colour, or less where it ends."""
    image, mask = np.full((20, 30, 3), 200, np.uint8), np.full((20, 30), 100, np.uint8)
    for at in np.ndindex(2, 3):
        affine = np.array([[1.0, 0.2, 3], [-0.2, 1, 2]])
        affine[at] = value
        moved, hand = warp(image, mask, affine, (40, 25))
        assert moved.max() <= 200 and not hand.any()


def test_what_is_too_large_for_it_is_left_to_opencv(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 29)
    (image, mask), affine = picture(30, 20), around(0.3, 1, 0, 0, (30, 20), (30, 20))
    theirs, there = by_opencv(image, mask, affine, (30, 20))
    moved, hand = warp(image, mask, affine, (30, 20))
    np.testing.assert_array_equal(moved, theirs)
    np.testing.assert_array_equal(hand, there >= 128)


def test_memory_is_kept_for_small_pictures_alone(monkeypatch):
    (image, mask), affine = picture(30, 20), around(0.3, 1, 0, 0, (30, 20), (40, 25))
    before = warp(image, mask, affine, (40, 25))
    first = [pixels.copy() for pixels in before]
    warp(*picture(30, 20, seed=1), affine, (40, 25))
    for pixels, copy in zip(before, first):  # what was given away is not written to again
        np.testing.assert_array_equal(pixels, copy)
    assert max(kept.size for kept in module._KEPT.arrays.values()) <= 40 * 25
    monkeypatch.setattr(module, "MOST_KEPT", 999)
    module._KEPT.arrays.clear()
    for pixels, copy in zip(warp(image, mask, affine, (40, 25)), first):
        np.testing.assert_array_equal(pixels, copy)
    assert set(module._KEPT.arrays) == {"padded"}


def test_an_image_without_a_mask_is_warped_alike(monkeypatch):
    (image, mask), affine = picture(30, 20), around(0.3, 1.2, 0, 0, (30, 20), (40, 25))
    for largest in (module.LARGEST, 29):
        monkeypatch.setattr(module, "LARGEST", largest)
        moved, hand = warp(image, None, affine, (40, 25))
        np.testing.assert_array_equal(moved, warp(image, mask, affine, (40, 25))[0])
        assert hand is None


def test_the_largest_are_right_to_their_end():
    image = np.zeros((2, module.LARGEST, 3), np.uint8)
    image[:, -5:] = 255
    affine = np.array([[1.0, 0, 20.5 - module.LARGEST], [0, 1, 0]])
    theirs = cv2.warpAffine(image, affine, (30, 2)).astype(int)
    assert np.abs(warp(image, image[..., 0], affine, (30, 2))[0] - theirs).max() <= 1


@pytest.mark.parametrize("screen", [False, True])
def test_an_image_before_a_background_is_their_mean_to_the_nearest(screen):
    """Of every value and weight there is."""
    grid = np.arange(256, dtype=np.uint8)
    front, alpha = np.meshgrid(grid, grid)
    image = np.dstack([front, front[:, ::-1], front // 2])
    for value in (0, 1, 127, 255):
        behind = np.full_like(image, value)
        expected = image.astype(int)
        if screen:
            expected[..., 1] = np.minimum(expected[..., 1], expected[..., ::2].max(-1))
        weight = alpha[..., None].astype(int)
        expected = (expected * weight + value * (255 - weight) + 127) // 255
        np.testing.assert_array_equal(put_before(behind, image, alpha, screen), expected)
        turned = put_before(behind[::-1], image[::-1], alpha[::-1], screen)
        np.testing.assert_array_equal(turned, expected[::-1])


@settings(max_examples=60, deadline=None)
@given(SIDES, st.floats(0, 0.3, allow_subnormal=False), st.integers(0, 99))
def test_the_edge_of_a_mask_is_made_soft_as_by_opencv(size, holes, seed):
    mask = np.random.default_rng(seed).random(size) >= holes
    eroded = cv2.erode(mask * np.uint8(255), np.ones((3, 3), np.uint8))
    for seen, whole in ((soft_edge(mask), eroded), (soft_edge(mask[:, ::-1]), eroded[:, ::-1])):
        np.testing.assert_array_equal(seen, cv2.GaussianBlur(whole, (5, 5), 0))


@settings(max_examples=60, deadline=None)
@given(SIDES, st.integers(0, 30), st.integers(0, 99))
def test_what_is_before_a_screen_is_told_as_by_opencv(size, void, seed):
    """Colours near the bounds, so that each of them decides."""
    rng = np.random.default_rng(seed)
    low, high = (37, 50, 25), (90, 200, 210)
    image = rng.integers(0, 2 * void + 2, (*size, 3), np.uint8)
    hsv = np.uint8(np.choose(rng.integers(0, 2, (*size, 3)), (low, high)) + rng.integers(-1, 2, 3))
    screen = cv2.inRange(hsv, low, high) | cv2.inRange(image, (0,) * 3, (void,) * 3)
    np.testing.assert_array_equal(before_screen(image, hsv, low, high, void), 255 - screen)
    turned = before_screen(image[:, ::-1], hsv[:, ::-1], low, high, void)
    np.testing.assert_array_equal(turned, 255 - screen[:, ::-1])
