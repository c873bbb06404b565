"""Hands posed at random, with images of noise: enough to train on, nothing to render."""

import numpy as np
import torch

from handlib.data.sample import Sample
from handlib.mano import HandLayer
from handlib.plots.render import HAND_VIEWS

SIZE = 64


class PosedHands:
    """A reader of ``n`` samples of ``SIZE`` px with all annotations."""

    def __init__(self, hand, n, seed=0):
        rng = np.random.default_rng(seed)
        self.pose = rng.normal(0, 0.4, (n, 48)).astype(np.float32)
        self.betas = rng.normal(0, 0.5, (n, 10)).astype(np.float32)
        self.images = rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
        layer = HandLayer(hand)
        out = layer(layer.rotations(torch.tensor(self.pose)), torch.tensor(self.betas))
        centre = out.joints.mean(1, keepdim=True) - torch.tensor([0, 0, 0.6])
        self.joints = (out.joints - centre).double().numpy()
        self.vertices = (out.vertices - centre).double().numpy()

    def __len__(self):
        return len(self.pose)

    def __getitem__(self, i):
        return Sample(
            image=self.images[i],
            id=i,
            version=0,
            K=np.array([[2.5 * SIZE, 0, SIZE / 2], [0, 2.5 * SIZE, SIZE / 2], [0, 0, 1.0]]),
            joints=self.joints[i],
            vertices=self.vertices[i],
            pose=self.pose[i].astype(float),
            betas=self.betas[i].astype(float),
        )


def to_camera(points, view="palm", origin=0.0):
    """The hand in front of a camera that sees it from ``view``."""
    return (points - origin) @ HAND_VIEWS[view].T + [0, 0, 0.4]
