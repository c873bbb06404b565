"""Transforms of pixels: each does what its parameters say, and what is drawn covers its range."""

import cv2
import numpy as np
import pytest
from fake_data import fake_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from handlib.augment import AddClutter, ChangeBackground, ColorJitter, Degrade, MoveHand, Resize
from handlib.augment.base import _resized, warp_image
from handlib.augment.pixels import _connected, green_screen_alpha
from handlib.data.paint import SKIN_TONES, skin_tone
from handlib.data.sample import Sample

GREEN, SKIN = (70, 105, 45), (200, 120, 100)
NEUTRAL = {
    "brightness": 0.0,
    "contrast": 1.0,
    "gamma": 1.0,
    "balance": np.ones(3),
    "saturation": 1.0,
    "hue": 0.0,
    "blur": 0.0,
    "noise": 0.0,
    "at": (0, 0),
}
BALANCE = np.array([0.8, 1.0, 1.2])


class AnyColor:
    """Backgrounds of one random colour."""

    def draw(self, rng, size):
        return np.full((size[1], size[0], 3), rng.integers(0, 256, 3), np.uint8)


def plain(color, size=(96, 96)):
    return Sample(image=np.full((size[1], size[0], 3), color, np.uint8), id=0)


def jittered(sample, **changes):
    """Its image after a ``ColorJitter`` with these parameters, as numbers that do not wrap."""
    return ColorJitter().apply(sample, NEUTRAL | changes).image.astype(float)


def roughness(image):
    """Mean step (2,) between neighbours across and down."""
    return np.array([np.abs(np.diff(image.astype(float), axis=k)).mean() for k in (1, 0)])


def test_backgrounds_differ_from_sample_to_sample():
    change, sample = ChangeBackground(AnyColor(), 1.0), fake_sample(1)
    shown = [change(sample, np.random.default_rng(seed)).image for seed in range(10)]
    assert len({tuple(image[0, 0].tolist()) for image in shown}) == 10


@pytest.mark.parametrize(("version", "expected"), [(0, (100, 100, 90)), (1, (100, 130, 90))])
def test_green_light_is_taken_from_hands_before_a_green_screen_alone(version, expected):
    sample = fake_sample(9, version=version)
    image = np.where(sample.mask[..., None], np.uint8((100, 130, 90)), sample.image)
    shown = ChangeBackground(AnyColor(), 1.0)(
        sample.replace(image=image), np.random.default_rng(0)
    ).image
    inner = cv2.erode(sample.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert (shown[inner] == expected).all()


def test_a_small_hole_in_a_hand_is_filled_and_the_screen_between_fingers_is_not():
    image = plain(GREEN, (224, 224)).image
    image[40:180, 40:180] = SKIN
    image[60:70, 60:70] = GREEN
    image[120:150, 120:150] = GREEN
    alpha = green_screen_alpha(image, np.array([[100.0, 100]]))
    assert (alpha[45:100, 45:100] == 255).all()
    assert (alpha[125:145, 125:145] == 0).all()


def test_holes_are_filled_to_a_pixel_of_their_size():
    """Of the hand alone, and none that is open to the border of the picture."""
    front = np.zeros((224, 224), np.uint8)
    front[20:200, 20:140] = front[20:200, 160:] = 255
    front[30:40, 30:50] = 0  # 200 px: 0.004 of the picture is 200.7
    front[50:53, 30:97] = 0  # 201 px
    front[60:70, 70:90] = 0  # 200 px, with something in it
    front[64:66, 75:77] = 255
    front[100:110, 180:200] = 0  # 200 px of what is not connected
    front[120:124, 220:] = 0
    expected = front.copy()
    expected[30:40, 30:50] = expected[60:70, 70:90] = 255
    expected[:, 160:] = 0
    np.testing.assert_array_equal(_connected(front, np.array([[25, 25], [150, 10]])), expected)
    both = _connected(front, np.array([[25, 25], [200, 30]]))
    assert (both[100:110, 180:200] == 255).all() and not both[120:124, 220:].any()
    for nowhere in ([[150, 10]], [[40, 51]]):
        assert not _connected(front, np.array(nowhere)).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.floats(0.2, 0.8), st.integers(1, 15), st.integers(1, 15))
def test_what_is_connected_is_told_by_opencvs_labels_too(seed, share, height, width):
    rng = np.random.default_rng(seed)
    front = np.uint8(255) * (rng.random((height, width)) < share)
    points = rng.integers(0, (width, height), (5, 2))
    labels = cv2.connectedComponents(front, connectivity=8)[1]
    kept = set(labels[points[:, 1], points[:, 0]]) - {0}
    hand = np.isin(labels, list(kept))
    # No hole is filled: a pixel is more than 0.004 of so few.
    np.testing.assert_array_equal(_connected(front, points) > 0, hand)


def test_the_black_beyond_a_rotated_frame_is_no_hand():
    image = plain(GREEN, (224, 224)).image
    image[80:140, :180] = SKIN
    image[:, :30] = 5
    alpha = green_screen_alpha(image, np.array([[100.0, 100]]))
    assert (alpha[:, :28] == 0).all() and (alpha[90:130, 40:170] == 255).all()


@pytest.mark.parametrize(
    ("changes", "curve"),
    [
        ({}, lambda x: x),
        ({"gamma": 2.0}, lambda x: x**2),
        ({"brightness": 0.2}, lambda x: x + 0.2),
        ({"brightness": -0.2}, lambda x: x - 0.2),
        ({"contrast": 0.5}, lambda x: 0.25 + 0.5 * x),
        ({"contrast": 2.0}, lambda x: 2 * x - 0.5),
        ({"balance": BALANCE}, lambda x: x * BALANCE),
    ],
)
def test_every_grey_follows_the_curve_of_its_parameters(changes, curve):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None], (4, 1, 3))
    shown = jittered(Sample(image=ramp, id=0), **changes)
    assert np.abs(shown - 255 * curve(ramp / 255).clip(0, 1)).max() < 1.5


@pytest.mark.parametrize(
    ("changes", "factor"), [({"hue": np.pi}, -1), ({"saturation": 0.5}, 0.5), ({"hue": 0.0}, 1)]
)
def test_hue_and_saturation_keep_the_brightness(changes, factor):
    color = np.array([150, 100, 120])
    luma = color @ [0.299, 0.587, 0.114]
    shown = jittered(plain(color), **changes)
    np.testing.assert_allclose(shown[0, 0], luma + factor * (color - luma), atol=1)


def test_a_quarter_of_the_hue_turned_twice_is_a_half():
    twice = plain(jittered(plain((150, 100, 120)), hue=np.pi / 2)[0, 0])
    half = jittered(plain((150, 100, 120)), hue=np.pi)
    np.testing.assert_allclose(jittered(twice, hue=np.pi / 2), half, atol=2)


def test_blur_makes_smoother():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    soft = jittered(Sample(image=image, id=0), blur=1.0)
    assert (roughness(soft) < 0.5 * roughness(image)).all()
    assert soft.mean() == pytest.approx(image.mean(), abs=1)


def test_noise_is_as_strong_as_drawn_and_another_at_another_place():
    first, other = (jittered(plain(128), noise=5.0, at=at) for at in ((0, 0), (7, 20)))
    assert 3 < first.std() < 7 and 3 < other.std() < 7
    assert (first != other).mean() > 0.5
    assert first.mean() == pytest.approx(128, abs=1)


def test_every_colour_change_that_is_drawn_covers_its_range():
    jitter, rng = ColorJitter(0.4, grey=0, blur=0.5, noise=0.5, p=1), np.random.default_rng(0)
    params = [jitter.draw(rng, None) for _ in range(400)]
    drawn = {name: np.array([p[name] for p in params]) for name in params[0]}
    for name in ("blur", "noise"):
        assert 0.4 < (drawn[name] == 0).mean() < 0.6
        drawn[name] = drawn[name][drawn[name] > 0]
    for name, values, low, high in (
        ("brightness", drawn["brightness"], -0.4 / 3, 0.4 / 3),
        ("contrast", np.log(drawn["contrast"]), -0.3, 0.3),
        ("gamma", np.log(drawn["gamma"]), -0.4, 0.4),
        ("balance", np.log(drawn["balance"]), -0.1, 0.1),
        ("saturation", drawn["saturation"], 0.6, 1.4),
        ("hue", drawn["hue"], -0.2, 0.2),
        ("blur", drawn["blur"], 0.4, 1.6),
        ("noise", drawn["noise"], 2, 12),
        ("at", drawn["at"], 0, 63),
    ):
        margin = 0.1 * (high - low)
        assert (low <= values.min(0)).all() and (values.min(0) < low + margin).all(), name
        assert (high >= values.max(0)).all() and (values.max(0) > high - margin).all(), name


def test_compression_keeps_a_colour():
    shown = Degrade().apply(plain((200, 60, 30)), {"jpeg": 85}).image
    np.testing.assert_allclose(shown.astype(int), plain((200, 60, 30)).image, atol=5)


def test_some_clutter_is_of_the_colour_of_skin():
    clutter, rng = AddClutter(1.0, most=1), np.random.default_rng(0)
    colors = np.array([clutter.draw(rng, None)["things"][0]["color"] for _ in range(400)])
    skins = np.array([skin_tone(t) for t in np.linspace(0, len(SKIN_TONES) - 1, 300)])
    nearest = np.abs(colors[:, None] - skins).max(-1).min(1)
    assert 0.3 < (nearest < 3).mean() < 0.5


def test_clutter_behind_a_hand_that_nobody_knows_is_left_out():
    sample, clutter = plain(90), AddClutter(1.0, in_front=0.0)
    for seed in range(10):
        assert clutter(sample, np.random.default_rng(seed)) is sample


def test_the_arm_of_a_moving_hand_goes_on_beyond_the_border():
    image, mask = np.full((96, 96, 3), 60, np.uint8), np.zeros((96, 96), bool)
    mask[30:, 45:51] = True
    image[mask] = 240
    joints_2d = np.array([[48.0, 30], [48, 66]] + [[48, 48]] * 19)
    sample = Sample(image=image, id=0, mask=mask, joints_2d=joints_2d)
    # A large radius to the left: straight up and down, by a quarter of the joints' box.
    moved = MoveHand().apply(sample, {"turn": 0.25 / 36, "reach": 36.0, "from": np.pi}).image
    assert moved[90:, 48].min() > 230 and moved[30, 48].max() < 200


def test_a_mask_of_twice_the_size_has_four_times_the_pixels():
    mask = np.zeros((96, 96), bool)
    mask[30:66, 45:51] = True
    large = Resize(192)(plain(60).replace(mask=mask), None)
    np.testing.assert_array_equal(large.mask, np.kron(mask, np.ones((2, 2), bool)))


def test_half_a_pixel_is_the_mean_of_two():
    ramp = np.repeat(np.tile(10 * np.arange(20, dtype=np.uint8), (20, 1))[..., None], 3, 2)
    affine = np.array([[1.0, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    shown = warp_image(ramp, affine, (20, 20))
    np.testing.assert_allclose(shown[:, 1:], ramp[:, 1:] - 5.0, atol=1)


def test_an_image_shrinks_to_a_whole_part_of_its_sides_where_there_is_one():
    affine = np.array([[0.3, 0.01, 0], [-0.01, 0.3, 0], [0, 0, 1]])
    for sides, expected in (((240, 180), (80, 60)), ((241, 199), (72, 60))):
        (small,), _ = _resized([plain(9, sides).image], affine, (70, 50))
        assert small.shape[1::-1] == expected
