"""What a transform is, and how several share one warp of the pixels.

A geometric transform is an image affine A (3, 3) and an orthogonal motion M (3, 3) of the hand in
front of the camera: a rotation about the optical axis, a mirroring at x = 0, or nothing. Then

    K' = A K M^-1,   joints' = M joints,   joints_2d' = A joints_2d

and projecting the new joints with the new K gives the new 2D joints exactly.
"""

import math

import cv2
import numpy as np

from handlib import geometry

STILL = np.eye(3)  # no motion; told by identity, which is faster than by its numbers
MIRROR = np.diag(geometry.mirror_points(np.ones(3)))
MIRROR_POSE = np.tile(geometry.mirror_axis_angle(np.ones(3)), 16)
PLAIN = (bool, int, float, str, tuple, dict)  # what a transform's settings are
SHRINK = 0.6  # below this scale, bilinear sampling skips pixels


class Transform:
    """Draws its random parameters first and applies them then, so that they can be replayed."""

    def draw(self, rng, sample):
        """Random parameters, independent of the image's size: dict of plain values."""
        return {}

    def apply(self, sample, params):
        raise NotImplementedError

    def __call__(self, sample, rng):
        return self.apply(sample, self.draw(rng, sample))

    def __repr__(self):
        plain = {n: v for n, v in vars(self).items() if isinstance(v, PLAIN)}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in plain.items())})"


class Geometric(Transform):
    """A transform that is an affine and a motion."""

    def step(self, moved, params):
        """What to do with a sample that is to look as the ``Moved`` says.

        Returns:
            (affine (3, 3), new size, motion (3, 3)), or None where nothing is to be done.
        """
        raise NotImplementedError

    def mark(self, sample):
        """The sample with what a step changes in it besides what affine and motion do."""
        return sample

    def apply(self, sample, params):
        return Compose([self]).apply(sample, [params])


class Compose(Transform):
    """Transforms in order; neighbouring geometric ones share a single warp of the pixels."""

    def __init__(self, transforms):
        self.transforms = list(transforms)

    def draw(self, rng, sample):
        return [t.draw(rng, sample) for t in self.transforms]

    def apply(self, sample, params):
        moved = Moved(sample)
        for transform, drawn in zip(self.transforms, params, strict=True):
            if isinstance(transform, Geometric):
                step = transform.step(moved, drawn)
                if step is not None:
                    moved.sample = transform.mark(moved.sample)
                    moved.add(*step)
            else:
                moved = Moved(transform.apply(moved.carry_out(), drawn))
        return moved.carry_out()


class Moved:
    """A sample and the steps that are still to be carried out, all at once.

    Attributes:
        affine, motion: (3, 3) of all these steps. size: (width, height) after them.
        mirrors: whether the motion makes a hand one of the other side.
        K, joints_2d, box, is_left: of the sample after them.
    """

    def __init__(self, sample):
        self.sample, self.size = sample, sample.size
        self.affine = self.motion = STILL
        self.mirrors = False

    def add(self, affine, size, motion):
        self.size = size
        if affine is not STILL:
            self.affine = affine if self.affine is STILL else affine.dot(self.affine)
        if motion is not STILL:
            self.motion = motion if self.motion is STILL else motion.dot(self.motion)
            self.mirrors ^= _mirrors(motion)

    def carry_out(self):
        """The sample after all steps."""
        if self.affine is STILL and self.motion is STILL and self.size == self.sample.size:
            return self.sample
        changes = {"K": self.K, "joints_2d": self.joints_2d, "box": self.box}
        keypoints = self.sample.keypoints
        if keypoints is not None:
            places = self._places(keypoints[:, :2])
            changes["keypoints"] = np.column_stack([places, keypoints[:, 2]])
        if self.motion is not STILL:
            changes |= self._moved_hand()
        changes |= _warped(self.sample, self.affine, self.size)
        return self.sample.replace(**changes)

    @property
    def K(self):
        K = self.sample.K
        if K is None:
            return None
        K = geometry.transform_intrinsics(self.affine, K)
        return K if self.motion is STILL else K.dot(self.motion.T)

    @property
    def joints_2d(self):
        points = self.sample.joints_2d
        return None if points is None else self._places(points)

    @property
    def box(self):
        if self.sample.box is None:
            return None
        x0, y0, x1, y1 = self.sample.box
        corners = self._places(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
        return np.concatenate([corners.min(0), corners.max(0)])

    @property
    def is_left(self):
        is_right = self.sample.is_right
        return is_right is not None and is_right == self.mirrors

    def _places(self, points_2d):
        return geometry.transform_points(self.affine, points_2d)

    def _moved_hand(self):
        """What of the hand in space the motion changes."""
        sample, motion, changes = self.sample, self.motion, {}
        for name in ("joints", "vertices"):
            if getattr(sample, name) is not None:
                changes[name] = getattr(sample, name).dot(motion.T)  # @ takes twice as long
        if sample.pose is not None:
            changes["pose"] = move_pose(sample.pose, motion)
        if self.mirrors and sample.is_right is not None:
            changes["is_right"] = not sample.is_right
        return changes


# -- what steps do to a sample -----------------------------------------------------------------
def move_pose(pose, motion):
    """MANO pose (48,) of a moved hand: a mirrored hand is one of the other side's model.

    Only the root turns with the hand. hands_mean of the left model mirrors the right one's, so
    the rotations relative to it mirror too.
    """
    if _mirrors(motion):
        pose = pose * MIRROR_POSE
        motion = motion @ MIRROR
    angle = math.atan2(motion[1, 0], motion[0, 0])
    if angle == 0:
        return pose
    pose = pose.copy()
    pose[:3] = _turned(*pose[:3].tolist(), angle)
    return pose


def _turned(x, y, z, angle):
    """Axis-angle vector of the rotation (x, y, z) and then one by ``angle`` about the z axis.

    By quaternions and plain numbers, in a fraction of the time of matrices.
    """
    theta = math.hypot(x, y, z)
    w, part = math.cos(theta / 2), math.sin(theta / 2) / theta if theta else 0.5
    x, y, z = x * part, y * part, z * part
    c, s = math.cos(angle / 2), math.sin(angle / 2)
    x, y, z, w = c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z
    length = math.hypot(x, y, z)
    angle = 2 * math.atan2(length, abs(w))  # the shorter way round
    part = math.copysign(angle / length if length else 2.0, w)
    return x * part, y * part, z * part


def _mirrors(motion):
    """Whether a motion that keeps the optical axis is a mirroring: its determinant is -1."""
    (a, b, _), (c, d, _), _ = motion.tolist()
    return a * d < b * c


def _warped(sample, affine, size):
    """Image and mask of a sample under an affine, on a canvas (width, height), black outside."""
    if size == sample.size and (affine == STILL).all():
        return {}
    known = sample.mask is not None
    pictures = [sample.image, sample.mask.view(np.uint8) * 255] if known else [sample.image]
    (image, *rest), affine = _resized(pictures, affine, size)
    mask = rest[0] if known else None
    if affine is None:
        return {"image": image, "mask": mask >= 128 if known else None}
    from handlib.augment.warp import warp  # numba: only where it computes

    image, mask = warp(image, mask, affine[:2], size)
    return {"image": image, "mask": mask}


def warp_image(image, affine, size):
    """An image under a (3, 3) affine on a canvas (width, height), averaging where it shrinks."""
    (image,), affine = _resized([image], affine, size)
    if affine is None:
        return image
    return cv2.warpAffine(image, affine[:2], size, flags=cv2.INTER_LINEAR)


def _resized(images, affine, size):
    """Images resized as far as the affine says no more than that, or shrinks them.

    Returns:
        list of images, and the (3, 3) affine that is left, or None.
    """
    here = images[0].shape[1], images[0].shape[0]
    (a, b, _), (c, d, _) = affine[:2].tolist()
    scale = abs(a * d - b * c) ** 0.5
    if b == c == 0 and np.abs(affine - geometry.resize_affine(here, size)).max() < 1e-9:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return [cv2.resize(image, size, interpolation=way) for image in images], None
    if scale < SHRINK:
        # To a whole part of its sides, where there is one, takes a tenth of the time. In others it
        # would leave pixels over at one end, and a mirrored image would not be the mirror image.
        times = round(1 / max(scale, 1 / max(here)))
        divides = here[0] % times == here[1] % times == 0
        shrunk = [side // times if divides else max(round(side * scale), 1) for side in here]
        images = [cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA) for image in images]
        affine = affine @ np.linalg.inv(geometry.resize_affine(here, shrunk))
    return images, affine
