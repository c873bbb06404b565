"""Transforms that move pixels: the camera, the hand and every annotation follow.

Each one is an image affine A (3, 3) and an orthogonal motion M (3, 3) of the hand in front of the
camera: a rotation about the optical axis, a mirroring at x = 0, or nothing. Then

    K' = A K M^-1,   joints' = M joints,   joints_2d' = A joints_2d

and projecting the new joints with the new K gives the new 2D joints exactly.
"""

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from handlib import geometry

BORDERS = {
    "constant": cv2.BORDER_CONSTANT,  # black
    "reflect": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
}
MIRROR = np.diag([-1.0, 1.0, 1.0])
SHRINK = 0.6  # below this scale, bilinear sampling skips pixels


class Transform:
    """Draws its random parameters first and applies them then, so that they can be replayed.

    ``needs_pixels``: False where ``apply`` does not look at the image or the mask.
    """

    needs_pixels = True

    def draw(self, rng, sample):
        """Random parameters, independent of the image's size: dict of plain values."""
        return {}

    def apply(self, sample, params):
        raise NotImplementedError

    def __call__(self, sample, rng):
        return self.apply(sample, self.draw(rng, sample))


class Geometric(Transform):
    """A transform that is an affine and a motion."""

    def step(self, sample, size, params):
        """What to do with a sample whose image would be ``size`` (width, height) by now.

        Returns:
            (affine (3, 3), new size, motion (3, 3)), or None where nothing is to be done.
        """
        raise NotImplementedError

    def move(self, sample, step):
        """The annotations after a step; pixels are left as they are."""
        return move_annotations(sample, step[0], step[2])

    def apply(self, sample, params):
        return Compose([self]).apply(sample, [params])


class Compose(Transform):
    """Transforms in order; neighbouring geometric ones share a single warp of the pixels.

    Args:
        transforms: list of Transform.
        border: what comes in from outside the image: a key of BORDERS.
    """

    def __init__(self, transforms, border="constant"):
        if border not in BORDERS:
            raise ValueError(f"unknown border {border!r}; known: {', '.join(BORDERS)}")
        self.transforms, self.border = list(transforms), border

    def draw(self, rng, sample):
        return [t.draw(rng, sample) for t in self.transforms]

    def apply(self, sample, params):
        pending, size = np.eye(3), sample.size
        for transform, drawn in zip(self.transforms, params, strict=True):
            if isinstance(transform, Geometric):
                step = transform.step(sample, size, drawn)
                if step is not None:
                    sample = transform.move(sample, step)
                    pending, size = step[0] @ pending, step[1]
                continue
            if transform.needs_pixels:
                sample = warp(sample, pending, size, self.border)
                pending = np.eye(3)
            sample = transform.apply(sample, drawn)
        return warp(sample, pending, size, self.border)


# -- what a step does to a sample --------------------------------------------------------------
def move_annotations(sample, affine, motion):
    """Everything but the pixels, after image affine and motion (both (3, 3))."""
    changes = {}
    if sample.K is not None:
        changes["K"] = geometry.transform_intrinsics(affine, sample.K) @ motion.T
    if sample.joints_2d is not None:
        changes["joints_2d"] = geometry.transform_points(affine, sample.joints_2d)
    for name in ("joints", "vertices"):
        if getattr(sample, name) is not None:
            changes[name] = getattr(sample, name) @ motion.T
    if sample.pose is not None:
        changes["pose"] = move_pose(sample.pose, motion)
    if sample.box is not None:
        x0, y0, x1, y1 = sample.box
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        corners = geometry.transform_points(affine, corners)
        changes["box"] = np.concatenate([corners.min(0), corners.max(0)])
    if np.linalg.det(motion) < 0:
        changes["is_right"] = not sample.is_right
    return sample.replace(**changes)


def move_pose(pose, motion):
    """MANO pose (48,) of a moved hand: a mirrored hand is one of the other side's model.

    Only the root turns with the hand. hands_mean of the left model mirrors the right one's, so
    the rotations relative to it mirror too.
    """
    if np.linalg.det(motion) < 0:
        pose = geometry.mirror_axis_angle(pose.reshape(16, 3)).ravel()
        motion = motion @ MIRROR
    if np.array_equal(motion, np.eye(3)):
        return pose
    root = Rotation.from_matrix(motion) * Rotation.from_rotvec(pose[:3])
    return np.concatenate([root.as_rotvec(), pose[3:]])


def warp(sample, affine, size, border="constant"):
    """Pixels of a sample (image, mask, depth) under an affine, on a canvas (width, height)."""
    if size == sample.size and np.array_equal(affine, np.eye(3)):
        return sample
    changes = {"image": warp_image(sample.image, affine, size, border)}
    if sample.mask is not None:
        soft = warp_image(sample.mask.astype(np.uint8) * 255, affine, size)
        changes["mask"] = soft >= 128
    if sample.depth is not None:
        # Between two depths there is no surface: take the nearer pixel's.
        changes["depth"] = cv2.warpAffine(sample.depth, affine[:2], size, flags=cv2.INTER_NEAREST)
    return sample.replace(**changes)


def warp_image(image, affine, size, border="constant"):
    """An image under a (3, 3) affine on a canvas (width, height), averaging where it shrinks."""
    here = image.shape[1], image.shape[0]
    scale = np.sqrt(abs(np.linalg.det(affine[:2, :2])))
    if np.allclose(affine, geometry.resize_affine(here, size), atol=1e-9):
        return cv2.resize(image, size, interpolation=_resampling(scale))
    if scale < SHRINK:
        shrunk = tuple(max(round(side * scale), 1) for side in here)
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
        affine = affine @ np.linalg.inv(geometry.resize_affine(here, shrunk))
    mode = BORDERS[border]
    return cv2.warpAffine(image, affine[:2], size, flags=cv2.INTER_LINEAR, borderMode=mode)


def _resampling(scale):
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


# -- the transforms ----------------------------------------------------------------------------
class Resize(Geometric):
    """To a size: an int for a square, or (width, height)."""

    def __init__(self, size):
        self.size = (size, size) if isinstance(size, int) else tuple(size)

    def step(self, sample, size, params):
        if size == self.size:
            return None
        return geometry.resize_affine(size, self.size), self.size, np.eye(3)


class Rotate(Geometric):
    """In-plane rotation by up to ``degrees`` either way, with probability ``p``.

    It is a rotation R of the camera about its optical axis, so the image turns about the principal
    point: A = K R K^-1, exact for any focal lengths and skew. Without K: about the centre.
    """

    def __init__(self, degrees=90.0, p=1.0):
        self.degrees, self.p = degrees, p

    def draw(self, rng, sample):
        angle = rng.uniform(-self.degrees, self.degrees)
        return {"degrees": float(angle) if rng.random() < self.p else 0.0}

    def step(self, sample, size, params):
        if params["degrees"] == 0:
            return None
        angle = np.deg2rad(params["degrees"])
        c, s = np.cos(angle), np.sin(angle)
        motion = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        K = _centre(size) if sample.K is None else sample.K
        return K @ motion @ np.linalg.inv(K), size, motion


class Flip(Geometric):
    """Mirror left and right with probability ``p``: the hand becomes one of the other side."""

    def __init__(self, p=0.5):
        self.p = p

    def draw(self, rng, sample):
        return {"on": bool(rng.random() < self.p)}

    def step(self, sample, size, params):
        if not params["on"]:
            return None
        return np.array([[-1, 0, size[0] - 1], [0, 1, 0], [0, 0, 1.0]]), size, MIRROR


class ToRight(Flip):
    """Mirror left hands, for a network that knows right ones; ``sample.mirrored`` remembers."""

    def draw(self, rng, sample):
        return {}

    def step(self, sample, size, params):
        return super().step(sample, size, {"on": not sample.is_right})

    def move(self, sample, step):
        return super().move(sample, step).replace(mirrored=not sample.mirrored)


class Scale(Geometric):
    """Zoom about the image's centre by a factor from ``low`` to ``high`` (uniform in its log)."""

    def __init__(self, low=0.8, high=1.25):
        self.low, self.high = low, high

    def draw(self, rng, sample):
        return {"factor": float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))}

    def step(self, sample, size, params):
        centre, zoom = _centre(size), np.diag([params["factor"], params["factor"], 1])
        return centre @ zoom @ np.linalg.inv(centre), size, np.eye(3)


class Shift(Geometric):
    """Move the image by up to ``fraction`` of its width and height."""

    def __init__(self, fraction=0.1):
        self.fraction = fraction

    def draw(self, rng, sample):
        return {"fraction": tuple(rng.uniform(-self.fraction, self.fraction, 2).tolist())}

    def step(self, sample, size, params):
        affine = np.eye(3)
        affine[:2, 2] = np.array(params["fraction"]) * size
        return affine, size, np.eye(3)


class CropToBox(Geometric):
    """Square crop of ``expand`` times the sample's box, or its 2D joints' tight box.

    Raises:
        ValueError: for a sample with neither.
    """

    def __init__(self, size, expand=1.25):
        self.size, self.expand = size, expand

    def step(self, sample, size, params):
        box = sample.box
        if box is None:
            box = tight_box(sample.joints_2d)
        return crop_affine(box, self.size, self.expand), (self.size, self.size), np.eye(3)


def tight_box(joints_2d):
    """(4,) x0, y0, x1, y1 around the known 2D joints (21, 2)."""
    if joints_2d is None or not np.isfinite(joints_2d).all(-1).any():
        raise ValueError("a crop needs a box or 2D joints, and this sample has neither")
    return np.concatenate([np.nanmin(joints_2d, 0), np.nanmax(joints_2d, 0)])


def crop_affine(box, size, expand=1.25):
    """(3, 3) affine of the square around a box (x0, y0, x1, y1) to ``size`` pixels."""
    x0, y0, x1, y1 = box
    side = expand * max(x1 - x0, y1 - y0)
    if not side > 0:
        raise ValueError(f"the box {tuple(box)} has no area")
    scale = size / side
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    return np.array([[scale, 0, -0.5 - scale * left], [0, scale, -0.5 - scale * top], [0, 0, 1.0]])


def _centre(size):
    """Translation (3, 3) to the centre of an image (width, height)."""
    return np.array([[1, 0, (size[0] - 1) / 2], [0, 1, (size[1] - 1) / 2], [0, 0, 1.0]])
