import re

import numpy as np
import pytest
from scipy.spatial import cKDTree

from handlib.metrics import f_scores


def reference(pred, gt):
    limits = np.array([[0.005], [0.015]])
    precision = (cKDTree(gt).query(pred)[0] < limits).mean(1)
    recall = (cKDTree(pred).query(gt)[0] < limits).mean(1)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-300)


@pytest.mark.parametrize("spread", [0.002, 0.02, 0.06, 10.0])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.1, 50.0])
def test_the_grid_finds_what_a_tree_finds(spread, shift):
    rng = np.random.default_rng(1)
    gt = rng.normal(0, spread, (4, 300, 3)) + [0, 0, 0.6]
    pred = rng.permuted(gt, axis=1)[:, :250] + rng.normal(0, 0.006, (4, 250, 3)) + [shift, 0, 0]
    expected = [reference(p, g) for p, g in zip(pred, gt)]
    np.testing.assert_allclose(f_scores(pred, gt), expected, atol=1e-12)


def test_one_point_far_away_costs_no_memory():
    gt = np.random.default_rng(0).normal(0, 0.05, (1, 100, 3))
    pred = gt.copy()
    pred[0, 0] = 1e6
    np.testing.assert_allclose(f_scores(pred, gt), [reference(pred[0], gt[0])])


def test_points_must_be_finite():
    points = np.zeros((1, 10, 3))
    with pytest.raises(ValueError, match="not finite"):
        f_scores(points * np.nan, points)


@pytest.mark.parametrize("pred", [(1, 10, 3), (3, 10, 3), (2, 10, 2), (2, 0, 3), (10, 3), (2,)])
def test_surfaces_of_other_shapes_are_named(pred):
    pred, gt = np.zeros(pred), np.zeros((2, 12, 3))
    for arrays in ((pred, gt), (gt, pred)):
        shapes = " and ".join(str(a.shape) for a in arrays)
        with pytest.raises(ValueError, match=re.escape(shapes)):
            f_scores(*arrays)


def test_no_samples_have_no_scores():
    assert f_scores(np.zeros((0, 10, 3)), np.zeros((0, 12, 3))).shape == (0, 2)
