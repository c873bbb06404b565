"""Pictures of samples: skeleton, mask, mesh and depth drawn on the image they belong to."""

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from handlib.data.raster import rasterize
from handlib.joints import BONES, JOINT_COLORS, ROOT
from handlib.metrics import per_sample
from handlib.plots.render import overlay_mesh, render_view, weak_perspective_camera
from handlib.plots.style import GLASS, PREDICTION, TRUTH, new_figure, styled, to_numpy

OVERLAYS = ("none", "joints", "mask", "mesh", "depth")
DEPTH_MAP, DEPTH_RANGE_MM = matplotlib.colormaps["viridis_r"], 200
MASK_COLOR = "#56B4E9"
CELL, TITLE = 1.8, 0.22  # inches of one picture in a grid, and of one line of title


# -- on one axes -----------------------------------------------------------------------------
def draw_skeleton(ax, joints_2d, color=None, linewidth=1.4):
    """Bones and joints (21, 2) px, each finger in its colour or all in one.

    A white border makes them stand out on any background. Joints that are NaN are left out.
    """
    joints_2d = to_numpy(joints_2d)
    border = [Stroke(linewidth=linewidth + 1.4, foreground="white"), Normal()]
    for parent, child in BONES:
        ax.plot(*joints_2d[[parent, child]].T, color=color or JOINT_COLORS[child],
                linewidth=linewidth, path_effects=border, solid_capstyle="round")  # fmt: skip
    ax.scatter(*joints_2d.T, c=color or JOINT_COLORS, s=(2 * linewidth) ** 2, zorder=3,
               linewidths=0)  # fmt: skip


def draw_hand(ax, image, joints_2d=None, mask=None, color=None, linewidth=1.4, fade=True):
    """One picture with what is known about its hand; what is None is left out.

    Args:
        ax: matplotlib axes.
        image: (H, W, 3) uint8.
        joints_2d: (21, 2) px; color: one for all bones instead of the fingers' own.
        mask: (H, W) bool, drawn as a contour; fade: also fade what is outside.
        linewidth: of the bones, points.
    """
    if mask is not None and fade:
        image = np.where(mask[..., None], image, _fade(image))
    if mask is not None and mask.any() and not mask.all():
        ax.contour(mask, [0.5], colors=MASK_COLOR, linewidths=1.3)
    ax.imshow(image)
    ax.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    ax.axis("off")
    if joints_2d is not None:
        draw_skeleton(ax, joints_2d, color, linewidth)


def draw_sample(ax, sample, overlay="joints", faces=None):
    """A sample with one of ``OVERLAYS``; an annotation that it does not have is left out.

    Args:
        faces: (F, 3) of the hand model, for mesh and depth.

    Raises:
        ValueError: for an overlay that is not known, or one that needs faces.
    """
    if overlay not in OVERLAYS:
        raise ValueError(f"unknown overlay {overlay!r}; known: {', '.join(OVERLAYS)}")
    image, joints, mask = sample.image, None, None
    if overlay == "joints":
        joints = sample.joints_2d
    elif overlay == "mask":
        mask = sample.mask
    elif overlay != "none" and sample.has("vertices") and sample.has("K"):
        if faces is None:
            raise ValueError(f"the {overlay} overlay needs faces=hand.faces of the hand model")
        mesh = sample.unit * sample.vertices, faces, sample.K
        draw = overlay_mesh if overlay == "mesh" else overlay_depth
        image = draw(image, *mesh)
    draw_hand(ax, image, joints, mask)


def overlay_depth(image, vertices, faces, K):
    """Depth of a mesh as colours on a faded image (H, W, 3): near is bright.

    Colours span ``DEPTH_RANGE_MM`` from the nearest point on. Arguments as ``overlay_mesh``.
    """
    depth = rasterize(vertices, faces, K, image.shape[1::-1]).depth
    seen = depth > 0
    nearest = depth[seen].min() if seen.any() else 0
    colors = 255 * DEPTH_MAP(1000 * (depth - nearest) / DEPTH_RANGE_MM)[..., :3]
    return np.where(seen[..., None], colors, _fade(image)).astype(np.uint8)


def _fade(image):
    return (0.4 * image + 0.6 * 160).astype(np.uint8)


# -- grids -----------------------------------------------------------------------------------
@styled
def show_samples(samples, overlay="joints", faces=None, columns=5, title=None):
    """A grid of samples; with several overlays, one row for each.

    Args:
        samples: list of ``Sample``.
        overlay: one of ``OVERLAYS``, or a list of them.
        faces: (F, 3) of the hand model, for mesh and depth.
        columns: of the grid.
        title: default says where the samples come from.
    """
    overlays = [overlay] if isinstance(overlay, str) else list(overlay)
    rows = _rows(samples, columns, overlays)
    bar = 0.8 if "depth" in overlays else 0
    figure, axes = _grid(rows, len(rows[0][0]), title or _sources(samples), len(overlays), bar)
    for row, (chunk, kind) in zip(axes, rows, strict=True):
        for ax, sample in zip(row, chunk, strict=False):
            draw_sample(ax, sample, kind, faces)
            if kind == overlays[0]:
                ax.set_title(_label(sample))
        if kind == "depth":
            scalar = ScalarMappable(Normalize(0, DEPTH_RANGE_MM), DEPTH_MAP)
            figure.colorbar(scalar, ax=row, label="behind nearest (mm)", aspect=12)
    return figure


@styled
def show_versions(samples, faces=None, overlay="joints", title=None):
    """Looks of one hand beside each other: the plain picture above, the overlay below.

    Args:
        samples: list of ``Sample`` with the same id and different versions.
    """
    ids = {s.id for s in samples}
    if len(ids) > 1:
        raise ValueError(f"versions of one hand share their id, got {sorted(ids)}")
    return show_samples(samples, ["none", overlay], faces, len(samples), title)


@styled
def show_augmentations(sample, transformed, faces=None, columns=5, title=None):
    """A sample and what transforms made of it, with skeleton, mask and principal point.

    Args:
        sample: ``Sample`` before; transformed: list of ``Sample``, or dict of name -> ``Sample``.
        faces: (F, 3) of the hand model: also draw the mesh, in a second row.
    """
    if not isinstance(transformed, dict):
        transformed = {f"draw {n}": s for n, s in enumerate(transformed, 1)}
    entries = [("original", sample), *transformed.items()]
    kinds = ["joints"] if faces is None else ["joints", "mesh"]
    rows = _rows(entries, columns, kinds)
    figure, axes = _grid(rows, len(rows[0][0]), title or _sources([sample]), len(kinds))
    for row, (chunk, kind) in zip(axes, rows, strict=True):
        for ax, (name, entry) in zip(row, chunk, strict=False):
            if kind == "mesh":
                draw_sample(ax, entry, "mesh", faces)
                continue
            draw_hand(ax, entry.image, entry.joints_2d, entry.mask, fade=False)
            if entry.K is not None:
                ax.plot(*entry.K[:2, 2], "+", color="white", markersize=11, markeredgewidth=3)
                ax.plot(*entry.K[:2, 2], "+", color="black", markersize=9, markeredgewidth=1.2)
            ax.set_title(name if entry.is_right else f"{name}, left")
    return figure


@styled
def show_predictions(samples, predictions, faces, title=None):
    """Image, truth, prediction and both hands from the side; one row for each sample.

    Args:
        samples: list of B ``Sample`` as the network saw them.
        predictions: a model's ``Prediction`` of them, or a dict with its joints, vertices,
            joints_2d, scale and trans (names may begin with ``pred_``).
        faces: (F, 3) of the hand model.
        title: default says where the samples come from.
    """
    names = ("image", "truth", "prediction", "prediction, mesh", "from the right side")
    figure, axes = _grid(samples, len(names), title or _sources(samples))
    for n, (row, sample) in enumerate(zip(axes, samples, strict=True)):
        prediction = {
            name: to_numpy(_get(predictions, name)[n])
            for name in ("joints", "vertices", "joints_2d", "scale", "trans")
        }
        _draw_prediction(row, sample, prediction, faces)
        for ax, name in zip(row, names, strict=True):
            ax.set_title(name)
        row[0].set_title(_label(sample))
        row[3].set_title(_error_label(sample, prediction) or names[3])
    patches = [Patch(color=PREDICTION, label="prediction"), Patch(color=TRUTH, label="truth")]
    figure.legend(handles=patches, loc="outside lower right", ncols=2)
    return figure


def _draw_prediction(axes, sample, prediction, faces):
    placed, K = weak_perspective_camera(
        prediction["vertices"], prediction["scale"], prediction["trans"]
    )
    draw_hand(axes[0], sample.image)
    draw_hand(axes[1], sample.image, sample.joints_2d)
    draw_hand(axes[2], sample.image, prediction["joints_2d"])
    draw_hand(axes[3], overlay_mesh(sample.image, placed, faces, K, PREDICTION))
    meshes = [(prediction["vertices"], faces, PREDICTION, 1)]
    if sample.has("vertices") and sample.has("joints"):
        truth = sample.unit * (sample.vertices - sample.joints[ROOT])
        meshes.append((truth, faces, TRUTH, GLASS))
    axes[4].imshow(render_view(meshes, "right", (200, 200))[0])


# -- helpers ---------------------------------------------------------------------------------
def _rows(entries, columns, overlays):
    """(entries of a row, overlay) of each row of a grid."""
    chunks = [entries[i : i + columns] for i in range(0, len(entries), columns)]
    return [(chunk, overlay) for chunk in chunks for overlay in overlays]


def _grid(rows, columns, title, rows_per_title=1, extra_width=0):
    """Square pictures, ``rows`` (any sequence) x ``columns``, close together."""
    height = CELL * len(rows) + TITLE * (1.6 + len(rows) / rows_per_title)
    figure, axes = new_figure(len(rows), columns, CELL * columns + extra_width, height, title)
    figure.has_photos = True
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)
    for ax in axes.flat:
        ax.axis("off")
    return figure, axes


def _get(predictions, name):
    if isinstance(predictions, dict):
        return predictions[name] if name in predictions else predictions[f"pred_{name}"]
    return getattr(predictions, name)


def _label(sample):
    version = "" if sample.version is None else f" v{sample.version}"
    return f"{sample.id}{version}" + ("" if sample.is_right else ", left")


def _sources(samples):
    return ", ".join(dict.fromkeys(s.source for s in samples))


def _error_label(sample, prediction):
    """PA-MPJPE, where the sample's 3D joints are known."""
    if not sample.has("joints"):
        return ""
    scores = per_sample(prediction["joints"][None], sample.unit * sample.joints[None])
    return f"PA-MPJPE {scores['pa_mpjpe_mm'][0]:.1f} mm"
