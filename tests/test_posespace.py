"""Poses as coordinates of components, and the way from one to another."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handlib import plots
from handlib.mano import from_components, interpolate_fingers, to_components

RNG = np.random.default_rng(0)


def test_components_there_and_back(hand):
    coefficients = RNG.normal(0, 1, (4, 45))
    fingers = from_components(hand, coefficients)
    np.testing.assert_allclose(to_components(hand, fingers), coefficients, atol=1e-9)
    first_two = to_components(hand, from_components(hand, coefficients[:, :2]))
    np.testing.assert_allclose(first_two[:, :2], coefficients[:, :2], atol=1e-9)
    np.testing.assert_allclose(first_two[:, 2:], 0, atol=1e-9)
    np.testing.assert_allclose(to_components(hand, hand.hands_mean), 0, atol=1e-9)


def test_interpolated_joints_turn_evenly_about_one_axis():
    first, second = RNG.normal(0, 0.8, (2, 45))
    between = interpolate_fingers(first, second, np.linspace(0, 1, 5))
    np.testing.assert_allclose(between[[0, -1]], [first, second], atol=1e-9)
    turns = Rotation.from_rotvec(between.reshape(-1, 3)).as_matrix()
    turns = turns.reshape(5, 15, 3, 3)
    steps = turns[1:] @ turns[:-1].swapaxes(-1, -2)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:1], steps.shape), atol=1e-9)


def test_joints_turn_the_shorter_way_round():
    first, second = np.zeros((2, 45))
    first[0], second[0] = 3.0, -3.0
    (half,) = interpolate_fingers(first, second, [0.5])
    assert abs(half[0]) == pytest.approx(np.pi)


def test_the_atlas_shows_each_pose_at_its_components(hand):
    coefficients = np.random.default_rng(0).normal(0, 1, (40, 45))
    fingers = hand.hands_mean + coefficients @ hand.hands_components
    (ax,) = plots.show_atlas(hand, {"truth": fingers, "prediction": fingers[:3]}, 3, 2).axes
    shown = [points.get_offsets() for points in ax.collections]
    np.testing.assert_allclose(shown[0], coefficients[:, :2], atol=1e-6)
    assert [len(points) for points in shown] == [40, 3]
    assert len(ax.images) == 6
    assert "(rad)" in ax.get_xlabel() and "(rad)" in ax.get_ylabel()


def test_the_sliders_of_a_hand_redraw_it_and_put_back_give_the_same_picture(hand):
    shown, sliders = plots.explore_hand(hand).children
    before = shown.value
    for slider in sliders.children:
        start, slider.value = slider.value, slider.max
        assert shown.value != before, slider.description
        slider.value = start
        assert shown.value == before, slider.description
    bent, _ = plots.explore_hand(hand, hand.hands_mean + hand.hands_components[0]).children
    sliders.children[0].value = 1
    assert bent.value == shown.value


def test_without_ipywidgets_the_sliders_say_what_to_install(hand, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"handlib\[lab\]"):
        plots.explore_hand(hand)
