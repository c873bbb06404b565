import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handlib import metrics
from handlib.geometry import mirror_points, similarity_align
from handlib.joints import ROOT

RNG = np.random.default_rng(0)


def hands(n=3, points=21, seed=0):
    return np.random.default_rng(seed).normal(0, 0.04, (n, points, 3)) + [0, 0, 0.6]


def moved(points, scale=1.0, shift=(0.1, -0.2, 0.3), seed=1):
    turn = Rotation.random(len(points), random_state=seed).as_matrix()
    return scale * points @ turn.transpose(0, 2, 1) + np.array(shift)


def test_alignments_remove_what_their_names_say():
    gt, vertices = hands(), hands(points=100, seed=2)
    turned = metrics.evaluate(moved(gt, 1.3), gt, moved(vertices, 1.3), vertices)
    for name in ("pa_mpjpe_mm", "pa_mpvpe_mm"):
        assert turned[name] == pytest.approx(0, abs=1e-9)
    assert turned["pa_f_5mm"] == 1
    # Rounding leaves no error at exactly 0 mm, the first threshold: half a step of 99.
    assert turned["auc_pa_50mm"] == pytest.approx(1, abs=0.0051)
    assert turned["mpjpe_root_mm"] > 10
    scaled = metrics.evaluate(1.3 * gt + 0.2, gt)
    assert scaled["mpjpe_scale_mm"] == pytest.approx(0, abs=1e-9)
    assert scaled["mpjpe_root_mm"] > 5
    shifted = metrics.evaluate(gt + 0.2, gt)
    assert shifted["mpjpe_root_mm"] == pytest.approx(0, abs=1e-9)
    assert shifted["auc_root_50mm"] == pytest.approx(1, abs=0.0051)
    mirrored = metrics.evaluate(gt * [-1, 1, 1], gt)
    assert mirrored["pa_mpjpe_mm"] > 5
    allowed = metrics.evaluate(gt * [-1, 1, 1], gt, allow_reflection=True)
    assert allowed["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-9)


def test_closed_forms():
    gt = hands(2)
    pred = gt.copy()
    pred[:, 8, 0] += [0.010, 0.050]  # one joint of 21 off by 10 and 50 mm
    pred_2d, gt_2d = np.zeros((2, 21, 2)), np.zeros((2, 21, 2))
    pred_2d[1] = [3, 4]
    scores = metrics.per_sample(pred, gt, pred_2d=pred_2d, gt_2d=gt_2d)
    np.testing.assert_allclose(scores["mpjpe_root_mm"], [10 / 21, 50 / 21])
    np.testing.assert_allclose(scores["error_2d_px"], [0, 5])
    # within t >= 10 mm: thresholds 20..99 of 100, half a step counted at the jump
    expected = [(20 + (79 + 0.5) / 99) / 21, (20 + 0.5 / 99) / 21]
    np.testing.assert_allclose(scores["auc_root_50mm"], expected, atol=1e-9)
    assert "pa_mpvpe_mm" not in scores


def test_absolute_errors_tell_where_the_hand_is():
    gt = hands(3)
    root = gt[:, ROOT] + [[0, 0, 0], [0.003, 0, 0.004], [np.nan] * 3]
    gt[0] = np.nan
    pred = metrics.root_relative(np.nan_to_num(gt, nan=0.1))
    scores = metrics.per_sample(pred, gt, pred_root=root)
    np.testing.assert_allclose(scores["mpjpe_abs_mm"], [np.nan, 5, np.nan], atol=1e-9)
    np.testing.assert_allclose(scores["root_abs_mm"], [np.nan, 5, np.nan], atol=1e-9)
    assert scores["mpjpe_root_mm"][2] == pytest.approx(0, abs=1e-9)
    assert metrics.summarise(scores)["mpjpe_abs_mm"] == pytest.approx(5)


def test_f_scores_of_known_distances():
    grid = np.stack(np.meshgrid(*[np.arange(4) * 0.1] * 3), -1).reshape(1, -1, 3)
    pred = grid.copy()
    pred[0, ::2] += 0.006  # half of the points 10.4 mm away
    np.testing.assert_allclose(metrics.f_scores(pred, grid), [[0.5, 1.0]])
    assert metrics.f_scores(grid + 0.03, grid).tolist() == [[0, 0]]


def test_samples_count_only_for_what_they_have():
    gt, vertices = hands(4), hands(4, 50, seed=3)
    gt[1], vertices[2] = np.nan, np.nan
    gt[3, :11, 0] = np.nan  # a coordinate of eleven joints: too few are left
    pred, pred_vertices = hands(4, seed=8), hands(4, 50, seed=9)
    scores = metrics.per_sample(pred, gt, pred_vertices, vertices)
    assert np.isnan(scores["pa_mpjpe_mm"]).tolist() == [False, True, False, True]
    assert np.isnan(scores["pa_f_5mm"]).tolist() == [False, False, True, False]
    alone = metrics.per_sample(pred[:1], gt[:1])["pa_mpjpe_mm"][0]
    assert scores["pa_mpjpe_mm"][0] == pytest.approx(alone)
    summary = metrics.summarise(scores)
    assert summary["pa_mpjpe_mm"] == pytest.approx(np.nanmean(scores["pa_mpjpe_mm"]))
    assert metrics.evaluate(pred, gt * np.nan) == {}
    errors = metrics.errors_mm(pred, gt)
    assert metrics.pck(errors, np.array([1e6])) == pytest.approx([1.0])


def test_a_hand_counts_for_the_joints_that_are_known():
    """As if there were no others; as InterHand2.6M's own evaluation has it."""
    gt, pred = hands(5), hands(5, seed=8)
    planar = RNG.uniform(0, 100, (2, 5, 21, 2))
    joints = {1: [20], 2: [20], 3: [ROOT, 3, 4], 4: range(1, 12)}
    for row, some in joints.items():
        gt[row, some] = planar[1, row, some] = np.nan
        pred[row, some] = np.nan  # what nobody can check is no matter
    root = RNG.normal(0, 0.1, (5, 3))
    pred[3, ROOT] = 0.5
    scores = metrics.per_sample(pred, gt, None, None, *planar, root)
    whole = metrics.per_sample(pred[:1], gt[:1], None, None, *planar[:, :1], root[:1])
    assert list(scores) == list(whole)
    for name, values in scores.items():
        assert values[0] == whole[name]
    for row, some in joints.items():
        known = np.setdiff1d(np.arange(21), some)
        apart = np.linalg.norm(planar[0, row, known] - planar[1, row, known], axis=-1)
        assert scores["error_2d_px"][row] == pytest.approx(apart.mean())
        here, there = pred[row, known], gt[row, known]
        aligned, _ = similarity_align(here, there)
        expected = 1000 * np.linalg.norm(aligned - there, axis=-1)
        if row == 4:  # ten
            assert np.isnan([v[row] for n, v in scores.items() if n[:4] in ("mpjp", "pa_m")]).all()
            continue
        assert scores["pa_mpjpe_mm"][row] == pytest.approx(expected.mean())
        assert scores["auc_pa_50mm"][row] == pytest.approx(
            metrics.area_under(metrics.pck(expected[:, None]))
        )
        placed = here - pred[row, ROOT] + root[row]
        apart = 1000 * np.linalg.norm(placed - there, axis=-1)
        assert scores["mpjpe_abs_mm"][row] == pytest.approx(apart.mean())
        rooted = here - pred[row, ROOT] - (there - gt[row, ROOT])
        assert scores["mpjpe_root_mm"][row] == pytest.approx(
            1000 * np.linalg.norm(rooted, axis=-1).mean(), nan_ok=True
        )
        assert np.isnan(scores["mpjpe_root_mm"][row]) == (row == 3)


def test_aligned_errors_are_those_of_the_score_joint_by_joint():
    gt, pred = hands(5), hands(5, seed=8)
    gt[1, 20] = gt[2, [ROOT, 3]] = gt[3, 1:12] = np.nan
    errors = metrics.aligned_errors_mm(pred, gt)
    known = np.isfinite(gt).all(-1)
    known[3] = False  # ten are too few to align
    np.testing.assert_array_equal(np.isfinite(errors), known)
    scores = metrics.per_sample(pred, gt)["pa_mpjpe_mm"]
    some = [0, 1, 2, 4]
    np.testing.assert_allclose(np.nanmean(errors[some], 1), scores[some])
    mirrored = metrics.aligned_errors_mm(mirror_points(gt), gt, allow_reflection=True)
    np.testing.assert_allclose(mirrored[known], 0, atol=1e-9)
    assert np.isnan(metrics.aligned_errors_mm(pred, gt * np.nan)).all()


def test_a_prediction_that_is_not_finite_is_an_error_not_a_gap():
    gt, pred = hands(), hands(seed=5)
    pred[1, 3] = np.inf
    with pytest.raises(ValueError, match="joints: a prediction is not finite"):
        metrics.evaluate(pred, gt)
    gt[1] = np.nan
    assert np.isfinite(metrics.evaluate(pred, gt)["pa_mpjpe_mm"])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="predictions are"):
        metrics.evaluate(hands(3), hands(2))


def test_best_constant_scale_is_the_best():
    hand = hands(1)[0]
    factors = np.array([0.8, 1.1, 1.25])
    truth = moved(factors[:, None, None] * hand + RNG.normal(0, 0.004, (3, 21, 3)))
    scale = metrics.best_constant_scale(hand, np.concatenate([truth, truth[:1] * np.nan]))
    assert scale == pytest.approx(factors.mean(), abs=0.05)

    def error(s):
        hand_s = np.broadcast_to(s * hand, truth.shape)
        aligned, _ = similarity_align(hand_s, truth, with_scale=False)
        return np.square(aligned - truth).sum()

    assert error(scale) < min(error(scale * 0.999), error(scale * 1.001))
    with pytest.raises(ValueError, match="no hand"):
        metrics.best_constant_scale(hand, truth * np.nan)


def test_baselines_score_one_fixed_hand():
    hand, vertices = hands(1)[0], hands(1, 60, seed=4)[0]
    gt, gt_vertices = moved(np.stack([hand, hand]), 1.2), moved(np.stack([vertices] * 2), 1.2)
    rows = metrics.baselines(hand, vertices, gt, gt_vertices)
    plain, scaled = rows["mean pose"], rows["mean pose, best constant scale"]
    for row in rows.values():
        assert row["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-9)
        assert row["pa_f_5mm"] == 1
    assert plain["mpjpe_root_mm"] != scaled["mpjpe_root_mm"]
    unturned = metrics.baselines(hand, vertices, 1.2 * np.stack([hand, hand]))
    assert unturned["mean pose, best constant scale"]["mpjpe_root_mm"] == pytest.approx(0, abs=1e-9)
    assert unturned["mean pose"]["mpjpe_root_mm"] > 1
    elsewhere = metrics.baselines(hand, vertices, gt, fit_joints=gt / 1.2)
    # An error of rounding is at most 0 mm on one processor, and not on another: areas are near.
    near = pytest.approx(elsewhere["mean pose"], rel=1e-3, abs=1e-9)
    assert elsewhere["mean pose, best constant scale"] == near


def test_root_relative_puts_the_root_at_the_origin():
    assert np.abs(metrics.root_relative(hands())[:, ROOT]).max() == 0


@pytest.mark.parametrize("thresholds", [np.linspace(0, 50, 100), [0.0, 1, 7, 7.5, 40], [12.0]])
def test_curves_count_errors_within_thresholds(thresholds):
    errors = np.random.default_rng(0).choice([0, 1, 7, 7.2, 12, 40, 90, -0.0, np.nan], (50, 21))
    expected = [np.nanmean(np.where(np.isnan(errors), np.nan, errors <= t)) for t in thresholds]
    known = np.isfinite(errors)
    per_joint = [((errors <= t) & known).sum(0) / known.sum(0) for t in thresholds]
    np.testing.assert_allclose(metrics.pck(errors, thresholds), np.mean(per_joint, 1), atol=1e-12)
    np.testing.assert_allclose(metrics.pck(errors.reshape(-1, 1), thresholds), expected, atol=1e-12)


def test_an_infinite_error_is_a_miss():
    assert metrics.pck([[1, np.inf], [2, 3]])[-1] == 0.75
    assert metrics.pck([[1, np.nan], [2, 3]])[-1] == 1


@pytest.mark.parametrize(("errors", "thresholds"), [([1.0, 2], [1.0]), ([[1.0, 2]], [])])
def test_curves_of_other_shapes_are_refused(errors, thresholds):
    with pytest.raises(ValueError, match=r"expected errors \(N, J\) and thresholds \(T,\), got"):
        metrics.pck(errors, thresholds)


def test_errors_are_of_points_of_one_shape():
    joints = hands(2)
    for other in (joints[..., :1], joints[:1], joints[0]):
        shapes = re.escape(f"not {joints.shape} and {other.shape}")
        with pytest.raises(ValueError, match=shapes):
            metrics.errors_mm(joints, other)


def test_errors_of_half_precision_are_those_of_the_same_numbers():
    half = hands(2).astype(np.float16)
    expected = 1000 * np.linalg.norm(half.astype(float) - 0.5, axis=-1)
    errors = metrics.errors_mm(half, np.full_like(half, 0.5))
    np.testing.assert_allclose(errors, expected, rtol=1e-5)
