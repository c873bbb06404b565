"""What is reported of predicted hands, in numpy; alignment and unit are in each metric's name.

Arrays go in in metres and pixels; names that end in ``_mm`` are millimetres. In a name, ``root``
means both hands moved to joint ``joints.ROOT``, ``scale`` also the best scale of each sample, and
``pa`` (Procrustes-aligned) the best similarity of each sample: with a proper rotation, so that a
mirrored hand stays wrong. Aligned numbers say nothing about where the hand is.
"""

import numpy as np
from scipy.integrate import trapezoid
from scipy.spatial import cKDTree

from handlib.geometry import similarity_align
from handlib.joints import ROOT

# FreiHAND's official evaluation: 100 thresholds of 0-50 mm, "<=".
PCK_THRESHOLDS_MM = np.linspace(0, 50, 100)
F_THRESHOLDS_MM = (5, 15)


def evaluate(*args, **kwargs):
    """Mean of each metric over the samples that have it; arguments as ``per_sample``."""
    return summarise(per_sample(*args, **kwargs))


def per_sample(
    pred_joints,
    gt_joints,
    pred_vertices=None,
    gt_vertices=None,
    pred_2d=None,
    gt_2d=None,
    allow_reflection=False,
):
    """Metrics of every sample.

    Args:
        pred_joints, gt_joints: (N, 21, 3) metres, FreiHAND's order, in any frame they share the
            orientation of.
        pred_vertices, gt_vertices: (N, V, 3) metres, or None.
        pred_2d, gt_2d: (N, 21, 2) px, or None.
        allow_reflection: align with reflections too, as FreiHAND's official evaluation does.

    Returns:
        dict of metric -> (N,) float64, NaN where a sample lacks the annotation (NaN in ``gt_*``):
        ``mpjpe_root_mm``, ``mpjpe_scale_mm``, ``pa_mpjpe_mm`` (mean joint error), ``pa_mpvpe_mm``
        (the same of the vertices, aligned on themselves), ``auc_root_50mm``, ``auc_pa_50mm`` (area
        under the PCK curve of 0-50 mm), ``pa_f_5mm``, ``pa_f_15mm`` (F-score of the surfaces),
        ``error_2d_px``. Metrics whose arrays were not given are left out.

    Raises:
        ValueError: shapes differ, or a prediction is not finite where there is an annotation.
    """

    def joints_3d(pred, gt):
        aligned, _ = similarity_align(pred, gt, allow_reflection)
        return _joint_scores(pred, gt, aligned)

    def vertices_3d(pred, gt):
        aligned, _ = similarity_align(pred, gt, allow_reflection)
        return {"pa_mpvpe_mm": errors_mm(aligned, gt).mean(1)} | _f_scores(aligned, gt)

    def joints_2d(pred, gt):
        return {"error_2d_px": _distances(pred, gt).mean(1)}

    scores = _where_annotated(joints_3d, pred_joints, gt_joints, "joints")
    if pred_vertices is not None and gt_vertices is not None:
        scores |= _where_annotated(vertices_3d, pred_vertices, gt_vertices, "vertices")
    if pred_2d is not None and gt_2d is not None:
        scores |= _where_annotated(joints_2d, pred_2d, gt_2d, "2D joints")
    return scores


def summarise(scores):
    """Means of ``per_sample``'s metrics as floats; a metric that no sample has is left out."""
    return {
        name: float(np.nanmean(values))
        for name, values in scores.items()
        if np.isfinite(values).any()
    }


def errors_mm(pred, gt):
    """Distances (..., N) in mm between points (..., N, 3) in metres."""
    return 1000 * _distances(pred, gt)


def root_relative(joints):
    """Joints (..., 21, 3) relative to joint ``joints.ROOT``."""
    return joints - joints[..., ROOT : ROOT + 1, :]


def pck(errors, thresholds=PCK_THRESHOLDS_MM):
    """Percentage of correct keypoints as a curve.

    Args:
        errors: (N, J) mm, NaN where there is no annotation.
        thresholds: (T,) mm.

    Returns:
        (T,) share of joints within each threshold, per joint and then averaged over joints.
    """
    errors = np.asarray(errors)
    within = errors[..., None] <= np.asarray(thresholds)
    known = np.isfinite(errors).sum(0)[:, None]
    return (within.sum(0) / np.maximum(known, 1))[known[:, 0] > 0].mean(0)


def area_under(curve, thresholds=PCK_THRESHOLDS_MM):
    """Area under curves (..., T) by the trapezoid rule, as a share of the whole."""
    return trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0])


# -- baselines -------------------------------------------------------------------------------
def baselines(hand_joints, hand_vertices, gt_joints, gt_vertices=None, fit_joints=None):
    """What one fixed hand scores: a model that has not beaten it has learned nothing.

    Args:
        hand_joints, hand_vertices: (21, 3) and (V, 3) metres: a hand model's mean pose.
        gt_joints, gt_vertices: as in ``per_sample``.
        fit_joints: (M, 21, 3) metres: the training set's joints, on which the constant scale is
            found; None: the evaluated ones.

    Returns:
        dict of "mean pose" and "mean pose, best constant scale" -> metrics as ``evaluate``'s.
    """
    scale = best_constant_scale(hand_joints, gt_joints if fit_joints is None else fit_joints)
    rows = {"mean pose": 1.0, "mean pose, best constant scale": scale}
    results = {}
    for name, factor in rows.items():
        joints = np.broadcast_to(factor * hand_joints, gt_joints.shape)
        vertices = None
        if gt_vertices is not None:
            vertices = np.broadcast_to(factor * hand_vertices, gt_vertices.shape)
        results[name] = evaluate(joints, gt_joints, vertices, gt_vertices)
    return results


def best_constant_scale(hand_joints, joints):
    """The one factor that makes a fixed hand (21, 3) fit hands (N, 21, 3) best, each hand turned
    and moved freely: the least-squares scales of Umeyama 1991 have the same denominator, so that
    the best common one is their mean. Hands with NaN are left out."""
    joints = joints[_is_annotated(joints)]
    if not len(joints):
        raise ValueError("no hand with joints to find a scale on")
    hand = np.broadcast_to(hand_joints, joints.shape)
    aligned, _ = similarity_align(hand, joints)
    return float(np.mean(_spread(aligned) / _spread(hand)))


def _spread(points):
    return np.linalg.norm(points - points.mean(-2, keepdims=True), axis=(-2, -1))


# -- parts -----------------------------------------------------------------------------------
def _where_annotated(scores_of, pred, gt, name):
    """Apply ``scores_of`` to the annotated samples; NaN for the others."""
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    if pred.shape != gt.shape:
        raise ValueError(f"{name}: predictions are {pred.shape}, annotations {gt.shape}")
    known = _is_annotated(gt)
    if not np.isfinite(pred[known]).all():
        raise ValueError(f"{name}: a prediction is not finite, so there is no score")
    scores = {}
    for metric, values in scores_of(pred[known], gt[known]).items():
        scores[metric] = np.full(len(gt), np.nan)
        scores[metric][known] = values
    return scores


def _is_annotated(points):
    return np.isfinite(points).all((-2, -1))


def _distances(pred, gt):
    return np.linalg.norm(pred - gt, axis=-1)


def _joint_scores(pred, gt, aligned):
    pred, gt_root = root_relative(pred), root_relative(gt)
    power = (pred * pred).sum((1, 2))
    scale = (pred * gt_root).sum((1, 2)) / np.where(power > 0, power, 1)
    rooted, pa = errors_mm(pred, gt_root), errors_mm(aligned, gt)
    return {
        "mpjpe_root_mm": rooted.mean(1),
        "mpjpe_scale_mm": errors_mm(scale[:, None, None] * pred, gt_root).mean(1),
        "pa_mpjpe_mm": pa.mean(1),
        "auc_root_50mm": _sample_auc(rooted),
        "auc_pa_50mm": _sample_auc(pa),
    }


def _sample_auc(errors):
    """Each sample's share (N,) of the area; the mean over samples is the area of their PCK."""
    return area_under((errors[..., None] <= PCK_THRESHOLDS_MM).mean(1))


def _f_scores(pred, gt):
    """F-scores of nearest-neighbour distances between point sets (Knapitsch et al. 2017)."""
    scores = np.zeros((len(F_THRESHOLDS_MM), len(gt)))
    limits = np.array(F_THRESHOLDS_MM)[:, None] / 1000
    for i, (p, g) in enumerate(zip(pred, gt)):
        precision = (cKDTree(g).query(p)[0] < limits).mean(1)
        recall = (cKDTree(p).query(g)[0] < limits).mean(1)
        total = precision + recall
        scores[:, i] = 2 * precision * recall / np.where(total > 0, total, 1)
    return {f"pa_f_{t}mm": row for t, row in zip(F_THRESHOLDS_MM, scores)}
