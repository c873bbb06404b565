"""Pictures to put behind a hand: a folder of them, or made-up ones where there is no folder.

The made-up ones are meant to be hard to tell from a hand by one cue alone: they have texture at
all scales, hard and soft edges, and things in the colours of skin.
"""

import os
import warnings
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
REMEDY = "point MP_BACKGROUNDS at a folder of pictures, or unset it to use made-up backgrounds"
# Made-up pictures come from a bank of this many, larger than needed and cropped, turned and
# recoloured at random: a new one each time would take longer than the hand.
_BANK, _BANK_SIZE = 96, 288
_SHRINK = 1.5  # from here on, bilinear sampling skips pixels
# sRGB of skin from light to dark: the generator's hands and the distractors behind them.
SKIN_TONES = np.array(
    [(246, 212, 188), (233, 186, 154), (212, 160, 122), (182, 124, 88), (132, 84, 58), (78, 52, 42)]
)


def skin_tone(tone):
    """sRGB (3,) 0-255 of skin: 0 for the lightest of ``SKIN_TONES``, len - 1 for the darkest."""
    i = min(int(tone), len(SKIN_TONES) - 2)
    return SKIN_TONES[i] + (tone - i) * (SKIN_TONES[i + 1] - SKIN_TONES[i])


class Backgrounds:
    """Random background pictures.

    Args:
        folder: pictures, also in sub-folders; None for made-up ones.
        seed: of the made-up ones.

    Raises:
        FileNotFoundError: when the folder does not exist.
        ValueError: when no picture in it can be read.
    """

    def __init__(self, folder=None, seed=0):
        self.folder, self.seed = folder and Path(folder).expanduser(), seed
        self.paths = _pictures(self.folder) if folder else ()
        self.source = str(self.folder) if folder else "procedural"

    def draw(self, rng, size):
        """A random crop, mirrored and recoloured at random.

        Args:
            rng: ``numpy.random.Generator``; the same state gives the same picture.
            size: (width, height) px.

        Returns:
            (height, width, 3) uint8 RGB.
        """
        picture = self._read(rng) if self.folder else _made_up(self.seed, int(rng.integers(_BANK)))
        crop = _random_crop(rng, picture, size)
        gain = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.2))
        return cv2.transform(crop, np.column_stack([np.diag(gain), np.full(3, rng.normal(0, 8))]))

    def _read(self, rng):
        start = int(rng.integers(len(self.paths)))
        for path in self.paths[start:] + self.paths[:start]:
            picture = _load(path)
            if picture is not None:
                return picture
        raise ValueError(f"no picture in {self.folder} can be read any more: {REMEDY}")


def load_backgrounds(folder=None, seed=0):
    """``Backgrounds`` of a folder, or of ``MP_BACKGROUNDS``, or made-up ones if that is unset."""
    return Backgrounds(folder or os.environ.get("MP_BACKGROUNDS") or None, seed)


def _pictures(folder):
    if not folder.is_dir():
        raise FileNotFoundError(f"the backgrounds folder {folder} does not exist: {REMEDY}")
    paths = tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES))
    if not any(_load(path) is not None for path in paths):
        raise ValueError(f"no picture in {folder} can be read ({' '.join(SUFFIXES)}): {REMEDY}")
    return paths


@lru_cache(maxsize=64)  # up to 3 MB each, in every worker
def _load(path):
    """(H, W, 3) uint8 RGB, no side over 1024 px; None, with a warning, where it is broken."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        warnings.warn(f"skipped {path}: not a readable picture", stacklevel=2)
        return None
    shrink = 1024 / max(picture.shape)
    if shrink < 1:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _random_crop(rng, picture, size):
    """A window of the wanted shape, 55-100 % of the picture, resized; half of them mirrored."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1]) * rng.uniform(0.55, 1)
    w, h = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    x, y = rng.integers(width - w + 1), rng.integers(height - h + 1)
    crop = picture[y : y + h, x : x + w]
    # Area averages take several times longer, and show only where much smaller.
    shrinks = w > _SHRINK * size[0]
    crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return cv2.flip(crop, 1) if rng.random() < 0.5 else crop


# -- made-up pictures ------------------------------------------------------------------------
@lru_cache(maxsize=_BANK)
def _made_up(seed, index):
    return procedural(np.random.default_rng([seed, index]), _BANK_SIZE)


def procedural(rng, size):
    """A made-up picture (size, size, 3) uint8: a ground, things on it, and a lens."""
    picture = _ground(rng, size)
    things = (_polygons, _stripes, _blobs, _limbs, _texture)
    for _ in range(rng.integers(1, 6)):
        picture = things[rng.choice(len(things), p=(0.3, 0.15, 0.2, 0.2, 0.15))](rng, picture)
        if rng.random() < 0.25:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 6))
    light = 1 + np.float32(0.5 * rng.random()) * _noise(rng, size, 2)
    grain = np.float32(rng.uniform(2, 10)) * _noise(rng, size, 64)
    picture = picture * light[..., None] + grain[..., None]
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 4))
    return picture.clip(0, 255).astype(np.uint8)


def _color(rng):
    """RGB 0-255: of skin, of a muted thing, or vivid."""
    kind = rng.random()
    if kind < 0.25:
        skin = skin_tone(rng.uniform(0, len(SKIN_TONES) - 1))
        return skin * rng.uniform(0.5, 1.1) + rng.normal(0, 8, 3)
    hsv = [rng.uniform(0, 180), rng.beta(1, 3 if kind < 0.75 else 0.8) * 255, rng.uniform(15, 255)]
    return cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def _noise(rng, size, cells, octaves=1, gain=0.55):
    """(size, size) smooth noise of about unit amplitude; each octave doubles the cells."""
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        grid = rng.uniform(-1, 1, (cells * 2**k + 3,) * 2).astype(np.float32)
        large = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        total += large * gain**k
    return total


def _mix(weight, a, b):
    """From ``a`` to ``b``, pictures or colours, by weights (H, W); in float32 for speed."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return a + (b - a) * weight[..., None].astype(np.float32)


def _ground(rng, size):
    kind = rng.random()
    if kind < 0.25:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[:size, :size] / size - 0.5
        weight = 0.5 + x * np.cos(angle) + y * np.sin(angle)
    else:
        weight = 0.5 + 0.6 * _noise(rng, size, int(rng.integers(1, 8)), octaves=5)
    weight = weight.clip(0, 1) if kind < 0.8 else (weight > 0.5).astype(float)
    return _mix(weight, _color(rng), _color(rng))


def _texture(rng, picture):
    """Multi-octave noise in one colour direction, over a part of the picture."""
    size = len(picture)
    where = (0.5 + 2 * _noise(rng, size, 2)).clip(0, 1)
    grain = _noise(rng, size, int(rng.integers(4, 40)), octaves=3) * rng.uniform(10, 50)
    return picture + (where * grain)[..., None] * rng.uniform(0.5, 1, 3).astype(np.float32)


def _polygons(rng, picture):
    for _ in range(rng.integers(2, 14)):
        center = rng.uniform(0, len(picture), 2)
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        radius = rng.uniform(0.04, 0.35) * len(picture) * rng.uniform(0.5, 1, len(angle))
        corners = center + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        cv2.fillPoly(picture, [corners.astype(np.int32)], _color(rng).tolist(), cv2.LINE_AA)
    return picture


def _stripes(rng, picture):
    size = len(picture)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 50)
    y, x = np.mgrid[:size, :size]
    bend = _noise(rng, size, 2) * rng.uniform(0, 15)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle) + bend) * 2 * np.pi / period)
    where = (0.5 + 3 * _noise(rng, size, 1)).clip(0, 1)
    return _mix(where * (0.5 + 2 * wave).clip(0, 1), picture, _color(rng))


def _blobs(rng, picture):
    """Shaded ellipses."""
    size = len(picture)
    for _ in range(rng.integers(2, 10)):
        center = tuple(int(c) for c in rng.uniform(0, size, 2))
        axes = tuple(int(a) for a in rng.uniform(0.02, 0.2, 2) * size)
        turn, color = rng.uniform(0, 180), _color(rng)
        for shrink in (1, 0.8, 0.55):
            inner = tuple(int(a * shrink) for a in axes)
            cv2.ellipse(picture, center, inner, turn, 0, 360, color.tolist(), -1, cv2.LINE_AA)
            color = color * rng.uniform(1, 1.12)
    return picture


def _limbs(rng, picture):
    """Bundles of rounded bars, like fingers and arms; mostly in one skin tone."""
    size, color = len(picture), _color(rng)
    start, heading = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
    width = rng.uniform(0.02, 0.12) * size
    for _ in range(rng.integers(1, 6)):
        point, direction = start + rng.normal(0, 2 * width, 2), heading + rng.normal(0, 0.3)
        for _ in range(rng.integers(1, 4)):
            end = point + width * rng.uniform(1.5, 5) * np.array(
                [np.cos(direction), np.sin(direction)]
            )
            ends = [tuple(int(c) for c in p) for p in (point, end)]
            for k, shade in enumerate((0.75, 0.92, 1.05)):
                thick = max(1, int(width * (1 - 0.3 * k)))
                cv2.line(picture, *ends, (color * shade).tolist(), thick, cv2.LINE_AA)
            point, direction = end, direction + rng.normal(0, 0.6)
    return picture
