"""Colours of skin and of things, and smooth noise: what made-up pictures are painted with."""

import cv2
import numpy as np

# sRGB of skin from light to dark: the generator's hands and the distractors behind them.
SKIN_TONES = np.array(
    [(246, 212, 188), (233, 186, 154), (212, 160, 122), (182, 124, 88), (132, 84, 58), (78, 52, 42)]
)


def skin_tone(tone):
    """sRGB (3,) 0-255 of skin: 0 for the lightest of ``SKIN_TONES``, len - 1 for the darkest."""
    i = min(int(tone), len(SKIN_TONES) - 2)
    return SKIN_TONES[i] + (tone - i) * (SKIN_TONES[i + 1] - SKIN_TONES[i])


def random_tone(rng):
    """sRGB (3,) 0-255 of somebody's skin, as it is lit in some place."""
    return skin_tone(rng.uniform(0, len(SKIN_TONES) - 1)) * rng.uniform(0.6, 1.1)


def random_color(rng):
    """RGB 0-255: of skin, of a muted thing, or vivid."""
    kind = rng.random()
    if kind < 0.25:
        skin = skin_tone(rng.uniform(0, len(SKIN_TONES) - 1))
        return skin * rng.uniform(0.5, 1.1) + rng.normal(0, 8, 3)
    hsv = [rng.uniform(0, 180), rng.beta(1, 3 if kind < 0.75 else 0.8) * 255, rng.uniform(15, 255)]
    return cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def noise(rng, size, cells, octaves=1, gain=0.55):
    """(size, size) smooth noise of about unit amplitude; each octave doubles the cells."""
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        grid = rng.uniform(-1, 1, (cells * 2**k + 3,) * 2).astype(np.float32)
        large = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        total += large * gain**k
    return total


def mix(weight, a, b):
    """From ``a`` to ``b``, pictures or colours, by weights (H, W); in float32 for speed."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return a + (b - a) * weight[..., None].astype(np.float32)
