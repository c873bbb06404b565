"""What a transform is, and how several share one warp of the pixels.

A geometric transform is an image affine A (3, 3) and an orthogonal motion M (3, 3) of the hand in
front of the camera: a rotation about the optical axis, a mirroring at x = 0, or nothing. Then

    K' = A K M^-1,   joints' = M joints,   joints_2d' = A joints_2d

and projecting the new joints with the new K gives the new 2D joints exactly.
"""

import cv2
import numpy as np

from handlib import geometry

STILL = np.eye(3)  # no motion; told by identity, which is faster than by its numbers
MIRROR = np.diag(geometry.mirror_points(np.ones(3)))
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
    """Transforms in order; neighbouring geometric ones share a single warp of the pixels."""

    def __init__(self, transforms):
        self.transforms = list(transforms)

    def draw(self, rng, sample):
        return [t.draw(rng, sample) for t in self.transforms]

    def apply(self, sample, params):
        pending, size = STILL, sample.size
        for transform, drawn in zip(self.transforms, params, strict=True):
            if isinstance(transform, Geometric):
                step = transform.step(sample, size, drawn)
                if step is not None:
                    sample = transform.move(sample, step)
                    pending, size = step[0] @ pending, step[1]
            else:
                sample = transform.apply(warp(sample, pending, size), drawn)
                pending, size = STILL, sample.size
        return warp(sample, pending, size)


# -- what a step does to a sample --------------------------------------------------------------
def move_annotations(sample, affine, motion):
    """Everything but the pixels, after image affine and motion (both (3, 3))."""
    changes = {}
    if sample.K is not None:
        changes["K"] = geometry.transform_intrinsics(affine, sample.K) @ motion.T
    if sample.joints_2d is not None:
        changes["joints_2d"] = geometry.transform_points(affine, sample.joints_2d)
    if sample.keypoints is not None:
        places = geometry.transform_points(affine, sample.keypoints[:, :2])
        changes["keypoints"] = np.column_stack([places, sample.keypoints[:, 2]])
    if motion is not STILL:
        changes |= _moved_hand(sample, motion)
    if sample.box is not None:
        x0, y0, x1, y1 = sample.box
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        corners = geometry.transform_points(affine, corners)
        changes["box"] = np.concatenate([corners.min(0), corners.max(0)])
    return sample.replace(**changes)


def _moved_hand(sample, motion):
    """What of the hand in space a motion changes."""
    changes = {}
    for name in ("joints", "vertices"):
        if getattr(sample, name) is not None:
            changes[name] = getattr(sample, name) @ motion.T
    if sample.pose is not None:
        changes["pose"] = move_pose(sample.pose, motion)
    if _mirrors(motion) and sample.is_right is not None:
        changes["is_right"] = not sample.is_right
    return changes


def move_pose(pose, motion):
    """MANO pose (48,) of a moved hand: a mirrored hand is one of the other side's model.

    Only the root turns with the hand. hands_mean of the left model mirrors the right one's, so
    the rotations relative to it mirror too.
    """
    if _mirrors(motion):
        pose = geometry.mirror_axis_angle(pose.reshape(16, 3)).ravel()
        motion = motion @ MIRROR
    if np.array_equal(motion, STILL):
        return pose
    root = cv2.Rodrigues(motion @ cv2.Rodrigues(pose[:3])[0])[0]
    return np.concatenate([root[:, 0], pose[3:]])


def _mirrors(motion):
    """Whether a motion that keeps the optical axis is a mirroring: its determinant is -1."""
    return motion[0, 0] * motion[1, 1] < motion[0, 1] * motion[1, 0]


def warp(sample, affine, size):
    """Image and mask of a sample under an affine, on a canvas (width, height), black outside."""
    if size == sample.size and np.array_equal(affine, STILL):
        return sample
    # OpenCV warps four channels in half the time of three: the mask rides along.
    pixels = cv2.cvtColor(sample.image, cv2.COLOR_RGB2RGBA)
    if sample.mask is not None:
        cv2.insertChannel(sample.mask * np.uint8(255), pixels, 3)
    pixels = warp_image(pixels, affine, size)
    mask = None if sample.mask is None else cv2.extractChannel(pixels, 3) >= 128
    return sample.replace(image=cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), mask=mask)


def warp_image(image, affine, size):
    """An image under a (3, 3) affine on a canvas (width, height), averaging where it shrinks."""
    here = image.shape[1], image.shape[0]
    scale = abs(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0]) ** 0.5
    if np.abs(affine - geometry.resize_affine(here, size)).max() < 1e-9:
        shrinks = scale < 1
        return cv2.resize(
            image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    if scale < SHRINK:
        shrunk = tuple(max(round(side * scale), 1) for side in here)
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
        affine = affine @ np.linalg.inv(geometry.resize_affine(here, shrunk))
    return cv2.warpAffine(image, affine[:2], size, flags=cv2.INTER_LINEAR)
