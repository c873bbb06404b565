import numpy as np
import pytest

from handlib import metrics
from handlib.evaluation import official_scores, placed

RNG = np.random.default_rng(0)


def predictions(n=4):
    """Perfect hands of 21 joints and 30 vertices, half a metre away, annotated in half metres."""
    joints, vertices = (RNG.normal(0, 0.03, (n, points, 3)) for points in (21, 30))
    root = RNG.normal(0, 0.05, (n, 3)) + [0, 0, 0.5]
    return {
        "pred_joints": joints,
        "pred_vertices": vertices,
        "pred_root": root,
        "gt_joints": 2 * (joints + root[:, None]),
        "gt_vertices": 2 * (vertices + root[:, None]),
        "gt_unit": np.full(n, 0.5),
    }


def test_a_perfect_hand_in_its_place_scores_fully():
    made = predictions()
    joints, vertices = placed(made)
    np.testing.assert_allclose(joints, made["gt_joints"] / 2)
    np.testing.assert_allclose(vertices, made["gt_vertices"] / 2)
    assert official_scores(made)["xyz_mean3d"] == pytest.approx(0, abs=1e-6)
    made["pred_root"] = made["pred_root"] + [0.03, 0, 0.04]
    scores = official_scores(made)
    assert scores["xyz_mean3d"] == pytest.approx(5)  # centimetres
    assert scores["mesh_al_mean3d"] == pytest.approx(0, abs=1e-6)


def test_hands_moved_to_a_depth_stay_on_their_lines_of_sight():
    made = predictions()
    joints, vertices = placed(made)
    moved, moved_vertices = placed(made, depth=np.array([0.4, 2.0, np.nan, 0.5]))
    root, at = made["pred_root"], (moved - made["pred_joints"])[:, 0]
    np.testing.assert_allclose(at[:, 2], [0.4, 2.0, root[2, 2], 0.5])
    np.testing.assert_allclose(at[:, :2] / at[:, 2:], root[:, :2] / root[:, 2:])
    np.testing.assert_allclose(
        moved_vertices - vertices, (at - root)[:, None] + 0 * vertices, atol=1e-9
    )
    np.testing.assert_allclose(moved[2], joints[2])


def test_samples_without_camera_or_vertices_are_left_out():
    made = predictions()
    made["pred_root"][0] = np.nan
    made["gt_vertices"][1] = np.nan
    made["pred_joints"][1] += RNG.normal(0, 0.1, (21, 3))
    assert official_scores(made)["xyz_mean3d"] == pytest.approx(0, abs=1e-6)
    made["pred_root"][:] = np.nan
    assert official_scores(made) is None


def test_official_scores_are_those_of_the_metrics():
    made = predictions()
    made["pred_joints"] = made["pred_joints"] + RNG.normal(0, 0.01, (4, 21, 3))
    expected = metrics.freihand_scores(
        made["gt_joints"] / 2, made["gt_vertices"] / 2, *placed(made)
    )
    assert official_scores(made)["xyz_auc3d"] == expected["xyz_auc3d"] < 1
