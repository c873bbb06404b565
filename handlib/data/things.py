"""Things that hands hold, as closed meshes around an axis of their own: bottles, boxes, pens.

Each is one section (from a circle to a rectangle) that grows and shrinks along the z axis, or a
few of these together. Metres; triangles run counter-clockwise seen from outside.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_SIDES = 20
# Size of the section and height along the axis, from bottom to top, as shares of the half
# extents. A point that comes twice is a sharp edge.
_BALL = tuple((np.sin(t), -np.cos(t)) for t in np.linspace(0, np.pi, 11))
_STRAIGHT = ((0, -1), (1, -1), (1, -1), (1, -0.5), (1, 0), (1, 0.5), (1, 1), (1, 1), (0, 1))
_SOFT = ((0, -1), (0.85, -1), (1, -0.93), (1, -0.4), (1, 0.4), (1, 0.93), (0.85, 1), (0, 1))
_CUP = ((0, -1), (0.75, -1), (0.75, -1), (0.88, 0), (1, 1), (1, 1), (0.93, 1), (0.93, 1),
        (0.7, -0.9), (0.7, -0.9), (0, -0.9))  # fmt: skip
_BOTTLE = ((0, -1), (0.9, -1), (1, -0.95), (1, -0.3), (1, 0.2), (0.85, 0.4), (0.42, 0.62),
           (0.34, 0.74), (0.34, 0.86), (0.34, 0.86), (0.4, 0.86), (0.4, 0.86), (0.4, 1), (0.4, 1),
           (0, 1))  # fmt: skip
_CONE = ((0, -1), (0.12, -1), (0.4, -0.5), (0.7, 0.1), (1, 0.8), (0.9, 0.95), (0, 1))
_PEN = ((0, -1), (0.2, -0.99), (0.9, -0.86), (1, -0.84), (1, -0.4), (1, 0), (1, 0.5), (1, 1),
        (1, 1), (0, 1))  # fmt: skip


class Thing(NamedTuple):
    """A mesh about its own middle, and the room that it takes."""

    vertices: np.ndarray  # (V, 3) metres
    faces: np.ndarray  # (F, 3)
    half: np.ndarray  # (3,) half extents of the part that the hand closes on
    power: float  # of its section: 1 a circle, towards 0 a rectangle
    is_round: bool  # a ball rather than a bar


class Kind(NamedTuple):
    """Half extents in millimetres: of the section (x is the thinner way) and of the axis."""

    profile: tuple
    x: tuple
    y: tuple | None  # None: as x
    z: tuple
    power: tuple = (1.0, 1.0)
    is_round: bool = False


KINDS = {
    "rod": Kind(_STRAIGHT, (3, 14), None, (60, 260)),
    "can": Kind(_SOFT, (18, 38), None, (35, 75)),
    "bottle": Kind(_BOTTLE, (22, 42), None, (75, 130)),
    "cup": Kind(_CUP, (28, 46), None, (35, 70)),
    "cone": Kind(_CONE, (12, 35), None, (40, 90)),
    "ball": Kind(_BALL, (14, 50), None, (14, 50), is_round=True),
    "fruit": Kind(_BALL, (14, 40), (14, 45), (18, 70), is_round=True),
    "box": Kind(_STRAIGHT, (8, 40), (12, 55), (20, 95), (0.06, 0.2)),
    "phone": Kind(_SOFT, (3, 8), (28, 42), (55, 85), (0.1, 0.3)),
    "book": Kind(_STRAIGHT, (3, 20), (45, 85), (60, 120), (0.05, 0.1)),
    "plate": Kind(_STRAIGHT, (1, 8), (50, 110), (50, 110), (0.05, 1.0)),
    "soap": Kind(_SOFT, (8, 20), (15, 35), (22, 60), (0.4, 0.9)),
}
# What fits between two fingertips, or like a pen between three.
SMALL = {
    "card": Kind(_STRAIGHT, (0.3, 1), (15, 45), (20, 70), (0.05, 0.1)),
    "coin": Kind(_SOFT, (1, 5), (6, 22), (6, 22), (0.3, 1.0)),
    "bead": Kind(_BALL, (3, 12), (3, 14), (4, 20), is_round=True),
    "dice": Kind(_STRAIGHT, (3, 14), (4, 16), (4, 25), (0.06, 0.2)),
}
PEN = Kind(_PEN, (2.5, 6), None, (55, 90))


def random_thing(rng, kind):
    """A ``Thing`` of a ``Kind``, its sizes drawn evenly in their logarithms."""
    x, y, z = (
        None if limits is None else np.exp(rng.uniform(*np.log(limits))) * 1e-3
        for limits in (kind.x, kind.y, kind.z)
    )
    half = np.array([x, x if y is None else y, z])
    power = rng.uniform(*kind.power)
    return Thing(*loft(kind.profile, half, power), half, power, kind.is_round)


def with_head(rng, thing):
    """The rod with a head on its end: a spoon, a hammer, a racket, a brush."""
    x, _, z = thing.half
    head = np.array([max(x * rng.uniform(0.3, 2), 0.002), *rng.uniform(0.012, 0.05, 2)])
    profile = _BALL if rng.random() < 0.5 else _SOFT
    vertices, faces = loft(profile, head, rng.uniform(0.2, 1))
    return _joined(thing, vertices + [0, 0, z + 0.9 * head[2]], faces)


def with_ring(rng, thing):
    """The rod as the handle of a mug or a bag: a ring through the hand, a body beside it."""
    radius = rng.uniform(0.022, 0.05)
    tube = min(thing.half[0], 0.4 * radius)
    turn = np.linspace(0, 2 * np.pi, 11)
    profile = np.stack([1 + tube / radius * np.cos(turn), tube / radius * np.sin(turn)], -1)
    ring, faces = loft(profile, np.full(3, radius))
    # Its axis becomes y, and its tube runs through the hand.
    ring = ring[:, [1, 2, 0]] + [radius, 0, 0]
    whole = thing._replace(vertices=ring, faces=faces, half=np.array([tube, tube, radius]))
    if rng.random() < 0.7:
        size = np.array([1, 1, rng.uniform(0.8, 1.6)]) * rng.uniform(0.028, 0.045)
        vertices, faces = loft(_CUP, size)
        whole = _joined(whole, vertices + [1.2 * radius + size[0], 0, 0], faces)
    return whole


def _joined(thing, vertices, faces):
    return thing._replace(
        vertices=np.vstack([thing.vertices, vertices]),
        faces=np.vstack([thing.faces, faces + len(thing.vertices)]),
    )


def loft(profile, half, power=1.0):
    """A surface of one section that changes its size along an axis.

    Args:
        profile: (P, 2) size and height of the rings, from bottom to top on the outside.
        half: (3,) half extents, metres: of the section (x, y), of the height (z).
        power: of the section's cosine and sine: 1 an ellipse, towards 0 a rectangle.

    Returns:
        (vertices, faces): (P * sides, 3) and (F, 3).
    """
    size, height = np.asarray(profile, float).T
    angle = 2 * np.pi * (np.arange(_SIDES) + 0.5) / _SIDES
    section = np.stack([np.cos(angle), np.sin(angle)], -1)
    section = np.sign(section) * np.abs(section) ** power
    points = np.empty((len(size), _SIDES, 3))
    points[..., :2] = size[:, None, None] * section
    points[..., 2] = height[:, None]
    return (points * half).reshape(-1, 3), _quads(len(size))


@lru_cache
def _quads(rings):
    """Triangles (F, 3) between rings of ``_SIDES`` points."""
    a = np.arange(rings * _SIDES).reshape(rings, _SIDES)
    a, b = a[:-1], a[1:]
    a1, b1 = np.roll(a, -1, 1), np.roll(b, -1, 1)
    return np.stack([a, a1, b1, a, b1, b], -1).reshape(-1, 3)
