"""Errors and PCK curves of each joint and finger, with bootstrap confidence intervals.

As Boukhayma et al. 2019 (arXiv 1902.03451) report: 3D errors root-aligned.
"""

from typing import NamedTuple

import numpy as np

from handlib.joints import FINGER_JOINTS, JOINT_NAMES, N_JOINTS
from handlib.metrics.points import (
    PCK_THRESHOLDS_MM,
    area_under,
    distances,
    errors_mm,
    root_relative,
)

PX_THRESHOLDS = np.linspace(0, 30, 100)
# Zimmermann & Brox's range, the paper's on STB.
PCK_20_50_THRESHOLDS_MM = np.linspace(20, 50, 100)
PARTS = {
    "all": tuple(range(N_JOINTS)),
    **FINGER_JOINTS,
    **{name: (i,) for i, name in enumerate(JOINT_NAMES)},
}


class Interval(NamedTuple):
    """A number or an array, and the bounds of its confidence interval."""

    value: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray

    def __str__(self):
        if np.ndim(self.value):
            return repr(self)
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def paper_intervals(pred_joints, gt_joints, pred_2d=None, gt_2d=None, **options):
    """Evaluation as the paper did it.

    Args:
        pred_joints, gt_joints: (N, 21, 3) metres; NaN where there is no annotation.
        pred_2d, gt_2d: (N, 21, 2) px of the image in which 30 px are meant, or None.
        options: of ``keypoint_intervals``: ``groups``, ``draws``, ``confidence``, ``seed``.

    Returns:
        dict of "root_50mm" (thresholds of 0-50 mm), "root_20_50mm" and, with 2D joints, "2d_30px"
        -> what ``keypoint_intervals`` returns. The root itself counts, with error 0.

    Raises:
        ValueError: shapes that do not agree, or a prediction that is not finite.
    """
    pred_joints, gt_joints = _same_joints(pred_joints, gt_joints, 3)
    errors = errors_mm(root_relative(pred_joints), root_relative(gt_joints))
    results = {
        "root_50mm": keypoint_intervals(errors, PCK_THRESHOLDS_MM, **options),
        "root_20_50mm": keypoint_intervals(errors, PCK_20_50_THRESHOLDS_MM, **options),
    }
    if pred_2d is not None and gt_2d is not None:
        errors = distances(*_same_joints(pred_2d, gt_2d, 2))
        results["2d_30px"] = keypoint_intervals(errors, PX_THRESHOLDS, **options)
    return results


def _same_joints(pred, gt, axes):
    """Predicted and annotated joints (N, 21, ``axes``), after a look at them."""
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    if pred.shape != gt.shape or pred.ndim != 3 or pred.shape[1:] != (N_JOINTS, axes):
        raise ValueError(
            f"expected predicted and annotated joints (N, {N_JOINTS}, {axes}), got {pred.shape} "
            f"and {gt.shape}"
        )
    bad = np.flatnonzero((np.isfinite(gt) & ~np.isfinite(pred)).any((1, 2)))
    if len(bad):
        raise ValueError(
            f"the prediction of sample {bad[0]} is not finite ({len(bad)} of {len(gt)}): such a "
            "hand must not pass for one without annotation"
        )
    return pred, gt


def keypoint_intervals(
    errors, thresholds=PCK_THRESHOLDS_MM, groups=None, draws=1000, confidence=0.95, seed=0
):
    """Mean error, PCK curve and area under it, of all joints, each finger and each joint.

    Samples are drawn anew with replacement, and the bounds are percentiles of what the draws give
    (Efron 1979). Images of one hand pose are not independent: name their pose in ``groups``, and
    whole groups are drawn.

    Args:
        errors: (N, 21) mm or px, NaN where there is no annotation.
        thresholds: (T,) in the same unit.
        groups: (N,) labels, or None: every sample is its own group.
        draws: number of draws; confidence: share of them within the bounds; seed: of the draws.

    Returns:
        dict of part (a key of ``PARTS``) -> dict of "error" (in the unit of ``errors``), "auc"
        (0..1) and "curve" ((T,), 0..1) -> ``Interval``; parts without annotations are left out.

    Raises:
        ValueError: errors that are not (N, 21), none at all, infinite ones, or not one label for
            each sample.
    """
    errors = np.asarray(errors, np.float64)
    groups = np.arange(len(errors)) if groups is None else np.asarray(groups)
    wrong = errors.ndim != 2 or errors.shape[1] != N_JOINTS or groups.shape != errors.shape[:1]
    if wrong or not len(errors):
        raise ValueError(
            f"expected errors (N, {N_JOINTS}) and groups (N,), got {errors.shape}, {groups.shape}"
        )
    _refuse_infinite(errors)
    sums, known = _group_sums(errors, thresholds, groups)
    weights = _draw(len(sums), draws, seed)
    drawn = _joint_means(weights, sums, known)
    exact = _joint_means(np.ones((1, len(sums)), np.float32), sums, known)
    tails = 100 * np.array([1 - confidence, 1 + confidence]) / 2
    results = {}
    for part, joints in PARTS.items():
        joints = [j for j in joints if known[:, j].any()]
        if joints:
            results[part] = _intervals(exact[:, joints], drawn[:, joints], thresholds, tails)
    return results


def mean_interval(values, groups=None, draws=1000, confidence=0.95, seed=0):
    """Mean of all that is known, as an ``Interval`` of floats.

    Args:
        values: (N,) or (N, ...), NaN where unknown; something is known.
        groups, draws, confidence, seed: as in ``keypoint_intervals``.

    Raises:
        ValueError: no values, or infinite ones.
    """
    sums, counts = _known_sums(values, groups)
    weights = _draw(len(sums), draws, seed)
    drawn = (weights @ sums) / (weights @ counts)
    low, high = np.percentile(drawn, 100 * np.array([1 - confidence, 1 + confidence]) / 2)
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def t_interval(values, groups=None, confidence=0.95):
    """As ``mean_interval``, by Student's t of the groups: no draws, so that it can be as confident
    as several comparisons at once ask for, and it holds for few groups too, from two on."""
    from scipy.special import stdtrit  # slow to import, and needed for few things

    sums, counts = _known_sums(values, groups)
    mean, degrees = sums.sum() / counts.sum(), len(sums) - 1
    # What each group adds to the mean's error: of a ratio, for groups need not be equally large.
    apart = (sums - mean * counts) / counts.mean()
    half = stdtrit(degrees, (1 + confidence) / 2) * np.sqrt((apart**2).mean() / degrees)
    return Interval(float(mean), float(mean - half), float(mean + half))


def _known_sums(values, groups):
    """Sums of what is known and numbers of it, (G,) each, of the groups of which something is."""
    values = np.asarray(values, np.float64)
    if not values.size:
        raise ValueError(f"there are no values to take the mean of: their shape is {values.shape}")
    _refuse_infinite(values)
    values = values.reshape(len(values), -1)
    known = np.isfinite(values)
    _, group = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    counts = np.bincount(group, known.sum(1))
    sums = np.bincount(group, np.where(known, values, 0).sum(1))
    return sums[counts > 0], counts[counts > 0]


def _refuse_infinite(errors):
    if np.isinf(errors).any():
        raise ValueError("errors hold infinite numbers: what is not annotated is NaN")


def _group_sums(errors, thresholds, groups):
    """Per group (G): sums (G, 21, 1 + T) of the errors and of "within each threshold", and the
    number (G, 21) of annotations."""
    labels, group = np.unique(groups, return_inverse=True)
    known = np.isfinite(errors)
    values = np.empty((*errors.shape, 1 + len(thresholds)), np.float32)
    values[..., 0] = np.where(known, errors, 0)
    values[..., 1:] = errors[..., None] <= thresholds
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(labels)))
    return tuple(np.add.reduceat(a[order], starts) for a in (values, known.astype(np.float32)))


def _draw(count, draws, seed):
    """How often each group is in each draw: (draws, count)."""
    rng = np.random.default_rng(seed)
    weights = np.empty((draws, count), np.float32)
    for row in weights:
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
    return weights


def _joint_means(weights, sums, known):
    """Means (draws, 21, 1 + T) over the drawn groups; NaN where none has the joint."""
    totals = (weights @ sums.reshape(len(sums), -1)).reshape(-1, *sums.shape[1:])
    counts = (weights @ known)[..., None]
    return np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)


def _intervals(exact, drawn, thresholds, tails):
    """Intervals of one part from the means of its joints, (1 and draws, joints, 1 + T)."""

    def interval(of):
        value = of(exact.mean(1))[0]
        low, high = np.nanpercentile(of(drawn.mean(1)), tails, 0)
        return (
            Interval(value, low, high)
            if np.ndim(value)
            else Interval(*map(float, (value, low, high)))
        )

    return {
        "error": interval(lambda m: m[:, 0]),
        "auc": interval(lambda m: area_under(m[:, 1:], thresholds)),
        "curve": interval(lambda m: m[:, 1:]),
    }
