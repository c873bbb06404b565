"""Metrics of each sample, and their means."""

import numpy as np

from handlib.geometry import similarity_align
from handlib.joints import ENOUGH_JOINTS, ROOT
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


class NotFinite(ValueError):
    """Predictions that have no score: some of their numbers are not finite."""


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
        dict of metric -> (N,) float64, NaN where a sample lacks the annotation (NaN in ``gt_*``).
        Of a hand some of whose joints are known these count: in 3D from ``ENOUGH_JOINTS`` on (an
        alignment fits a few points whatever they are), relative to the root where that is one.
        ``mpjpe_root_mm``, ``mpjpe_scale_mm``, ``pa_mpjpe_mm`` (mean joint error), ``pa_mpvpe_mm``
        (the same of the vertices, aligned on themselves), ``auc_root_50mm``, ``auc_pa_50mm`` (area
        under the PCK curve of 0-50 mm), ``pa_f_5mm``, ``pa_f_15mm`` (F-score of the surfaces),
        ``error_2d_px``; ``mpjpe_abs_mm`` (joints where they are in the camera frame) and
        ``root_abs_mm`` (joint ``joints.ROOT`` alone). Metrics whose arrays were not given are left
        out.

    Raises:
        ValueError: shapes differ; NotFinite: a prediction is not where there is an annotation.
    """

    def joints_3d(pred, gt, known):
        pa = _aligned_mm(pred, gt, known, allow_reflection)[:, known]
        rooted = _rooted_scores(pred, gt, known) if known[ROOT] else {}
        return rooted | {"pa_mpjpe_mm": pa.mean(1), "auc_pa_50mm": _sample_auc(pa)}

    def vertices_3d(pred, gt, known):
        aligned, _ = similarity_align(pred, gt, allow_reflection)
        scores = {"pa_mpvpe_mm": errors_mm(aligned, gt).mean(1)}
        columns = f_scores(aligned, gt).T
        return scores | {f"pa_f_{t}mm": f for t, f in zip(F_THRESHOLDS_MM, columns)}

    def joints_2d(pred, gt, known):
        return {"error_2d_px": distances(pred[:, known], gt[:, known]).mean(1)}

    scores = _where_annotated(joints_3d, pred_joints, gt_joints, "joints", ENOUGH_JOINTS)
    if pred_vertices is not None and gt_vertices is not None:
        scores |= _where_annotated(vertices_3d, pred_vertices, gt_vertices, "vertices")
    if pred_2d is not None and gt_2d is not None:
        scores |= _where_annotated(joints_2d, pred_2d, gt_2d, "2D joints", 1)
    if pred_root is not None:
        scores |= _absolute_scores(pred_joints, gt_joints, pred_root)
    return scores


def aligned_errors_mm(pred_joints, gt_joints, allow_reflection=False):
    """What ``pa_mpjpe_mm`` is the mean of, joint by joint.

    Args:
        pred_joints, gt_joints, allow_reflection: as in ``per_sample``.

    Returns:
        (N, 21) mm, each hand aligned on those of its joints that are known; NaN for the others, and
        for hands with fewer than ``ENOUGH_JOINTS``.
    """

    def errors(pred, gt, known):
        return {"errors": _aligned_mm(pred, gt, known, allow_reflection)}

    return _where_annotated(errors, pred_joints, gt_joints, "joints", ENOUGH_JOINTS)["errors"]


def summarise(scores):
    """Means of ``per_sample``'s metrics as floats; a metric that no sample has is left out."""
    return {
        name: float(np.nanmean(values))
        for name, values in scores.items()
        if np.isfinite(values).any()
    }


def _where_annotated(scores_of, pred, gt, name, enough=None):
    """Scores of the annotated samples; NaN for the others.

    Args:
        scores_of: function (pred (n, P, D), gt, known (P,) bool) -> dict of metric -> (n, ...).
        enough: points that must be known; None: all.
    """
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    if pred.shape != gt.shape:
        raise ValueError(f"{name}: predictions are {pred.shape}, annotations {gt.shape}")
    complete = is_annotated(gt)
    # First those that miss nothing, be there any or not: they have every metric.
    groups = {(True,) * gt.shape[1]: complete}
    if enough is not None and not complete.all():
        known = np.isfinite(gt).all(-1)
        parts = ~complete & (known.sum(1) >= enough)
        for pattern in np.unique(known[parts], axis=0):
            groups[tuple(pattern)] = parts & (known == pattern).all(1)
    scores = {}
    for pattern, rows in groups.items():
        known, said = np.array(pattern), pred[rows]
        if not np.isfinite(said).all((0, 2))[known].all():
            raise NotFinite(f"{name}: a prediction is not finite, so there is no score")
        for metric, values in scores_of(said, gt[rows], known).items():
            of_all = scores.setdefault(metric, np.full((len(gt), *values.shape[1:]), np.nan))
            of_all[rows] = values
    return scores


def _aligned_mm(pred, gt, known, allow_reflection):
    """Errors (n, P) in mm of points that are aligned on the known ones; NaN for the others."""
    errors = np.full(gt.shape[:2], np.nan)
    aligned, _ = similarity_align(pred[:, known], gt[:, known], allow_reflection)
    errors[:, known] = errors_mm(aligned, gt[:, known])
    return errors


def _rooted_scores(pred, gt, known):
    pred, gt = root_relative(pred)[:, known], root_relative(gt)[:, known]
    rooted = errors_mm(pred, gt)
    return {
        "mpjpe_root_mm": rooted.mean(1),
        "mpjpe_scale_mm": errors_mm(best_scale(pred, gt) * pred, gt).mean(1),
        "auc_root_50mm": _sample_auc(rooted),
    }


def _absolute_scores(pred_joints, gt_joints, pred_root):
    """Errors of position; NaN for a sample whose camera is not known, or too few of its joints."""
    placed = root_relative(np.asarray(pred_joints, np.float64)) + np.asarray(pred_root)[:, None]
    errors = errors_mm(placed, np.asarray(gt_joints, np.float64))
    mean, enough = np.full(len(errors), np.nan), np.isfinite(errors).sum(1) >= ENOUGH_JOINTS
    mean[enough] = np.nanmean(errors[enough], 1)
    return {"mpjpe_abs_mm": mean, "root_abs_mm": errors[:, ROOT]}


def _sample_auc(errors):
    """Each sample's share (N,) of the area; the mean over samples is the area of their PCK."""
    return area_under((errors[..., None] <= PCK_THRESHOLDS_MM).mean(1))
