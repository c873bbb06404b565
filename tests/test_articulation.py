"""Articulations: within limits, varied, reproducible, and no digit runs through another."""

import itertools

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


def test_clearance_is_the_smallest_gap_of_all_pairs():
    angles = np.random.default_rng(3).uniform(*LIMITS.T, (40, 21))
    points, radii = articulation._capsules(angles)
    gaps = np.full(len(angles), np.inf)
    for a, b in itertools.combinations(range(5), 2):
        apart = np.linalg.norm(points[:, a, :, None] - points[:, b, None], axis=-1)
        gaps = np.minimum(gaps, (apart - radii[a][:, None] - radii[b]).min((1, 2)))
    apart = np.linalg.norm(points[:, :, 5:, None] - articulation._PALM, axis=-1)
    to_palm = (apart - radii[:, 5:, None] - 9).min((1, 2, 3))
    assert (to_palm < gaps).any() and (to_palm > gaps).any()
    np.testing.assert_allclose(clearance(angles), np.minimum(gaps, to_palm), rtol=0, atol=1e-12)


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
