"""Keypoints for a network that sees them beside the image: put in before all other transforms."""

import numpy as np

from handlib.augment.base import Transform
from handlib.geometry import tight_box


class GivenKeypoints(Transform):
    """Keypoints that something has found in the image as it was read.

    Args:
        find: callable Sample -> (21, 3) x, y px and confidence.
    """

    def __init__(self, find):
        self.find = find

    def apply(self, sample, params):
        return sample.replace(keypoints=self.find(sample))


class NoisyKeypoints(Transform):
    """The true 2D joints, shaken: for training only, in the place of a detector's.

    Args:
        noise: standard deviation of x and y, in sides of the hand's tight box.
        missed: share of the joints that are not found; those outside of the image never are.
    """

    def __init__(self, noise=0.04, missed=0.1):
        self.noise, self.missed = noise, missed

    def draw(self, rng, sample):
        return {
            "offsets": (self.noise * rng.normal(size=(21, 2))).tolist(),
            "found": (rng.random(21) >= self.missed).tolist(),
        }

    def apply(self, sample, params):
        truth = sample.joints_2d
        if truth is None or not np.isfinite(truth).any():
            return sample.replace(keypoints=np.zeros((21, 3)))
        x0, y0, x1, y1 = tight_box(truth)
        places = truth + max(x1 - x0, y1 - y0) * np.array(params["offsets"])
        inside = ((truth > -0.5) & (truth < np.array(sample.size) - 0.5)).all(1)
        keypoints = np.column_stack([places, inside & params["found"]])
        return sample.replace(keypoints=np.where(keypoints[:, 2:] > 0, keypoints, 0.0))
