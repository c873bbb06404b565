"""Transforms that change pixels where they are: backgrounds, clutter, colours."""

import cmath
import math
from functools import cache

import cv2
import numpy as np
from numpy.random.bit_generator import ISeedSequence

from handlib.augment.base import Transform

# FreiHAND's green screen in OpenCV's HSV (hue 0-180). Its hue is 44-46, skin's 0-26 and 165-180
# at any saturation: so the hue decides, and the others only exclude what has no hue.
SCREEN_LOW, SCREEN_HIGH = (37, 50, 25), (90, 255, 255)
_PARENT = 3  # in OpenCV's hierarchy of outlines: whose hole it is, or -1
HOLE = 0.004  # share of the image up to which a gap in the hand is a shadow
THICKEST = 32_767  # px of a line, by OpenCV
KERNEL = np.ones((3, 3), np.uint8)
VOID = 10  # values up to this are the black beyond the border of a rotated frame
# RGB to luma and two chroma axes (YIQ): hue turns and saturation scales the last two.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)
GREYS = np.linspace(0, 1, 256)[:, None]


class ChangeBackground(Transform):
    """Put another picture behind the hand.

    The hand is told by its mask; in a green-screen image without one, by the screen's colour.
    Other images are left alone.

    Args:
        backgrounds: object with ``draw(rng, (width, height)) -> (H, W, 3) uint8``.
        p: probability; the other images stay as they are, so that clean ones are seen too.
    """

    def __init__(self, backgrounds, p=0.5):
        self.backgrounds, self.p = backgrounds, p

    def draw(self, rng, sample):
        return {"on": bool(rng.random() < self.p), "seed": rng.bit_generator.random_raw(4).tolist()}

    def apply(self, sample, params):
        if not params["on"] or (sample.mask is None and not sample.green_screen):
            return sample
        from handlib.augment.passes import put_before, soft_edge  # numba: only where it computes

        if sample.mask is None:
            alpha = green_screen_alpha(sample.image, sample.joints_2d)
        else:
            alpha = soft_edge(sample.mask)
        rng = np.random.Generator(np.random.PCG64(_Seed(params["seed"])))
        background = self.backgrounds.draw(rng, sample.size)
        if background.shape != sample.image.shape or background.dtype != np.uint8:
            raise ValueError(
                f"backgrounds.draw(rng, {sample.size}) is to give {sample.image.shape} uint8, "
                f"and gave {background.shape} {background.dtype}"
            )
        return sample.replace(
            image=put_before(background, sample.image, alpha, sample.green_screen)
        )


class _Seed(ISeedSequence):
    """Random words as they are: numpy would mix them again, five times as long as all the rest."""

    def __init__(self, words):
        self.words = words

    def generate_state(self, n_words, dtype=np.uint32):
        return np.array(self.words[:n_words], dtype)


def green_screen_alpha(image, joints_2d=None):
    """How much of each pixel is not green screen.

    Args:
        image: (H, W, 3) uint8 RGB.
        joints_2d: (21, 2); what is not connected with them (or with the image's centre, where
            none is in the image) is background too: lamps, cameras, edges of the screen.

    Returns:
        (H, W) uint8, 255 on the hand.
    """
    from handlib.augment.passes import before_screen, soft_edge

    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    front = before_screen(image, hsv, SCREEN_LOW, SCREEN_HIGH, VOID)
    front = cv2.morphologyEx(front, cv2.MORPH_OPEN, KERNEL)  # noise, thin edges
    height, width = front.shape
    points = np.empty((0, 2)) if joints_2d is None else joints_2d
    points = points[np.isfinite(points).all(1)].round()
    points = points[((points >= 0) & (points < (width, height))).all(1)].astype(int)
    if not len(points):
        points = np.array([[(width - 1) // 2, (height - 1) // 2]])
    return soft_edge(_connected(front, points) > 0)


def _connected(front, points):
    """What of ``front`` (H, W) is connected with any of the points (N, 2) in it, as 255 in 0.

    Small holes are shadows with green light in them, and are filled; between fingers the screen is
    larger.
    """
    whole = np.zeros_like(front)
    outlines, tree = cv2.findContours(front, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    x, y = points.T
    for n, outline in enumerate(outlines):
        left, top, width, height = cv2.boundingRect(outline)
        near = (left <= x) & (x < left + width) & (top <= y) & (y < top + height)
        if tree[0, n, _PARENT] >= 0 or not near.any():
            continue
        part = np.zeros_like(front)
        cv2.drawContours(part, outlines, n, 255, cv2.FILLED, hierarchy=tree, maxLevel=1)
        if part[y, x].any():
            whole |= part
            holes = [outlines[m] for m in np.flatnonzero(tree[0, :, _PARENT] == n)]
            small = [hole for hole in holes if _inside(hole) < HOLE * front.size]
            cv2.drawContours(whole, small, -1, 255, cv2.FILLED)
    return whole


def _inside(outline):
    """Pixels inside of an outline that is made of neighbouring ones: Pick's theorem."""
    return cv2.contourArea(outline) - len(outline) / 2 + 1


class AddClutter(Transform):
    """Random things in front of or behind the hand: polygons, lines, blobs, patches.

    Args:
        p: probability of any; the rest of the images stay clean.
        in_front: share of the cluttered images whose things may hide the hand.
        most: largest number of things.
    """

    KINDS = ("polygon", "line", "ellipse", "patch")

    def __init__(self, p=0.5, in_front=0.6, most=5):
        self.p, self.in_front, self.most = p, in_front, most

    def draw(self, rng, sample):
        if rng.random() >= self.p:
            return {"things": []}
        # All at once: a call for each number would take longer than to paint.
        numbers, (count, in_front) = rng.random((self.most, 17)).tolist(), rng.random(2).tolist()
        things = [self._thing(n) for n in numbers[: 1 + int(count * self.most)]]
        return {"things": things, "in_front": in_front < self.in_front}

    def _thing(self, numbers):
        """Of 17 numbers in [0, 1): place and size as fractions of the image's."""
        from handlib.data.paint import SKIN_TONES, skin_tone

        kind, of_skin, *color = numbers[:5]
        color = [255 * n for n in color]
        if of_skin < 0.4:
            color = skin_tone(of_skin / 0.4 * (len(SKIN_TONES) - 1)).tolist()
        return {
            "kind": self.KINDS[int(kind * len(self.KINDS))],
            "at": numbers[5:7],
            "from": [0.75 * n for n in numbers[7:9]],  # where a patch is copied from
            "size": 0.04 + 0.18 * numbers[9],
            "angle": 2 * math.pi * numbers[10],
            "shape": [0.4 + 0.6 * n for n in numbers[11:]],
            "color": tuple(map(int, color)),
        }

    def apply(self, sample, params):
        if not params["things"]:
            return sample
        image = sample.image.copy()
        for thing in params["things"]:
            _paint(image, thing)
        if not params["in_front"]:
            hand = sample.mask if sample.mask is not None else _hull(sample)
            if hand is None:
                return sample
            image = cv2.copyTo(sample.image, hand.view(np.uint8), image)
        return sample.replace(image=image)


def _paint(image, thing):
    """Draw one thing into an image (H, W, 3), in place."""
    height, width = image.shape[:2]
    x, y = thing["at"][0] * width, thing["at"][1] * height
    radius, angle, shape = thing["size"] * min(width, height), thing["angle"], thing["shape"]
    color, smooth = thing["color"], cv2.LINE_AA
    if thing["kind"] == "polygon":
        spokes = [cmath.rect(radius * s, angle + n * math.pi / 3) for n, s in enumerate(shape)]
        corners = np.array([(x + s.real, y + s.imag) for s in spokes], np.int32)
        cv2.fillPoly(image, [corners], color, smooth)
    elif thing["kind"] == "line":
        dx, dy = 4 * radius * math.cos(angle), 4 * radius * math.sin(angle)
        ends = (int(x - dx), int(y - dy)), (int(x + dx), int(y + dy))
        cv2.line(image, *ends, color, max(1, int(radius * shape[0] / 3)), smooth)
    elif thing["kind"] == "ellipse":
        axes = int(radius * shape[0]), int(radius * shape[1])
        center, degrees = (int(x), int(y)), math.degrees(angle)
        cv2.ellipse(image, center, axes, degrees, 0, 360, color, -1, smooth)
    else:
        side, x, y = max(1, int(radius)), int(x), int(y)
        left, top = int(thing["from"][0] * width), int(thing["from"][1] * height)
        patch = image[top : top + side, left : left + side].copy()
        target = image[y : y + side, x : x + side]
        target[:] = patch[: target.shape[0], : target.shape[1]]


def _hull(sample):
    """(H, W) bool around the 2D joints, widened to about the flesh; None without joints."""
    if not sample.has("joints_2d"):
        return None
    far = 2 * max(sample.size)  # beyond it nothing is seen, and OpenCV's numbers end somewhere
    joints_2d = sample.joints_2d.clip(-far, far)
    hull = cv2.convexHull(joints_2d.round().astype(np.int32))
    hand = np.zeros(sample.image.shape[:2], np.uint8)
    width = int(0.25 * np.ptp(joints_2d, 0).max()) + 1
    cv2.polylines(hand, [hull], True, 1, min(width, THICKEST))
    return cv2.fillConvexPoly(hand, hull, 1) > 0


class ColorJitter(Transform):
    """Brightness, contrast, gamma, white balance; saturation and hue; blur; noise.

    Args:
        strength: of the first six, about 0.4; 0 switches them off.
        grey, blur, noise: probability of each.
        p: probability of any change.
    """

    def __init__(self, strength=0.4, grey=0.1, blur=0.2, noise=0.3, p=0.8):
        self.strength, self.grey, self.blur, self.noise, self.p = strength, grey, blur, noise, p

    def draw(self, rng, sample):
        on, s = rng.random() < self.p, self.strength
        params = {
            "brightness": rng.uniform(-s, s) / 3,
            "contrast": np.exp(rng.uniform(-s, s) * 0.75),
            "gamma": np.exp(rng.uniform(-s, s)),
            "balance": np.exp(rng.uniform(-s, s, 3) / 4),
            "saturation": rng.uniform(1 - s, 1 + s) * (rng.random() >= self.grey),
            "hue": rng.uniform(-s, s) / 2,
            "blur": rng.uniform(0.4, 1.6) * (rng.random() < self.blur),
            "noise": rng.uniform(2, 12) * (rng.random() < self.noise),
            "at": tuple(rng.integers(NOISE_SPARE, size=2).tolist()),
        }
        return params if on else None

    def apply(self, sample, params):
        if params is None:
            return sample
        from handlib.augment.passes import look_up

        image = look_up(sample.image, _tone_curve(params))
        image = cv2.transform(image, _chroma_matrix(params))
        if params["blur"]:
            image = cv2.GaussianBlur(image, (0, 0), params["blur"])
        if params["noise"]:
            height, width = image.shape[:2]
            y, x = params["at"]
            noise = noise_field(max(height, width))[y : y + height, x : x + width]
            image = cv2.scaleAdd(noise, params["noise"], image.astype(np.float32))
            image = cv2.convertScaleAbs(np.maximum(image, 0, out=image))
        return sample.replace(image=image)


def _tone_curve(params):
    """Look-up table (256, 3) of gamma, contrast, brightness and white balance."""
    values = GREYS ** params["gamma"] * params["balance"]
    values = (values - 0.5) * params["contrast"] + 0.5 + params["brightness"]
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def _chroma_matrix(params):
    """RGB matrix (3, 3) that turns the hue (radians) and scales the saturation."""
    c, s = np.cos(params["hue"]), np.sin(params["hue"])
    chroma = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    chroma[1:] *= params["saturation"]
    return FROM_YIQ @ chroma @ TO_YIQ


NOISE_SPARE = 64  # a window of a larger field: drawing normal numbers is slower than all else


@cache
def noise_field(size):
    shape = (size + NOISE_SPARE, size + NOISE_SPARE, 3)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
