"""Anatomically plausible hand poses: 21 joint angles, their limits, samples and named poses.

Angles are in degrees about a flat right hand. Each finger has four (flexion and abduction of the
MCP, flexion of PIP and DIP) and the thumb five (flexion, abduction and roll of the CMC, flexion
of MCP and IP), in MANO's order: index, middle, pinky, ring, thumb. Positive flexion bends towards
the palm, positive abduction moves a digit towards the thumb's side (the thumb: away from the
palm's plane). Limits after Norkin & White, "Measurement of Joint Motion".
"""

import numpy as np
from scipy.spatial.transform import Rotation

from handlib.mano.standin.anatomy import RAYS, hand

N_ANGLES = 21
_FINGER_LIMITS = ((-20, 90), (-18, 18), (0, 110), (-5, 80))
_THUMB_LIMITS = ((-20, 60), (-25, 55), (-20, 60), (-10, 60), (-15, 85))
LIMITS = np.array([*_FINGER_LIMITS * 4, *_THUMB_LIMITS], float)
# A bent finger turns towards the scaphoid: degrees about its back at a fully bent MCP.
CONVERGENCE = {"index": -3.0, "middle": 0.0, "ring": 5.0, "pinky": 10.0}

_STRAIGHT = (0, 0, 2, 2)
_CURLED = (78, 0, 100, 62)
_THUMB_REST = (8, 5, 5, 10, 12)
# name -> index, middle, ring, pinky, thumb
_NAMED = {
    "flat": ((0, 0, 0, 0),) * 4 + ((0, 0, 0, 0, 0),),
    "relaxed": ((22, 1, 30, 16), (28, 0, 36, 20), (32, -1, 40, 22), (32, -2, 38, 22), (12, 8, 10, 12, 20)),
    "fist": ((80, 0, 98, 60), (84, 0, 100, 62), (84, 0, 100, 62), (82, 0, 98, 60), (30, 30, 20, 35, 45)),
    "point": ((2, 0, 4, 3), _CURLED, _CURLED, _CURLED, (30, 30, 20, 35, 45)),
    "ok": ((48, 2, 52, 34), (25, 0, 22, 12), (14, -2, 14, 8), (6, -6, 8, 4), (22, 35, 25, 18, 25)),
    "spread": ((-6, 14, 0, 0), (-6, 2, 0, 0), (-6, -8, 0, 0), (-8, -16, 0, 0), (-14, -8, 0, 0, -5)),
    "thumbs_up": (_CURLED, _CURLED, _CURLED, _CURLED, (-18, -5, 0, -5, -8)),
    "pinch": ((52, 2, 46, 30), (58, 0, 62, 40), (62, 0, 70, 45), (62, 0, 70, 45), (22, 35, 25, 18, 25)),
}  # fmt: skip


def _angles(index, middle, ring, pinky, thumb):
    return np.array([*index, *middle, *pinky, *ring, *thumb], float)


NAMED_ANGLES = {name: _angles(*digits) for name, digits in _NAMED.items()}
_HAND = hand()


def _turn(axis, degrees):
    return Rotation.from_rotvec(np.deg2rad(np.asarray(degrees))[:, None] * axis)


def articulate(angles):
    """Joint angles (..., 21) in degrees to axis-angle vectors (..., 45) about the flat hand."""
    angles = np.asarray(angles, float)
    flat = angles.reshape(-1, N_ANGLES)
    turns = []
    for i, digit in enumerate(RAYS):
        ray, a = _HAND.rays[digit], flat[:, 4 * i :].T
        if digit == "thumb":
            first = _turn(ray.back, a[1]) * _turn(ray.side, a[0]) * _turn(ray.axis, a[2])
            bends = a[3:5]
        else:
            turn = a[1] + CONVERGENCE[digit] * np.clip(a[0] / 90, 0, 1)
            first = _turn(np.array([0, -1.0, 0]), -turn) * _turn(ray.side, a[0])
            bends = a[2:4]
        turns += [first.as_rotvec(), *(np.deg2rad(b)[:, None] * ray.side for b in bends)]
    return np.stack(turns, 1).reshape(*angles.shape[:-1], 45)


POSES = {name: articulate(angles) for name, angles in NAMED_ANGLES.items()}


def sample_articulations(rng, n):
    """n plausible articulations (n, 45), axis-angle about the flat pose.

    Mixtures of two named poses, some fingers taken from others, with noise; every sample lies
    within ``LIMITS``.
    """
    named = np.stack(list(NAMED_ANGLES.values()))
    pick = rng.integers(len(named), size=(2, n))
    t = rng.uniform(size=(n, 1))
    angles = (1 - t) * named[pick[0]] + t * named[pick[1]]
    angles = angles + rng.normal(0, 6, angles.shape)
    return articulate(np.clip(angles, *LIMITS.T))
