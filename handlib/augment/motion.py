"""A hand that moved while the shutter was open, before a place that did not."""

import math

import cv2
import numpy as np

from handlib.augment.base import Transform

_STEP = 1.5  # px between the moments that are averaged


class MoveHand(Transform):
    """Smear the hand (and arm) along an arc, as a hand that waves or reaches is smeared.

    Joints are where they are in the middle of the exposure, so that nothing but the image changes.
    A sample without a mask or with an unknown 2D joint stays as it is, and so does a picture that
    is 1 px wide or high: it has no half, from which the place behind the hand is filled.

    Args:
        p: probability.
        path: range of the way that the hand's middle goes, in longer sides of its joints' box.
        reach: range of the arc's radius, in the same unit: a turn of the wrist, or of the shoulder.
    """

    def __init__(self, p=0.1, path=(0.04, 0.35), reach=(0.5, 6.0)):
        self.p, self.path, self.reach = p, path, reach

    def draw(self, rng, sample):
        path, reach = (math.exp(rng.uniform(*np.log(r))) for r in (self.path, self.reach))
        params = {"turn": path / reach, "reach": reach, "from": rng.uniform(0, 2 * math.pi)}
        return params if rng.random() < self.p else None

    def apply(self, sample, params):
        if params is None or sample.mask is None or not sample.has("joints_2d"):
            return sample
        if min(sample.size) < 2:
            return sample
        low, high = sample.joints_2d.min(0), sample.joints_2d.max(0)
        if not np.isfinite(high - low).all():
            return sample
        radius = params["reach"] * (high - low).max()
        way = np.array([math.cos(params["from"]), math.sin(params["from"])])
        center = (low + high) / 2 + radius * way
        hand = 255 * sample.mask.astype(np.uint8)
        smeared = _smear(_alone(sample.image, hand), center, params["turn"], radius)
        seen = cv2.merge([255 - smeared[..., 3]] * 3)
        behind = cv2.multiply(_without(sample.image, hand), seen, scale=1 / 255)
        return sample.replace(image=cv2.add(behind, cv2.cvtColor(smeared, cv2.COLOR_RGBA2RGB)))


def _alone(image, weight):
    """(H, W, 4): the image where the weight, 0 or 255, is not 0; and the weight."""
    return cv2.merge([*cv2.split(cv2.bitwise_and(image, image, mask=weight)), weight])


def _without(image, hand):
    """The image (H, W, 3), and where the hand (255, else 0) is the colours around it."""
    height, width = hand.shape
    half = cv2.resize(
        _alone(image, 255 - hand), (width // 2, height // 2), interpolation=cv2.INTER_AREA
    )
    filled = cv2.convertScaleAbs(_filled(np.float32(half) / 255), alpha=255)
    return cv2.copyTo(image, 255 - hand, cv2.resize(filled, (width, height)))


def _filled(picture):
    """(H, W, 3) of (H, W, 4), colours times their weights and the weights: where there is little
    weight, the colours around, from coarse to fine."""
    height, width = picture.shape[:2]
    if min(height, width) < 2:
        return picture[..., :3] / np.maximum(picture[..., 3:], 1e-6)
    half = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(_filled(half), (width, height))
    return picture[..., :3] + coarse * (1 - picture[..., 3:])


def _smear(picture, center, turn, radius):
    """The mean of a picture (H, W, 4) turned about a point by -turn / 2 to turn / 2, radians.

    Of 2^n equally spaced turns, by n averages: each with itself, turned twice as far as before.
    """
    halvings = max(1, math.ceil(math.log2(turn * radius / _STEP + 1)))
    step = turn / 2**halvings
    picture = _turned(picture, center, (step - turn) / 2)
    for k in range(halvings):
        picture = cv2.addWeighted(picture, 0.5, _turned(picture, center, step * 2**k), 0.5, 0)
    return picture


def _turned(picture, center, angle):
    """Turned about a point; the arm goes on beyond the border."""
    affine = cv2.getRotationMatrix2D(center.tolist(), math.degrees(angle), 1)
    return cv2.warpAffine(picture, affine, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
