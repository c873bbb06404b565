import warnings
from pathlib import Path

import numpy as np
import pytest

from handlib import metrics
from handlib.geometry import similarity_align
from handlib.joints import ROOT


@pytest.fixture(scope="module")
def official():
    """Hands, and what FreiHAND's official program says of them (two are mirrored)."""
    stored = np.load(Path(__file__).parent / "data" / "freihand_eval.npz")
    names = ("pred_xyz", "xyz", "pred_verts", "verts")
    scores = dict(zip(stored["names"].tolist(), stored["values"].tolist(), strict=True))
    return [stored[f"{name}_um"] / 1e6 for name in names], scores, stored["pck_xyz_al"]


def test_aligned_numbers_are_the_official_ones_where_reflections_are_allowed(official):
    arrays, scores, _ = official
    made = metrics.evaluate(*arrays, allow_reflection=True)
    assert made["pa_mpjpe_mm"] == pytest.approx(10 * scores["xyz_al_mean3d"], abs=1e-5)
    assert made["pa_mpvpe_mm"] == pytest.approx(10 * scores["mesh_al_mean3d"], abs=1e-5)
    assert made["auc_pa_50mm"] == pytest.approx(scores["xyz_al_auc3d"], abs=1e-6)
    assert made["pa_f_5mm"] == pytest.approx(scores["f_al_score_5"], abs=1e-6)
    assert made["pa_f_15mm"] == pytest.approx(scores["f_al_score_15"], abs=1e-6)
    proper = metrics.evaluate(*arrays)
    assert proper["pa_mpjpe_mm"] > made["pa_mpjpe_mm"] + 1


def test_the_curve_is_the_official_one(official):
    (pred, gt, pred_vertices, vertices), scores, expected = official
    curve = metrics.pck(metrics.errors_mm(similarity_align(pred, gt, True)[0], gt))
    np.testing.assert_allclose(curve, expected, atol=1e-6)
    assert metrics.area_under(curve) == pytest.approx(scores["xyz_al_auc3d"], abs=1e-6)
    mesh = metrics.errors_mm(similarity_align(pred_vertices, vertices, True)[0], vertices)
    assert metrics.area_under(metrics.pck(mesh)) == pytest.approx(scores["mesh_al_auc3d"], abs=1e-6)
    raw = metrics.pck(metrics.errors_mm(pred, gt))
    assert metrics.area_under(raw) == pytest.approx(scores["xyz_auc3d"], abs=1e-6)


def scores_of(official):
    (pred, gt, pred_vertices, vertices), expected, curve = official
    with pytest.warns(UserWarning, match="samples 3, 9 .2 of 24. is a reflection"):
        return metrics.freihand_scores(gt, vertices, pred, pred_vertices), expected, curve


def test_all_twelve_numbers_are_the_official_ones(official):
    scores, expected, curve = scores_of(official)
    assert list(scores)[:12] == list(expected)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-5), name
    np.testing.assert_allclose(scores["pck_xyz_al"], curve, atol=1e-6)


@pytest.mark.parametrize("part", ["joints", "vertices"])
def test_a_hand_is_named_that_is_mirrored_in_its_joints_or_its_vertices_alone(official, part):
    gt = official[0][1][:6]
    mirrored = gt.copy()
    mirrored[4] *= [-1, 1, 1]
    predicted = (mirrored, gt) if part == "joints" else (gt, mirrored)
    with pytest.warns(UserWarning, match="of sample 4 .1 of 6. is a reflection"):
        metrics.freihand_scores(gt, gt, *predicted)


def test_honest_numbers_stand_beside_the_official_ones(official):
    scores, _, _ = scores_of(official)
    pred, gt, pred_vertices, vertices = official[0]
    ours = metrics.evaluate(pred, gt, pred_vertices, vertices)
    for name in ("pa_mpjpe_mm", "pa_mpvpe_mm", "pa_f_5mm", "pa_f_15mm", "auc_pa_50mm"):
        assert scores[name] == pytest.approx(ours[name], rel=1e-9), name
    assert scores["mpjpe_root_mm"] == pytest.approx(ours["mpjpe_root_mm"])
    proper = metrics.errors_mm(similarity_align(pred_vertices, vertices)[0], vertices)
    auc = metrics.area_under(metrics.pck(proper))
    assert scores["auc_pa_mesh_50mm"] == pytest.approx(auc) != scores["mesh_al_auc3d"]
    moved = pred_vertices - pred[:, ROOT : ROOT + 1] + gt[:, ROOT : ROOT + 1]
    assert scores["mpvpe_root_mm"] == pytest.approx(metrics.errors_mm(moved, vertices).mean())


def test_scale_and_translation_are_the_best(official):
    gt = official[0][1]
    scores = metrics.freihand_scores(gt, gt, 1.7 * gt + [0.3, 0, -0.2], 0.4 * gt)
    assert scores["mpjpe_st_mm"] == pytest.approx(0, abs=1e-9)
    assert scores["mpvpe_st_mm"] == pytest.approx(0, abs=1e-9)
    assert scores["mpjpe_root_mm"] > 1
    through_itself = metrics.scale_translation_align(-gt, gt)
    np.testing.assert_allclose(through_itself, gt.mean(1, keepdims=True) + 0 * gt, atol=1e-12)


def test_chunks_do_not_show(official, monkeypatch):
    pred, gt = official[0][:2]
    gt, pred = np.concatenate([gt] * 3)[:67], np.concatenate([pred] * 3)[:67]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunked = metrics.freihand_scores(gt, gt, pred, pred)
        monkeypatch.setattr("handlib.metrics.freihand.CHUNK", 1000)
        whole = metrics.freihand_scores(gt, gt, pred, pred)
    for name in whole:
        np.testing.assert_allclose(chunked[name], whole[name], atol=1e-9, err_msg=name)


def test_a_flat_hand_is_not_called_mirrored():
    rng = np.random.default_rng(0)
    flat = rng.normal(0, 0.04, (40, 21, 3)) * [1, 1, 0]
    mirrored = flat * [-1, 1, 1]  # the same as turned about the y axis
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = metrics.freihand_scores(flat, flat, mirrored, mirrored)
    assert scores["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_millimetres_are_noticed(official):
    gt = np.random.default_rng(0).normal(0, 0.03, (4, 21, 3))
    with pytest.warns(UserWarning, match="pred_xyz: .* these are millimetres"):
        metrics.freihand_scores(gt, gt, 1000 * gt, 1000 * gt)
    with pytest.raises(ValueError, match="lists of equally shaped hands"):
        metrics.freihand_scores(gt, gt, [[[0, 0, 0]], [[0, 0]]], gt)


def test_zero_predictions_have_scores(official):
    gt = official[0][1]
    scores = metrics.freihand_scores(gt, gt, 0 * gt, 0 * gt)
    assert scores["xyz_mean3d"] == pytest.approx(100 * np.linalg.norm(gt, axis=-1).mean())
    centred = gt - gt.mean(1, keepdims=True)
    assert scores["xyz_al_mean3d"] == pytest.approx(100 * np.linalg.norm(centred, axis=-1).mean())


def test_wrong_arrays_are_named(official):
    gt = official[0][1]
    with pytest.raises(ValueError, match="predictions of the same shapes"):
        metrics.freihand_scores(gt, gt, gt[1:], gt)
    with pytest.raises(ValueError, match="expected xyz"):
        metrics.freihand_scores(*[np.zeros((0, 21, 3))] * 4)
    broken = gt.copy()
    broken[5, 2, 0] = np.nan
    with pytest.raises(ValueError, match="pred_verts is not finite in sample 5,"):
        metrics.freihand_scores(gt, gt, gt, broken)
