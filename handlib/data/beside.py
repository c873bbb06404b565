"""A second hand in the picture: reaching in from its border, behind the first hand or before it."""

import cv2
import numpy as np

from handlib import geometry

_SHARE = 0.15  # of the pictures
_IN_FRONT = 0.3  # of these
_LEAST_SEEN = 0.5  # of the first hand's pixels


def add_other_hand(rng, render, others):
    """A ``scene.Render``, in some cases with another hand.

    The other is mostly a left hand with the first one's colours, and its middle lies about on the
    border of the picture, so that there is no doubt whose hand is meant.

    Args:
        rng: ``numpy.random.Generator``.
        render: ``scene.Render``.
        others: function that gives the list of ``Render`` to choose from.

    Returns:
        ``Render``; ``hand`` and ``mask`` are still the first hand's.
    """
    if rng.random() >= _SHARE:
        return render
    others = others()
    other = others[rng.integers(len(others))]
    picture = cv2.merge([*cv2.split(other.rgb), other.alpha])
    if rng.random() < 0.8:
        picture[..., :3] *= _color(render) / _color(other)
        np.minimum(picture[..., :3], picture[..., 3:], out=picture[..., :3])
    size = len(render.alpha)
    picture = cv2.warpAffine(picture, _reaching_in(rng, other, size), (size, size))
    above, cover = picture[..., :3], picture[..., 3]
    if rng.random() < _IN_FRONT:
        hand = render.hand * (1 - cover)
        if hand.sum() >= _LEAST_SEEN * render.hand.sum():
            return render._replace(
                rgb=above + render.rgb * (1 - cover)[..., None],
                alpha=cover + render.alpha * (1 - cover),
                hand=hand,
            )
    left = 1 - render.alpha
    return render._replace(
        rgb=render.rgb + above * left[..., None], alpha=render.alpha + cover * left
    )


def _color(render):
    """Mean RGB (3,) of a hand."""
    return np.float32(render.rgb[render.mask].mean(0) + 0.02)


def _reaching_in(rng, other, size):
    """Affine (2, 3): the other hand turned, zoomed, and its middle moved to the border."""
    middle = geometry.project(other.joints, other.K).mean(0)
    angle, zoom = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.35, 0.35))
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.7:
        turn = turn @ np.diag([-1, 1])
    way = rng.uniform(-1, 1, 2)
    way /= np.abs(way).max()
    target = size * (0.5 + rng.uniform(0.4, 0.6) * way)
    return np.column_stack([turn, target - turn @ middle])
