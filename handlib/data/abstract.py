"""Pictures of nothing: grounds, polygons, stripes, blobs and bundles of bars, in any colours.

They have texture at all scales, hard and soft edges, and things in the colours of skin, so that no
one cue tells a hand.
"""

import cv2
import numpy as np

from handlib.data.paint import mix, noise, random_color


def abstract(rng, size):
    """A picture (size, size, 3) float32, 0-255: a ground and a few kinds of things on it."""
    picture = _ground(rng, size)
    return scatter(rng, picture, rng.integers(1, 6))


def scatter(rng, picture, count):
    """So many kinds of things, or patterns, over a picture."""
    things = (_polygons, _stripes, _blobs, _limbs, _texture)
    for _ in range(count):
        picture = things[rng.choice(len(things), p=(0.3, 0.15, 0.2, 0.2, 0.15))](rng, picture)
        if rng.random() < 0.25:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 6))
    return picture


def _ground(rng, size):
    kind = rng.random()
    if kind < 0.25:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[:size, :size] / size - 0.5
        weight = 0.5 + x * np.cos(angle) + y * np.sin(angle)
    else:
        weight = 0.5 + 0.6 * noise(rng, size, int(rng.integers(1, 8)), octaves=5)
    weight = weight.clip(0, 1) if kind < 0.8 else (weight > 0.5).astype(float)
    return mix(weight, random_color(rng), random_color(rng))


def _texture(rng, picture):
    """Multi-octave noise in one colour direction, over a part of the picture."""
    size = len(picture)
    where = (0.5 + 2 * noise(rng, size, 2)).clip(0, 1)
    grain = noise(rng, size, int(rng.integers(4, 40)), octaves=3) * rng.uniform(10, 50)
    return picture + (where * grain)[..., None] * rng.uniform(0.5, 1, 3).astype(np.float32)


def _polygons(rng, picture):
    for _ in range(rng.integers(2, 14)):
        center = rng.uniform(0, len(picture), 2)
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        radius = rng.uniform(0.04, 0.35) * len(picture) * rng.uniform(0.5, 1, len(angle))
        corners = center + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        cv2.fillPoly(picture, [corners.astype(np.int32)], random_color(rng).tolist(), cv2.LINE_AA)
    return picture


def _stripes(rng, picture):
    size = len(picture)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 50)
    y, x = np.mgrid[:size, :size]
    bend = noise(rng, size, 2) * rng.uniform(0, 15)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle) + bend) * 2 * np.pi / period)
    where = (0.5 + 3 * noise(rng, size, 1)).clip(0, 1)
    return mix(where * (0.5 + 2 * wave).clip(0, 1), picture, random_color(rng))


def _blobs(rng, picture):
    """Shaded ellipses."""
    size = len(picture)
    for _ in range(rng.integers(2, 10)):
        center = tuple(int(c) for c in rng.uniform(0, size, 2))
        axes = tuple(int(a) for a in rng.uniform(0.02, 0.2, 2) * size)
        turn, color = rng.uniform(0, 180), random_color(rng)
        for shrink in (1, 0.8, 0.55):
            inner = tuple(int(a * shrink) for a in axes)
            cv2.ellipse(picture, center, inner, turn, 0, 360, color.tolist(), -1, cv2.LINE_AA)
            color = color * rng.uniform(1, 1.12)
    return picture


def _limbs(rng, picture):
    """Bundles of rounded bars, like fingers and arms; mostly in one skin tone."""
    size, color = len(picture), random_color(rng)
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
