"""Transforms of a sample: image, camera, 2D, 3D, mask and hand parameters change together.

Each transform draws its parameters (``draw``), then applies them (``apply``); calling it does both.
"""

from handlib.augment.base import Compose, Geometric, Transform
from handlib.augment.geometric import (
    CropToBox,
    CropToHand,
    Flip,
    MirrorBack,
    Resize,
    Rotate,
    Scale,
    ScaleNormalize,
    Shift,
    ToRight,
    Upright,
)
from handlib.augment.keypoints import GivenKeypoints, NoisyKeypoints
from handlib.augment.motion import MoveHand
from handlib.augment.pixels import AddClutter, ChangeBackground, ColorJitter
from handlib.augment.sensor import Degrade
from handlib.names import require_one_of

__all__ = [
    "AddClutter",
    "ChangeBackground",
    "ColorJitter",
    "Compose",
    "CropToBox",
    "CropToHand",
    "Degrade",
    "Flip",
    "Geometric",
    "GivenKeypoints",
    "MirrorBack",
    "MoveHand",
    "NoisyKeypoints",
    "Resize",
    "Rotate",
    "Scale",
    "ScaleNormalize",
    "Shift",
    "ToRight",
    "Transform",
    "Upright",
    "course_transforms",
    "eval_transforms",
    "light_transforms",
    "named_transforms",
    "stream_transforms",
    "train_transforms",
]

LEFT_SHARE = 0.16
UPRIGHT_SHARE = 0.85


def train_transforms(
    size,
    backgrounds=None,
    *,
    rotate=90.0,
    scale=(0.8, 1.25),
    shift=0.1,
    color=0.4,
    clutter=0.3,
    background=0.5,
    sensor=0.5,
    motion=0.1,
):
    """The recipe that paid in published systems: a warp, then background, clutter, colour, sensor.

    Args:
        size: side of the square network input, px.
        backgrounds: see ChangeBackground; None keeps the images' own.
        rotate: degrees either way; scale: range of the zoom; shift: fraction of the image.
        color: strength; clutter, background, sensor, motion: probabilities.
    """
    behind = [] if backgrounds is None else [ChangeBackground(backgrounds, background)]
    return Compose(
        [
            ToRight(),
            Rotate(rotate),
            CropToHand(size),
            Scale(*scale),
            Shift(shift),
            Resize(size),
            *behind,
            MoveHand(motion),
            AddClutter(clutter),
            ColorJitter(color),
            Degrade(sensor),
        ]
    )


def light_transforms(size, backgrounds=None):
    """For trainings of minutes, which see each image a few times: small changes, own background."""
    return train_transforms(
        size, rotate=0, scale=(0.9, 1.1), shift=0.05, color=0.2, clutter=0, sensor=0, motion=0
    )


def stream_transforms(
    size, left_hands=False, looks=1, clutter=0.3, color=0.4, sensor=0.5, motion=0.1
):
    """For hands that were rendered as the network is to see them: ``data.HandStream``.

    Args:
        size: side of the pictures, px.
        left_hands: show some as left hands, for a network that learns to tell the side.
        looks: of the network; ``UPRIGHT_SHARE`` are shown as at the second of 2.
        clutter, sensor, motion: probabilities; color: strength.
    """
    flip = [Flip(LEFT_SHARE)] if left_hands else []
    stand = [Upright(size, UPRIGHT_SHARE)] if looks == 2 else []
    paint = [MoveHand(motion), AddClutter(clutter), ColorJitter(color), Degrade(sensor)]
    return Compose([*flip, *stand, *paint])


def course_transforms(size=320, backgrounds=None, *, to_right=True):
    """The course project's six, in its order, with its faults corrected.

    For a network that knows right hands only, ``to_right`` mirrors what Flip made left: the two
    cancel without touching a pixel. False leaves left hands, for a network that tells the side.
    """
    behind = [] if backgrounds is None else [ChangeBackground(backgrounds)]
    right = [ToRight()] if to_right else []
    turns = [Rotate(), CropToHand(size), Flip()]
    steps = [Resize(size, frames_only=True), ScaleNormalize(), *turns, *right, AddClutter()]
    return Compose([*behind, *steps])


def eval_transforms(size, expand=None):
    """No randomness: left hands mirrored, then resized; a sample with a box is cropped to it.

    Args:
        expand: crop every sample to so many times its box, or its joints' tight box.
    """
    crop = [CropToHand(size), Resize(size)] if expand is None else [CropToBox(size, expand)]
    return Compose([ToRight(), *crop])


# Chains by name: (size, backgrounds) -> Compose.
CHAINS = {
    "full": train_transforms,
    "light": light_transforms,
    "course": course_transforms,
    "none": lambda size, backgrounds=None: eval_transforms(size),
}


def named_transforms(name, size, backgrounds=None, left_hands=False, looks=1):
    """The chain ``name`` of ``CHAINS``; ValueError for a name that is not known.

    Args:
        left_hands: show ``LEFT_SHARE`` of the right hands as left ones, for a network that learns
            to tell the side.
        looks: of the network; ``UPRIGHT_SHARE`` are shown as at the second of 2.
    """
    require_one_of("augmentation", name, CHAINS)
    chain = CHAINS[name](size, backgrounds).transforms
    if looks == 2:
        last = max(n for n, step in enumerate(chain) if isinstance(step, Geometric))
        chain = [*chain[: last + 1], Upright(size, UPRIGHT_SHARE), *chain[last + 1 :]]
    after = {ToRight: [Flip(LEFT_SHARE)]} if left_hands else {}
    return Compose([step for t in chain for step in (t, *after.get(type(t), []))])
