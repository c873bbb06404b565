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
def soft_edge(mask):
    """Weight (H, W) uint8 of a mask (H, W) bool: its rim, part hand and part screen, goes.

    To the bit ``cv2.erode`` by 3 px and ``cv2.GaussianBlur`` by 5, in half of their time.
    """
    height, width = mask.shape
    inner, rows = np.ones((height, width + 4), np.uint16), np.empty((height, width), np.uint16)
    for y in range(height):
        above, here, below = mask[max(y - 1, 0)], mask[y], mask[min(y + 1, height - 1)]
        line, row = inner[y], rows[y]
        for x in range(width):
            line[x + 2] = above[x] & here[x] & below[x]
        for x in range(width):
            row[x] = line[x + 1] & line[x + 2] & line[x + 3]
        for x in range(width):
            line[x + 2] = row[x]
        for x in range(2):
            line[1 - x] = row[_mirrored(x + 1, width)]
            line[width + 2 + x] = row[_mirrored(width + x, width)]
        for x in range(width):
            row[x] = _binomial(line[x], line[x + 1], line[x + 2], line[x + 3], line[x + 4])
    return _blurred_down(rows)


@_jit
def _blurred_down(rows):
    """Sums (H, W) of up to 16, blurred from row to row, as weights of 0 to 255."""
    height, alpha = len(rows), np.empty(rows.shape, np.uint8)
    for y in range(height):
        a, b, c = rows[_mirrored(y - 2, height)], rows[_mirrored(y - 1, height)], rows[y]
        d, e = rows[_mirrored(y + 1, height)], rows[_mirrored(y + 2, height)]
        out = alpha[y]
        for x in range(len(out)):
            total = np.uint32(_binomial(a[x], b[x], c[x], d[x], e[x]))
            out[x] = np.uint32(total * np.uint32(255) + np.uint32(128)) >> np.uint32(8)
    return alpha


@_jit
def _binomial(a, b, c, d, e):
    outer, middle = _short(_short(a + e) + _short(_short(4) * _short(b + d))), _short(6) * c
    return _short(outer + _short(middle))


@_jit
def _mirrored(n, count):
    n = abs(n)
    return n if n < count else max(2 * count - 2 - n, 0)


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


@_jit
def before_screen(image, hsv, low, high, void):
    """(H, W) uint8: 0 for a screen's colour and for black, 255 for all else.

    Args:
        image, hsv: (H, W, 3) uint8, RGB and the same in HSV.
        low, high: of the screen in HSV. void: black's largest value.
    """
    out = np.empty(image.shape[:2], np.uint8)
    colors, tones, front = image.ravel(), hsv.ravel(), out.ravel()
    # Bytes: of larger numbers the compiler makes fewer at a time.
    low0, low1, low2 = np.uint8(low[0]), np.uint8(low[1]), np.uint8(low[2])
    high0, high1, high2 = np.uint8(high[0]), np.uint8(high[1]), np.uint8(high[2])
    void = np.uint8(void)
    for n in range(len(front)):
        h, s, v = tones[3 * n], tones[3 * n + 1], tones[3 * n + 2]
        red, green, blue = colors[3 * n], colors[3 * n + 1], colors[3 * n + 2]
        screen = (low0 <= h) & (h <= high0) & (low1 <= s) & (s <= high1)
        screen &= (low2 <= v) & (v <= high2)
        black = (red <= void) & (green <= void) & (blue <= void)
        front[n] = 0 if screen | black else 255
    return out
