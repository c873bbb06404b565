"""Where a hand has nails, creases, wrinkled knuckles and pale palms: derived from its geometry.

Everything is found from the hand model's joints, skinning weights and fingertip vertices at rest,
so it lands in the right place on the stand-in and on MANO alike. The result is a small grid of
texels per triangle, which the shader reads at the rest position of what it sees.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from handlib.data.forearm import ArmShape, Forearm
from handlib.data.raster import vertex_normals
from handlib.data.relief import KNUCKLES, first_bones, place_along, relief_of
from handlib.data.shading import (
    BLOOD,
    CHANNELS,
    CLEFT,
    CREASE,
    DORSUM,
    GRID,
    NAIL,
    NAIL_LENGTH,
    NAIL_RANGE,
    PALM,
    WRINKLE,
)  # fmt: skip
from handlib.geometry import bump, smoothstep
from handlib.joints import FINGERS, MANO_JOINT_NAMES, TIP_VERTICES

_MM = 1e-3


class Skin(NamedTuple):
    """A hand with its forearm at rest, and its texture.

    V and F count the hand's and the forearm's vertices and triangles together.
    """

    rest: np.ndarray  # (V, 3) metres, where textures are looked up
    faces: np.ndarray  # (F, 3)
    texels: np.ndarray  # (F, GRID * GRID, CHANNELS) uint8, at barycentric cells (i, j)
    cloth_start: int  # triangles from here on are covered by a sleeve, where there is one
    forearm: Forearm
    relief: np.ndarray  # (V, 11) of ``relief_of``; an arm is stouter by as much as its hand

    def raised(self, rng, vertices, bends):
        """Posed vertices (V, 3) with a random amount of the relief, knuckles by how bent they are.

        It is the rendered surface alone that departs from the hand model's by millimetres: the
        model's vertices stay what is annotated, as those of a model that was fitted to a photo.

        Args:
            bends: (15,) radians of the hand model's joints.
        """
        least, most = (0, -0.7, -1), (1.3, 3.2, 4)
        cleft, flesh, stout = rng.uniform(least, most) * (rng.random(3) < 0.9)
        bent = np.minimum(bends[KNUCKLES], 1.5)
        knuckles = rng.uniform(0, 1) * rng.uniform(0.6, 1.2, len(bent)) * (0.6 + bent)
        amount = np.array([cleft, *knuckles, flesh, stout])
        normals = vertex_normals(vertices, self.faces)
        return vertices + normals * (self.relief @ amount)[:, None]

    def band(self, arm):
        """First triangle, and that after the last, of what an ``ArmShape`` wears at the wrist."""
        bare = len(self.faces) - len(self.forearm.faces)
        return tuple(bare + 2 * len(self.forearm.border) * ring for ring in arm.band)


class _Digit(NamedTuple):
    joints: np.ndarray  # (4, 3) three joints and the end of the flesh
    back: np.ndarray  # (3,) dorsal direction
    half_width: float  # of the distal segment
    weight: np.ndarray  # (N,) how much each texel belongs to it


def make_skin(hand):
    """The ``Skin`` of a ``HandModel``; takes about a second."""
    forearm = Forearm(hand)
    arm = forearm.vertices(hand.v_template[forearm.border], np.eye(3), ArmShape())
    rest = np.vstack([hand.v_template, arm])
    faces = np.vstack([hand.faces, forearm.faces])
    weights = np.zeros((len(rest), 16))
    weights[: len(hand.weights)] = hand.weights
    weights[len(hand.weights) :, 0] = 1
    normals = vertex_normals(rest, faces)
    cell, barycentric = _texel_grid()
    corners = np.stack([rest, normals], 1).reshape(-1, 6)
    sampled = np.einsum("tk,fkc->ftc", barycentric, corners[faces]).reshape(-1, 6)
    parts = np.einsum("tk,fkc->ftc", barycentric, weights[faces]).reshape(-1, 16)
    fields = _fields(hand, sampled[:, :3], sampled[:, 3:], parts)
    texels = np.zeros((len(faces), GRID * GRID, CHANNELS), np.uint8)
    values = (fields.clip(0, 1) * 255).round().astype(np.uint8)
    texels[:, cell] = values.reshape(len(faces), len(cell), CHANNELS)
    start = len(hand.faces) + forearm.cloth_start
    relief = relief_of(hand, normals[: len(hand.v_template)])
    relief = np.pad(relief, ((0, len(arm)), (0, 0)))
    relief[len(hand.v_template) :, -1] = relief[:, -1].max()
    return Skin(rest, faces, texels, start, forearm, relief)


def _texel_grid():
    """Cells (T,) that lie in a triangle, and the barycentric weights (T, 3) of their centres."""
    i, j = (a.ravel() for a in np.mgrid[:GRID, :GRID])
    inside = i + j < GRID
    i, j = i[inside], j[inside]
    # The cells on the diagonal are half cells.
    offset = np.where(i + j == GRID - 1, 1 / 3, 1 / 2)
    first, second = (i + offset) / GRID, (j + offset) / GRID
    return i * GRID + j, np.stack([first, second, 1 - first - second], -1)


def _fields(hand, points, normals, parts):
    """The channels (N, CHANNELS) at rest points (N, 3) with skinning weights (N, 16)."""
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    joints = hand.J_regressor @ hand.v_template
    digits = _digits(hand, joints, parts)
    palm_weight = parts[:, 0]
    # Which way is dorsal changes smoothly from the palm into each digit.
    back = palm_weight[:, None] * np.array([0, 1.0, 0])
    for digit in digits.values():
        back = back + digit.weight[:, None] * digit.back
    facing = (normals * back).sum(1)
    palm = smoothstep(facing, 0.30, -0.45)
    fields = np.zeros((len(points), CHANNELS))
    fields[:, NAIL] = 1
    fields[:, WRINKLE] = 0.5
    for name, digit in digits.items():
        _add_digit(fields, digit, points, facing, palm, thumb=name == "thumb")
    wrist = joints[0]
    beyond = np.sign(wrist[0] - joints[4, 0]) * (points[:, 0] - wrist[0])
    arm = smoothstep(beyond * (palm_weight > 0.98), 0.0, 0.05)
    fields[:, PALM] = palm * (1 - 0.75 * arm)
    fields[:, DORSUM] = np.maximum(palm_weight, arm) * smoothstep(facing, -0.1, 0.5)
    lines = (
        _palm_lines(joints, points)
        * smoothstep(palm, 0.6, 0.95)
        * smoothstep(palm_weight, 0.3, 0.8)
    )
    for place, strength in ((-2.0, 0.9), (4.0, 0.6)):
        wave = 0.8 * np.sin(points[:, 2] / (6 * _MM)) * _MM
        lines = np.maximum(
            lines, strength * palm * palm_weight * bump(beyond - place * _MM + wave, 0.7 * _MM)
        )
    fields[:, CREASE] = np.maximum(fields[:, CREASE], lines)
    for pair in pairwise(first_bones(joints)):
        along, across = place_along(points, *np.mean(pair, 0))
        # Where fingers lie against each other: from the knuckles to the web, never quite straight.
        across = across + 0.6 * np.sin(along / (5 * _MM)) * _MM
        line = smoothstep(along, -0.010, 0.008) * smoothstep(along, 0.038, 0.030)
        line *= (1 - palm) * bump(across, 1.1 * _MM)
        fields[:, CLEFT] = np.maximum(fields[:, CLEFT], line)
    fields[:, BLOOD] += 0.45 * palm * palm_weight * (1 - arm)
    return fields


def _digits(hand, joints, parts):
    """``_Digit`` of each finger by name."""
    digits = {}
    names = [name.split("_")[0] for name in MANO_JOINT_NAMES]
    owner = hand.weights.argmax(1)
    for finger, tip in zip(FINGERS, TIP_VERTICES["freihand"]):
        ids = [k for k, name in enumerate(names) if name == finger]
        axis = _unit(hand.v_template[tip] - joints[ids[2]])
        # The thumb is rolled: its nail looks up and away from the fingers (MANO's axes).
        up = np.array([np.sign(joints[0, 0] - joints[4, 0]), 1.0, 1.0])
        up = up if finger == "thumb" else np.array([0, 1.0, 0])
        back = _unit(up - (up @ axis) * axis)
        distal = hand.v_template[owner == ids[2]]
        distal = distal if len(distal) else hand.v_template[[tip]]
        length = ((distal - joints[ids[2]]) @ axis).max()
        across = np.abs((distal - joints[ids[2]]) @ np.cross(back, axis))
        end = joints[ids[2]] + max(length, 1e-3) * axis
        chain = np.vstack([joints[ids], end])
        digits[finger] = _Digit(
            chain, back, max(np.quantile(across, 0.9), 1e-3), parts[:, ids].sum(1)
        )
    return digits


def _add_digit(fields, digit, points, facing, palm, thumb):
    """Nail, creases, wrinkles and blood of one digit, where its weight is large."""
    near = digit.weight > 0.35
    p, facing, palm = points[near], facing[near], palm[near]
    a, b, c, end = digit.joints
    out = {k: fields[near, k] for k in (NAIL, NAIL_LENGTH, CREASE, WRINKLE, BLOOD)}
    axis = _unit(end - c)
    along = (p - c) @ axis / np.linalg.norm(end - c)
    across = (p - c) @ np.cross(digit.back, axis) / digit.half_width
    # The nail: a rounded rectangle over the outer half of the last segment's back.
    distance = (np.abs((along - 0.70) / 0.27) ** 3 + np.abs(across / 0.68) ** 3) ** (1 / 3)
    distance += 3 * smoothstep(facing, 0.25, -0.1)
    out[NAIL] = np.minimum(out[NAIL], distance / NAIL_RANGE)
    out[NAIL_LENGTH] = ((along - 0.43) / 0.54).clip(0, 1)
    out[BLOOD] = out[BLOOD] + 0.8 * smoothstep(along, 0.3, 0.9) * (0.4 + 0.6 * palm)
    across_mm = across * digit.half_width / _MM
    webs = a + 0.48 * (b - a)
    segments = ((webs, b - a, (0.0,), 0.0, 0), (b, c - a, (-1.3, 1.3), 2.4, 5.5))
    segments += ((c, end - b, (-0.4,), 1.7, 3.5), (a, b - a, (), 3.0, 5.0))
    for k, (joint, direction, creases, period, reach) in enumerate(segments):
        if thumb and k in (0, 3):
            continue
        x = (p - joint) @ _unit(direction) / _MM
        bent = x + 0.35 * np.sin(across_mm * 0.7 + 2 * k) + 0.02 * across_mm**2
        for place in creases:
            out[CREASE] = np.maximum(out[CREASE], 0.9 * palm * bump(bent - place, 0.55))
        if period:
            wave = (
                np.cos(2 * np.pi * bent / period) * bump(x, reach) * smoothstep(1 - palm, 0.5, 0.9)
            )
            strength = 0.5 if k == 3 else 1.0
            out[WRINKLE] = out[WRINKLE] + 0.5 * strength * wave
            out[BLOOD] = out[BLOOD] + 0.5 * strength * bump(x, 8.0) * (1 - palm)
    for k, value in out.items():
        fields[near, k] = value


def _palm_lines(joints, points):
    """Heart, head and life line as curves in the plane of the palm: strength 0-1 at points."""
    place = {name: joints[k] for k, name in enumerate(MANO_JOINT_NAMES)}
    wrist, thumb = place["wrist"], place["thumb_cmc"]
    index, middle = place["index_mcp"], place["middle_mcp"]
    ring, pinky = place["ring_mcp"], place["pinky_mcp"]

    def towards_wrist(joint, amount, radial=0.0):
        return joint + amount * (wrist - joint) + radial * _unit(index - pinky)

    edge = 0.012
    curves = (
        (towards_wrist(pinky, 0.22, -edge), towards_wrist(ring, 0.40), 0.5 * (index + middle)),
        (towards_wrist(index, 0.30, edge), towards_wrist(middle, 0.36), towards_wrist(pinky, 0.66)),
        (towards_wrist(index, 0.32, edge), towards_wrist(middle, 0.55), 0.6 * wrist + 0.4 * thumb),
    )
    t = np.linspace(0, 1, 150)[:, None]
    lines = np.vstack([(1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in curves])
    distance, nearest = cKDTree(lines[:, [0, 2]]).query(points[:, [0, 2]])
    taper = np.tile(np.minimum(1, 6 * (1 - t[:, 0])), len(curves))[nearest]
    return taper * bump(distance, 0.8 * _MM)


def _unit(v):
    return v / max(np.linalg.norm(v), 1e-12)
