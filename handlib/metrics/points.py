"""Distances between points, and what is counted of them."""

import numpy as np

from handlib.compiled import njit
from handlib.geometry import centroid
from handlib.joints import ROOT

# FreiHAND's official evaluation: 100 thresholds of 0-50 mm, "<=".
PCK_THRESHOLDS_MM = np.linspace(0, 50, 100)


def distances(pred, gt):
    """Distances (..., N) float64 between points (..., N, D), in their unit.

    Raises:
        ValueError: shapes differ. Broadcast, one hand would be compared with all others.
    """
    pred, gt = np.asarray(pred), np.asarray(gt)
    if pred.shape != gt.shape or not pred.ndim:
        raise ValueError(f"points are of one shape (..., N, D), not {pred.shape} and {gt.shape}")
    # numba has no numbers of half precision.
    rows = [
        points.reshape(-1, points.shape[-1]).astype(np.result_type(points, np.float32), copy=False)
        for points in (pred, gt)
    ]
    return _row_distances(*rows).reshape(pred.shape[:-1])


@njit(cache=True, nogil=True, error_model="numpy")
def _row_distances(pred, gt):
    """In one pass, where numpy takes three."""
    out = np.empty(len(pred))
    for i in range(len(pred)):
        squared = 0.0
        for axis in range(pred.shape[1]):
            difference = pred[i, axis] - gt[i, axis]
            squared += difference * difference
        out[i] = np.sqrt(squared)
    return out


def errors_mm(pred, gt):
    """Distances (..., N) in mm between points (..., N, 3) in metres; raises as ``distances``."""
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
    center = centroid(gt)
    pred = pred - centroid(pred)
    return best_scale(pred, gt - center) * pred + center


def pck(errors, thresholds=PCK_THRESHOLDS_MM):
    """Percentage of correct keypoints as a curve.

    Args:
        errors: (N, J) mm, NaN where there is no annotation; an infinite one is a miss.
        thresholds: (T,) mm, ascending.

    Returns:
        (T,) share of joints within each threshold, per joint and then averaged over joints.

    Raises:
        ValueError: other shapes, or no threshold.
    """
    errors, thresholds = np.asarray(errors, np.float64), np.asarray(thresholds, np.float64)
    if errors.ndim != 2 or thresholds.ndim != 1 or not len(thresholds):
        raise ValueError(
            f"expected errors (N, J) and thresholds (T,), got {errors.shape}, {thresholds.shape}"
        )
    known = (~np.isnan(errors)).sum(0)
    starts = _starts(errors, thresholds, 1 / np.maximum(known, 1))
    return starts.cumsum() / (known > 0).sum()


@njit(cache=True, nogil=True, error_model="numpy")
def _starts(errors, thresholds, shares):
    """The joints' shares summed at the threshold from which on each error counts; numpy's search
    takes several times longer because it does not guess that thresholds are evenly spaced."""
    last = len(thresholds) - 1
    starts = np.zeros(len(thresholds))
    slope = last / (thresholds[last] - thresholds[0]) if last else 0.0
    for n in range(errors.shape[0]):
        for j in range(errors.shape[1]):
            error = errors[n, j]
            if error <= thresholds[last]:  # neither too far nor NaN
                k = max(int((error - thresholds[0]) * slope), 0)
                while thresholds[k] < error:
                    k += 1
                while k > 0 and thresholds[k - 1] >= error:
                    k -= 1
                starts[k] += shares[j]
    return starts


def area_under(curve, thresholds=PCK_THRESHOLDS_MM):
    """Area under curves (..., T) by the trapezoid rule, as a share of the whole."""
    curve, steps = np.asarray(curve), np.diff(thresholds)
    return (curve[..., 1:] + curve[..., :-1]) @ steps / (2 * steps.sum())
