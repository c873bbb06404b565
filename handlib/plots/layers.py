"""What 3D scenes are made of: hands, the photo they stand before, and the views of them.

One orientation everywhere: see ``handlib.plots.render``. matplotlib is imported where it is needed
only: a page for a photo must not wait for it.
"""

from dataclasses import dataclass, replace

import numpy as np

from handlib.images import require_rgb
from handlib.names import require_one_of
from handlib.plots.colors import SKIN


def look(forward, up):
    """View rotation (3, 3) of a camera that looks along ``forward`` with ``up`` upwards."""
    z = np.asarray(forward, float) / np.linalg.norm(forward)
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


# Views of a hand in a photo's camera frame: where the camera goes, seen from the photo's camera.
VIEWS = {
    "front": np.eye(3),
    "three_quarter": look((-0.55, 0.35, 1), (0, -1, 0)),
    "right": look((-1, 0, 0), (0, -1, 0)),
    "top": look((0, 1, 0), (0, 0, 1)),  # the photo's camera is below the picture
    "shoulder": look((0.75, 0.5, 1), (0, -1, 0)),  # over that camera's
}
# Views of a right hand at rest in MANO's frame: fingers to -x, thumb to +z, palm to -y.
HAND_VIEWS = {
    "palm": look((0, 1, 0), (-1, 0, 0)),
    "back": look((0, -1, 0), (-1, 0, 0)),
    "thumb side": look((0, 0, -1), (-1, 0, 0)),
    "pinky side": look((0, 0, 1), (-1, 0, 0)),
    "fingertips": look((1, 0, 0), (0, 1, 0)),
    "wrist": look((-1, 0, 0), (0, 1, 0)),
    "three_quarter": look((0.15, 1, -0.55), (-1, 0, 0)),
}


def view_of(view, views=VIEWS):
    """The rotation (3, 3) that a view is or is named after; ValueError for an unknown name."""
    if not isinstance(view, str):
        return np.asarray(view)
    require_one_of("view", view, views)
    return views[view]


@dataclass
class Photo:
    """A photo as a plane in front of the camera that took it: the far end of its frustum."""

    image: np.ndarray  # (H, W, 3) uint8
    K: np.ndarray  # (3, 3)
    depth: float  # metres from the camera
    near: float = 0.0  # metres from the camera to where the frustum begins

    def points(self, points_2d, depth=None):
        """Where pixels (N, 2) lie in the camera's frame: (N, 3) metres."""
        homogeneous = np.concatenate([points_2d, np.ones((len(points_2d), 1))], 1)
        depth = self.depth if depth is None else depth
        return depth * np.linalg.solve(self.K, homogeneous.T).T

    @property
    def caption(self):
        return f"lines of sight, photo drawn at {self.depth:.2f} m"

    @property
    def corners(self):
        """(4, 2) px of the image's corners, around it."""
        height, width = self.image.shape[:2]
        return np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5

    def outline(self):
        """(16, 3) metres: all edges of the frustum, as one line."""
        a, b, c, d = self.points(self.corners)
        e, f, g, h = self.points(self.corners, self.near)
        return np.stack([a, b, c, d, a, e, f, b, f, g, c, g, h, d, h, e])


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
        from matplotlib.colors import Normalize

        return Normalize(0, max(float(self.error_mm.max()), 1e-6))

    @property
    def paint(self):
        """One colour, or (V, 3) RGB where there is an error to show."""
        if self.error_mm is None:
            return self.color
        from handlib.plots.style import ERROR_MAP

        return ERROR_MAP(self.norm(self.error_mm))[:, :3]


def photo_behind(hands, image, K):
    """The ``Photo`` at a depth where all of the hands are before it."""
    require_rgb(image)
    depths = np.concatenate(hands)[:, 2]
    if K is None:
        raise ValueError("to place an image in the scene, give the K of its camera too")
    if not depths.min() > 0:
        raise ValueError(
            f"the hand's depth begins at {depths.min():.3f} m: beside an image, give vertices in "
            "front of its camera (evaluation.placed does), not relative to the root joint"
        )
    far = 1.02 * float(depths.max())
    photo = Photo(image, np.asarray(K, float), far)
    # Hands are often ten times as far away as they are long: all of the way they would be tiny.
    size = np.linalg.norm(np.subtract(*photo.points(photo.corners)[[0, 2]]))
    return replace(photo, near=max(0.0, float(depths.min()) - 0.7 * size))
