"""From an encoder's maps to one vector: what of them the head gets to see."""

from typing import NamedTuple

import torch
from torch import nn

from handlib.joints import N_JOINTS

DEPTH_UNIT = 0.1  # metres: the head's numbers are then about 1
# Width of the Gaussian about a joint that its heatmap is to be, as a share of the crop.
HEATMAP_SIGMA = 0.035
# How far from its place a joint's heatmap still speaks for it, in sides of the crop.
NEAR = 0.08


class Pooled(NamedTuple):
    """What a pooling makes of B images; all but the features may be None."""

    features: torch.Tensor  # (B, out_features)
    places: torch.Tensor | None = None  # (B, 21, 2) of the joints, the image's borders at -1 and 1
    heatmaps: torch.Tensor | None = None  # (B, 21, h, w) log-probabilities of the places
    depths: torch.Tensor | None = None  # (B, 21) metres, behind ``joints.ROOT``


class AveragePooling(nn.Module):
    """Mean of the coarsest map over all of its cells, whatever the input's size."""

    def __init__(self, channels):
        super().__init__()
        self.out_features = channels[-1]

    def forward(self, maps):
        return Pooled(maps[-1].mean((-2, -1)))


class KeypointPooling(nn.Module):
    """Where each joint is (soft-argmax), and the features found there.

    A plain average forgets where things are, and takes long to learn it. Here the maps are merged
    at the finest resolution; each joint gets a spatial softmax, whose mean position is the joint's
    place (Sun et al. 2018, "Integral Human Pose Regression") and whose mean feature says the rest.

    Args:
        channels: of the maps, fine to coarse.
        width: channels of the merged maps.
        depth: whether each joint's depth is read from a map of its own, at the joint's place
            (2.5D, Iqbal et al. 2018, "Hand Pose Estimation via Latent 2.5D Heatmap Regression").
        n_local: features read at each joint's place.
    """

    def __init__(self, channels, width=48, depth=False, n_local=16):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.merge = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.logits = nn.Conv2d(width, N_JOINTS, 1)
        self.local = nn.Conv2d(width, n_local, 1)
        self.depths = nn.Conv2d(width, N_JOINTS, 1) if depth else None
        self.out_features = N_JOINTS * (2 + depth + n_local) + channels[-1]

    def forward(self, maps):
        """Merge the maps and look for the joints.

        Args:
            maps: (B, C, h, w) each, fine to coarse.

        Returns:
            Pooled.
        """
        size = maps[0].shape[-2:]
        merged = sum(
            nn.functional.interpolate(lateral(x), size=size)
            for lateral, x in zip(self.lateral, maps, strict=True)
        )
        merged = self.merge(merged).relu()
        heatmaps = self.logits(merged).float().flatten(2).log_softmax(-1)
        attention = heatmaps.exp()
        places = 2 * torch.stack(_mean_places(attention.unflatten(2, size)), -1) - 1
        found = attention @ self.local(merged).float().flatten(2).transpose(1, 2)
        average = maps[-1].mean((-2, -1))
        features, depths = [places.flatten(1), found.flatten(1), average], None
        if self.depths is not None:
            depths = (attention * self.depths(merged).float().flatten(2)).sum(-1)
            features.append(depths)
            depths = DEPTH_UNIT * depths
        return Pooled(torch.cat(features, 1), places, heatmaps.unflatten(2, size), depths)


def sharpness(heatmaps):
    """Mean share (B,) of (B, 21, h, w) log-probabilities within ``NEAR`` of the joints' places, in
    x and in y: how sure a network is of where it found them."""
    shares = heatmaps.float().exp()
    near = [
        (_cells(length, shares) - place[..., None]).abs() < max(NEAR, 1 / length)
        for length, place in zip(shares.shape[:-3:-1], _mean_places(shares), strict=True)
    ]
    return (shares * near[1][..., None] * near[0][..., None, :]).sum((-2, -1)).mean(-1)


def _mean_places(shares):
    """Mean x and y, (B, 21) each in [0, 1], of (B, 21, h, w) shares of the image.

    Sums of products, as a matrix product would round places to half precision under autocast.
    """
    return tuple(
        (shares.sum(axis) * _cells(shares.shape[-3 - axis], shares)).sum(-1) for axis in (-2, -1)
    )


def _cells(n, like):
    """Centres (n,) of a map's cells, the image's borders at 0 and 1."""
    return (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / n
