"""Where the surface of real hands departs from a smooth hand model's: clefts, knuckles, flesh."""

from itertools import pairwise

import numpy as np

from handlib.geometry import bump, smoothstep
from handlib.joints import FINGERS, MANO_JOINT_NAMES

_MM = 1e-3
# Depth of a cleft below the fingers' backs, at places from the knuckles on.
_CLEFT = np.array([[-40, -12, 0, 18, 26, 32, 33], [0, 1.5, 5, 12, 16, 16, 0]]) * _MM
# Height, length and breadth of knuckles.
_HEIGHTS = {"mcp": np.array([4, 8, 6]) * _MM, "pip": np.array([2, 6, 6]) * _MM}
_STOUT_DIGITS = 0.35  # of what a stout hand has more than a slim one in its palm
# The joints whose knuckles stand out, by their number without the wrist.
KNUCKLES = [
    k - 1 for k, name in enumerate(MANO_JOINT_NAMES)
    if not name.startswith("thumb") and name.endswith(tuple(_HEIGHTS))
]  # fmt: skip


def relief_of(hand, normals):
    """How far real hands depart from a smooth one: (V, 11) metres outwards at rest.

    Clefts: on the back of a hand they lie open up to between the knuckles, where a smooth hand has
    them closed like a mitten; a hand model that has such clefts gets none. ``KNUCKLES``, of a joint
    that is bent by 23 degrees. A millimetre of flesh, of which fingers that lie side by side have
    so much that they touch. And a millimetre that a hand is stouter, most in its palm.

    Args:
        hand: ``HandModel``. normals: (V, 3) of its vertices at rest, of any length.
    """
    joints = hand.J_regressor @ hand.v_template
    up = normals[:, 1] / np.linalg.norm(normals, axis=1).clip(1e-9)
    columns = [_clefts(hand.v_template, joints, up)]
    columns += [_knuckle(hand, joints, up, k) for k in KNUCKLES]
    palm = hand.weights[:, 0]
    stout = _MM * (palm + _STOUT_DIGITS * (1 - palm))
    return np.column_stack([*columns, _flesh(hand), stout])


def _clefts(points, joints, up):
    relief = np.zeros(len(points))
    for pair in pairwise(first_bones(joints)):
        along, across = place_along(points, *np.mean(pair, 0))
        beside = [place_along(points, *bone) for bone in pair]
        wanted = np.interp(along, *_CLEFT)
        for n in np.flatnonzero((wanted > 0) & (np.abs(across) < 9 * _MM) & (up > -0.3)):
            backs = [
                points[(np.abs(x - along[n]) < 7 * _MM) & (np.abs(y) < 5 * _MM), 1].max(initial=-1)
                for x, y in beside
            ]
            there = np.mean(backs) - points[n, 1]
            depth = (wanted[n] - there) * bump(across[n], 5 * _MM)
            relief[n] = min(relief[n], -max(depth, 0))
    return relief


def _knuckle(hand, joints, up, k):
    name = MANO_JOINT_NAMES[k + 1]
    height, length, breadth = _HEIGHTS[name.split("_")[1]]
    along, across = place_along(hand.v_template, joints[k + 1], joints[k + 2])
    # Of the palm, the bone before and its own: not a neighbour's. (Before an MCP comes another
    # finger's last joint, which has no share there.)
    own = hand.weights[:, [0, k, k + 1]].sum(1)
    shape = bump(along, length) * bump(across, breadth) * smoothstep(up, 0.2, 0.7)
    return height * shape * smoothstep(own, 0.4, 0.8)


def _flesh(hand):
    """Most on the second segments, little at the tips, none in the palm."""
    flesh = np.zeros(len(hand.v_template))
    for finger in FINGERS:
        parts = [k for k, name in enumerate(MANO_JOINT_NAMES) if name.startswith(finger)]
        share = hand.weights[:, parts] @ [0.9, 1.0, 0.4]
        flesh = np.maximum(flesh, _MM * share * smoothstep(share, 0.3, 0.8))
    return flesh


def first_bones(joints):
    """From knuckle to the next joint, (2, 3) of each finger from index to pinky.

    Args:
        joints: (16, 3) of the hand model.
    """
    place = dict(zip(MANO_JOINT_NAMES, joints, strict=True))
    return [np.array([place[f"{f}_mcp"], place[f"{f}_pip"]]) for f in FINGERS if f != "thumb"]


def place_along(points, start, end):
    """Metres of points (N, 3) along a bone from its start, and beside it, as seen from above."""
    way = (end - start)[[0, 2]]
    way = way / np.linalg.norm(way).clip(1e-12)
    apart = (points - start)[:, [0, 2]]
    return apart @ way, apart @ np.array([-way[1], way[0]])
