"""Where geometric transforms put a hand, by computations of their own, and what they draw."""

import numpy as np
import pytest
from fake_data import fake_sample

from handlib.augment import (
    AddClutter,
    Compose,
    Degrade,
    Flip,
    MoveHand,
    Rotate,
    Scale,
    Shift,
    Upright,
    light_transforms,
    stream_transforms,
    train_transforms,
)
from handlib.data.sample import Sample
from handlib.upright import FILL

WIDE = (320, 240)
CENTRE = np.array([159.5, 119.5])


def flat_sample():
    """A wide picture with 2D joints and a box, and no camera."""
    joints_2d = np.random.default_rng(0).uniform(60, 180, (21, 2))
    image = np.zeros((240, 320, 3), np.uint8)
    return Sample(image=image, id=0, joints_2d=joints_2d, box=np.array([20.0, 30, 60, 90]))


def turned(points, degrees, centre):
    """Points (N, 2) turned about a centre, x towards y, by complex numbers."""
    x, y = (points - centre).T
    moved = (x + 1j * y) * np.exp(1j * np.deg2rad(degrees))
    return np.column_stack([moved.real, moved.imag]) + centre


def drawn(transform, name, count=500):
    rng = np.random.default_rng(0)
    return np.array([transform.draw(rng, None)[name] for _ in range(count)])


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        (drawn(Rotate(70), "degrees"), 70),
        (np.log(drawn(Scale(0.1, 10), "factor")), np.log(10)),
        (drawn(Shift(0.2), "fraction")[:, 0], 0.2),
        (drawn(Shift(0.2), "fraction")[:, 1], 0.2),
    ],
)
def test_what_is_drawn_covers_its_range_evenly(values, limit):
    counts, _ = np.histogram(values, np.linspace(-limit, limit, 6))
    assert counts.sum() == len(values) and (counts > 0.6 * len(values) / 5).all()


def test_upright_hands_are_turned_zoomed_and_shifted_as_much_as_their_deviations_say():
    upright = Upright(96, 0.5, turn=15.0, zoom=0.1, shift=0.03)
    for values, deviation in (
        (drawn(upright, "turn"), np.deg2rad(15)),
        (np.log(drawn(upright, "fill") / FILL), 0.1),
        (drawn(upright, "shift"), 0.03),
    ):
        np.testing.assert_allclose(values.std(0), deviation, rtol=0.15)
        np.testing.assert_allclose(values.mean(0), 0, atol=0.2 * deviation)
    assert 0.4 < drawn(upright, "on").mean() < 0.6


def test_a_shift_moves_by_fractions_of_width_and_height():
    sample = flat_sample()
    moved = Shift().apply(sample, {"fraction": (0.1, -0.05)})
    np.testing.assert_allclose(moved.joints_2d, sample.joints_2d + (32, -12))
    np.testing.assert_allclose(moved.box, sample.box + (32, -12, 32, -12))


def test_a_zoom_keeps_the_middle_of_the_picture():
    sample = flat_sample()
    moved = Scale().apply(sample, {"factor": 1.25})
    np.testing.assert_allclose(moved.joints_2d - CENTRE, 1.25 * (sample.joints_2d - CENTRE))


@pytest.mark.parametrize("degrees", [30.0, -90.0, 180.0])
def test_without_a_camera_a_picture_turns_about_its_middle(degrees):
    sample = flat_sample()
    moved = Rotate().apply(sample, {"degrees": degrees})
    np.testing.assert_allclose(moved.joints_2d, turned(sample.joints_2d, degrees, CENTRE))
    back = Rotate().apply(moved, {"degrees": -degrees})
    np.testing.assert_allclose(back.joints_2d, sample.joints_2d)


def test_half_a_turn_without_a_camera_shows_the_last_pixel_first():
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    moved = Rotate().apply(flat_sample().replace(image=image), {"degrees": 180.0})
    inner = moved.image[1:-1, 1:-1].astype(int)
    np.testing.assert_allclose(inner, image[::-1, ::-1][1:-1, 1:-1], atol=2)


@pytest.mark.parametrize("lower", [0.0, 40.0])
def test_a_rotation_is_of_the_camera_whatever_its_matrix(lower):
    """Most have no number below their diagonal, and the formula knows one."""
    sample = fake_sample(4, size=WIDE, skew=0.1)
    K = sample.K + [[0, 0, 0], [lower, 0, 0], [0, 0, 0]]
    sample = sample.replace(K=K)
    moved = Rotate().apply(sample, {"degrees": 50.0})
    rays = np.column_stack([sample.joints_2d, np.ones(21)]) @ np.linalg.inv(K).T
    rays[:, :2] = turned(rays[:, :2], 50, (0, 0))
    np.testing.assert_allclose(moved.joints_2d, (rays @ K.T)[:, :2])
    np.testing.assert_allclose(moved.K, K, atol=1e-9)


def test_a_rotation_there_and_back_leaves_the_hand_where_it_was():
    chain, sample = [Upright(96, 1.0), Rotate(), Rotate()], fake_sample(4, skew=0.1)
    upright = {"on": True, "turn": 0.2, "fill": 0.6, "shift": np.zeros(2)}
    there_and_back = Compose(chain).apply(sample, [upright, {"degrees": 35}, {"degrees": -35}])
    once = chain[0].apply(sample, upright)
    np.testing.assert_allclose(there_and_back.joints_2d, once.joints_2d)
    np.testing.assert_allclose(there_and_back.K, once.K, atol=1e-9)


def test_an_upright_view_without_a_camera_is_a_turn_and_a_zoom_about_the_hand():
    sample, upright = flat_sample(), Upright(96, 1.0)
    params = {"on": True, "turn": 0.0, "fill": 0.5, "shift": np.array([0.1, 0.0])}
    moved = upright.apply(sample, params)
    tilted = upright.apply(sample, params | {"turn": np.deg2rad(20)})
    for seen in (moved, tilted):
        low, high = seen.joints_2d.min(0), seen.joints_2d.max(0)
        np.testing.assert_allclose((low + high) / 2, (47.5 + 9.6, 47.5), atol=1e-6)
        assert (high - low).max() == pytest.approx(48)
    x, y = moved.joints_2d[[5, 9, 13, 17]].mean(0) - moved.joints_2d[0]
    assert x == pytest.approx(0, abs=1e-6) and y < 0
    x, y = tilted.joints_2d[[5, 9, 13, 17]].mean(0) - tilted.joints_2d[0]
    assert abs(np.degrees(np.arctan2(x, -y))) == pytest.approx(20)


def test_a_hand_with_an_unknown_joint_is_not_set_upright():
    sample = fake_sample(3)
    joints_2d = sample.joints_2d.copy()
    joints_2d[7] = np.nan
    sample = sample.replace(joints_2d=joints_2d)
    assert Upright(96, 1.0)(sample, np.random.default_rng(0)) is sample


def test_boxes_stay_boxes():
    sample = flat_sample()
    flipped = Flip(1.0)(sample, np.random.default_rng(0))
    np.testing.assert_allclose(flipped.box, [259, 30, 299, 90])
    square = sample.replace(box=np.concatenate([CENTRE - 20, CENTRE + 20]))
    stands = Rotate().apply(square, {"degrees": 45.0})
    reach = 20 * np.sqrt(2)
    np.testing.assert_allclose(stands.box, np.concatenate([CENTRE - reach, CENTRE + reach]))


def test_a_stream_sets_hands_upright_for_a_network_that_looks_twice():
    for looks in (1, 2):
        kinds = [type(step) for step in stream_transforms(64, looks=looks).transforms]
        assert kinds.count(Upright) == looks - 1
    sample = fake_sample(2, size=(64, 64))
    chain = stream_transforms(64, looks=2, clutter=0, color=0, sensor=0, motion=0)
    shown = [chain(sample, np.random.default_rng(seed)) for seed in range(60)]
    stands = [not np.array_equal(seen.joints_2d, sample.joints_2d) for seen in shown]
    assert 40 < sum(stands) < 60


def spoiled(chain):
    """Kinds of transforms that hide or degrade the hand, of those that 100 draws had."""
    rng, sample, kinds = np.random.default_rng(0), fake_sample(1), set()
    for _ in range(100):
        for step, params in zip(chain.transforms, chain.draw(rng, sample), strict=True):
            if isinstance(step, MoveHand | Degrade | AddClutter):
                kinds |= {type(step)} if params and params != {"things": []} else set()
    return kinds


def test_light_changes_hide_and_degrade_nothing():
    assert spoiled(light_transforms(96)) == set()
    assert spoiled(train_transforms(96)) == {MoveHand, Degrade, AddClutter}
