"""Metrics of each sample, and their means."""

import numpy as np

from handlib.geometry import similarity_align
from handlib.joints import ROOT
from handlib.metrics.points import (
    PCK_THRESHOLDS_MM,
    area_under,
    best_scale,
    distances,
    errors_mm,
    is_annotated,
    root_relative,
)
from handlib.metrics.surface import F_THRESHOLDS_MM, f_scores


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
    pred_root=None,
    allow_reflection=False,
):
    """Metrics of every sample.

    Args:
        pred_joints, gt_joints: (N, 21, 3) metres, FreiHAND's order, in any frame they share the
            orientation of.
        pred_vertices, gt_vertices: (N, V, 3) metres, or None.
        pred_2d, gt_2d: (N, 21, 2) px, or None.
        pred_root: (N, 3) metres, where joint ``joints.ROOT`` is in the camera frame of
            ``gt_joints``; NaN where that is not known. Or None.
        allow_reflection: align with reflections too, as FreiHAND's official evaluation does.

    Returns:
        dict of metric -> (N,) float64, NaN where a sample lacks the annotation (NaN in ``gt_*``):
        ``mpjpe_root_mm``, ``mpjpe_scale_mm``, ``pa_mpjpe_mm`` (mean joint error), ``pa_mpvpe_mm``
        (the same of the vertices, aligned on themselves), ``auc_root_50mm``, ``auc_pa_50mm`` (area
        under the PCK curve of 0-50 mm), ``pa_f_5mm``, ``pa_f_15mm`` (F-score of the surfaces),
        ``error_2d_px``; ``mpjpe_abs_mm`` (joints where they are in the camera frame) and
        ``root_abs_mm`` (joint ``joints.ROOT`` alone). Metrics whose arrays were not given are left
        out.

    Raises:
        ValueError: shapes differ, or a prediction is not finite where there is an annotation.
    """

    def joints_3d(pred, gt):
        aligned, _ = similarity_align(pred, gt, allow_reflection)
        return _joint_scores(pred, gt, aligned)

    def vertices_3d(pred, gt):
        aligned, _ = similarity_align(pred, gt, allow_reflection)
        scores = {"pa_mpvpe_mm": errors_mm(aligned, gt).mean(1)}
        columns = f_scores(aligned, gt).T
        return scores | {f"pa_f_{t}mm": f for t, f in zip(F_THRESHOLDS_MM, columns)}

    def joints_2d(pred, gt):
        return {"error_2d_px": distances(pred, gt).mean(1)}

    scores = _where_annotated(joints_3d, pred_joints, gt_joints, "joints")
    if pred_vertices is not None and gt_vertices is not None:
        scores |= _where_annotated(vertices_3d, pred_vertices, gt_vertices, "vertices")
    if pred_2d is not None and gt_2d is not None:
        scores |= _where_annotated(joints_2d, pred_2d, gt_2d, "2D joints")
    if pred_root is not None:
        scores |= _absolute_scores(pred_joints, gt_joints, pred_root)
    return scores


def summarise(scores):
    """Means of ``per_sample``'s metrics as floats; a metric that no sample has is left out."""
    return {
        name: float(np.nanmean(values))
        for name, values in scores.items()
        if np.isfinite(values).any()
    }


def _where_annotated(scores_of, pred, gt, name):
    """Apply ``scores_of`` to the annotated samples; NaN for the others."""
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    if pred.shape != gt.shape:
        raise ValueError(f"{name}: predictions are {pred.shape}, annotations {gt.shape}")
    known = is_annotated(gt)
    if not np.isfinite(pred[known]).all():
        raise ValueError(f"{name}: a prediction is not finite, so there is no score")
    scores = {}
    for metric, values in scores_of(pred[known], gt[known]).items():
        scores[metric] = np.full(len(gt), np.nan)
        scores[metric][known] = values
    return scores


def _joint_scores(pred, gt, aligned):
    pred, gt_root = root_relative(pred), root_relative(gt)
    rooted, pa = errors_mm(pred, gt_root), errors_mm(aligned, gt)
    return {
        "mpjpe_root_mm": rooted.mean(1),
        "mpjpe_scale_mm": errors_mm(best_scale(pred, gt_root) * pred, gt_root).mean(1),
        "pa_mpjpe_mm": pa.mean(1),
        "auc_root_50mm": _sample_auc(rooted),
        "auc_pa_50mm": _sample_auc(pa),
    }


def _absolute_scores(pred_joints, gt_joints, pred_root):
    """Errors of position; NaN for a sample whose camera or joints are not known."""
    placed = root_relative(np.asarray(pred_joints, np.float64)) + np.asarray(pred_root)[:, None]
    errors = errors_mm(placed, np.asarray(gt_joints, np.float64))
    return {"mpjpe_abs_mm": errors.mean(1), "root_abs_mm": errors[:, ROOT]}


def _sample_auc(errors):
    """Each sample's share (N,) of the area; the mean over samples is the area of their PCK."""
    return area_under((errors[..., None] <= PCK_THRESHOLDS_MM).mean(1))
