"""One random hand before a camera: pose, place, grip, light and skin drawn, then rendered.

A hand is rendered once, and ``handlib.data.composite`` puts it on several backgrounds.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handlib.compiled import njit
from handlib.data.beside import add_other_hand
from handlib.data.forearm import ARM_RINGS, random_arm
from handlib.data.held import hold
from handlib.data.look import random_look
from handlib.data.poses import sample_articulations
from handlib.data.raster import nearest, rasterize, supersampled
from handlib.data.shading import noise_table, shade
from handlib.data.skin import make_skin
from handlib.geometry import project
from handlib.joints import BONES, REFERENCE_BONE, ROOT
from handlib.mano.layer import HandLayer

# An arm that points nearer to the eye than this (degrees) would hide the hand that it carries.
_MIN_ARM_ANGLE = 45
_MARGIN = 0.03  # of the image, around the 21 joints
_OTHERS = 24
FILL = (0.45, 0.85)  # of the image's side that a hand's box takes
_LEAST_SEEN = 0.35  # of a hand's pixels: what hides more than the rest of them is not held


class Pose(NamedTuple):
    """What a hand model takes: (48,) axis-angle, the 45 relative to hands_mean, and (10,)."""

    pose: np.ndarray
    betas: np.ndarray


class Render(NamedTuple):
    """A hand without background, and all that is known about it. Metres, pixels, camera frame."""

    rgb: np.ndarray  # (H, W, 3) float32 sRGB in [0, 1], multiplied by alpha
    alpha: np.ndarray  # (H, W) float32 share of each pixel that hand, arm and held thing cover
    hand: np.ndarray  # (H, W) float32 the same without the thing
    K: np.ndarray  # (3, 3)
    joints: np.ndarray  # (21, 3)
    vertices: np.ndarray  # (778, 3)
    pose: np.ndarray  # (48,)
    betas: np.ndarray  # (10,)

    @property
    def mask(self):
        """(H, W) bool, hand and arm: what they hold is background, as in FreiHAND."""
        return self.hand >= 0.5

    @property
    def scale(self):
        """FreiHAND's scale: length of the reference bone, metres."""
        a, b = REFERENCE_BONE
        return float(np.linalg.norm(self.joints[a] - self.joints[b]))

    @property
    def mano(self):
        """FreiHAND's hand vector (61,): pose, betas, root joint in px, f / z of the root."""
        root = self.joints[ROOT]
        s = (self.K[0, 0] + self.K[1, 1]) / 2 / root[2]
        uv = self.K[:2, 2] + s * root[:2]
        return np.concatenate([self.pose, self.betas, uv, [s]])


class Generator:
    """Draws and renders hands of one hand model.

    Args:
        hand: a right-handed ``HandModel``.
        size: side of the square image, px.

    Raises:
        ValueError: for a left hand (mirror samples instead) or a size under 32.
    """

    def __init__(self, hand, size=224):
        self.check(hand, size)
        self.hand, self.size = hand, size
        self.layer = HandLayer(hand, dtype=torch.float64)
        self.skin = make_skin(hand)
        self.table = noise_table()

    @staticmethod
    def check(hand, size):
        """ValueError for a hand or a size that cannot be drawn."""
        if not hand.is_right:
            raise ValueError(
                f"FreiHAND's layout holds right hands, and {hand.name} is a left hand model: give "
                "the right one; for left hands mirror the samples (handlib.augment.Flip)"
            )
        if size < 32:
            raise ValueError(f"the image size is {size} px; hands need at least 32")

    def draw_pose(self, rng, articulation):
        """A ``Pose`` of an articulation (45,) about the flat hand, with random shape and view."""
        betas = rng.normal(0, 1, 10).clip(-2.5, 2.5)
        root = self._random_view(rng)
        return Pose(np.concatenate([root, articulation - self.hand.hands_mean]), betas)

    def _random_view(self, rng):
        """Axis-angle of a rotation, uniform over those whose arm does not hide the hand."""
        while True:
            view = Rotation.from_quat(rng.normal(size=4))
            arm = view.apply(self.skin.forearm.frame[0])
            if arm[2] > -np.cos(np.deg2rad(_MIN_ARM_ANGLE)):
                return view.as_rotvec()

    def posed(self, poses):
        """Vertices (N, 778, 3) and joints (N, 21, 3), untranslated, of N ``Pose``."""
        with torch.no_grad():
            pose = torch.as_tensor(np.stack([p.pose for p in poses]))
            betas = torch.as_tensor(np.stack([p.betas for p in poses]))
            out = self.layer(self.layer.rotations(pose), betas)
        return out.vertices.numpy(), out.joints.numpy()

    def render(self, rng, pose, vertices, joints, fill=FILL):
        """A ``Render`` of a posed, untranslated hand: random camera, arm, grip, skin and light.

        ``fill``: see ``place``. Some pictures show a part of another hand.
        """
        render = self._alone(rng, pose, vertices, joints, fill)
        return add_other_hand(rng, render, lambda: self._others)

    def render_arm(self, rng, pose, vertices, joints, fill=FILL):
        """The same of an arm whose hand is outside of the picture; None where it is inside."""
        return self._alone(rng, pose, vertices, joints, fill, ring=int(rng.integers(*ARM_RINGS)))

    @cached_property
    def _others(self):
        """Hands that are seen beside the first: a few, always the same."""
        rng = np.random.default_rng(_OTHERS)
        poses = [self.draw_pose(rng, a) for a in sample_articulations(rng, _OTHERS)]
        return [self._alone(rng, *hand) for hand in zip(poses, *self.posed(poses))]

    def _alone(self, rng, pose, vertices, joints, fill=FILL, ring=None):
        size = (self.size, self.size)
        K, translation = place(rng, vertices, joints, self.size, fill)
        vertices, joints = vertices + translation, joints + translation
        arm_shape = random_arm(rng, len(self.skin.forearm.border))
        rotation = Rotation.from_rotvec(pose.pose[:3]).as_matrix()
        # Beyond the elbow the arm goes sideways, so that it ends outside the picture.
        leave = rotation @ self.skin.forearm.frame[0] * [1, 1, 0]
        leave /= np.linalg.norm(leave) + 1e-9
        border = vertices[self.skin.forearm.border]
        arm = self.skin.forearm.vertices(border, rotation, arm_shape, leave)
        if ring is not None:
            if not len(border):
                return None
            K = _aimed(K, arm.reshape(-1, *border.shape)[ring].mean(0), self.size)
            seen = project(joints, K)
            if ((seen > 0) & (seen < self.size)).all(1).any():
                return None
        bends = np.linalg.norm((pose.pose[3:] + self.hand.hands_mean).reshape(15, 3), axis=1)
        whole = self.skin.raised(rng, np.vstack([vertices, arm]), bends)
        view = supersampled(K, size)
        fragments = rasterize(whole, self.skin.faces, *view, cull=True)
        held = hold(rng, whole, joints, rotation[:, 1])
        if held is not None:
            thing = rasterize(held.vertices, held.faces, *view, cull=True)
            both = nearest(fragments, thing, len(self.skin.faces))
            if self._pixels(both) >= _LEAST_SEEN * self._pixels(fragments):
                fragments = both
            else:
                held = None
        rgb, alpha, hand = shade(
            fragments, whole, self.skin, joints, np.array(BONES), K, random_look(rng), self.table,
            arm_shape, held,
        )  # fmt: skip
        return Render(rgb, alpha, hand, K, joints, vertices, *pose)

    def _pixels(self, fragments):
        """How many of them show the hand, without its arm."""
        # Empty ones have -1, as unsigned the largest number.
        return np.count_nonzero(fragments.face.view(np.uint32) < len(self.hand.faces))


def place(rng, vertices, joints, size, fill=FILL):
    """A camera and a translation that put a hand well into a square image.

    Focal lengths: 60 % as in FreiHAND (about 480 px at 224 px), the others 220 to 1500 px. The
    hand's box takes a share of the image's side from the range ``fill``, off the centre as far as
    all joints allow.

    Returns:
        (K, translation): (3, 3) and (3,).
    """
    focal = rng.normal(480, 25) if rng.random() < 0.6 else np.exp(rng.uniform(*np.log([220, 1500])))
    center = np.full(2, size / 2)
    if rng.random() < 0.15:
        center = center + rng.uniform(-0.08, 0.08, 2) * size
    f = focal * size / 224
    K = np.array([[f, 0, center[0]], [0, f, center[1]], [0, 0, 1]])
    fill, shift = rng.uniform(*fill) * size, rng.uniform(-0.9, 0.9, 2)
    extent = np.ptp(vertices[:, :2], axis=0).max()
    translation = np.array([0, 0, f * extent / fill]) - vertices.mean(0)
    nearest, middle = vertices[:, 2].min(), vertices[:, 2].mean()
    for _ in range(4):
        # Keep everything in front of the camera, whatever the focal length.
        translation[2] = max(translation[2], 0.1 - nearest)
        low, high = _box(vertices, translation, f, center)
        depth = middle + translation[2]
        translation[2] += depth * ((high - low).max() / fill - 1)
        room = (size * (1 - 2 * _MARGIN) - (high - low)) / 2
        target = (size - 1) / 2 + shift * np.maximum(room, 0)
        translation[:2] += (target - (low + high) / 2) * depth / f
    return K, translation


def _aimed(K, point, size):
    """K of a picture from the same place with a point (3,) in its middle."""
    aimed = K.copy()
    aimed[:2, 2] += (size - 1) / 2 - project(point[None], K)[0]
    return aimed


@njit(cache=True, error_model="numpy", nogil=True)
def _box(vertices, translation, f, center):
    """Corners (2, 2), px, of the box around the projections of vertices (V, 3).

    In one pass: ``geometry.project`` and its extremes took as long as a rendering's shadows.
    """
    box = np.array([[np.inf, np.inf], [-np.inf, -np.inf]])
    for i in range(len(vertices)):
        z = vertices[i, 2] + translation[2]
        for k in range(2):
            u = f * (vertices[i, k] + translation[k]) / z + center[k]
            box[0, k] = min(box[0, k], u)
            box[1, k] = max(box[1, k], u)
    return box
