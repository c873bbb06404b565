"""Articulations: within limits, varied, reproducible, and no digit runs through another."""

import numpy as np
import pytest

from handlib.mano import articulation
from handlib.mano.articulation import LIMITS, NAMED_ANGLES, POSES, clearance, sample_angles


def test_named_poses_are_within_limits_and_start_with_the_flat_hand():
    assert {"flat", "relaxed", "fist", "point", "ok", "spread", "thumbs_up", "pinch"} <= set(POSES)
    assert not POSES["flat"].any()
    for name, angles in NAMED_ANGLES.items():
        assert POSES[name].shape == (45,)
        assert np.all((LIMITS[:, 0] <= angles) & (angles <= LIMITS[:, 1])), name


@pytest.mark.parametrize("name", POSES)
def test_no_digit_runs_through_another(name):
    assert clearance(NAMED_ANGLES[name])[0] > -articulation.MAX_OVERLAP


def test_clearance_sees_a_thumb_inside_a_fist():
    angles = NAMED_ANGLES["fist"].copy()
    angles[16:] = NAMED_ANGLES["four"][16:]
    assert clearance(angles)[0] < -8


def test_samples_are_reproducible_within_limits_and_clear():
    angles = sample_angles(np.random.default_rng(1), 500)
    np.testing.assert_array_equal(angles, sample_angles(np.random.default_rng(1), 500))
    assert angles.shape == (500, 21)
    assert np.all((LIMITS[:, 0] <= angles) & (angles <= LIMITS[:, 1]))
    assert clearance(angles).min() > -articulation.MAX_OVERLAP


def test_samples_are_varied():
    angles = sample_angles(np.random.default_rng(2), 2000)
    bends = angles[:, [2, 6, 10, 14]]
    for k in range(4):  # every finger is found straight and bent, also against its neighbours
        assert (bends[:, k] < 15).mean() > 0.1
        assert (bends[:, k] > 80).mean() > 0.1
        others = np.delete(bends, k, 1)
        assert ((bends[:, k] < 25) & (others > 60).all(1)).sum() > 2
    assert np.corrcoef(bends.T)[0, 1] > 0.3


def test_positive_flexion_bends_towards_the_palm():
    straight = np.zeros(21)
    bent = straight.copy()
    bent[[0, 4, 8, 12]] = 60
    ends = [articulation._capsules(a)[0][0, :, -1] for a in (straight, bent)]
    assert np.all(ends[1][:4, 1] < ends[0][:4, 1] - 30)
