"""3D scenes of hands: interactive where plotly runs, a rendered picture elsewhere.

Both keep the orientation of ``handlib.plots.render``.
"""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from handlib.data.raster import checked_faces
from handlib.plots.images import draw_skeleton
from handlib.plots.layers import Layer, photo_behind, view_of
from handlib.plots.meshfiles import write_mesh
from handlib.plots.page import write_page
from handlib.plots.render import render_view
from handlib.plots.style import (
    CAMERA_COLOR,
    ERROR_MAP,
    GLASS,
    PREDICTION,
    TRUTH,
    new_figure,
    show_picture,
    styled,
)
from handlib.plots.traces import bone_traces, camera, layout, mesh_trace, photo_traces


class Scene:
    """Hands in 3D: plotly where a viewer can turn them, a rendered picture everywhere else.

    Attributes:
        layers: list of ``Layer``; title: printed above; view: (3, 3) rotation of the first view.
        photo: ``render.Photo`` that stands behind the hands with its camera before them, or None.
        figure: plotly Figure, millimetres; still: matplotlib Figure of the first view.
    """

    def __init__(self, layers, title=None, view="three_quarter", photo=None):
        self.layers, self.title, self.photo = list(layers), title, photo
        self.view = view_of(view)

    @cached_property
    def figure(self):
        legend = len(self.layers) > 1 or self.photo is not None
        looks = camera(self.view, self.layers, self.photo)
        figure = go.Figure(layout=layout(self.title, looks, legend))
        for layer in self.layers:
            figure.add_traces([mesh_trace(layer), *bone_traces(layer)])
        if self.photo is not None:
            figure.add_traces(photo_traces(self.photo))
        return figure

    @cached_property
    @styled
    def still(self):
        width, height = (500, 380) if self.photo else (400, 340)
        figure, ((ax,),) = new_figure(1, 1, width / 100 + 0.4, height / 100 + 0.4, self.title)
        meshes = [(c.vertices, c.faces, c.paint, c.opacity) for c in self.layers]
        picture, to_pixels = render_view(meshes, self.view, (width, height), photo=self.photo)
        show_picture(ax, picture)
        if self.photo is not None:
            ax.plot(*to_pixels(self.photo.outline()).T, color=CAMERA_COLOR, linewidth=0.8)
        for layer in self.layers:
            if layer.joints is not None:
                draw_skeleton(ax, to_pixels(layer.joints), layer.bone_color)
            if layer.error_mm is not None:
                scalar = ScalarMappable(layer.norm, ERROR_MAP)
                figure.colorbar(scalar, ax=ax, label="vertex error (mm)", shrink=0.8)
        if len(self.layers) > 1 or self.photo is not None:
            marks = [Patch(color=c.color, label=c.name) for c in self.layers]
            if self.photo is not None:
                marks.append(Line2D([], [], color=CAMERA_COLOR, label=self.photo.caption))
            figure.legend(handles=marks, loc="outside lower left", ncols=len(marks))
        return figure

    def save_html(self, path, beside=False):
        """Write a page to turn the hands in, which opens offline: see ``page.write_page``."""
        write_page(Path(path), self.layers, self.view, self.photo, self.title or "", beside)

    def save_mesh(self, path):
        """Write the hands as ``.obj`` or ``.ply``: metres, with the colours that they have here."""
        paints = [np.broadcast_to(_rgb(c.paint), c.vertices.shape) for c in self.layers]
        layers = zip(self.layers, paints, strict=True)
        write_mesh(path, [(c.name, c.vertices, c.faces, paint) for c, paint in layers])

    def savefig(self, path):
        """Write the picture, as matplotlib's figures do."""
        self.still.savefig(path)

    def _repr_mimebundle_(self, include=None, exclude=None):
        # No text/html: viewers would take it first, and it brings megabytes of plotly.js along.
        return {
            "application/vnd.plotly.v1+json": json.loads(self.figure.to_json()),
            "image/png": self.still.encoded("png"),
        }


def _rgb(paint):
    return to_rgb(paint) if isinstance(paint, str) else paint


def _as_array(values):
    """A numpy array of what numpy takes, or of a tensor, wherever it is; None stays None."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    return None if values is None else np.asarray(values)


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
    image=None,
    K=None,
):
    """A hand mesh in 3D, alone or as a prediction together with the truth.

    Arrays may be whatever numpy makes arrays of, or torch's tensors.

    Args:
        vertices: (V, 3) metres, camera frame; faces: (F, 3); joints: (21, 3) or None.
        other, other_joints: the truth (V, 3) and its joints, in the same frame; drawn as glass.
        vertex_error: (V,) metres, colours the mesh.
        title: say which hand model and which data.
        view: name in ``render.VIEWS`` or a (3, 3) rotation.
        image, K: the photo (H, W, 3) uint8 and its camera (3, 3), drawn where they were; the
            hands must be placed in front of that camera, not relative to their root.

    Returns:
        ``Scene``.

    Raises:
        ValueError: an image of another kind or without K, a hand that is not in front of its
            camera, faces of vertices that are not there, or an unknown view.
    """
    vertices, faces, joints, other, other_joints, vertex_error, image, K = map(
        _as_array, (vertices, faces, joints, other, other_joints, vertex_error, image, K)
    )
    hands = [vertices] if other is None else [vertices, other]
    for hand in hands:  # plotly would draw something else, or nothing
        checked_faces(faces, len(hand))
    photo = None if image is None else photo_behind(hands, image, K)
    error_mm = None if vertex_error is None else 1000 * vertex_error
    if other is None:
        # Bones lie inside the hand: glass shows them. Before a photo of itself it has to be denser.
        see_through = GLASS if image is None else 2 * GLASS
        opacity = 1.0 if joints is None else see_through
        hand = Layer("hand", vertices, faces, joints, opacity=opacity, error_mm=error_mm)
        return Scene([hand], title, view, photo)
    # One of two stays solid: plotly does not sort the triangles of see-through meshes.
    prediction = Layer("prediction", vertices, faces, joints, PREDICTION, 1.0, PREDICTION, error_mm)
    truth = Layer("truth", other, faces, other_joints, TRUTH, GLASS, TRUTH)
    return Scene([prediction, truth], title, view, photo)
