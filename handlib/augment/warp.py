"""``cv2.warpAffine`` for an image and its mask at once, in less than two thirds of its time.

A row is made in loops: where its pixels come from, their four neighbours, the mean of these. The
compiler makes vector instructions of all but the second, which it cannot of one loop for all.
Places count to 1/256 px, so that values differ from OpenCV's by rounding.
"""

import math
import threading

import cv2
import numpy as np

from handlib.compiled import njit

LARGEST = 32_000  # px: places are 32-bit numbers with 16 bits behind the point
NO_MASK = np.empty((0, 0), np.uint8)
MOST_KEPT = 1 << 20  # pixels of an array that is kept: each worker has its own
_jit = njit(cache=True, nogil=True, error_model="numpy")

# Numbers of 32 bits stay so only where each step says it.
_int, _uint, _long = np.int32, np.uint32, np.uint64
_8, _16, _24, _32 = _uint(8), _uint(16), _uint(24), _long(32)
_COLOR, _HAND = _uint(0xFFFFFF), _uint(1 << 31)  # of a pixel: its colour; its mask is 128 or more
_255, _256 = _uint(255), _uint(256)
_HALF = _uint(128)  # rounds what 8 bits are taken off
_TWO, _TWO_HALVES = _uint(0x00FF00FF), _uint(0x00800080)  # two channels of a pixel at a time


def warp(image, mask, affine, size):
    """Bilinear, black outside, as ``cv2.warpAffine``.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8, 255 on the hand, or None.
        affine: (2, 3) from them to the result.
        size: (width, height) of the result.

    Returns:
        (height, width, 3) uint8, and (height, width) bool, where the mask is 128 or more, or None.
    """
    known = mask is not None
    if max(image.shape) > LARGEST:
        hand = cv2.warpAffine(mask, affine, size) >= 128 if known else None
        return cv2.warpAffine(image, affine, size), hand
    (height, width), (columns, rows) = image.shape[:2], size
    warped = _KEPT.array("warped", rows, columns)
    hand = np.empty((rows, columns) if known else (0, 0), bool)
    padded = _KEPT.array("padded", height + 2, width + 2)
    cv2.cvtColor(image, cv2.COLOR_RGB2RGBA, dst=_bytes(padded[1:-1, 1:-1]))
    inverse = cv2.invertAffineTransform(affine)
    _warp(padded, np.ascontiguousarray(mask) if known else NO_MASK, inverse, warped, hand)
    return cv2.cvtColor(_bytes(warped), cv2.COLOR_RGBA2RGB), hand if known else None


class _Kept(threading.local):
    """Memory that is used again: to get some of so many bytes anew takes as long as to warp."""

    def __init__(self):
        self.arrays = {}

    def array(self, name, height, width):
        """(height, width) uint32, for one purpose in one thread."""
        if height * width > MOST_KEPT:
            return np.empty((height, width), np.uint32)
        kept = self.arrays.get(name)
        if kept is None or kept.shape != (height, width):
            kept = self.arrays[name] = np.empty((height, width), np.uint32)
        return kept


_KEPT = _Kept()


def _bytes(pixels):
    """(H, W, 4) uint8 of (H, W) uint32."""
    return pixels[..., None].view(np.uint8)


@_jit
def _warp(padded, mask, inverse, warped, hand):
    """Pixels of ``padded[1:-1, 1:-1]``, and of the mask unless both it and ``hand`` are empty."""
    _pack(mask, padded)
    (height, width), columns = padded.shape, warped.shape[1]
    index, weights = np.empty(columns, np.uint32), np.empty((4, columns), np.uint32)
    pairs = np.empty((2, columns), np.uint64)
    flat, dx, dy = padded.ravel(), inverse[0, 0], inverse[1, 0]
    for row in range(len(warped)):
        x = inverse[0, 1] * row + inverse[0, 2] + 1
        y = inverse[1, 1] * row + inverse[1, 2] + 1
        first, end = _inside(x, dx, width - 1, columns)
        first_y, end_y = _inside(y, dy, height - 1, columns)
        first = max(first, first_y)
        end = max(first, min(end, end_y))
        line = warped[row]
        line[:first] = 0
        line[end:] = 0
        _place(x + dx * first, y + dy * first, dx, dy, padded.shape, index[: end - first], weights)
        _fetch(flat, index[: end - first], width, pairs)
        _blend(pairs, weights, line[first:end])
        if len(hand):
            inside = hand[row]
            for n in range(columns):
                inside[n] = line[n] >= _HAND


@_jit
def _pack(mask, padded):
    """The mask in the last 8 of a pixel's 32 bits; a black border of a pixel around all."""
    height, width = mask.shape
    padded[0], padded[-1] = 0, 0
    padded[:, 0], padded[:, -1] = 0, 0
    for y in range(height):
        line, alpha = padded[y + 1, 1:-1], mask[y]
        for x in range(width):
            line[x] = (line[x] & _COLOR) | _uint(_uint(alpha[x]) << _24)


@_jit
def _inside(start, step, limit, count):
    """Range of the numbers n of 0 to ``count`` - 1 for which 0 <= start + n step < limit."""
    if step == 0:
        return 0, count if 0 <= start < limit else 0
    low, high = -start / step, (limit - start) / step
    low, high = min(low, high), max(low, high)
    first = int(min(max(math.ceil(low), 0.0), float(count)))
    return first, int(min(max(math.floor(high) + 1.0, first), float(count)))


@_jit
def _place(x, y, dx, dy, shape, index, weights):
    """Index of the neighbour up and left of each pixel's place, and the weights of all four.

    Whatever the numbers are, the four are in the picture: what is read is memory.
    """
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    x, dx, right = _int(x * 65536 + 128), _int(dx * 65536), _int(((shape[1] - 1) << 16) - 1)
    y, dy, bottom = _int(y * 65536 + 128), _int(dy * 65536), _int(((shape[0] - 1) << 16) - 1)
    width = _uint(shape[1])
    for n in range(len(index)):
        u, v = _uint(min(max(x, _int(0)), right)), _uint(min(max(y, _int(0)), bottom))
        index[n] = _uint(_uint(v >> _16) * width) + _uint(u >> _16)
        u, v = _uint(_uint(u >> _8) & _255), _uint(_uint(v >> _8) & _255)
        both = _uint(_uint(_uint(u * v) + _HALF) >> _8)
        a[n], b[n], c[n], d[n] = _uint(_256 - u) - v + both, u - both, v - both, both
        x, y = _int(x + dx), _int(y + dy)


@_jit
def _fetch(pixels, index, width, pairs):
    """Two neighbours in a row become one number: they are read as one."""
    top, bottom, one, below = pairs[0], pairs[1], _long(1), _long(width)
    for n in range(len(index)):
        at = _long(index[n])
        top[n] = _long(pixels[at]) | (_long(pixels[at + one]) << _32)
        at += below
        bottom[n] = _long(pixels[at]) | (_long(pixels[at + one]) << _32)


@_jit
def _blend(pairs, weights, out):
    top, bottom = pairs[0].view(np.uint32), pairs[1].view(np.uint32)
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for n in range(len(out)):
        p, q, r, s = top[2 * n], top[2 * n + 1], bottom[2 * n], bottom[2 * n + 1]
        even = _mean(p, q, r, s, a[n], b[n], c[n], d[n])
        p, q, r, s = _uint(p >> _8), _uint(q >> _8), _uint(r >> _8), _uint(s >> _8)
        out[n] = even | _uint(_mean(p, q, r, s, a[n], b[n], c[n], d[n]) << _8)


@_jit
def _mean(p, q, r, s, a, b, c, d):
    """Of the first and the third of the four bytes of each pixel."""
    top = _uint(_uint((p & _TWO) * a) + _uint((q & _TWO) * b))
    bottom = _uint(_uint((r & _TWO) * c) + _uint((s & _TWO) * d))
    return _uint(_uint(_uint(top + bottom) + _TWO_HALVES) >> _8) & _TWO
