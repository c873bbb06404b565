"""Distributions over a dataset that show at a glance when its annotations are broken."""

import numpy as np

from handlib.anatomy import bend_angles, view_directions
from handlib.data.checks import BENDS, bone_lengths
from handlib.geometry import project
from handlib.joints import BONE_M, FINGER_COLORS, ROOT
from handlib.plots.style import SERIES, new_figure, styled

HUMAN = "#e4e4e4"


@styled
def show_distributions(joints, K, source="", image_side=None):
    """Views, articulation, bone lengths, focal length, distance and size of a dataset's hands.

    Args:
        joints: (N, 21, 3) metres, camera frame, right hands; K: (N, 3, 3) or (3, 3). Hands with
            numbers that are missing are left out.
        source: of the data and the hand model, printed above.
        image_side: the longer side of the images, px, to compare the hands' size with.

    Returns:
        matplotlib Figure with six diagrams.

    Raises:
        ValueError: no hand is complete.
    """
    joints = joints.astype(float)
    K = np.broadcast_to(K.astype(float), (len(joints), 3, 3))
    known = _are_hands(joints, K)
    if not known.any():
        raise ValueError(f"none of {len(joints)} hands has all its joints and its K")
    lost = f", {(~known).sum()} more with numbers missing" if not known.all() else ""
    joints, K = joints[known], K[known]
    figure, axes = new_figure(2, 3, 10, 6, f"{source or 'dataset'}: {len(joints)} hands{lost}")
    axes[0, 0].remove()
    _draw_views(figure.add_subplot(2, 3, 1, projection="mollweide"), joints)
    bends = np.degrees(bend_angles(joints))
    _draw_boxes(axes[0, 1], bends, "bend towards the palm (°)", "base, middle, end joint",
                BENDS.reshape(-1, 2))  # fmt: skip
    axes[0, 1].axhline(0, color="black", linewidth=0.8)
    human = np.tile([1000 * BONE_M[0], 1500 * BONE_M[1]], (20, 1))  # long ones: half as much again
    bones = 1000 * bone_lengths(joints)
    _draw_boxes(axes[0, 2], bones, "bone length (mm)", "from wrist to tip", human)
    axes[0, 2].set_ylim(bottom=0)
    focal, distance = K[:, 0, 0], np.linalg.norm(joints[:, ROOT], axis=-1)
    size = np.ptp(project(joints, K), axis=1).max(-1)
    _draw_histogram(axes[1, 0], focal, "focal length (px)")
    _draw_histogram(axes[1, 1], distance, "distance of the hand (m)")
    ax = axes[1, 2]
    _draw_histogram(ax, size, "longer side of the joints' box (px)")
    if image_side:
        ax.axvline(image_side, color="black", linestyle="--")
        ax.set_title(f"{ax.get_title('left')}; dashed: the image")
    return figure


def _are_hands(joints, K):
    """(N,) bool: whether all that is drawn is finite. Some sources write zeros for what they do
    not know."""
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = project(joints, K).sum((1, 2)) + bend_angles(joints).sum(1)
    return np.isfinite(drawn)


def _draw_views(ax, joints):
    ax.scatter(*view_directions(joints).T, s=5, alpha=min(1, 15 / len(joints) ** 0.5),
               linewidths=0)  # fmt: skip
    ax.set_title("where the camera is, around the hand")
    ax.set_xticks(np.radians([-90, 0, 90]), [])
    ax.set_yticks(np.radians([-60, -30, 0, 30, 60]), ["−60°", "−30°", "0°", "30°", "60°"])
    names = {"palm": (0, 0), "thumb side": (90, 0), "pinky side": (-90, 0), "fingertips": (0, 72)}
    for name, (longitude, latitude) in names.items():
        ax.text(*np.radians([longitude, latitude]), name, ha="center", va="center", fontsize=9,
                bbox={"color": "white", "alpha": 0.8, "pad": 1})  # fmt: skip
    ax.set_xlabel("left and right edge: back of the hand")


def _draw_boxes(ax, values, label, title, human):
    """One box for each column of (N, 5 M), M of each finger: quartiles, 1-99 % whiskers; behind
    it in grey the range (5 M, 2) of human hands."""
    ax.bar(np.arange(1, len(human) + 1), np.ptp(human, 1), 1, human[:, 0], color=HUMAN)
    boxes = ax.boxplot(values, whis=(1, 99), showfliers=False, widths=0.7, patch_artist=True,
                       medianprops={"color": "black"})["boxes"]  # fmt: skip
    for box, color in zip(boxes, np.repeat(list(FINGER_COLORS.values()), len(boxes) // 5)):
        box.set(facecolor=color, linewidth=0.6)
    middle_of_finger = np.arange(1, len(boxes) + 1).reshape(5, -1).mean(1)
    ax.set_xticks(middle_of_finger, list(FINGER_COLORS))
    ax.grid(axis="x", visible=False)
    ax.set(ylabel=label, title=f"{title}; grey: human")


def _draw_histogram(ax, values, label):
    # At least a tenth of the median wide: equal values are one bar, not noise of the last digit.
    middle = np.median(values)
    limits = min(values.min(), 0.95 * middle), max(values.max(), 1.05 * middle)
    ax.hist(values, bins=min(40, max(8, len(values) // 10)), range=limits)
    ax.axvline(middle, color=SERIES[1])
    ax.set(xlabel=label, ylabel="hands", title=f"median {middle:.3g}")
    ax.yaxis.get_major_locator().set_params(integer=True)
