"""A rendered hand on several backgrounds, as in FreiHAND.

Version 0 is a green screen; the others have the pictures of ``handlib.data.backgrounds`` and
changed colours, and some of them the faults of a hand that was cut out by a mask.
"""

from functools import lru_cache

import cv2
import numpy as np

from handlib.compiled import njit

_CUT_OUT, _RECOLORED = 0.35, 0.2  # shares of the versions that are not on the screen
_GRAIN_STEPS = 32  # of a standard deviation: the strongest grain is a fifth of a picture's level


@lru_cache(maxsize=1)
def _grain(size):
    """(size, size, 3) int8 normal noise, of which each picture takes a piece."""
    noise = np.random.default_rng(1).normal(size=(size, size, 3))
    return (noise * _GRAIN_STEPS).round().clip(-127, 127).astype(np.int8)


def _screen_color(rng):
    return np.array([rng.uniform(30, 90), rng.uniform(110, 190), rng.uniform(20, 90)])


def green_screen(rng, size):
    """An unevenly lit green backdrop (size, size, 3) uint8, sometimes with a fold."""
    green = _screen_color(rng)
    coarse = green * (1 + rng.normal(0, 0.10, (3, 3, 1)))
    smooth = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    picture = cv2.convertScaleAbs(smooth)
    if rng.random() < 0.3:
        ends = [tuple(int(c) for c in p) for p in rng.uniform(-0.3, 1.3, (2, 2)) * size]
        cv2.line(picture, *ends, (green * 0.75).tolist(), int(rng.integers(1, 4)), cv2.LINE_AA)
    return picture


def composite(rng, render, version, backgrounds):
    """The hand of a ``Render`` in one of its versions: (H, W, 3) uint8 RGB.

    Args:
        rng: ``numpy.random.Generator``.
        render: ``scene.Render``.
        version: 0 green screen, 1-3 other backgrounds and colours.
        backgrounds: ``Backgrounds``.
    """
    size = len(render.alpha)
    rgb, alpha = render.rgb, render.alpha
    if version == 0:
        behind, gain = green_screen(rng, size), np.array([0.97, 1.03, 0.97])
    else:
        behind = backgrounds.draw(rng, (size, size))
        if rng.random() < _CUT_OUT:
            rgb, alpha = _cut_out(rng, render)
        # The hand takes on some of the colours around it.
        around = np.array(cv2.mean(behind)[:3]) + 20
        cast = (around / around.mean()) ** rng.uniform(0, 0.4)
        gain = cast * np.exp(rng.normal(0, 0.06, 3) + rng.normal(0, 0.15))
    grain = _grain(max(size, 512))
    y, x = rng.integers(0, len(grain) - size + 1, 2)
    strength = rng.uniform(0.5, 6) if version else rng.uniform(0.5, 3)
    out = np.empty((size, 3 * size), np.uint8)
    gain = np.tile((255 * gain).astype(np.float32), size)
    rows = rgb.reshape(size, -1), alpha, behind.reshape(size, -1), gain
    grain = grain.reshape(len(grain), -1)
    _blend(*rows, grain, y, x, np.float32(strength / _GRAIN_STEPS), out)
    out = out.reshape(size, size, 3)
    if version and rng.random() < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 1.1) * size / 224)
    return _recolored(rng, out) if version and rng.random() < _RECOLORED else out


def _cut_out(rng, render):
    """The hand as cut from a green screen by a mask that is not exact: (rgb, alpha).

    Its rim is soft, too narrow or too wide, with some of the screen, and what it holds is lost
    but for the part next to it: so in three of the four versions of FreiHAND.
    """
    size = len(render.alpha)
    soft = cv2.GaussianBlur(render.hand, (0, 0), rng.uniform(0.003, 0.018) * size)
    alpha = (soft - 0.5) * np.float32(rng.uniform(0.9, 2.5)) + np.float32(rng.uniform(0.5, 0.8))
    alpha = np.clip(alpha, 0, 1, out=alpha) * np.float32(rng.uniform(0.9, 1))
    screen = np.float32(_screen_color(rng) / 255 * rng.uniform(0.3, 1))
    whole = render.rgb + (1 - render.alpha)[..., None] * screen
    return whole * alpha[..., None], alpha


def _recolored(rng, picture):
    """Colours spread beyond their things and paled, as by a program that colours grey pictures."""
    luma, *chroma = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    width, keep = rng.uniform(0.005, 0.04) * len(picture), rng.uniform(0.2, 1.1)
    tint = 128 * (1 - keep) + rng.normal(0, 5, 2)
    chroma = [
        cv2.convertScaleAbs(cv2.GaussianBlur(c, (0, 0), width), alpha=keep, beta=beta)
        for c, beta in zip(chroma, tint)
    ]
    return cv2.cvtColor(cv2.merge([luma, *chroma]), cv2.COLOR_YCrCb2RGB)


# Plain runs along slices of rows: compiled code then does several numbers at once.
_FLAGS = {"error_model": "numpy", "fastmath": True, "nogil": True, "cache": True}
_HALF, _NONE, _MOST = np.float32(0.5), np.float32(0), np.float32(255)


@njit(**_FLAGS)
def _blend(rgb, alpha, behind, gain, grain, y0, x0, strength, out):
    through = np.empty(out.shape[1], np.float32)
    for y in range(len(alpha)):
        left, right = 0, alpha.shape[1]
        while left < right and alpha[y, left] == _NONE:
            left += 1
        while left < right and alpha[y, right - 1] == _NONE:
            right -= 1
        for x in range(left, right):
            for i in range(3 * x, 3 * x + 3):
                through[i] = np.float32(1) - alpha[y, x]
        a, b = 3 * left, 3 * right
        noise = grain[y0 + y, 3 * x0 : 3 * x0 + out.shape[1]]
        _behind(behind[y, :a], noise[:a], strength, out[y, :a])
        _over(rgb[y, a:b], gain[a:b], behind[y, a:b], through[a:b], noise[a:b], strength,
              out[y, a:b])  # fmt: skip
        _behind(behind[y, b:], noise[b:], strength, out[y, b:])


@njit(forceinline=True, **_FLAGS)
def _behind(behind, noise, strength, out):
    for i in range(len(out)):
        value = np.float32(behind[i]) + strength * np.float32(noise[i]) + _HALF
        out[i] = np.uint8(min(max(value, _NONE), _MOST))


@njit(forceinline=True, **_FLAGS)
def _over(rgb, gain, behind, through, noise, strength, out):
    for i in range(len(out)):
        value = rgb[i] * gain[i] + np.float32(behind[i]) * through[i]
        value += strength * np.float32(noise[i]) + _HALF
        out[i] = np.uint8(min(max(value, _NONE), _MOST))
