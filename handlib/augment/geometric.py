"""Transforms of camera and hand: the image and every annotation follow."""

import math

import numpy as np

from handlib import geometry
from handlib.augment.base import MIRROR, STILL, Geometric
from handlib.joints import REFERENCE_BONE
from handlib.upright import FILL, upright_view


class Resize(Geometric):
    """To a size: an int for a square, or (width, height).

    Args:
        frames_only: leave a sample with a box, a picture of more than a hand, to ``CropToHand``.
    """

    def __init__(self, size, frames_only=False):
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.frames_only = frames_only

    def step(self, moved, params):
        if moved.size == self.size or (self.frames_only and moved.sample.box is not None):
            return None
        return geometry.resize_affine(moved.size, self.size), self.size, STILL


class Rotate(Geometric):
    """In-plane rotation by up to ``degrees`` either way.

    It is a rotation R of the camera about its optical axis, so the image turns about the principal
    point: A = K R K^-1, exact for any focal lengths and skew. Without K: about the centre.
    """

    def __init__(self, degrees=90.0):
        self.degrees = degrees

    def draw(self, rng, sample):
        return {"degrees": self.degrees * (2 * rng.random() - 1)}

    def step(self, moved, params):
        angle = math.radians(params["degrees"])
        c, s = math.cos(angle), math.sin(angle)
        motion = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        K = moved.K
        (f, skew, x), (g, h, y), _ = (_centre(moved.size) if K is None else K).tolist()
        # K motion K^-1 written out: a fraction of the time of three calls for nine numbers.
        s /= f * h - skew * g
        along, across, down = s * (f * g + skew * h), s * (f * f + skew * skew), s * (g * g + h * h)
        a, b, c, d = c + along, -across, down, c - along
        affine = np.array([[a, b, x - a * x - b * y], [c, d, y - c * x - d * y], [0.0, 0.0, 1.0]])
        return affine, moved.size, motion


class Flip(Geometric):
    """Mirror left and right with probability ``p``: the hand becomes one of the other side."""

    def __init__(self, p=0.5):
        self.p = p

    def draw(self, rng, sample):
        return {"on": bool(rng.random() < self.p)}

    def step(self, moved, params):
        if not params["on"]:
            return None
        return geometry.mirror_affine(moved.size[0]), moved.size, MIRROR


class ToRight(Flip):
    """Mirror left hands, for a network that knows right ones; ``sample.mirrored`` remembers.

    A hand whose side is not known is left as it is.
    """

    def draw(self, rng, sample):
        return {}

    def step(self, moved, params):
        return super().step(moved, {"on": moved.is_left})

    def mark(self, sample):
        return sample.replace(mirrored=not sample.mirrored)


class MirrorBack(ToRight):
    """Undo ``ToRight``: what was mirrored is again as it was photographed."""

    def step(self, moved, params):
        return Flip.step(self, moved, {"on": moved.sample.mirrored})


class Scale(Geometric):
    """Zoom about the image's centre by a factor from ``low`` to ``high`` (uniform in its log)."""

    def __init__(self, low=0.8, high=1.25):
        self.low, self.high = low, high

    def draw(self, rng, sample):
        return {"factor": float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))}

    def step(self, moved, params):
        factor, (width, height) = params["factor"], moved.size
        stays = (1 - factor) / 2
        dx, dy = stays * (width - 1), stays * (height - 1)
        return np.array([[factor, 0, dx], [0, factor, dy], [0, 0, 1]]), moved.size, STILL


class Shift(Geometric):
    """Move the image by up to ``fraction`` of its width and height."""

    def __init__(self, fraction=0.1):
        self.fraction = fraction

    def draw(self, rng, sample):
        return {"fraction": tuple(rng.uniform(-self.fraction, self.fraction, 2).tolist())}

    def step(self, moved, params):
        (width, height), (x, y) = moved.size, params["fraction"]
        return np.array([[1, 0, x * width], [0, 1, y * height], [0, 0, 1]]), moved.size, STILL


class ScaleNormalize(Geometric):
    """Divide lengths by the reference bone's, so that it is 1; ``sample.unit`` remembers.

    The hand comes nearer and shrinks alike, so its projection stays. A sample without joints, or
    with a bone of no length, is left in metres: nothing is divided by zero.
    """

    def step(self, moved, params):
        return STILL, moved.size, STILL

    def mark(self, sample):
        if not sample.has("joints"):
            return sample
        a, b = REFERENCE_BONE
        bone = math.dist(sample.joints[a].tolist(), sample.joints[b].tolist())
        if bone == 0:
            return sample
        changes = {"unit": sample.unit * bone}
        for name in ("joints", "vertices", "scale"):
            length = getattr(sample, name)
            if length is not None:
                changes[name] = length / bone
        return sample.replace(**changes)


class CropToBox(Geometric):
    """Square crop of ``expand`` times the sample's box, or its 2D joints' tight box.

    Raises:
        ValueError: for a sample with neither.
    """

    def __init__(self, size, expand=1.25):
        self.size, self.expand = size, expand

    def step(self, moved, params):
        return self._crop(_tight_box(moved.joints_2d) if moved.sample.box is None else moved.box)

    def _crop(self, box):
        return crop_affine(box, self.size, self.expand), (self.size, self.size), STILL


class Upright(Geometric):
    """A crop in which the hand stands upright, about as the network sees it at a second look.

    Args:
        size: side of the crop, px.
        p: probability; a sample without 2D joints stays as it is.
        turn: degrees, zoom, shift (of the side): standard deviations about ``upright_view``'s.
    """

    def __init__(self, size, p, turn=15.0, zoom=0.1, shift=0.03):
        self.size, self.p, self.turn, self.zoom, self.shift = size, p, turn, zoom, shift

    def draw(self, rng, sample):
        return {
            "on": bool(rng.random() < self.p),
            "turn": np.deg2rad(self.turn) * rng.normal(),
            "fill": FILL * np.exp(self.zoom * rng.normal()),
            "shift": self.shift * rng.normal(size=2),
        }

    def step(self, moved, params):
        joints_2d = moved.joints_2d
        if not params["on"] or joints_2d is None or not np.isfinite(joints_2d).all():
            return None
        K = _centre(moved.size) if moved.K is None else moved.K
        joints_2d, K = (np.float64(array)[None] for array in (joints_2d, K))
        shift = self.size * params["shift"]
        affine, motion = upright_view(
            joints_2d, K, self.size, params["turn"], params["fill"], shift
        )
        return affine[0], (self.size, self.size), motion[0]


class CropToHand(CropToBox):
    """``CropToBox`` of a sample that comes with a box, from a picture of more than a hand.

    A sample without one is a picture of a hand already, and stays as it is. Default ``expand``:
    the hand is as large as in FreiHAND's frames and in the synthetic data.
    """

    def __init__(self, size, expand=2.0):
        super().__init__(size, expand)

    def step(self, moved, params):
        if moved.sample.box is None:
            return None
        if moved.sample.has("joints_2d"):  # whose box is tight after a rotation too
            return self._crop(_tight_box(moved.joints_2d))
        return super().step(moved, params)


def _tight_box(joints_2d):
    if joints_2d is None or not np.isfinite(joints_2d).all(-1).any():
        raise ValueError("a crop needs a box or 2D joints, and this sample has neither")
    return geometry.tight_box(joints_2d)


def crop_affine(box, size, expand=1.25):
    """(3, 3) affine of the square around a box (x0, y0, x1, y1) to ``size`` pixels."""
    x0, y0, x1, y1 = box
    side = expand * max(x1 - x0, y1 - y0)
    if not side > 0:
        raise ValueError(f"the box {tuple(box)} has no area")
    scale = size / side
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    return np.array([[scale, 0, -0.5 - scale * left], [0, scale, -0.5 - scale * top], [0, 0, 1.0]])


def _centre(size):
    """Translation (3, 3) to the centre of an image (width, height)."""
    return np.array([[1, 0, (size[0] - 1) / 2], [0, 1, (size[1] - 1) / 2], [0, 0, 1.0]])
