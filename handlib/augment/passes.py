"""One pass over the pixels where OpenCV needs several."""

import numpy as np

from handlib.compiled import njit

_jit = njit(cache=True, nogil=True, error_model="numpy")
_short = np.uint16  # numbers stay so only where each step says it


@_jit
def put_before(background, image, alpha, screen):
    """What ``alpha`` shows of an image, before a background.

    Args:
        background, image: (H, W, 3) uint8.
        alpha: (H, W) uint8, 255 where the image hides the background.
        screen: remove a green screen's light: no skin is greener than it is red or blue.

    Returns:
        (H, W, 3) uint8.
    """
    out = np.empty(image.shape, np.uint8)
    # Of flat arrays the compiler makes vector instructions.
    behind, front, weight, result = background.ravel(), image.ravel(), alpha.ravel(), out.ravel()
    for n in range(len(weight)):
        red, green, blue = front[3 * n], front[3 * n + 1], front[3 * n + 2]
        if screen:
            green = min(green, max(red, blue))
        part, rest = _short(weight[n]), _short(_short(255) - weight[n])
        result[3 * n] = _mixed(red, part, behind[3 * n], rest)
        result[3 * n + 1] = _mixed(green, part, behind[3 * n + 1], rest)
        result[3 * n + 2] = _mixed(blue, part, behind[3 * n + 2], rest)
    return out


@_jit
def _mixed(a, part, b, rest):
    """Bytes in parts of 255, to the nearest; no step of it leaves 16 bits."""
    total = _short(_short(_short(_short(a) * part) + _short(_short(b) * rest)) + _short(127))
    return np.uint8(_short(_short(total + _short(1)) + _short(total >> _short(8))) >> _short(8))


@_jit
def look_up(image, table):
    """Image (H, W, 3) uint8 of each channel's entry in a table (256, 3) uint8."""
    out = np.empty_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            out[y, x, 0] = table[image[y, x, 0], 0]
            out[y, x, 1] = table[image[y, x, 1], 1]
            out[y, x, 2] = table[image[y, x, 2], 2]
    return out
