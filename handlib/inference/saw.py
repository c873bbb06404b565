"""What a network saw of a hand in a photo: the crop of its last look, and where it found joints."""

from typing import NamedTuple

import numpy as np
import torch

from handlib.augment.geometric import crop_affine
from handlib.inference.look import cut, network_inputs
from handlib.looks import look_around, see
from handlib.pooling import sharpness
from handlib.precision import fast_autocast
from handlib.upright import cut_out


class Saw(NamedTuple):
    """A crop as the network saw it: a right hand (a left one in the mirror), upright."""

    image: np.ndarray  # (S, S, 3) uint8
    heatmaps: np.ndarray  # (21, h, w) share of each joint over the crop
    sharpness: float  # 0 to 1: how much of them lies near the joints


def what_it_saw(predictor, image, hand):
    """``Saw`` of a hand, None for a network without heatmaps.

    Args:
        predictor: ``Predictor``. image: (H, W, 3) uint8 RGB, the photo. hand: ``HandPrediction``
            of that predictor in that photo.
    """
    model, size = predictor.model, predictor.model.config.input_size
    affine = crop_affine(hand.box, size, predictor.expand)
    crops, K = cut(image, affine, size)[None], (affine @ hand.K)[None]
    with torch.no_grad(), fast_autocast(predictor.device.type):
        seen = see(model, *network_inputs(model, crops, K, not hand.is_right))
        seen = look_around(model, seen, model.config.turns)
        if seen.said.heatmaps is None:
            return None
        crop = seen.image.float() if seen.view is None else cut_out(seen.image, seen.view.affine)
        maps = seen.said.heatmaps.float()
    crop = crop[0].permute(1, 2, 0).clamp(0, 255).round().to(torch.uint8)
    return Saw(crop.cpu().numpy(), maps[0].exp().cpu().numpy(), float(sharpness(maps)))
