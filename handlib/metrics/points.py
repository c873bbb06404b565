"""Distances between points, and what is counted of them."""

import numpy as np
from scipy.integrate import trapezoid

from handlib.joints import ROOT

# FreiHAND's official evaluation: 100 thresholds of 0-50 mm, "<=".
PCK_THRESHOLDS_MM = np.linspace(0, 50, 100)


def distances(pred, gt):
    """Distances (..., N) between points (..., N, D), in their unit."""
    difference = pred - gt
    # numpy's norm and mean are several times slower along a short axis.
    return np.sqrt(np.einsum("...d,...d->...", difference, difference))


def errors_mm(pred, gt):
    """Distances (..., N) in mm between points (..., N, 3) in metres."""
    return 1000 * distances(pred, gt)


def is_annotated(points):
    """(...) bool: whether the points (..., N, D) are all known (not NaN)."""
    return np.isfinite(points).all((-2, -1))


def root_relative(joints):
    """Joints (..., 21, 3) relative to joint ``joints.ROOT``."""
    return joints - joints[..., ROOT : ROOT + 1, :]


def best_scale(pred, gt):
    """The factors (..., 1, 1) that bring ``pred`` (..., N, 3) nearest to ``gt`` in the
    least-squares sense; never negative, which would mirror a hand."""
    common = np.einsum("...nd,...nd->...", pred, gt)[..., None, None]
    power = np.einsum("...nd,...nd->...", pred, pred)[..., None, None]
    return np.maximum(common, 0) / np.where(power > 0, power, 1)


def scale_translation_align(pred, gt):
    """``pred`` (..., N, 3) scaled and moved, not turned, onto ``gt``; least squares."""
    center = _center(gt)
    pred = pred - _center(pred)
    return best_scale(pred, gt - center) * pred + center


def _center(points):
    return np.einsum("...nd->...d", points)[..., None, :] / points.shape[-2]


def pck(errors, thresholds=PCK_THRESHOLDS_MM):
    """Percentage of correct keypoints as a curve.

    Args:
        errors: (N, J) mm, NaN where there is no annotation.
        thresholds: (T,) mm, ascending.

    Returns:
        (T,) share of joints within each threshold, per joint and then averaged over joints.
    """
    errors = np.asarray(errors)
    known = np.isfinite(errors).sum(0)
    share = np.broadcast_to(1 / np.maximum(known, 1), errors.shape)
    # Where each error starts to count; NaN sorts behind all thresholds.
    first = np.searchsorted(thresholds, errors)
    starts = np.bincount(first.ravel(), share.ravel(), len(thresholds) + 1)
    return starts[:-1].cumsum() / (known > 0).sum()


def area_under(curve, thresholds=PCK_THRESHOLDS_MM):
    """Area under curves (..., T) by the trapezoid rule, as a share of the whole."""
    return trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0])
