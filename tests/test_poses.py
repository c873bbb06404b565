"""The generator's articulations: everyday poses first, within limits, no digit through another."""

import numpy as np
import pytest

from handlib.data import poses
from handlib.mano.articulation import LIMITS, MAX_OVERLAP, articulate, clearance


@pytest.mark.parametrize("name", poses.EVERYDAY)
def test_everyday_poses_are_possible(name):
    angles = poses.EVERYDAY[name]
    assert np.all((LIMITS[:, 0] <= angles) & (angles <= LIMITS[:, 1]))
    assert clearance(angles)[0] > -MAX_OVERLAP


def test_everyday_samples_are_possible_and_about_all_of_their_poses():
    angles = poses._everyday(np.random.default_rng(0), 1000)
    assert angles.shape == (1000, 21)
    assert np.all((LIMITS[:, 0] <= angles) & (angles <= LIMITS[:, 1]))
    assert clearance(angles).min() > -MAX_OVERLAP
    named = np.stack(list(poses.EVERYDAY.values()))
    away = np.abs(angles[:, None] - named).mean(-1)
    assert len(np.unique(away.argmin(1))) == len(named)
    assert 3 < np.median(away.min(1)) < 12


def test_samples_are_reproducible_and_a_good_part_of_them_everyday():
    drawn = [poses.sample_articulations(np.random.default_rng(1), 400) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    assert drawn[0].shape == (400, 45)
    flat = articulate(np.stack(list(poses.EVERYDAY.values())))
    away = np.abs(drawn[0][:, None] - flat).mean(-1).min(1)
    assert 0.2 < (away < np.deg2rad(4)).mean() < 0.6
