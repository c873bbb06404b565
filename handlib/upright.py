"""The same hand again, upright: turned in the image plane, centred and scaled by its 2D joints.

Any turn in the image plane and any size of a hand look alike after that, so a network that looks
twice, the second time at an upright crop, has less to learn. A turn is a rotation of the camera
about its optical axis, as in ``augment.Rotate``: what was seen upright is turned back exactly.
"""

from dataclasses import replace

import numpy as np
import torch

from handlib.geometry import focal_length, inverse, matrix_to_axis_angle, transform_points
from handlib.joints import KNUCKLES, WRIST

# The longer side of the joints' box, in sides of an upright crop.
FILL = 0.6
# Joints in a smaller box (sides of the crop) were not found: they are not magnified any further.
SMALLEST = 0.1


def upright_view(joints_2d, K, size, turn=0.0, fill=FILL, shift=0.0):
    """What makes hands stand upright: their knuckles above their wrist, in the crop's middle.

    Tensors, or numpy arrays, which are several times faster for one hand.

    Args:
        joints_2d: (B, 21, 2) px.
        K: (B, 3, 3) of the image that they are in.
        size: side of the upright crop, px.
        turn: (B,) radians off upright. fill: (B,) of the joints' box. shift: (B, 2) px.

    Returns:
        (affine, motion): (B, 3, 3) from the image to the upright crop, and of the hand in front
        of the camera; the crop's K is affine @ K @ motion^T.
    """
    xp = torch if torch.is_tensor(joints_2d) else np
    up = joints_2d[:, KNUCKLES].mean(1) - joints_2d[:, WRIST]
    angle = turn - np.pi / 2 - xp.arctan2(up[:, 1], up[:, 0])
    c, s = xp.cos(angle), xp.sin(angle)
    zero, one = xp.zeros_like(c), xp.ones_like(c)
    motion = xp.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    turned = K @ motion @ inverse(K)
    points = transform_points(turned, joints_2d)
    low, high = xp.amin(points, 1), xp.amax(points, 1)
    zoom = fill * size / xp.clip(xp.amax(high - low, -1), SMALLEST * size, None)
    shift = (size - 1) / 2 + shift - zoom[:, None] * (low + high) / 2
    crop = [zoom, zero, shift[:, 0], zero, zoom, shift[:, 1], zero, zero, one]
    return xp.stack(crop, -1).reshape(-1, 3, 3) @ turned, motion


def quarter_turn(times, size):
    """Affine (3, 3) that turns a crop of ``size`` px about its middle by so many right angles."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[times % 4]
    middle = (size - 1) / 2
    shift = middle * (1 - c + s), middle * (1 - c - s)
    return torch.tensor([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])


def cut_out(image, affine):
    """Crops (B, 3, S, S) of images of the same size, float, black outside; affine (B, 3, 3)."""
    size = image.shape[-1]
    pixels = torch.arange(size, dtype=affine.dtype, device=affine.device)
    places = torch.stack([pixels.repeat(size), pixels.repeat_interleave(size)], -1)
    places = transform_points(inverse(affine), places[None])
    # Pixel centres are at integers; for grid_sample -1 and 1 are the image's borders.
    grid = ((2 * places + 1) / size - 1).unflatten(1, (size, size))
    return torch.nn.functional.grid_sample(image.to(affine.dtype), grid, align_corners=False)


def turned_back(prediction, affine, motion):
    """What a network said of upright crops, in the images that they were cut from.

    ``heatmaps`` stay those of the upright crop, ``root`` is as the crops' K gives it.
    """
    back = inverse(affine)
    rotations = torch.cat(
        [(motion.mT @ prediction.rotations[:, 0])[:, None], prediction.rotations[:, 1:]], 1
    )
    pose = torch.cat([matrix_to_axis_angle(rotations[:, 0]), prediction.pose[:, 3:]], 1)
    places = ("joints_2d", "vertices_2d", "keypoints_2d")
    found = {name: getattr(prediction, name) for name in places}
    moved = {n: transform_points(back, v) for n, v in found.items() if v is not None}
    moved |= {n: getattr(prediction, n) @ motion for n in ("joints", "vertices")}
    return replace(
        prediction,
        rotations=rotations,
        pose=pose,
        scale=prediction.scale * focal_length(back),
        trans=transform_points(back, prediction.trans[:, None])[:, 0],
        root=(prediction.root[:, None] @ motion)[:, 0],
        **moved,
    )
