"""Transforms of a sample: image, camera, 2D, 3D, mask and hand parameters change together.

Each transform draws its parameters (``draw``), then applies them (``apply``); calling it does both.
"""

from handlib.augment.base import Compose, Geometric, Transform, warp_image
from handlib.augment.geometric import (
    CropToBox,
    Flip,
    Resize,
    Rotate,
    Scale,
    Shift,
    ToRight,
    crop_affine,
    tight_box,
)
from handlib.augment.pixels import (
    AddClutter,
    ChangeBackground,
    ColorJitter,
    ScaleNormalize,
    green_screen_alpha,
)

__all__ = [
    "AddClutter",
    "ChangeBackground",
    "ColorJitter",
    "Compose",
    "CropToBox",
    "Flip",
    "Geometric",
    "Resize",
    "Rotate",
    "Scale",
    "ScaleNormalize",
    "Shift",
    "ToRight",
    "Transform",
    "course_transforms",
    "crop_affine",
    "eval_transforms",
    "green_screen_alpha",
    "tight_box",
    "train_transforms",
    "warp_image",
]


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
    border="constant",
):
    """The recipe that paid in published systems: one warp, then background, clutter, colour.

    Args:
        size: side of the square network input, px.
        backgrounds: see ChangeBackground; None keeps the images' own.
        rotate: degrees either way; scale: range of the zoom; shift: fraction of the image.
        color: strength; clutter, background: probabilities.
        border: what fills the corners, a key of BORDERS.
    """
    behind = [] if backgrounds is None else [ChangeBackground(backgrounds, background)]
    return Compose(
        [
            ToRight(),
            Rotate(rotate),
            Scale(*scale),
            Shift(shift),
            Resize(size),
            *behind,
            AddClutter(clutter),
            ColorJitter(color),
        ],
        border,
    )


def course_transforms(size=320, backgrounds=None, *, to_right=True, border="constant"):
    """The course project's six, in its order, with its faults corrected.

    For a network that knows right hands only, ``to_right`` mirrors what Flip made left: the two
    cancel without touching a pixel. False leaves left hands, for a network that tells the side.
    """
    behind = [] if backgrounds is None else [ChangeBackground(backgrounds)]
    right = [ToRight()] if to_right else []
    return Compose(
        [*behind, Resize(size), ScaleNormalize(), Rotate(), Flip(), *right, AddClutter()], border
    )


def eval_transforms(size, expand=None):
    """No randomness: resize, or crop ``expand`` times the hand's box; left hands mirrored."""
    crop = Resize(size) if expand is None else CropToBox(size, expand)
    return Compose([ToRight(), crop])
