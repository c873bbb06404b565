"""Pictures to put behind a hand: a folder of them, or made-up ones where there is no folder.

The made-up ones are of places and people as in photos, or of nothing at all.
"""

import hashlib
import json
import math
import warnings
from functools import lru_cache

import cv2
import numpy as np

from handlib.data.abstract import abstract
from handlib.data.paint import noise
from handlib.data.places import place
from handlib.images import SUFFIXES, read_image
from handlib.paths import from_environment, user_path

REMEDY = "point MP_BACKGROUNDS at a folder of pictures, or unset it to use made-up backgrounds"
# Made-up pictures come from a bank of this many, larger than needed and cropped, turned and
# recoloured at random: a new one each time would take longer than the hand.
_BANK, _BANK_SIZE = 128, 256
_JOINED = 0.3  # of them are two pictures that meet in an edge: so many more than in the bank


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
        self.folder, self.seed = folder and user_path(folder).resolve(), seed
        self.paths = _pictures(self.folder) if folder else ()
        self.source = str(self.folder) if folder else "procedural"

    def fingerprint(self):
        """What names the pictures of the folder as they are now."""
        about = [(p.relative_to(self.folder).as_posix(), p.stat()) for p in self.paths]
        known = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in about]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

    def draw(self, rng, size):
        """A random crop, mirrored and recoloured at random.

        Args:
            rng: ``numpy.random.Generator``; the same state gives the same picture.
            size: (width, height) px.

        Returns:
            (height, width, 3) uint8 RGB.
        """
        picture = self._picture(rng)
        window = _random_window(rng, picture, size)
        crop = _random_crop(rng, picture, window, size)
        if not self.folder and rng.random() < _JOINED:
            crop = _joined(rng, crop, _random_crop(rng, self._picture(rng), window, size))
        r, g, b = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.2)).tolist()
        plus = rng.normal(0, 8)
        recolor = np.array([[r, 0, 0, plus], [0, g, 0, plus], [0, 0, b, plus]])
        return cv2.resize(cv2.transform(crop, recolor), size)  # last: until then it is smaller

    def _picture(self, rng):
        return self._read(rng) if self.folder else _made_up(self.seed, int(rng.integers(_BANK)))

    def _read(self, rng):
        start = int(rng.integers(len(self.paths)))
        for path in self.paths[start:] + self.paths[:start]:
            picture = _load(path)
            if picture is not None:
                return picture
        raise ValueError(f"no picture in {self.folder} can be read any more: {REMEDY}")


def load_backgrounds(folder=None, seed=0):
    """``Backgrounds`` of a folder, or of ``MP_BACKGROUNDS``, or made-up ones if that is unset."""
    return Backgrounds(folder or from_environment("MP_BACKGROUNDS"), seed)


def _pictures(folder):
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"the backgrounds folder {folder} {what}: {REMEDY}")
    paths = tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES))
    if not any(_load(path) is not None for path in paths):
        raise ValueError(f"no picture in {folder} can be read ({' '.join(SUFFIXES)}): {REMEDY}")
    return paths


@lru_cache(maxsize=64)  # up to 3 MB each, in every worker
def _load(path):
    """(H, W, 3) uint8 RGB, no side over 1024 px; None, with a warning, where it is broken."""
    try:
        picture = read_image(path, upright=True)
    except (OSError, ValueError) as error:
        warnings.warn(f"skipped a background: {error}", stacklevel=2)
        return None
    shrink = 1024 / max(picture.shape)
    if shrink < 1:
        size = [max(1, round(side * shrink)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return picture


def _random_window(rng, picture, size):
    """(width, height) of the wanted shape, 55-100 % of the picture."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1]) * rng.uniform(0.55, 1)
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _random_crop(rng, picture, window, size):
    """A window (width, height) of a picture, half of them mirrored; of ``size`` if it is larger."""
    (height, width), (w, h) = picture.shape[:2], window
    x, y = rng.integers(width - w + 1), rng.integers(height - h + 1)
    crop = picture[y : y + h, x : x + w]
    times = min(round(w / size[0]), w, h)
    if times > 1:  # bilinear sampling skips pixels, and averages of a part of one are slow
        w, h = w // times, h // times
        crop = cv2.resize(crop[: h * times, : w * times], (w, h), interpolation=cv2.INTER_AREA)
    if w > size[0]:
        crop = cv2.resize(crop, size)
    return cv2.flip(crop, 1) if rng.random() < 0.5 else crop


def _joined(rng, picture, other):
    """The other picture (H, W, 3) on one side of a line through this one."""
    height, width = picture.shape[:2]
    x, y = (rng.uniform(0.1, 0.9, 2) * [width, height]).tolist()
    angle, far = rng.uniform(0, 2 * math.pi), 2 * (width + height)
    dx, dy = far * math.cos(angle), far * math.sin(angle)
    ways = (dx, dy), (-dx, -dy), (-dx - dy, dx - dy), (dx - dy, dx + dy)
    side = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(side, np.array([(x + u, y + v) for u, v in ways], np.int32), 255)
    return cv2.copyTo(other, side, picture.copy())  # it may be a part of one that is kept


@lru_cache(maxsize=_BANK)
def _made_up(seed, index):
    return procedural(np.random.default_rng([seed, index]), _BANK_SIZE)


def procedural(rng, size):
    """A made-up picture (size, size, 3) uint8: a place or an abstract one, seen by a lens."""
    picture = (place if rng.random() < 0.7 else abstract)(rng, size)
    if rng.random() < 0.5:  # most of what photos show is less colourful than paint
        grey = picture.mean(-1, keepdims=True)
        picture = grey + (picture - grey) * np.float32(rng.uniform(0.2, 0.9))
    light = 1 + np.float32(0.5 * rng.random()) * noise(rng, size, 2)
    grain = np.float32(rng.uniform(2, 10)) * noise(rng, size, 64)
    picture = picture * light[..., None] + grain[..., None]
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 4))
    return picture.clip(0, 255).astype(np.uint8)
