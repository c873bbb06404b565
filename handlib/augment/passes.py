"""One pass over the pixels where OpenCV needs several."""

import numpy as np

from handlib.compiled import njit

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def put_before(background, image, alpha, screen):
    """Put what ``alpha`` shows of an image before a background, in place.

    Args:
        background, image: (H, W, 3) uint8.
        alpha: (H, W) uint8, 255 where the image hides the background.
        screen: remove a green screen's light: no skin is greener than it is red or blue.
    """
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            weight = np.int32(alpha[y, x])
            if weight == 0:
                continue
            red, green, blue = image[y, x, 0], image[y, x, 1], image[y, x, 2]
            if screen:
                green = min(green, max(red, blue))
            if weight < 255:
                rest = np.int32(255) - weight
                red = np.uint8((red * weight + background[y, x, 0] * rest + 127) // 255)
                green = np.uint8((green * weight + background[y, x, 1] * rest + 127) // 255)
                blue = np.uint8((blue * weight + background[y, x, 2] * rest + 127) // 255)
            background[y, x, 0], background[y, x, 1], background[y, x, 2] = red, green, blue


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
