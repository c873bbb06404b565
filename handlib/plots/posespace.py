"""The space of finger poses: an atlas of it, and a hand whose sliders walk through it."""

import io

import numpy as np
from PIL import Image

from handlib.mano import from_components, pose_hand, to_components
from handlib.plots.render import HAND_VIEWS, look, pose_pictures, render_view
from handlib.plots.style import PREDICTION, SKIN, TRUTH, new_figure, styled

COLORS = {"truth": TRUTH, "prediction": PREDICTION}
MARKERS = {"truth": "o", "prediction": "D"}
LEAST_CELL = 0.1  # rad, where all poses are one
AZIMUTH, ELEVATION = "azimuth (°)", "elevation (°)"


@styled
def show_atlas(hand, fingers, columns=8, rows=5, title=None):
    """Hands over their first two pose components, and where given poses lie among them.

    Args:
        hand: HandModel.
        fingers: dict of "truth" and "prediction" -> (N, 45) axis-angle about the flat hand.
        columns, rows: of the grid of hands.
    """
    points = {name: to_components(hand, poses)[:, :2] for name, poses in fingers.items()}
    low, high = np.percentile(np.concatenate(list(points.values())), (1, 99), axis=0)
    cell = max(*(high - low) / (columns - 1, rows - 1), LEAST_CELL)
    grid = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (columns, rows))), -1)
    centres = (low + high) / 2 + cell * grid.reshape(-1, 2)
    poses = [pose_hand(hand, f).vertices for f in from_components(hand, centres)]
    figure, ((ax,),) = new_figure(1, 1, 8.5, 8.5 * rows / columns + 0.6, title)
    for centre, picture in zip(centres, pose_pictures(poses, hand.faces, size=(70, 70))):
        (left, bottom), (right, top) = centre - cell / 2, centre + cell / 2
        ax.imshow(picture, extent=(left, right, bottom, top), alpha=0.6)
    for name, at in points.items():
        ax.scatter(*at.T, s=14, c=COLORS[name], marker=MARKERS[name], label=name, alpha=0.75,
                   linewidths=0.4, edgecolors="white")  # fmt: skip
    (left, bottom), (right, top) = centres[0] - cell / 2, centres[-1] + cell / 2
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set(xlabel="1st pose component (rad)", ylabel="2nd pose component (rad)")
    ax.grid(visible=False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(points))
    figure.has_photos = True
    return figure


def explore_hand(hand, fingers=None, betas=None, components=6, shapes=3):
    """A hand with sliders for its pose, its shape and the view.

    The picture is rendered anew at each move: plotly's view in JupyterLab cannot be redrawn.

    Args:
        hand: HandModel.
        fingers: (45,) pose to begin with, axis-angle about the flat hand; None for the mean pose.
        betas: (10,) shape to begin with; None for zeros.
        components, shapes: how many of each have a slider; the others stay as they were given.

    Returns:
        ipywidgets widget.

    Raises:
        ImportError: without ipywidgets.
    """
    try:
        import ipywidgets
    except ImportError:
        raise ImportError("sliders need ipywidgets: pip install 'handlib[lab]'") from None
    pose = to_components(hand, hand.hands_mean if fingers is None else fingers)
    betas = np.zeros(10) if betas is None else np.array(betas, float)
    values = {f"pose {n + 1} (rad)": value for n, value in enumerate(pose[:components])}
    values |= {f"shape {n + 1} (sd)": value for n, value in enumerate(betas[:shapes])}
    limits = {name: (min(-3, value), max(3, value), 0.01) for name, value in values.items()}
    values |= {AZIMUTH: -20, ELEVATION: 10}
    limits |= {AZIMUTH: (-180, 180, 1), ELEVATION: (-85, 85, 1)}
    whole = {"description_width": "7em"}
    sliders = [
        ipywidgets.FloatSlider(value, min=low, max=high, step=step, description=name, style=whole)
        for (name, value), (low, high, step) in zip(values.items(), limits.values(), strict=True)
    ]
    shown = ipywidgets.Image(format="png", width=420, height=420)

    def redraw(_=None):
        *numbers, azimuth, elevation = (slider.value for slider in sliders)
        pose[:components], betas[:shapes] = numbers[:components], numbers[components:]
        shown.value = _picture(hand, from_components(hand, pose), betas, azimuth, elevation)

    for slider in sliders:
        slider.observe(redraw, "value")
    redraw()
    return ipywidgets.HBox([shown, ipywidgets.VBox(sliders)])


def _picture(hand, fingers, betas, azimuth, elevation):
    """PNG of a hand about its wrist, fingers up; at azimuth and elevation (degrees) 0 its palm."""
    posed = pose_hand(hand, fingers, betas)
    vertices = (posed.vertices - posed.joints[0]) @ HAND_VIEWS["palm"].T
    azimuth, elevation = np.radians([azimuth, elevation])
    across, down = np.cos(elevation), np.sin(elevation)
    view = look((-across * np.sin(azimuth), down, across * np.cos(azimuth)), (0, -1, 0))
    # The same piece of space at each move: a finger that bends does not move all the rest.
    bounds = [0, -0.07, 0] + 0.12 * np.array([[-1, -1, 0], [1, 1, 0]]) @ view
    picture, _ = render_view([(vertices, hand.faces, SKIN, 1)], view, (420, 420), bounds)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()
