"""Pictures of meshes by the rasteriser: views, cameras that frame a hand, overlays on photos.

One orientation everywhere. Points are in a camera frame (x right, y down, z forward), and what is
up in the image is up in the view. A view is a (3, 3) rotation from the points' frame to the frame
of the camera that looks at them; the identity looks as the photo's own camera does.
"""

import cv2
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb

from handlib.data.raster import downsample, interpolate, rasterize, render_mesh, supersampled
from handlib.geometry import back_project, focal_length, known_camera, project
from handlib.images import require_rgb
from handlib.plots.layers import HAND_VIEWS, VIEWS, Photo, look, view_of  # noqa: F401
from handlib.plots.style import SKIN, new_figure, show_picture, styled

# Colours of depth, mm behind a middle: a hand is about 200 mm long. Near is bright.
DEPTH = ScalarMappable(Normalize(-80, 80), "cividis_r")


def frame(points, view, size):
    """A camera that looks at all ``points`` from five times their radius.

    Args:
        points: (N, 3) metres; view: (3, 3); size: (width, height) px.

    Returns:
        (place, K): ``place(points)`` moves points (..., 3) into that camera's frame; K (3, 3)
        fills the picture with them, up to a margin.
    """
    centre = (points.min(0) + points.max(0)) / 2
    distance = 5 * np.linalg.norm(points - centre, axis=1).max()

    def place(p):
        return (p - centre) @ view.T + [0, 0, distance]

    uv = project(place(points), np.eye(3))
    low, high = uv.min(0), uv.max(0)
    size = np.asarray(size, float)
    f = (0.88 * size / np.maximum(high - low, 1e-9)).min()
    cx, cy = (size - 1) / 2 - f * (low + high) / 2
    return place, np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])


def weak_perspective_camera(vertices, scale, trans):
    """A pinhole camera so far away (100 m) that it projects like ``trans + scale * xy``.

    A point 0.1 m in front of the hand's root moves by 0.1 % of its offset from ``trans``.

    Args:
        vertices: (N, 3) metres, root-relative; scale: px per metre; trans: (2,) px.

    Returns:
        (vertices, K): (N, 3) in the frame of that camera, and its (3, 3) intrinsics.
    """
    distance = 100.0
    f = float(scale) * distance
    K = np.array([[f, 0, float(trans[0])], [0, f, float(trans[1])], [0, 0, 1]])
    return vertices + [0, 0, distance], K


def camera_of(prediction, K, size):
    """The camera that a prediction's mesh is drawn with to lie where the network says it is seen.

    A network projects by scale and translation, or by a camera: whichever puts the joints nearer to
    its 2D joints.

    Args:
        prediction: one row of what ``evaluation.predict`` returned.
        K: (3, 3) intrinsics of the crop, or None: what the network assumes then.
        size: side of the crop, px.

    Returns:
        (vertices, K): (V, 3) metres in that camera's frame, and its (3, 3) intrinsics.
    """
    joints, vertices = prediction["pred_joints"], prediction["pred_vertices"]
    scale, trans = prediction["pred_scale"], prediction["pred_trans"]
    place, depth = torch.tensor(trans, dtype=torch.float64), 1 / torch.tensor(scale)
    known = None if K is None else torch.tensor(K)[None]
    camera = known_camera(known, place[None], size)[0][0].double()
    root = back_project(place, focal_length(camera) * depth, camera).numpy()
    camera = camera.numpy()
    off_weak, off = (
        np.abs(seen - prediction["pred_joints_2d"]).max()
        for seen in (trans + scale * joints[:, :2], project(joints + root, camera))
    )
    if off < off_weak:
        return vertices + root, camera
    return weak_perspective_camera(vertices, scale, trans)


def _render(vertices, faces, K, size, color):
    """``render_mesh`` with a matplotlib colour or (V, 3) RGB; alpha gets a third axis."""
    one = isinstance(color, str)
    paint = {"color": to_rgb(color)} if one else {"vertex_colors": color}
    rgb, alpha, depth = render_mesh(vertices, faces, K, size, **paint)
    return rgb, alpha[..., None], depth


def overlay_depth(image, vertices, faces, K, middle):
    """The image (H, W, 3) uint8 with how far each point of a mesh is, by colour.

    Args:
        vertices: (V, 3) metres in the camera frame of K (3, 3); faces: (F, 3).
        middle: metres from the camera that get the middle colour of ``DEPTH``.

    Returns:
        (H, W, 3) uint8.
    """
    require_rgb(image)
    _, alpha, depth = render_mesh(vertices, faces, K, image.shape[1::-1])
    rgb = DEPTH.to_rgba(1000 * (depth - middle))[..., :3]
    alpha = np.where(depth > 0, alpha, 0)[..., None]
    return (255 * alpha * rgb + (1 - alpha) * image + 0.5).astype(np.uint8)


def overlay_mesh(image, vertices, faces, K, color=SKIN):
    """The image (H, W, 3) uint8 with a shaded mesh rendered on it.

    Args:
        vertices: (V, 3) metres in the camera frame of K (3, 3); faces: (F, 3).
        color: any matplotlib colour.

    Returns:
        (H, W, 3) uint8.
    """
    require_rgb(image)
    rgb, alpha, _ = _render(vertices, faces, K, image.shape[1::-1], color)
    alpha *= 0.9  # the photo stays visible
    return (255 * alpha * rgb + (1 - alpha) * image + 0.5).astype(np.uint8)


def _render_photo(photo, place, K, size):
    """What ``_render`` returns, of a photo: as it is, without light or shade."""
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    seen = rasterize(place(photo.points(photo.corners)), faces, *supersampled(K, size))
    u, v = np.moveaxis(interpolate(seen, faces, photo.corners), -1, 0)
    rgb = cv2.remap(photo.image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / 255
    alpha = downsample((seen.face >= 0).astype(float))[..., None]
    rgb = downsample(np.where(seen.face[..., None] >= 0, rgb, 0)) / alpha.clip(0.25)
    return rgb, alpha, downsample(seen.depth)


def render_view(meshes, view, size=(250, 250), bounds=None, photo=None):
    """Meshes on white, at each pixel the nearer over the farther.

    Args:
        meshes: list of (vertices (V, 3), faces (F, 3), color, opacity).
        view: (3, 3), or a name in ``VIEWS``; size: (width, height) px.
        bounds: (N, 3) points that shall fill the picture; default all vertices and the photo.
        photo: ``Photo`` that stands in the scene, or None.

    Returns:
        (picture, to_pixels): (H, W, 3) uint8, and the function from points (..., 3) to its pixels.
    """
    view = view_of(view)
    if bounds is None:
        bounds = np.concatenate([v for v, *_ in meshes] + ([photo.outline()] if photo else []))
    place, K = frame(bounds, view, size)
    drawn = [(*_render(place(v), f, K, size, c), o) for v, f, c, o in meshes]
    if photo:
        drawn.append((*_render_photo(photo, place, K, size), 1))
    # Far first; where a mesh is not, its order does not matter, its alpha is zero.
    order = np.argsort([-depth for _, _, depth, _ in drawn], axis=0)
    picture = np.ones((size[1], size[0], 3))
    for rank in order:
        for n, (rgb, alpha, _, opacity) in enumerate(drawn):
            weight = alpha * opacity * (rank == n)[..., None]
            picture = weight * rgb + (1 - weight) * picture
    return (255 * picture + 0.5).astype(np.uint8), lambda p: project(place(p), K)


# -- right hands in MANO's frame -------------------------------------------------------------
@styled
def show_views(vertices, faces, title=None):
    """A hand at rest, (V, 3) metres with ``faces`` (F, 3), from six sides."""
    names = [name for name in HAND_VIEWS if name != "three_quarter"]
    figure, axes = new_figure(2, 3, 7.5, 5.4, title)
    figure.has_photos = True
    for ax, name in zip(axes.flat, names, strict=True):
        picture, _ = render_view([(vertices, faces, SKIN, 1)], HAND_VIEWS[name])
        show_picture(ax, picture, name)
    return figure


def pose_pictures(poses, faces, view="palm", size=(200, 200)):
    """Pictures (H, W, 3) uint8 of hands (N, V, 3), metres, all at one scale.

    Args:
        faces: (F, 3); view: name in ``HAND_VIEWS``; size: (width, height) px.
    """
    rotation = view_of(view, HAND_VIEWS)
    radius = max(np.ptp(v @ rotation.T, axis=0)[:2].max() for v in poses) / 2
    corners = radius * np.array([[-1, -1, 0], [1, 1, 0]]) @ rotation
    return [
        render_view([(v, faces, SKIN, 1)], rotation, size, (v.max(0) + v.min(0)) / 2 + corners)[0]
        for v in poses
    ]


@styled
def show_poses(poses, faces, view="palm", columns=5, title=None):
    """Hands beside each other, all at one scale.

    Args:
        poses: dict of name -> (V, 3) vertices, metres; faces: (F, 3).
        view: name in ``HAND_VIEWS``.
    """
    rows, columns = -(-len(poses) // columns), min(columns, len(poses))
    figure, axes = new_figure(rows, columns, 1.9 * columns, 2.2 * rows + 0.3, title)
    figure.has_photos = True
    for ax in axes.flat:
        ax.axis("off")
    pictures = pose_pictures(poses.values(), faces, view)
    for ax, name, picture in zip(axes.flat, poses, pictures, strict=False):
        show_picture(ax, picture, name)
    return figure
