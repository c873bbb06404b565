"""Typical failures, each told by a rule.

A rule takes ``Hands`` and says (n,) bool for which of them it holds. Rules about the hand's shape
and orientation overlap (a mirrored hand can also look turned): a hand has the first that holds,
in the order of ``RULES``. Size and place come on top.
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np

from handlib.anatomy import hand_frames
from handlib.geometry import centroid, similarity_align
from handlib.joints import BONES, FINGER_JOINTS
from handlib.metrics import errors_mm, root_relative
from handlib.metrics.points import is_annotated

# A change of the prediction explains its error where it takes away that much of it.
EXPLAINS = 0.4
# Errors below these, mean of the joints, are nobody's failure.
ALIGNED_MM, ROOTED_MM = 5.0, 15.0
SCALE = 1.2
TURNED_DEG = 60.0
OFF = 0.5  # of the hand's size
_FINGERS = np.array(list(FINGER_JOINTS.values()))
_ORDERS = np.array(list(permutations(range(5))))


class Hands(NamedTuple):
    """n predicted hands and the truth."""

    pred: np.ndarray  # (n, 21, 3) metres, relative to the root, as large as the truth
    truth: np.ndarray  # (n, 21, 3)
    size: np.ndarray  # (n,) predicted size / true size, in metres
    apparent: np.ndarray  # (n,) the same in the image; NaN where unknown
    pred_2d: np.ndarray  # (n, 21, 2) px
    truth_2d: np.ndarray  # (n, 21, 2), NaN where unknown
    called_left: np.ndarray  # (n,) bool, the model says so of what is a right hand


# -- rules -----------------------------------------------------------------------------------
def depth_flip(hands):
    """The image is explained and the depth is reversed: mirrored in depth about the root, without
    being turned, the prediction fits clearly better."""
    error = errors_mm(hands.pred, hands.truth).mean(1)
    mirrored = errors_mm(hands.pred * [1, 1, -1], hands.truth).mean(1)
    return (error > ROOTED_MM) & (mirrored < (1 - EXPLAINS) * error)


def wrong_handedness(hands):
    """A hand of the other side: it aligns clearly better when it may be mirrored, or the model
    itself calls it a left one."""
    error = _aligned_mm(hands.pred, hands.truth)
    mirrored = _aligned_mm(hands.pred, hands.truth, allow_reflection=True)
    return hands.called_left | (error > ALIGNED_MM) & (mirrored < (1 - EXPLAINS) * error)


def swapped_fingers(hands):
    """With its fingers in another order the prediction aligns clearly better."""
    error = _aligned_mm(hands.pred, hands.truth)
    aligned, _ = similarity_align(hands.pred, hands.truth)
    centred = [joints - joints.mean(1, keepdims=True) for joints in (hands.pred, hands.truth)]
    best = error.copy()
    # Swapped fingers also turn the alignment: the order is guessed with and without it.
    for pred, truth in ((aligned, hands.truth), centred):
        reordered = _in_order(hands.pred, _best_order(pred, truth))
        best = np.minimum(best, _aligned_mm(reordered, hands.truth))
    return (error > ALIGNED_MM) & (best < (1 - EXPLAINS) * error)


def wrong_view(hands):
    """The palm is turned by more than ``TURNED_DEG``."""
    return palm_turn_deg(hands.pred, hands.truth) > TURNED_DEG


def bad_scale(hands):
    """More than ``SCALE`` times too large or too small, in metres or in the image."""
    ratios = np.stack([hands.size, hands.apparent])
    return (np.maximum(ratios, 1 / ratios) > SCALE).any(0)


def missed_hand(hands):
    """The joints' centre in the image is off by more than half the hand's longer side."""
    off = np.linalg.norm(hands.pred_2d.mean(1) - hands.truth_2d.mean(1), axis=-1)
    return off > OFF * np.ptp(hands.truth_2d, 1).max(-1)


OF_SHAPE = {
    "depth flip": depth_flip,
    "wrong handedness": wrong_handedness,
    "swapped fingers": swapped_fingers,
    "wrong view": wrong_view,
}
RULES = OF_SHAPE | {"bad scale": bad_scale, "missed hand": missed_hand}


# -- all of them -----------------------------------------------------------------------------
def failures(predictions):
    """Which samples show which failure.

    Args:
        predictions: what ``evaluation.predict`` returned.

    Returns:
        dict of rule -> (N,) bool, False where joints are not annotated; and last "none", the
        samples whose joints are known and that no rule names.
    """
    truth = predictions["gt_joints"].astype(float) * predictions["gt_unit"][:, None, None]
    known = np.flatnonzero(is_annotated(truth))
    hands = _hands({name: values[known] for name, values in predictions.items()}, truth[known])
    found, explained = {}, np.zeros(len(known), bool)
    for name, rule in RULES.items():
        holds = rule(hands)
        if name in OF_SHAPE:
            holds &= ~explained
            explained |= holds
        found[name] = np.zeros(len(truth), bool)
        found[name][known] = holds
    none = np.isin(np.arange(len(truth)), known)
    return found | {"none": none & ~np.logical_or.reduce(list(found.values()))}


def names_of(failures, row):
    """The failures of one sample as text."""
    return ", ".join(n for n, rows in failures.items() if rows[row] and n != "none") or "no failure"


def palm_turn_deg(pred_joints, gt_joints):
    """Angle (n,) in degrees between the palms of hands (n, 21, 3) in one frame."""
    trace = (hand_frames(pred_joints) * hand_frames(gt_joints)).sum((1, 2))
    return np.degrees(np.arccos(((trace - 1) / 2).clip(-1, 1)))


def _hands(predictions, truth):
    pred = root_relative(predictions["pred_joints"].astype(float))
    truth = root_relative(truth)
    size = _bone_sum(pred) / _bone_sum(truth)
    called_left = np.zeros(len(pred), bool)
    if "pred_right" in predictions:
        # Beside its mirror image where that was looked at too, as photos are.
        other = predictions.get("pred_right_mirrored", 0)
        called_left = predictions["has_is_right"] & (
            (predictions["pred_right"] > other) != predictions["is_right"]
        )
    planar = [predictions[name].astype(float) for name in ("pred_joints_2d", "gt_joints_2d")]
    apparent = size * _px_per_metre(planar[0], pred) / _px_per_metre(planar[1], truth)
    return Hands(pred / size[:, None, None], truth, size, apparent, *planar, called_left)


def _bone_sum(joints):
    start, end = np.array(BONES).T
    return np.linalg.norm(joints[:, end] - joints[:, start], axis=-1).sum(-1)


def _px_per_metre(joints_2d, joints):
    return _spread(joints_2d) / _spread(joints[..., :2])


def _spread(points):
    return np.linalg.norm(points - centroid(points), axis=(-2, -1))


def _aligned_mm(pred, truth, allow_reflection=False):
    aligned, _ = similarity_align(pred, truth, allow_reflection)
    return errors_mm(aligned, truth).mean(1)


def _best_order(pred, truth):
    """(n, 5): which predicted finger lies best on each true finger, each taken once."""
    fingers = pred[:, _FINGERS][:, :, None], truth[:, _FINGERS][:, None]  # (n, 5, 5, 4, 3)
    cost = errors_mm(*np.broadcast_arrays(*fingers)).mean(-1)  # (n, pred, truth)
    return _ORDERS[cost[:, _ORDERS, np.arange(5)].sum(-1).argmin(-1)]


def _in_order(pred, order):
    rows = np.arange(len(pred))[:, None]
    reordered = pred.copy()
    reordered[:, _FINGERS.ravel()] = pred[rows, _FINGERS[order].reshape(len(pred), _FINGERS.size)]
    return reordered
