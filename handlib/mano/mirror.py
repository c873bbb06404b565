"""The other hand: a hand model in MANO's format, mirrored at x = 0."""

import numpy as np

from handlib.geometry import mirror_axis_angle, mirror_faces, mirror_points

_POINTS, _TURNS = mirror_points(np.ones(3)), np.tile(mirror_axis_angle(np.ones(3)), 15)
# A rotation matrix R becomes M R M: entries with one index x change sign.
_FEATURES = np.tile(np.outer(_POINTS, _POINTS).ravel(), 15)
# What mirroring multiplies the arrays of MANO's keys by; those not named here stay.
_SIGNS = {
    "v_template": _POINTS,
    "J": _POINTS,
    "shapedirs": _POINTS[:, None],
    "posedirs": _POINTS[:, None] * _FEATURES,
    "hands_mean": _TURNS,
    "hands_components": _TURNS,
}


def mirror_shapes(shapedirs):
    """Shape displacements (V, 3, 10) of the other hand."""
    return shapedirs * _SIGNS["shapedirs"]


def mirror_arrays(arrays):
    """The other hand's arrays: the same betas and components make the mirror image.

    Args:
        arrays: dict by MANO's keys; faces (F, 3) are called ``f`` or ``faces``.

    Returns:
        dict of those that differ.
    """
    other = {name: arrays[name] * signs for name, signs in _SIGNS.items() if name in arrays}
    return other | {name: mirror_faces(arrays[name]) for name in ("f", "faces") if name in arrays}
