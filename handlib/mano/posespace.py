"""Finger poses as points: coordinates along the hand model's components, and ways between them.

A finger pose is (45,) axis-angle about the flat hand: ``hands_mean`` plus what FreiHAND's pose
vectors hold.
"""

import numpy as np


def to_components(hand, fingers):
    """Coefficients (..., 45) of ``hand.hands_components`` that finger poses (..., 45) have."""
    # Solved, not projected: a file's components need not be orthonormal.
    offsets = np.asarray(fingers, float) - hand.hands_mean
    return np.linalg.solve(hand.hands_components.T, offsets[..., None])[..., 0]


def from_components(hand, coefficients):
    """Finger poses (..., 45) of the first n coefficients (..., n); the others are zero."""
    coefficients = np.asarray(coefficients, float)
    return hand.hands_mean + coefficients @ hand.hands_components[: coefficients.shape[-1]]


def interpolate_fingers(first, second, at):
    """Finger poses from ``first`` to ``second``: each joint turns evenly, the shorter way round.

    Args:
        first, second: (45,); at: (N,), 0 gives the first, 1 the second.

    Returns:
        (N, 45).
    """
    from scipy.spatial.transform import Rotation, Slerp  # slow to import

    ends = np.stack([first, second]).reshape(2, 15, 3).swapaxes(0, 1)
    turned = [Slerp([0, 1], Rotation.from_rotvec(joint))(at).as_rotvec() for joint in ends]
    return np.stack(turned, 1).reshape(len(at), 45)
