"""A forearm for a hand that ends at the wrist: a tube that continues the mesh's open border."""

import warnings
from typing import NamedTuple

import numpy as np

from handlib.geometry import smoothstep

# Distances of the rings from the hand's border: up to the cuff as parts of its distance, then
# metres beyond it. The last is far enough to be outside every picture.
_TO_CUFF = np.array([0.08, 0.2, 0.35, 0.55, 0.78, 1.0])
_BEYOND = np.array([0.0005, 0.01, 0.025, 0.05, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.32, 0.9])
_CUFF = len(_TO_CUFF) - 1
_N_RINGS = len(_TO_CUFF) + len(_BEYOND)
ARM_RINGS = _CUFF + 4, _N_RINGS - 3  # of the arm itself, from 5 cm beyond the cuff to the elbow
_ELBOW = (0.20, 0.12)  # where it begins to bend, and over what length


class ArmShape(NamedTuple):
    """Angles in radians, lengths in metres."""

    flexion: float = 0.0
    deviation: float = 0.0
    bend_length: float = 0.06
    """Of the arm, over which it bends at the wrist."""
    depth_growth: float = 0.75
    """Relative growth of the section, palm to back, from wrist to the middle of the forearm."""
    width_growth: float = 0.4
    """The same, thumb's side to little finger's."""
    cuff: float = 0.055
    """Where the sleeve begins."""
    sleeve: float = 0.0
    """Thickness of the sleeve; 0 for a bare arm."""
    folds: np.ndarray | float = 0.0
    """(rings, border, 1) relative bumps of the sleeve."""
    band: tuple[int, int] = (0, 0)
    """Rings between which a watch or bracelet is worn; none where they are the same."""


def random_arm(rng, border=16):
    """An arm with a bent wrist; 40 % have a sleeve, one in eight wears something at the wrist."""
    sleeve = np.exp(rng.uniform(*np.log([0.003, 0.016]))) if rng.random() < 0.4 else 0.0
    first = int(rng.integers(1, _CUFF))
    worn = rng.random() < 0.125
    folds = rng.normal(0, 0.035, (_N_RINGS, border, 1))
    return ArmShape(
        flexion=np.clip(rng.normal(0, 0.42), -1.0, 1.0),
        deviation=np.clip(rng.normal(0, 0.16), -0.35, 0.35),
        bend_length=rng.uniform(0.025, 0.06),
        depth_growth=rng.uniform(0.4, 1.15),
        width_growth=rng.uniform(0.2, 0.75),
        cuff=rng.uniform(0.012, 0.12),
        sleeve=sleeve,
        # Neighbouring points move together.
        folds=(folds + np.roll(folds, 1, 1)) / 2,
        band=(first, first + int(rng.integers(1, 3))) if worn else (0, 0),
    )


class Forearm:
    """Rings of vertices that go on from a hand's border; none where it has not one border.

    Attributes:
        border: (N,) vertex ids of the hand's open border, in order around it.
        faces: (F, 3) triangles over the hand's vertices followed by the arm's.
        cloth_start: index in ``faces`` of the first triangle that a sleeve covers.
    """

    def __init__(self, hand):
        try:
            self.border = border_loop(hand.faces)
        except ValueError as error:
            warnings.warn(f"{hand.name} is drawn without a forearm: {error}", stacklevel=2)
            self.border = np.zeros(0, int)
        n = len(self.border)
        loops = len(hand.v_template) + np.arange(_N_RINGS * n).reshape(_N_RINGS, n)
        loops = np.vstack([self.border, loops])
        a, b = loops[:-1], loops[1:]
        a1, b1 = np.roll(a, -1, 1), np.roll(b, -1, 1)
        self.faces = np.stack([a1, a, b1, a, b, b1], -1).reshape(-1, 3)
        self.cloth_start = 2 * n * (_CUFF + 1)
        # MANO's right hands point to -x, its left ones to +x; the back is +y.
        out = 1.0 if hand.is_right else -1.0
        self.frame = np.array([[out, 0, 0], [0, 1.0, 0], [0, 0, out]])

    def vertices(self, ring, rotation, shape, leave=None):
        """Where the arm's vertices are.

        Args:
            ring: (N, 3) the hand's border, metres.
            rotation: (3, 3) of the hand's root.
            shape: ``ArmShape``.
            leave: (3,) direction that the arm takes beyond the elbow; None for straight on.

        Returns:
            (rings * N, 3) metres.
        """
        if len(ring) == 0:
            return np.zeros((0, 3))
        frame = self.frame @ rotation.T  # rows: out of the hand, its back, its side
        center = ring.mean(0)
        local = (ring - center) @ frame.T
        s = np.concatenate([_TO_CUFF * shape.cuff, shape.cuff + _BEYOND])
        axis = shape.flexion * frame[2] + shape.deviation * frame[1]
        before = np.concatenate([[0], s[:-1]])
        places = np.concatenate([s, (before + s) / 2])
        frames = _bent(frame, axis, shape.bend_length, leave, places)
        steps = frames[len(s) :, 0] * (s - before)[:, None]
        centers = center + np.cumsum(steps, 0)
        sections = self._sections(local, s, shape)
        return (centers[:, None] + sections @ frames[: len(s)]).reshape(-1, 3)

    def _sections(self, local, s, shape):
        """(rings, N, 3) points of each ring in its frame: the border's shape, then an ellipse."""
        back, side = np.abs(local[:, 1]).max(), np.abs(local[:, 2]).max()
        angle = np.arctan2(local[:, 1] / back, local[:, 2] / side)
        grow = smoothstep(s / 0.2)[:, None]
        ellipse = np.stack(
            [
                np.zeros((len(s), len(local))),
                np.sin(angle) * back * (1 + shape.depth_growth * grow),
                np.cos(angle) * side * (1 + shape.width_growth * grow),
            ],
            -1,
        )
        blend = smoothstep(s / 0.05)[:, None, None]
        sections = local + (ellipse - local) * blend
        if shape.sleeve > 0:
            covered = (np.arange(len(s)) > _CUFF)[:, None, None]
            radius = np.linalg.norm(sections, axis=-1, keepdims=True)
            wider = (1 + shape.sleeve / radius + shape.folds).clip(1.02)
            sections = np.where(covered, sections * wider, sections)
        return sections


def border_loop(faces):
    """Vertex ids of a mesh's one open border, in the direction of its triangles.

    Raises:
        ValueError: if the mesh has no border, or several.
    """
    edges = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1))}
    following = {a: b for a, b in edges if (b, a) not in edges}
    if not following:
        raise ValueError("its mesh is closed")
    loop = [min(following)]
    while following[loop[-1]] != loop[0] and len(loop) <= len(following):
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError("its mesh has several open borders")
    return np.array(loop)


def _bent(frame, wrist, bend_length, leave, s):
    """The frame (N, 3, 3) at distances s (N,) from the wrist, past wrist and elbow."""
    frames = _turned(frame, wrist, smoothstep(s / bend_length))
    if leave is None:
        return frames
    along = _turned(frame, wrist, np.ones(1))[0, 0]
    elbow = np.cross(along, leave)
    sine = np.sqrt(elbow @ elbow)
    elbow *= np.arctan2(sine, along @ leave) / max(sine, 1e-9)
    return _turned(frames, elbow, smoothstep((s - _ELBOW[0]) / _ELBOW[1]))


def _turned(frame, axis, amounts):
    """Rows of frames (3, 3) or (N, 3, 3) turned about ``axis`` by its length times amounts (N,)."""
    length = np.sqrt(axis @ axis)
    x, y, z = axis / max(length, 1e-12)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angles = (length * amounts)[:, None, None]
    turns = np.eye(3) + np.sin(angles) * skew + (1 - np.cos(angles)) * (skew @ skew)  # Rodrigues
    return frame @ turns.swapaxes(1, 2)
