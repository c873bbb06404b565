"""3D scenes of hands: interactive where plotly runs, a rendered picture elsewhere.

Both keep the orientation of ``handlib.plots.render``. plotly turns scenes about its own z axis,
which points up, so a point (x, y, z) is given to it as (x, z, -y), in millimetres: a rotation,
not a mirror image.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
import plotly.graph_objects as go
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.patches import Patch

from handlib.joints import FINGER_JOINTS, JOINT_COLORS, JOINT_NAMES, WRIST
from handlib.paths import atomic_write
from handlib.plots.images import draw_skeleton
from handlib.plots.render import VIEWS, render_view
from handlib.plots.style import GLASS, PREDICTION, SKIN, TRUTH, new_figure, show_picture, styled

ERROR_MAP = matplotlib.colormaps["YlOrRd"]
AXES = {"x": "x (mm)", "y": "z (mm)", "z": "−y (mm)"}


@dataclass
class Layer:
    """One hand in a scene. Metres, camera frame."""

    name: str
    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    joints: np.ndarray | None = None  # (21, 3)
    color: str = SKIN
    opacity: float = 1.0
    bone_color: str | None = None  # default: each finger its own
    error_mm: np.ndarray | None = None  # (V,) colours the mesh

    @property
    def norm(self):
        return Normalize(0, max(float(self.error_mm.max()), 1e-6))

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
            figure.add_traces([_mesh_trace(layer), *_bone_traces(layer)])
        return figure

    @cached_property
    @styled
    def still(self):
        figure, ((ax,),) = new_figure(1, 1, 4.4, 3.8, title=self.title)
        meshes = [(c.vertices, c.faces, c.paint, c.opacity) for c in self.layers]
        picture, to_pixels = render_view(meshes, self.view, (400, 340))
        show_picture(ax, picture)
        for layer in self.layers:
            if layer.joints is not None:
                draw_skeleton(ax, to_pixels(layer.joints), layer.bone_color)
            if layer.error_mm is not None:
                scalar = ScalarMappable(layer.norm, ERROR_MAP)
                figure.colorbar(scalar, ax=ax, label="vertex error (mm)", shrink=0.8)
        if len(self.layers) > 1:
            patches = [Patch(color=c.color, label=c.name) for c in self.layers]
            figure.legend(handles=patches, loc="outside lower left", ncols=len(patches))
        return figure

    def save_html(self, path):
        """Write a page that can be turned; it loads plotly.js from the network."""
        with atomic_write(path) as temporary:
            self.figure.write_html(temporary, include_plotlyjs="cdn")

    def savefig(self, path):
        """Write the picture, as matplotlib's figures do."""
        self.still.savefig(path)

    def _repr_mimebundle_(self, include=None, exclude=None):
        # No text/html: viewers would take it first, and it brings megabytes of plotly.js along.
        return {
            "application/vnd.plotly.v1+json": json.loads(self.figure.to_json()),
            "image/png": self.still.encoded("png"),
        }


# -- plotly ----------------------------------------------------------------------------------
def plotly_points(points):
    """Camera-frame points (..., 3) metres as plotly's (x, y, z): (..., 3) float32 millimetres."""
    x, y, z = np.moveaxis(1000 * np.asarray(points), -1, 0)
    return np.stack([x, z, -y], -1).astype(np.float32)


def _xyz(point):
    return dict(zip("xyz", point, strict=True))


def _layout(title, view, legend):
    eye, up = 2.5e-3 * plotly_points(-view[2]), 1e-3 * plotly_points(-view[1])
    look = {"backgroundcolor": "#f6f6f6", "gridcolor": "#dddddd", "showbackground": True}
    look |= {"tickfont": {"size": 10}}
    axes = {
        f"{name}axis": look | {"title": {"text": text, "font": {"size": 11}}}
        for name, text in AXES.items()
    }
    camera = {"eye": _xyz(eye.tolist()), "up": _xyz(up.tolist())}
    return {
        "template": "none",
        "title": {"text": title, "font": {"size": 14}},
        "width": 640,
        "height": 520,
        "margin": {"l": 0, "r": 0, "t": 40 if title else 10, "b": 0},
        "scene": {"aspectmode": "data", "camera": camera, "dragmode": "orbit", **axes},
        "showlegend": legend,
        "legend": {"x": 0.01, "y": 0.99},
    }


def _mesh_trace(layer):
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
    faces = layer.faces.astype(np.min_scalar_type(layer.faces.max()))  # small in a notebook
    return go.Mesh3d(
        **_xyz(plotly_points(layer.vertices).T),
        **dict(zip("ijk", faces.T, strict=True)),
        **paint,
        name=layer.name,
        opacity=layer.opacity,
        showlegend=True,
        lighting={"ambient": 0.5, "diffuse": 0.7, "specular": 0.15, "roughness": 0.6},
        lightposition=_xyz([2e4, -1e5, 5e4]),  # from the photo's camera and above it
    )


def _bone_traces(layer):
    """One line per finger, from the wrist to its tip: five traces instead of twenty."""
    if layer.joints is None:
        return []
    traces = []
    for chain in FINGER_JOINTS.values():
        joints = [WRIST, *chain]
        color = layer.bone_color or JOINT_COLORS[chain[0]]
        traces.append(
            go.Scatter3d(
                **_xyz(plotly_points(layer.joints[joints]).T),
                mode="lines+markers",
                name=f"{layer.name}, joints",
                line={"color": color, "width": 7},
                marker={"color": color, "size": 3.5},
                text=[JOINT_NAMES[j] for j in joints],
                hoverinfo="text",
                legendgroup=layer.name,
                showlegend=not traces,
            )
        )
    return traces


# -- the call that notebooks make ------------------------------------------------------------
def show_mesh(
    vertices,
    faces,
    joints=None,
    other=None,
    other_joints=None,
    vertex_error=None,
    title=None,
    view="three_quarter",
):
    """A hand mesh in 3D, alone or as a prediction together with the truth.

    Args:
        vertices: (V, 3) metres, camera frame; faces: (F, 3); joints: (21, 3) or None.
        other, other_joints: the truth (V, 3) and its joints, in the same frame; drawn as glass.
        vertex_error: (V,) metres, colours the mesh.
        title: say which hand model and which data.
        view: name in ``render.VIEWS`` or a (3, 3) rotation.

    Returns:
        ``Scene``.
    """
    error_mm = None if vertex_error is None else 1000 * vertex_error
    if other is None:
        # Bones lie inside the hand: glass shows them.
        opacity = 1.0 if joints is None else GLASS
        hand = Layer("hand", vertices, faces, joints, opacity=opacity, error_mm=error_mm)
        return Scene([hand], title, view)
    # One of two stays solid: plotly does not sort the triangles of see-through meshes.
    prediction = Layer("prediction", vertices, faces, joints, PREDICTION, 1.0, PREDICTION, error_mm)
    truth = Layer("truth", other, faces, other_joints, TRUTH, GLASS, TRUTH)
    return Scene([prediction, truth], title, view)
