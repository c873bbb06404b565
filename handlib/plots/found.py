"""Pictures of hands that were found in photos."""

import cv2
import matplotlib
import numpy as np

from handlib.joints import FINGER_JOINTS, WRIST
from handlib.plots.images import VIEW_NAMES, draw_hand, draw_skeleton, picture_grid
from handlib.plots.render import overlay_mesh, render_view
from handlib.plots.style import PREDICTION, SKIN, styled

COLUMNS = 3
GLOW = "plasma"


@styled
def show_found(photos, found, names, title=None, truth=None):
    """Photos with the skeletons found in them, their meshes, and the surest hand from the right.

    Args:
        photos: list of (H, W, 3) uint8 arrays; found: for each a list of ``HandPrediction``.
        names: written above the photos.
        truth: for each photo its (21, 2) px, or None: drawn white where it is known.
    """
    figure, axes = picture_grid(len(photos), COLUMNS, len(photos), title, 2.6)
    truth = truth or [None] * len(photos)
    for row, photo, hands, name, true in zip(axes, photos, found, names, truth, strict=True):
        row[0].set_title(f"{name}\n{_told(hands)}")
        draw_hand(row[0], photo)
        if true is not None:
            for chain in FINGER_JOINTS.values():
                row[0].plot(*true[[WRIST, *chain]].T, color="white", linewidth=1)
        meshes = photo
        for hand in hands:
            draw_skeleton(row[0], hand.joints_2d)
            meshes = overlay_mesh(meshes, hand.vertices, hand.faces, hand.K, SKIN)
        draw_hand(row[1], meshes)
        row[1].set_title("mesh")
        if hands:
            first = hands[0]
            picture, to_pixels = render_view(
                [(first.vertices, first.faces, PREDICTION, 0.6)], "right", (260, 260)
            )
            row[2].imshow(picture)
            row[2].set_title(VIEW_NAMES["right"])
            draw_skeleton(row[2], to_pixels(first.joints))
    return figure


@styled
def show_heatmaps(saw, names, title=None):
    """Where a network looked for the joints of hands, in a row of pictures for each.

    The crop as it saw it, then the wrist and each finger: heatmaps from dark, the joint next to
    the palm, to bright, the fingertip. Narrow spots are joints that it is sure of.

    Args:
        saw: list of ``inference.saw.Saw``; names: written above the crops.
    """
    columns = {"wrist": [WRIST]} | FINGER_JOINTS
    figure, axes = picture_grid(len(saw), 1 + len(columns), len(saw), title, 1.55)
    for row, one, name in zip(axes, saw, names, strict=True):
        draw_hand(row[0], one.image)
        row[0].set_title(f"{name}\nsharpness {one.sharpness:.2f}")
        for ax, (part, joints) in zip(row[1:], columns.items(), strict=True):
            draw_hand(ax, _glowing(one, joints, matplotlib.colormaps[GLOW]))
            ax.set_title(part)
    return figure


def _glowing(saw, joints, colors):
    """The crop, dimmed, with the heatmaps of some joints over it: (H, W, 3) uint8."""
    size = saw.image.shape[1::-1]
    light = np.zeros(saw.image.shape)
    for number, joint in enumerate(joints, 1):
        spot = cv2.resize(saw.heatmaps[joint] / saw.heatmaps[joint].max(), size)
        light += spot[..., None] * np.array(colors(0.25 + 0.7 * number / len(joints))[:3])
    return (0.45 * saw.image + 200 * light).clip(0, 255).astype(np.uint8)


def _told(hands):
    """The surest hand in words."""
    if not hands:
        return "no hand found"
    first, more = hands[0], len(hands) - 1
    sure = "" if first.confidence is None else f", confidence {first.confidence:.2f}"
    return f"{first.side}{sure}" + (f", and {more} more" if more else "")
