"""Photos of green blobs, and a network that takes them for hands: what surrounds a network is
tested without a trained one."""

from types import SimpleNamespace

import cv2
import numpy as np
import torch

from handlib.geometry import back_project
from handlib.inference.predictor import Predictor
from handlib.joints import ROOT
from handlib.mano import HandLayer, pose_hand
from handlib.model import Prediction

GREEN, BLUE, GREY = (0, 255, 0), (0, 0, 255), (90, 90, 90)


def green_photo(size, hands):
    """A photo (H, W, 3) of hands (x0, y0, x1, y1, is_right): ellipses with a blue thumb."""
    image = np.full((size[1], size[0], 3), GREY, np.uint8)
    for x0, y0, x1, y1, is_right in hands:
        center, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
        cv2.ellipse(image, center, axes, 0, 0, 360, GREEN, -1)
        side = 1 if is_right else -1
        thumb = (center[0] + side * axes[0] // 2, center[1])
        cv2.circle(image, thumb, max(2, axes[0] // 5), BLUE, -1)
    return image


class GreenNet(torch.nn.Module):
    """A ``HandNet`` in all that an evaluation asks of it."""

    def __init__(self, hand):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.hand, self.layer = hand, HandLayer(hand)
        self.config = SimpleNamespace(
            input_size=64, handedness=True, camera="perspective", looks=1, turns=1, refine=0
        )
        mean = pose_hand(hand)
        self.joints = torch.tensor(mean.joints - mean.joints[9], dtype=torch.float32)
        self.vertices = torch.tensor(mean.vertices - mean.joints[9], dtype=torch.float32)
        self.looked = 0

    def forward(self, image, K=None, keypoints=None, refine=None, turns=None):
        return self.look(image, K, keypoints)

    def look(self, image, K=None, keypoints=None):
        self.looked += len(image)
        n, size = len(image), image.shape[-1]
        seen = [_see(picture, size) for picture in image.permute(0, 2, 3, 1).cpu().numpy()]
        low, high, right, present = (
            torch.tensor(np.array([row[i] for row in seen]), dtype=torch.float32) for i in range(4)
        )
        at = torch.linspace(0, 2 * np.pi, 21)[:20]
        ring = torch.stack([at.cos(), at.sin()], -1)
        ring = torch.cat([ring[:ROOT], torch.zeros(1, 2), ring[ROOT:]])
        joints_2d = ((low + high) / 2)[:, None] + ring * ((high - low) / 2)[:, None]
        trans = joints_2d[:, ROOT]
        K = torch.nan_to_num(K, nan=1.0)
        K = torch.where(K.det()[:, None, None].abs() < 1e-9, torch.eye(3), K)
        root = back_project(trans, torch.full((n,), 0.5), K)
        return Prediction(
            joints=self.joints.expand(n, 21, 3),
            vertices=self.vertices.expand(n, 778, 3),
            joints_2d=joints_2d,
            vertices_2d=torch.zeros(n, 778, 2),
            pose=torch.zeros(n, 48),
            betas=torch.zeros(n, 10),
            rotations=torch.eye(3).expand(n, 16, 3, 3),
            scale=torch.ones(n),
            trans=trans,
            root=root,
            mean_pose=torch.zeros(45),
            right=right,
            present=present,
        )


def _see(picture, size):
    """(low (2,), high (2,), log-odds of right, log-odds of presence)."""
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    hand = (np.maximum(green, blue) > red + 80) & (np.maximum(green, blue) > 150)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hand.astype(np.uint8))
    if count == 1:
        return (0.0, 0.0), (1.0, 1.0), 0.0, -6.0
    middle = labels[size // 2, size // 2]
    chosen = middle or 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    x, y, w, h, _ = stats[chosen]
    of_thumb = (labels == chosen) & (blue > green + 60)
    thumb = np.argwhere(of_thumb)[:, 1].mean() if of_thumb.any() else x + (w - 1) / 2
    whole = x > 0 and y > 0 and x + w < size and y + h < size
    apart = np.hypot(x + w / 2 - size / 2, y + h / 2 - size / 2) / size
    share = max(w, h) / size
    good = whole and apart < 0.25 and 0.25 < share < 0.75
    present = 5 - 8 * apart - 6 * abs(share - 0.5) if good else -5.0
    return (x, y), (x + w - 1, y + h - 1), (thumb - x - (w - 1) / 2) / w * 20, present


def green_predictor(hand):
    """A ``Predictor`` that holds a ``GreenNet``."""
    predictor = Predictor.__new__(Predictor)
    predictor.model, predictor.expand = GreenNet(hand), 2.0
    predictor.views, predictor.refine, predictor.device = 1, 0, torch.device("cpu")
    return predictor


def posed_as(hand, prediction):
    """Vertices and joints, about the root, that the pose and shape of a prediction give."""
    of_side = hand if prediction.is_right else hand.mirrored()
    layer = HandLayer(of_side, dtype=torch.float64)
    pose = torch.tensor(prediction.pose[None], dtype=torch.float64)
    betas = torch.tensor(prediction.betas[None], dtype=torch.float64)
    vertices, joints = (points[0].numpy() for points in layer(layer.rotations(pose), betas))
    return vertices - joints[ROOT], joints - joints[ROOT]
