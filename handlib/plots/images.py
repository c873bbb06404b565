"""Pictures of samples: skeleton, mask and mesh drawn on the image they belong to."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from handlib.augment import MirrorBack
from handlib.geometry import mirror_faces, project
from handlib.joints import FINGER_JOINTS, JOINT_COLORS, ROOT, WRIST
from handlib.metrics import per_sample
from handlib.plots.render import (
    DEPTH,
    camera_of,
    overlay_depth,
    overlay_mesh,
    render_view,
)
from handlib.plots.style import GLASS, PREDICTION, TRUTH, new_figure, shortened_together, styled
from handlib.predictions import mirror_back

OVERLAYS = ("none", "joints", "mask", "mesh", "depth", "camera")
VIEW_NAMES = {"front": "from the front", "right": "from the right side", "top": "from above"}
# What ``draw_camera`` draws, thin and dark on a white border.
RING, CROSS = {"marker": "o", "markersize": 4, "mfc": "none"}, {"marker": "+", "markersize": 9}
MASK_COLOR = "#56B4E9"
CELL, TITLE = 1.8, 0.22  # inches of one picture in a grid, and of one line of title
WIDEST = 10.5  # inches of a figure of predictions: what a notebook shows without shrinking it


# -- on one axes -----------------------------------------------------------------------------
def draw_skeleton(ax, joints_2d, color=None):
    """Bones and joints (21, 2) px, each finger in its colour or all in one.

    A white border makes them stand out on any background. Joints that are NaN are left out.
    """
    border = [Stroke(linewidth=2.8, foreground="white"), Normal()]
    for chain in FINGER_JOINTS.values():
        ax.plot(*joints_2d[[WRIST, *chain]].T, color=color or JOINT_COLORS[chain[0]],
                linewidth=1.4, path_effects=border, solid_capstyle="round")  # fmt: skip
    ax.scatter(*joints_2d.T, c=color or JOINT_COLORS, s=8, zorder=3, linewidths=0)


def draw_hand(ax, image, joints_2d=None, mask=None):
    """One picture, with the hand's skeleton and outline where they are given.

    Args:
        ax: matplotlib axes.
        image: (H, W, 3) uint8; joints_2d: (21, 2) px; mask: (H, W) bool.
    """
    ax.imshow(image)
    ax.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    ax.axis("off")
    if mask is not None and mask.any() and not mask.all():
        ax.contour(mask, [0.5], colors=MASK_COLOR, linewidths=1.3)
    if joints_2d is not None:
        draw_skeleton(ax, joints_2d)


def draw_sample(ax, sample, overlay="joints", faces=None):
    """A sample with one of ``OVERLAYS``; an annotation that it does not have is left out.

    Args:
        overlay: "camera" is joints, mask, where K projects the 3D joints to (rings on the joints,
            unless K is that of another image) and principal point.
        faces: (F, 3) of the right hand model, for mesh.

    Raises:
        ValueError: for an overlay that is not known, or mesh without faces.
    """
    if overlay not in OVERLAYS:
        raise ValueError(f"unknown overlay {overlay!r}; known: {', '.join(OVERLAYS)}")
    image = sample.image
    if overlay in ("mesh", "depth") and sample.has("vertices") and sample.has("K"):
        if faces is None:
            raise ValueError(f"the {overlay} overlay needs faces=hand.faces of the hand model")
        image = _overlay(sample, overlay, mirror_faces(faces) if sample.is_left else faces)
    if overlay == "mask" and sample.mask is not None:
        faded = (0.4 * image + 0.6 * 160).astype(np.uint8)
        image = np.where(sample.mask[..., None], image, faded)
    joints = sample.joints_2d if overlay in ("joints", "camera") else None
    draw_hand(ax, image, joints, sample.mask if overlay in ("mask", "camera") else None)
    if overlay == "camera" and sample.K is not None:
        draw_camera(ax, sample)


def draw_camera(ax, sample):
    """Where K says that the 3D joints and the principal point are."""
    border = [Stroke(linewidth=2.2, foreground="white"), Normal()]
    look = {"linestyle": "none", "color": "black", "markeredgewidth": 0.8, "path_effects": border}
    if sample.joints is not None:
        ax.plot(*project(sample.joints, sample.K).T, **RING, **look)
    ax.plot(*sample.K[:2, 2], **CROSS, **look)


def _overlay(sample, kind, faces):
    """The sample's image with its mesh, lit or coloured by depth from the middle knuckle."""
    vertices = sample.unit * sample.vertices
    if kind == "mesh":
        return overlay_mesh(sample.image, vertices, faces, sample.K)
    middle = sample.unit * sample.joints[ROOT, 2] if sample.has("joints") else vertices[:, 2].mean()
    return overlay_depth(sample.image, vertices, faces, sample.K, middle)


# -- grids -----------------------------------------------------------------------------------
@styled
def show_samples(samples, overlay="joints", faces=None, columns=5, names=None):
    """A grid of samples; with several overlays, one row for each. Titled with their source.

    Args:
        samples: list of ``Sample``.
        overlay: one of ``OVERLAYS``, or a list of them.
        faces: (F, 3) of the hand model, for mesh.
        columns: of the grid.
        names: written above the samples; default their ids.

    Raises:
        ValueError: no samples, or as ``draw_sample``.
    """
    if not samples:
        raise ValueError("there are no samples to show")
    overlays = [overlay] if isinstance(overlay, str) else list(overlay)
    names = names or [label_of(sample) for sample in samples]
    named = list(zip(names, samples, strict=True))
    chunks = [named[i : i + columns] for i in range(0, len(named), columns)]
    rows = [(chunk, kind) for chunk in chunks for kind in overlays]
    titles = len(chunks) * (1 + max(name.count("\n") for name in names))
    figure, axes = picture_grid(len(rows), len(chunks[0]), titles, _sources(samples))
    for row, (chunk, kind) in zip(axes, rows, strict=True):
        for ax, (name, sample) in zip(row, chunk, strict=False):
            draw_sample(ax, sample, kind, faces)
            ax.set_title(name if kind == overlays[0] else None)
        if len(overlays) > 1 and kind != "none":
            row[0].text(
                0.03, 0.97, kind, va="top", fontsize=8, transform=row[0].transAxes,
                bbox={"color": "white", "alpha": 0.7, "pad": 2},
            )  # fmt: skip
    _explain(figure, axes, overlays, samples)
    return figure


def _explain(figure, axes, overlays, samples):
    """What the colours of depth and the marks of the camera are, below."""
    if "depth" in overlays and any(s.has("vertices") and s.has("K") for s in samples):
        figure.colorbar(DEPTH, ax=axes, location="bottom", aspect=60, shrink=0.6, pad=0.01,
                        extend="both", label="depth behind the middle knuckle (mm)")  # fmt: skip
    if "camera" in overlays and any(s.K is not None for s in samples):
        dark = {"linestyle": "none", "color": "black"}
        marks = [Line2D([], [], **RING, **dark, label="3D joints by K")]
        marks.append(Line2D([], [], **CROSS, **dark, label="principal point"))
        if any(s.mask is not None for s in samples):
            marks.append(Line2D([], [], color=MASK_COLOR, label="mask"))
        figure.legend(handles=marks, loc="outside lower right", ncols=len(marks))


def show_versions(samples, faces=None):
    """Looks of one hand beside each other: the plain picture above, its joints below."""
    return show_samples(samples, ["none", "joints"], faces, len(samples))


def show_augmentations(sample, transformed, columns=5):
    """A sample and what transforms made of it, with skeleton, mask and camera.

    Rings stand where K projects the 3D joints to: beside the skeleton, where a transform forgot K.

    Args:
        sample: ``Sample`` before; transformed: list of ``Sample``, or dict of name -> ``Sample``.
    """
    if not isinstance(transformed, dict):
        transformed = {f"draw {n}": s for n, s in enumerate(transformed, 1)}
    shown = {"original": sample} | transformed
    names = [f"{name}, left" if s.is_left else name for name, s in shown.items()]
    return show_samples(list(shown.values()), "camera", columns=columns, names=names)


@styled
def show_predictions(samples, predictions, faces, title=None, views=("right",)):
    """Image, truth, prediction and both hands from other sides; one row for each sample.

    All as photographed: what was mirrored on the way to the network is mirrored back.

    Args:
        samples: list of B ``Sample`` as the network saw them.
        predictions: what ``evaluation.predict`` says of them, B rows each.
        faces: (F, 3) of the right hand model.
        title: default says where the samples come from.
        views: names in ``VIEW_NAMES``.
    """
    names = ("truth", "prediction", "prediction, mesh", *(VIEW_NAMES[view] for view in views))
    title, cell = title or _sources(samples), min(CELL, WIDEST / (1 + len(names)))
    figure, axes = picture_grid(len(samples), 1 + len(names), len(samples), title, cell)
    seen = as_photographed(samples, predictions, faces)
    for row, (sample, prediction, side) in zip(axes, seen, strict=True):
        draw_hand(row[0], sample.image)
        draw_prediction(row[1:], sample, prediction, side, views)
        error = _error_label(sample, prediction["pred_joints"])
        label = label_of(sample)
        if sample.is_right is None and not prediction["is_right"]:
            label += ", taken for left"
        for ax, name in zip(row, (label, *names[:2], error or names[2], *names[3:])):
            ax.set_title(name)
    tell_apart(figure)
    return figure


@styled
def show_film(samples, frames, title=None):
    """The same hands, side by side: truth, then a column for each time or model that saw them.

    Args:
        samples: list of B ``Sample`` as the network saw them, at any resolution.
        frames: dict of name -> what ``evaluation.predict`` said of them then.
    """
    title = title or _sources(samples)
    figure, axes = picture_grid(len(samples), 1 + len(frames), len(samples), title)
    names = shortened_together(frames, 18)
    for n, (row, sample) in enumerate(zip(axes, samples, strict=True)):
        draw_hand(row[0], sample.image, sample.joints_2d)
        row[0].set_title("truth" if n == 0 else None)
        for ax, name, seen in zip(row[1:], names, frames.values(), strict=True):
            larger = sample.image.shape[1] / seen["width"][n]
            draw_hand(ax, sample.image, larger * (seen["pred_joints_2d"][n] + 0.5) - 0.5)
            error = _error_label(sample, seen["pred_joints"][n]).replace("PA-MPJPE", "PA")
            heading = [name, error] if n == 0 else [error]
            ax.set_title("\n".join(filter(None, heading)))
    return figure


def as_photographed(samples, predictions, faces):
    """What the network saw and said, each hand as it was in the photo.

    Args:
        samples, predictions, faces: as of ``show_predictions``.

    Yields:
        (sample, prediction, faces): a ``Sample``, one row of ``predictions``, and the faces (F, 3)
        of its hand.
    """
    predictions = mirror_back(predictions)
    for n, sample in enumerate(samples):
        row = {name: values[n] for name, values in predictions.items()}
        yield MirrorBack()(sample, None), row, faces if row["is_right"] else mirror_faces(faces)


def draw_prediction(axes, sample, prediction, faces, views=("right",)):
    """Truth, prediction, its mesh, and both from each of ``views``, on as many axes."""
    vertices = prediction["pred_vertices"]
    placed, K = camera_of(prediction, sample.K, sample.image.shape[1])
    draw_hand(axes[0], sample.image, sample.joints_2d)
    draw_hand(axes[1], sample.image, prediction["pred_joints_2d"])
    draw_hand(axes[2], overlay_mesh(sample.image, placed, faces, K, PREDICTION))
    for ax, view in zip(axes[3:], views, strict=True):
        draw_side(ax, sample, vertices, faces, view)


def draw_side(ax, sample, vertices, faces, view="right"):
    """The predicted mesh (V, 3), metres from its root, and the truth, from one side."""
    meshes = [(vertices, faces, PREDICTION, 1)]
    truth, joints = sample.rooted("vertices"), sample.rooted("joints")
    if truth is not None:
        meshes.append((truth, faces, TRUTH, GLASS))
    shown = [points for points in (vertices, truth, joints) if points is not None]
    picture, to_pixels = render_view(meshes, view, (200, 200), np.concatenate(shown))
    ax.imshow(picture)
    if truth is None and joints is not None:
        draw_skeleton(ax, to_pixels(joints), TRUTH)


def tell_apart(figure):
    """A legend of the two colours."""
    patches = [Patch(color=PREDICTION, label="prediction"), Patch(color=TRUTH, label="truth")]
    figure.legend(handles=patches, loc="outside lower right", ncols=2)


def picture_grid(rows, columns, titles, title, cell=CELL):
    """Square pictures (``cell`` inches) close together, and room for ``titles`` lines of titles."""
    height = cell * rows + TITLE * (1.6 + titles)
    figure, axes = new_figure(rows, columns, cell * columns, height, title)
    figure.has_photos = True
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)
    for ax in axes.flat:
        ax.axis("off")
        ax.set(xticks=[], yticks=[])  # they would be laid out all the same
    return figure, axes


def label_of(sample):
    version = "" if sample.version is None else f" v{sample.version}"
    return f"{sample.id}{version}" + (", left" if sample.is_left else "")


def _sources(samples):
    return ", ".join(dict.fromkeys(s.source for s in samples))


def _error_label(sample, joints):
    """PA-MPJPE, where the sample's 3D joints are known."""
    if not sample.has("joints"):
        return ""
    scores = per_sample(joints[None], sample.unit * sample.joints[None])
    return f"PA-MPJPE {scores['pa_mpjpe_mm'][0]:.1f} mm"
