"""Scenes as plotly draws them: traces of meshes, bones and photos, and the axes around them, as
plain values: to make them, plotly need not be imported.

plotly turns scenes about its own z axis, which points up, so a point (x, y, z) is given to it as
(x, z, -y), in millimetres: a rotation, not a mirror image.
"""

import html

import cv2
import numpy as np

from handlib.joints import FINGER_JOINTS, JOINT_COLORS, JOINT_NAMES, WRIST
from handlib.plots.colors import CAMERA_COLOR

AXES = {"x": "x (mm)", "y": "z (mm)", "z": "−y (mm)"}
ROOM = 1.25  # half the picture's height, in half diagonals of the box around the hands
PHOTO_CELLS = 48  # colours along the longer side of a photo: small in a notebook


def plotly_points(points):
    """Camera-frame points (..., 3) metres as plotly's (x, y, z): (..., 3) float32 millimetres."""
    x, y, z = np.moveaxis(1000 * np.asarray(points), -1, 0)
    return np.stack([x, z, -y], -1).astype(np.float32)


def _xyz(point):
    return dict(zip("xyz", point, strict=True))


def camera(view, layers, photo=None):
    """plotly's camera that looks at the hands, however far a photo and its lines of sight reach.

    It counts from the middle of all that is drawn, in geometric means of the three sides of the box
    around that, which plotly makes wider by a sixteenth; and it sees 45 degrees. Joints that are
    not known, NaN, do not count.
    """
    joints = [layer.joints for layer in layers if layer.joints is not None]
    hands = np.concatenate([layer.vertices for layer in layers] + joints)
    drawn = hands if photo is None else np.concatenate([hands, photo.outline()])
    low, high = np.nanmin(drawn, 0), np.nanmax(drawn, 0)
    unit = 17 / 16 * np.prod(high - low) ** (1 / 3)
    first, last = np.nanmin(hands, 0), np.nanmax(hands, 0)
    centre = ((first + last) - (low + high)) / 2 / unit
    away = ROOM * np.linalg.norm(last - first) / 2 / unit / np.tan(np.pi / 8)
    points = {"center": centre, "eye": centre - away * view[2], "up": -view[1]}
    return {name: _xyz((plotly_points(point) / 1000).tolist()) for name, point in points.items()}


def layout(title, camera, legend):
    look = {"backgroundcolor": "#f6f6f6", "gridcolor": "#dddddd", "showbackground": True}
    look |= {"tickfont": {"size": 10}}
    axes = {
        f"{name}axis": look | {"title": {"text": text, "font": {"size": 11}}}
        for name, text in AXES.items()
    }
    return {
        "template": "none",
        "title": {
            "text": html.escape(title or "", quote=False),
            "x": 0.01,
            "font": {"size": 14},
        },  # beside the buttons
        "width": 640,
        "height": 520,
        "margin": {"l": 0, "r": 0, "t": 40 if title else 10, "b": 40 if legend else 0},
        "scene": {"aspectmode": "data", "camera": camera, "dragmode": "orbit", **axes},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "top"},
    }


def mesh_trace(layer):
    paint = {"color": layer.color, "hoverinfo": "name"}
    if layer.error_mm is not None:
        from matplotlib.colors import to_hex

        from handlib.plots.style import ERROR_MAP

        paint = {
            "intensity": layer.error_mm.astype(np.float32),
            "colorscale": [[t, to_hex(ERROR_MAP(t))] for t in np.linspace(0, 1, 9).tolist()],
            "cmin": 0,
            "cmax": layer.norm.vmax,
            "colorbar": {"title": {"text": "error (mm)"}, "thickness": 14, "len": 0.7},
            "hovertemplate": "%{intensity:.1f} mm<extra></extra>",
        }
    faces = layer.faces.astype(np.min_scalar_type(layer.faces.max()))  # small in a notebook
    return dict(
        type="mesh3d",
        **_xyz(plotly_points(layer.vertices).T),
        **dict(zip("ijk", faces.T, strict=True)),
        **paint,
        name=layer.name,
        opacity=layer.opacity,
        showlegend=True,
        lighting={"ambient": 0.5, "diffuse": 0.7, "specular": 0.15, "roughness": 0.6},
        lightposition=_xyz([2e4, -1e5, 5e4]),  # from the photo's camera and above it
    )


def bone_traces(layer):
    """One line per finger, from the wrist to its tip: five traces instead of twenty."""
    if layer.joints is None:
        return []
    traces = []
    for chain in FINGER_JOINTS.values():
        joints = [WRIST, *chain]
        color = layer.bone_color or JOINT_COLORS[chain[0]]
        traces.append(
            dict(
                type="scatter3d",
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


def photo_traces(photo):
    """A ``layers.Photo`` where it is in the scene, and the lines from the camera to its corners."""
    height, width = photo.image.shape[:2]
    scale = min(1, PHOTO_CELLS / max(width, height))
    columns, rows = max(2, round(scale * width)), max(2, round(scale * height))
    small = cv2.resize(photo.image, (columns, rows), interpolation=cv2.INTER_AREA)
    u = (np.arange(columns) + 0.5) * width / columns - 0.5  # where the cells' centres are
    v = (np.arange(rows) + 0.5) * height / rows - 0.5
    centres = photo.points(np.stack(np.meshgrid(u, v), -1).reshape(-1, 2))
    number = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    triangles = np.stack([[a, b, c], [a, c, d]]).swapaxes(0, 1).reshape(3, -1)
    picture = dict(
        type="mesh3d",
        **_xyz(plotly_points(centres).T),
        **dict(zip("ijk", triangles, strict=True)),
        vertexcolor=[f"#{color.tobytes().hex()}" for color in small.reshape(-1, 3)],
        lighting={"ambient": 1, "diffuse": 0, "specular": 0, "fresnel": 0},
        name="photo",
        hoverinfo="name",
        showlegend=True,
    )
    lines = dict(
        type="scatter3d",
        **_xyz(plotly_points(photo.outline()).T),
        mode="lines",
        name=photo.caption,
        line={"color": CAMERA_COLOR, "width": 3},
        hoverinfo="name",
    )
    return [picture, lines]
