"""Parts of people that are no hands: heads and bent limbs, as lit reliefs.

A network that has seen none of them takes faces and elbows for hands.
"""

import cv2
import numpy as np

from handlib.data.paint import mix, noise, random_color, random_tone


def body_part(rng, picture):
    """A head or a limb, a third of the picture's side or more, before a picture (S, S, 3)."""
    size = len(picture)
    tone = random_tone(rng)
    if rng.random() < 0.5:
        return limb(rng, picture, tone)
    center = size * rng.uniform(0.3, 0.7, 2)
    return head(rng, picture, center, size * np.exp(rng.uniform(*np.log([0.18, 0.8]))), tone)


def head(rng, picture, center, unit, tone):
    """A head before a picture (S, S, 3) float32: ``unit`` px are half of its height."""
    size = len(picture)
    turn = rng.normal(0, 0.25) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi)
    y, x = (np.mgrid[:size, :size].astype(np.float32) - np.float32(center)[::-1, None, None]) / unit
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = x * c + y * s, y * c - x * s
    yaw = rng.uniform(-0.45, 0.45)  # where the face's middle line is
    from_middle = u - yaw * np.sqrt((1 - v * v).clip(0))
    inside = (u / 0.76) ** 2 + v * v
    color, features = _face(rng, size, from_middle, v, tone)
    depth = np.sqrt((1 - inside).clip(0.02)) + features
    hairline = rng.uniform(-0.75, -0.35) + 0.08 * noise(rng, size, 10, octaves=2)
    strands = random_color(rng) * 0.4 * (1 + 0.3 * noise(rng, size, 24)[..., None])
    if rng.random() < 0.4:  # long hair
        fall = (u / rng.uniform(0.85, 1.1)) ** 2 + ((v - 0.25) / rng.uniform(1.2, 1.7)) ** 2
        picture = mix(_soft(fall < 1), picture, strands)
    hair = ((hairline - v + 0.35 * (np.abs(from_middle) - 0.4).clip(0)) * 12).clip(0, 1)
    color = mix(hair, color, strands)
    color *= _light(rng, depth * unit)
    neck = (np.abs(u) < 0.42) & (v > 0.3)
    picture = mix(_soft(neck), picture, tone * 0.65)
    return mix(_soft(inside < 1), picture, color)


def _face(rng, size, x, y, tone):
    """Colours (S, S, 3) and relief (S, S) of what lies ``x`` from a face's middle line, and ``y``
    below its middle, in halves of the head's height: skin, nose, eyes, brows, lips, a beard."""
    relief = 0.22 * _spot(x, y - 0.2, 0.1, 0.13) + 0.13 * _spot(x, y, 0.07, 0.2)
    color = tone * np.ones((size, size, 1), np.float32)
    color *= 1 + np.float32(0.06) * noise(rng, size, 8, octaves=3)[..., None]
    if rng.random() < 0.25:
        beard = ((y - 0.3) * 6).clip(0, 1) * np.float32(rng.uniform(0.3, 0.8))
        color = mix(beard, color, tone * rng.uniform(0.1, 0.5))
    wide_open = rng.uniform(0.02, 0.09)
    for side in (-1, 1):
        across = x - side * 0.3
        relief -= 0.1 * _spot(across, y + 0.08, 0.17, 0.1)
        color = mix(_spot(across, y + 0.1, 0.12, wide_open), color, tone * 0.4 + 60)
        color = mix(_spot(across, y + 0.1, 0.05, wide_open), color, (25, 18, 15))
        color = mix(0.8 * _spot(across, y + 0.26, 0.16, 0.035), color, tone * 0.3)
    lips = 0.7 * _spot(x, y - 0.52, rng.uniform(0.15, 0.28), rng.uniform(0.04, 0.12))
    return mix(lips, color, tone * [0.85, 0.5, 0.5]), relief


def limb(rng, picture, tone):
    """A bent arm or leg across a picture (S, S, 3) float32; some are partly dressed."""
    size = len(picture)
    middle = size * rng.uniform(0.3, 0.7, 2)
    first = rng.uniform(0, 2 * np.pi)
    second = first + np.pi + rng.normal(0, 0.9)
    radius = size * np.exp(rng.uniform(*np.log([0.07, 0.25])))
    # Half of them end in the picture, as knees and heels do.
    reach = size * np.where(rng.random(2) < [0.5, 0], rng.uniform(0.1, 0.4, 2), 2)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    depth = np.zeros((size, size), np.float32)
    color = tone * np.ones((size, size, 1), np.float32)
    color *= 1 + np.float32(0.08) * noise(rng, size, 10, octaves=3)[..., None]
    for k, angle in enumerate((first, second)):
        way = np.float32([np.cos(angle), np.sin(angle)])
        along = (x - middle[0]) * way[0] + (y - middle[1]) * way[1]
        across = (y - middle[1]) * way[0] - (x - middle[0]) * way[1]
        beyond = along - along.clip(0, reach[k])
        thick = radius * (1 + np.float32(rng.uniform(-0.3, 0.5)) * (along / size).clip(0, 1))
        depth = np.maximum(depth, np.sqrt((thick**2 - across**2 - beyond**2).clip(0)))
        if rng.random() < 0.2:
            color = mix(_soft(along > rng.uniform(0.5, 2) * radius), color, random_color(rng))
    crease = 0.35 * _spot(np.hypot(x - middle[0], y - middle[1]), 0, 0.3 * radius, 1)
    lit = color * (1 - crease[..., None]) * _light(rng, depth)
    return mix(_soft(depth > 0), picture, lit)


def _spot(x, y, width, height):
    return np.exp(-((x / width) ** 2) - (y / height) ** 2).astype(np.float32)


def _soft(mask):
    return cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)


def _light(rng, depth):
    """How bright (S, S, 1) a relief, px towards the eye, is under a sky and a lamp."""
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(depth, (0, 0), 1))
    lamp = rng.normal(size=3) + [0, -0.6, 1.2]
    lamp /= np.linalg.norm(lamp)
    toward = (lamp[2] - lamp[0] * slope_x - lamp[1] * slope_y) / np.sqrt(
        1 + slope_x**2 + slope_y**2
    )
    sky = rng.uniform(0.25, 0.7)
    return np.float32(sky + (1.15 - sky) * (0.8 * toward + 0.2).clip(0))[..., None]
