"""Hands of either side by rotations and shape, which may be averaged or filtered and stay a hand.

A mean of the vertices of two poses is no hand of any pose; the rotation nearest to the mean of two
rotation matrices (their chordal mean) lies between them.
"""

import numpy as np
import torch

from handlib.geometry import matrix_to_axis_angle, nearest_rotation
from handlib.joints import ROOT
from handlib.predictions import mirror_back


def right_rotations(layer, pose, is_right):
    """Rotation matrices (N, 16, 3, 3) of hands, left ones seen in the mirror.

    Args:
        layer: ``HandLayer`` of the right hand. pose: (N, 48) axis-angle, as of ``HandPrediction``.
        is_right: (N,) bool.
    """
    pose = _other_side({"pose": pose}, is_right)["pose"]
    pose = torch.from_numpy(pose).to(layer.mean_pose)
    return layer.rotations(pose).double().cpu().numpy()


@torch.no_grad()
def posed_hands(layer, rotations, betas, is_right):
    """Hands as photographed.

    Args:
        layer: ``HandLayer`` of the right hand. rotations: (N, 16, 3, 3) as of
            ``right_rotations``; what is no rotation becomes the nearest one. betas: (N, 10).
        is_right: (N,) bool.

    Returns:
        dict: ``joints`` (N, 21, 3) and ``vertices`` (N, 778, 3), metres, relative to
        ``joints.ROOT``, and ``pose`` (N, 48), which gives them.
    """
    rotations = nearest_rotation(torch.from_numpy(rotations)).to(layer.mean_pose)
    vertices, joints = layer(rotations, torch.from_numpy(betas).to(layer.mean_pose))
    root = joints[:, ROOT, None]
    pose = matrix_to_axis_angle(rotations).flatten(1) - layer.mean_pose
    made = {"joints": joints - root, "vertices": vertices - root, "pose": pose}
    return _other_side({name: value.cpu().numpy() for name, value in made.items()}, is_right)


def _other_side(values, is_right):
    """Fields (N, ...) of a prediction, those of left hands in the mirror."""
    is_left = ~np.asarray(is_right)
    mirrored = mirror_back(values | {"mirrored": is_left, "width": np.ones(len(is_left))})
    return {name: mirrored[name] for name in values}
