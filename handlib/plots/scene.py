"""3D scenes of meshes and skeletons: interactive where plotly runs, a rendered picture elsewhere.

Both keep the orientation of ``handlib.plots.render``. plotly turns scenes about its own z axis,
which points up, so a point (x, y, z) is given to it as (x, z, -y), in millimetres: a rotation,
not a mirror image.
"""

import base64
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import matplotlib
import numpy as np
import plotly.graph_objects as go
from matplotlib.colors import Normalize, to_hex
from matplotlib.patches import Patch

from handlib.joints import FINGER_JOINTS, JOINT_COLORS, JOINT_NAMES, WRIST
from handlib.paths import atomic_write
from handlib.plots.images import draw_skeleton
from handlib.plots.render import HAND_VIEWS, VIEWS, render_view
from handlib.plots.style import GLASS, PREDICTION, SKIN, TRUTH, new_figure, styled, to_numpy

ERROR_MAP = matplotlib.colormaps["YlOrRd"]
AXES = ("x, right (mm)", "z, depth (mm)", "−y, up (mm)")


@dataclass
class Layer:
    """One hand in a scene: a mesh, a skeleton or both. Metres, camera frame."""

    name: str
    vertices: np.ndarray | None = None  # (V, 3)
    faces: np.ndarray | None = None  # (F, 3)
    joints: np.ndarray | None = None  # (21, 3)
    color: str = SKIN
    opacity: float = 1.0
    bone_color: str | None = None  # default: each finger its own
    error_mm: np.ndarray | None = None  # (V,) colours the mesh
    error_range_mm: float | None = None  # error that gets the darkest colour; default the largest

    def __post_init__(self):
        for name in ("vertices", "faces", "joints", "error_mm"):
            if (value := getattr(self, name)) is not None:
                setattr(self, name, to_numpy(value))

    @property
    def points(self):
        return np.concatenate([p for p in (self.vertices, self.joints) if p is not None])

    @property
    def norm(self):
        return Normalize(0, self.error_range_mm or max(float(self.error_mm.max()), 1e-6))

    @property
    def paint(self):
        """One colour, or (V, 3) RGB where there is an error to show."""
        return self.color if self.error_mm is None else ERROR_MAP(self.norm(self.error_mm))[:, :3]


class Scene:
    """Hands in 3D: plotly where a viewer can turn them, a rendered picture everywhere else.

    Attributes:
        layers: list of ``Layer``; title: printed above; view: (3, 3) rotation of the first view.
        figure: plotly Figure, millimetres; still: matplotlib Figure of the first view.
    """

    def __init__(self, layers, title=None, view="three_quarter"):
        self.layers, self.title = list(layers), title
        self.view = VIEWS[view] if isinstance(view, str) else np.asarray(view)

    @cached_property
    def figure(self):
        figure = go.Figure(layout=_layout(self.title, self.view, len(self.layers) > 1))
        for layer in self.layers:
            figure.add_traces([*_mesh_traces(layer), *_bone_traces(layer)])
        return figure

    @cached_property
    @styled
    def still(self):
        figure, axes = new_figure(1, 1, 4.4, 3.8, title=self.title)
        ax = axes[0, 0]
        meshes = [
            (layer.vertices, layer.faces, layer.paint, layer.opacity)
            for layer in self.layers
            if layer.vertices is not None
        ]
        bounds = np.concatenate([layer.points for layer in self.layers])
        picture, to_pixels = render_view(meshes, self.view, (400, 340), bounds)
        ax.imshow(picture)
        ax.axis("off")
        for layer in self.layers:
            if layer.joints is not None:
                draw_skeleton(ax, to_pixels(layer.joints), layer.bone_color)
            if layer.error_mm is not None:
                scalar = matplotlib.cm.ScalarMappable(layer.norm, ERROR_MAP)
                figure.colorbar(scalar, ax=ax, label="vertex error (mm)", shrink=0.8)
        if len(self.layers) > 1:
            patches = [Patch(color=c.bone_color or c.color, label=c.name) for c in self.layers]
            figure.legend(handles=patches, loc="outside lower left", ncols=len(patches))
        return figure

    def save_html(self, path, plotly_js="cdn"):
        """Write a page. ``plotly_js=True`` puts plotly.js (5 MB) into it, to open it offline."""
        with atomic_write(path) as temporary:
            self.figure.write_html(temporary, include_plotlyjs=plotly_js)
        return Path(path)

    def save_png(self, path):
        """Write the picture."""
        with atomic_write(path) as temporary:
            temporary.write_bytes(self.still.png())
        return Path(path)

    def _repr_mimebundle_(self, include=None, exclude=None):
        # No text/html: viewers would take it first, and it brings megabytes of plotly.js along.
        return {
            "application/vnd.plotly.v1+json": json.loads(self.figure.to_json()),
            "image/png": base64.b64encode(self.still.png()).decode(),
        }


# -- plotly ----------------------------------------------------------------------------------
def plotly_points(points):
    """Camera-frame points (..., 3) metres as plotly's (x, y, z): (..., 3) float32 millimetres."""
    x, y, z = np.moveaxis(1000 * np.asarray(points), -1, 0)
    return np.stack([x, z, -y], -1).astype(np.float32)


def _layout(title, view, legend):
    eye, up = 2.1e-3 * plotly_points(-view[2]), 1e-3 * plotly_points(-view[1])
    # Turning about the vertical is easiest to handle, but only upright views can be turned so.
    upright = abs(view[0, 1]) < 1e-6 and abs(view[2, 1]) < 0.99
    camera = {"eye": _xyz(eye.tolist()), "up": _xyz([0, 0, 1] if upright else up.tolist())}
    mode = "turntable" if upright else "orbit"
    look = {"backgroundcolor": "#f6f6f6", "gridcolor": "#dddddd", "showbackground": True}
    look |= {"tickfont": {"size": 10}}
    titles = [{"text": text, "font": {"size": 11}} for text in AXES]
    axes = {f"{name}axis": look | {"title": t} for name, t in _xyz(titles).items()}
    return {
        "template": "none",
        "title": {"text": title, "font": {"size": 14}},
        "width": 640,
        "height": 520,
        "margin": {"l": 0, "r": 0, "t": 40 if title else 10, "b": 0},
        "scene": {"aspectmode": "data", "camera": camera, "dragmode": mode, **axes},
        "showlegend": legend,
        "legend": {"x": 0.01, "y": 0.99},
    }


def _xyz(values):
    return dict(zip("xyz", values, strict=True))


def _mesh_traces(layer):
    if layer.vertices is None:
        return []
    dtype = np.int16 if len(layer.vertices) <= np.iinfo(np.int16).max else np.int32
    xyz = _xyz(plotly_points(layer.vertices).T)
    ijk = dict(zip("ijk", layer.faces.astype(dtype).T, strict=True))
    paint = {"color": layer.color, "hoverinfo": "name"}
    if layer.error_mm is not None:
        paint = {
            "intensity": layer.error_mm.astype(np.float32),
            "colorscale": [[t, to_hex(ERROR_MAP(t))] for t in np.linspace(0, 1, 9).tolist()],
            "cmin": 0,
            "cmax": layer.norm.vmax,
            "colorbar": {"title": {"text": "error (mm)"}, "thickness": 14, "len": 0.7},
            "hovertemplate": "%{intensity:.1f} mm<extra></extra>",
        }
    light = {"ambient": 0.5, "diffuse": 0.7, "specular": 0.15, "roughness": 0.6}
    # From the photo's camera and above it.
    common = {"lighting": light, "lightposition": _xyz([2e4, -1e5, 5e4]), "showlegend": True}
    common |= {"name": layer.name, "opacity": layer.opacity}
    return [go.Mesh3d(**xyz, **ijk, **paint, **common)]


def _bone_traces(layer):
    """One line per finger, from the wrist to its tip: five traces instead of twenty."""
    if layer.joints is None:
        return []
    traces = []
    for n, chain in enumerate(FINGER_JOINTS.values()):
        joints = [WRIST, *chain]
        x, y, z = plotly_points(layer.joints[joints]).T
        color = layer.bone_color or JOINT_COLORS[chain[0]]
        traces.append(
            go.Scatter3d(
                x=x,
                y=y,
                z=z,
                mode="lines+markers",
                name=f"{layer.name}, joints",
                line={"color": color, "width": 7},
                marker={"color": color, "size": 3.5},
                text=[JOINT_NAMES[j] for j in joints],
                hoverinfo="text",
                legendgroup=layer.name,
                showlegend=n == 0,
            )
        )
    return traces


# -- the calls that notebooks make -----------------------------------------------------------
def show_mesh(
    vertices,
    faces,
    joints=None,
    other=None,
    other_joints=None,
    vertex_error=None,
    error_range_mm=None,
    names=("prediction", "truth"),
    title=None,
    view="three_quarter",
):
    """A hand mesh in 3D, alone or together with another one.

    Args:
        vertices: (V, 3) metres, camera frame; faces: (F, 3); joints: (21, 3) or None.
        other, other_joints: a second mesh (V, 3) and its joints, in the same frame; drawn as glass.
        vertex_error: (V,) metres, colours the mesh; error_range_mm: of the darkest colour.
        names: of the two; title: say which hand model and which data.
        view: name in ``render.VIEWS`` or a (3, 3) rotation.

    Returns:
        ``Scene``.
    """
    two = other is not None or other_joints is not None
    first = Layer(names[0] if two else "hand", vertices, faces, joints)
    if vertex_error is not None:
        first = replace(
            first, error_mm=1000 * to_numpy(vertex_error), error_range_mm=error_range_mm
        )
    if not two:
        # Bones lie inside the hand: glass shows them.
        return Scene([replace(first, opacity=1.0 if joints is None else GLASS)], title, view)
    # One of two stays solid: plotly does not sort the triangles of see-through meshes.
    first = replace(first, color=PREDICTION, bone_color=PREDICTION)
    truth = {"color": TRUTH, "bone_color": TRUTH, "opacity": GLASS}
    faces = None if other is None else faces
    second = Layer(names[1], other, faces, other_joints, **truth)
    return Scene([first, second], title, view)


def show_skeleton(
    joints, other=None, names=("prediction", "truth"), title=None, view="three_quarter"
):
    """Joints and bones (21, 3) metres in 3D: finger colours, or one colour each for two hands."""
    two = other is not None
    layers = [Layer(names[0] if two else "hand", joints=joints)]
    if two:
        layers[0] = replace(layers[0], color=PREDICTION, bone_color=PREDICTION)
        layers.append(Layer(names[1], joints=other, color=TRUTH, bone_color=TRUTH))
    return Scene(layers, title, view)


@styled
def show_views(vertices, faces, side="right", title=None, color=SKIN):
    """A hand at rest in MANO's frame from six sides.

    Args:
        vertices: (V, 3) metres, fingers to -x (right) or +x (left); faces: (F, 3); side: of it.
    """
    names = [name for name in HAND_VIEWS if name != "three_quarter"]
    figure, axes = new_figure(2, 3, 7.5, 5.4, title)
    for ax, name in zip(axes.flat, names, strict=True):
        picture, _ = render_view([(vertices, faces, color, 1)], _hand_view(name, side), (250, 250))
        _picture(ax, picture, name)
    return figure


@styled
def show_poses(poses, faces, side="right", view="palm", columns=5, title=None, color=SKIN):
    """Hands in MANO's frame beside each other, all at one scale.

    Args:
        poses: dict of name -> (V, 3) vertices, metres; faces: (F, 3).
        view: name in ``render.HAND_VIEWS``; side: "right" or "left".
    """
    rows = -(-len(poses) // columns)
    columns = min(columns, len(poses))
    figure, axes = new_figure(rows, columns, 1.9 * columns, 2.2 * rows + 0.3, title)
    rotation = _hand_view(view, side)
    radius = max(np.ptp(to_numpy(v) @ rotation.T, axis=0)[:2].max() for v in poses.values()) / 2
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, vertices) in zip(axes.flat, poses.items(), strict=False):
        vertices = to_numpy(vertices)
        centre = (vertices.max(0) + vertices.min(0)) / 2
        corners = centre + radius * np.array([[-1, -1, 0], [1, 1, 0]]) @ rotation
        picture, _ = render_view([(vertices, faces, color, 1)], rotation, (200, 200), corners)
        _picture(ax, picture, name)
    return figure


def _hand_view(name, side):
    """A view of a right hand, or the same of a left one: MANO's left is the right at x = 0."""
    if name not in HAND_VIEWS:
        raise ValueError(f"unknown view {name!r}; known: {', '.join(HAND_VIEWS)}")
    if side == "right":
        return HAND_VIEWS[name]
    mirror = np.diag([-1.0, 1, 1])
    return mirror @ HAND_VIEWS[name] @ mirror


def _picture(ax, picture, title):
    ax.imshow(picture)
    ax.set_title(title)
    ax.axis("off")
