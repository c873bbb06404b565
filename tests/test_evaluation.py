import numpy as np
import pytest

from handlib import evaluation, metrics
from handlib.evaluation import mean_pose_each, official_scores, placed, score_each
from handlib.mano import pose_hand

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


def test_samples_are_scored_a_few_at_a_time(monkeypatch):
    """Double-precision copies of all vertices would not fit beside them."""
    made = predictions(7)
    made["pred_joints"] = made["pred_joints"] + RNG.normal(0, 0.01, (7, 21, 3))
    made |= {f"{kind}_joints_2d": RNG.normal(0, 9, (7, 21, 2)) for kind in ("pred", "gt")}
    made["gt_joints"][1:3, 4] = made["gt_vertices"][2] = np.nan
    at_once, sizes = score_each(made), []
    per_sample = metrics.per_sample

    def counted(joints, *others):
        sizes.append(len(joints))
        return per_sample(joints, *others)

    monkeypatch.setattr(evaluation, "_SCORED", 3)
    monkeypatch.setattr(metrics, "per_sample", counted)
    found = score_each(made)
    assert sizes == [3, 3, 1] and list(found) == list(at_once)
    for name, values in at_once.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def test_the_mean_pose_is_scored_on_the_images_that_were_predicted(hand):
    rng, mean = np.random.default_rng(0), pose_hand(hand).joints
    joints = np.stack([mean, mean + rng.normal(0, 0.01, (21, 3)), np.full((21, 3), np.nan)])
    unit = np.array([0.03, 0.02, np.nan])
    predictions = {"gt_joints": joints / unit[:, None, None], "gt_unit": unit}
    each = mean_pose_each(hand, predictions)["pa_mpjpe_mm"]
    assert each[0] == pytest.approx(0, abs=1e-6) and each[1] > 5 and np.isnan(each[2])
    whole = metrics.baselines(mean, None, joints)["mean pose"]["pa_mpjpe_mm"]
    assert np.nanmean(each) == pytest.approx(whole)
    with pytest.raises(ValueError, match=r"no image has 3D joints .*take another split"):
        mean_pose_each(hand, {name: values[2:] for name, values in predictions.items()})
