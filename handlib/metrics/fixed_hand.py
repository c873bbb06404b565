"""Baselines: what one fixed hand scores."""

import numpy as np

from handlib.geometry import similarity_align
from handlib.metrics.points import is_annotated
from handlib.metrics.scores import evaluate


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
    joints = joints[is_annotated(joints)]
    if not len(joints):
        raise ValueError("no hand with joints to find a scale on")
    hand = np.broadcast_to(hand_joints, joints.shape)
    aligned, _ = similarity_align(hand, joints)
    return float(np.mean(_spread(aligned) / _spread(hand)))


def _spread(points):
    return np.linalg.norm(points - points.mean(-2, keepdims=True), axis=(-2, -1))
