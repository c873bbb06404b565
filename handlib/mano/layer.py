"""The differentiable hand: MANO's blend shapes and linear blend skinning.

``HandLayer`` works in metres, with rotation matrices. ``ManoLayer`` wraps it in manopth's arguments
and millimetres. Both return vertices (B, 778, 3) and joints (B, 21, 3) in FreiHAND's order.

Two definitions of joints exist and differ by millimetres:
- "freihand": J_regressor on the posed vertices, and FreiHAND's tip vertices;
- "manopth": the joints of the kinematic chain, and manopth's tip vertices.
"""

import numpy as np
import torch
from torch import nn

from handlib.geometry import axis_angle_to_matrix, nearest_rotation, rotation_6d_to_matrix
from handlib.joints import MANO_PARENTS, TIP_VERTICES, order_indices
from handlib.mano.files import load_hand_model
from handlib.mano.skinning import BY_LEVEL, HandOutput, hand_forward

JOINT_DEFINITIONS = ("freihand", "manopth")
_PALM_VERTICES = (95, 22)  # manopth's palm is halfway between them


class HandLayer(nn.Module):
    """A hand model as a function of joint rotations and shape, in metres.

    The arrays are buffers that follow ``.to()`` but stay out of checkpoints: they are licensed, and
    the hand model is named in the run instead. Under autocast it computes in its own precision: at
    half precision vertices would be off by millimetres.

    Attributes:
        compiled: False keeps to plain torch where the compiled loops would do: for a few hands
            they are not worth their start, and an export must see the formula.
    """

    compiled = True

    def __init__(self, hand, joints="freihand", dtype=torch.float32):
        """
        Args:
            hand: HandModel.
            joints: definition of the joints, "freihand" or "manopth".
            dtype: precision of the arrays and of the computation.
        """
        super().__init__()
        if joints not in JOINT_DEFINITIONS:
            raise ValueError(f"joints is one of {JOINT_DEFINITIONS}, not {joints!r}")
        self.hand, self.joint_definition = hand, joints
        # Coordinates before vertices in memory (3, 778): skinning is twice as fast so.
        directions = np.concatenate([hand.shapedirs, hand.posedirs], 2).T.reshape(145, -1)
        # Pose displacements are linear in R - I; here in R, and the template has the rest. The root
        # displaces nothing.
        template = hand.v_template.T.reshape(-1) - np.tile(np.eye(3).ravel(), 15) @ directions[10:]
        directions = np.insert(directions, [10] * 9, 0, 0)
        # Joints at rest are linear in the betas: no need to pass by the vertices.
        rest = np.einsum("jv,vck->kjc", hand.J_regressor, hand.shapedirs)
        rest_template = hand.J_regressor @ hand.v_template
        motions, motions_template = _motions(rest, rest_template)
        shares = self._shares()
        points = [*range(778), *(778 + j for j in BY_LEVEL)]
        arrays = {
            # All that is linear in betas and rotations, by one matrix product.
            "template": np.concatenate([template, motions_template.reshape(-1)]),
            "directions": np.hstack([directions, motions.reshape(154, -1)]),
            "rest_template": rest_template.reshape(-1),
            "rest": rest.reshape(10, -1),
            "weights": hand.weights.T,
            "weights_by_level": hand.weights.T[BY_LEVEL],
            "shares_by_level": shares[:, points[: 778 if joints == "freihand" else None]].T,
            "hands_mean": hand.hands_mean,
            "mean_pose": np.pad(hand.hands_mean, (3, 0)),
        }
        for name, array in arrays.items():
            self._buffer(name, torch.tensor(array, dtype=dtype).contiguous())
        self._buffer("faces", torch.as_tensor(hand.faces))
        # Of the compiled loops: output joint, point and its share, (N,) each.
        self.shares = (*np.nonzero(shares), shares[shares != 0])

    def _buffer(self, name, tensor):
        self.register_buffer(name, tensor, persistent=False)

    def rotations(self, pose):
        """Rotation matrices (B, 16, 3, 3) of FreiHAND's pose vectors.

        Args:
            pose: (B, 48) axis-angle: 3 of the root, 45 relative to ``hands_mean``.
        """
        _expect(pose, (48,), "pose")
        absolute = pose.to(self.mean_pose.dtype) + self.mean_pose
        with torch.autocast(pose.device.type, enabled=False):
            return axis_angle_to_matrix(absolute.reshape(-1, 16, 3))

    def forward(self, rotations, betas):
        """
        Args:
            rotations: (B, 16, 3, 3), MANO's joint order, each relative to its parent; the root's
                turns the hand about the rest wrist, which stays where it was.
            betas: (B, 10) shape.

        Returns:
            HandOutput.

        Raises:
            ValueError: for other shapes.
        """
        _expect(rotations, (16, 3, 3), "rotations")
        _expect(betas, (10,), "betas")
        if rotations.shape[0] != betas.shape[0]:
            raise ValueError(f"{len(rotations)} hands of rotations but {len(betas)} of betas")
        with torch.autocast(rotations.device.type, enabled=False):
            given = rotations.to(self.template.dtype), betas.to(self.template.dtype)
            if self.compiled and _runs_compiled(self.template):
                # numba takes a while to import: only where it computes.
                from handlib.mano.kernels import CompiledHand

                return HandOutput(*CompiledHand.apply(*given, self))
            return hand_forward(self, *given)

    def _shares(self):
        """(21, 794): the joints as sums of shares of vertices and, after these, of the chain's
        joints."""
        shares = np.zeros((21, 778 + 16))
        if self.joint_definition == "freihand":
            shares[:16, :778] = self.hand.J_regressor
        else:
            shares[range(16), range(778, 794)] = 1
        of_left = self.joint_definition == "manopth" and not self.hand.is_right
        tips = TIP_VERTICES["manopth_left" if of_left else self.joint_definition]
        shares[range(16, 21), tips] = 1
        return shares[order_indices("mano")]


def _runs_compiled(tensor):
    """Whether the loops compiled for a CPU can do the work: they are where time counts, in single
    precision, and torch's tracers and function transforms cannot look into them."""
    if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
        return False
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not (traced or torch._C._are_functorch_transforms_active())


def _motions(rest, template):
    """What makes each joint's motion relative to its parent, and the one that takes its place at
    rest to the origin, of betas and rotations.

    Args:
        rest: (10, 16, 3) by the betas, template: (16, 3): joints at rest.

    Returns:
        (154, 2, 16, 4, 4) and (2, 16, 4, 4), the joints ``BY_LEVEL``.
    """
    made, constant = np.zeros((154, 2, 16, 4, 4)), np.zeros((2, 16, 4, 4))
    constant[:, :, 3, 3] = 1
    constant[1, :, :3, :3] = np.eye(3)
    made[10:, 0, :, :3, :3] = np.eye(144).reshape(144, 16, 3, 3)
    for values, joints in ((made[:10], rest), (constant, template)):
        bones = joints.copy()
        bones[..., 1:, :] -= joints[..., MANO_PARENTS[1:], :]
        values[..., 0, :, :3, 3], values[..., 1, :, :3, 3] = bones, -joints
    return made[:, :, BY_LEVEL], constant[:, BY_LEVEL]


def pose_hand(hand, fingers=None, betas=None):
    """One hand of given articulation, as numpy arrays, in the hand model's own frame.

    Args:
        hand: HandModel.
        fingers: (45,) axis-angle about the flat hand; None for the model's mean pose.
        betas: (10,) shape; None for zeros.

    Returns:
        HandOutput of float64 arrays: vertices (778, 3), joints (21, 3), metres.
    """
    layer = HandLayer(hand, dtype=torch.float64)
    pose = np.zeros(48)
    if fingers is not None:
        pose[3:] = fingers - hand.hands_mean
    rotations = layer.rotations(torch.tensor(pose)[None])
    shape = torch.tensor(np.zeros(10) if betas is None else betas, dtype=torch.float64)[None]
    return HandOutput(*(value[0].numpy() for value in layer(rotations, shape)))


class ManoLayer(nn.Module):
    """manopth's ``ManoLayer``: its arguments, their meaning, its numbers; millimetres.

    A script written for manopth runs with this import instead. Differences: ``mano_root`` may be
    left out (then ``MANO`` or the stand-in is used), or be a file or a HandModel; gradients at zero
    rotation are finite; wrong shapes raise a ValueError.
    """

    def __init__(
        self,
        center_idx=None,
        flat_hand_mean=True,
        ncomps=6,
        side="right",
        mano_root=None,
        use_pca=True,
        root_rot_mode="axisang",
        joint_rot_mode="axisang",
        robust_rot=False,
    ):
        """
        Args:
            center_idx: output joint that becomes the origin where no translation is given.
            flat_hand_mean: zero pose is the flat hand; False: the model's mean pose, which
                FreiHAND's parameters need.
            ncomps: number of pose components where ``use_pca``.
            side: "right" or "left".
            mano_root: folder or file of the hand model, a HandModel, or None.
            use_pca: pose is coefficients of the model's pose components, else joint rotations.
            root_rot_mode: "axisang" (3 numbers) or "rot6d" (6).
            joint_rot_mode: "axisang" or "rotmat"; only without PCA. With "rotmat" the pose is
                (B, 16, 3, 3) with the root, and no mean is added.
            robust_rot: 6D root that treats its two vectors alike.
        """
        super().__init__()
        is_model = hasattr(mano_root, "v_template")
        hand = mano_root if is_model else load_hand_model(mano_root, side)
        self.layer = HandLayer(hand, "manopth")
        self.center_idx, self.robust_rot = center_idx, robust_rot
        self.side, self.use_pca = hand.side, use_pca
        self.ncomps = ncomps if use_pca else 45
        self.takes_matrices = joint_rot_mode == "rotmat" and not use_pca
        self.rot = 3 if root_rot_mode == "axisang" else 6
        mean = torch.as_tensor(hand.hands_mean, dtype=torch.float32)
        components = torch.as_tensor(hand.hands_components, dtype=torch.float32)
        self._buffer("th_hands_mean", torch.zeros_like(mean) if flat_hand_mean else mean)
        self._buffer("th_selected_comps", components[: self.ncomps])
        self._buffer("th_faces", self.layer.faces)

    def _buffer(self, name, tensor):
        self.register_buffer(name, tensor, persistent=False)

    def forward(
        self, th_pose_coeffs, th_betas=None, th_trans=None, root_palm=False, share_betas=False
    ):
        """
        Args:
            th_pose_coeffs: (B, 3 or 6 + ncomps), (B, 3 or 6 + 45) or (B, 16, 3, 3).
            th_betas: (B, 10); None or one number: the template.
            th_trans: (B, 3) metres; given and not zero, it also switches centring off.
            root_palm: joint 0 is the palm (middle of vertices 95 and 22), not the wrist.
            share_betas: use the batch's mean betas for all.

        Returns:
            (vertices (B, 778, 3), joints (B, 21, 3)), millimetres.
        """
        with torch.autocast(th_pose_coeffs.device.type, enabled=False):
            rotations = self._rotations(th_pose_coeffs.to(self.th_hands_mean.dtype))
        if th_betas is None or th_betas.numel() == 1:
            th_betas = rotations.new_zeros(len(rotations), 10)
        elif share_betas:
            th_betas = th_betas.mean(0, keepdim=True).expand(len(rotations), 10)
        vertices, joints = self.layer(rotations, th_betas)
        if root_palm:
            palm = vertices[:, _PALM_VERTICES, :].mean(1, keepdim=True)
            joints = torch.cat([palm, joints[:, 1:]], 1)
        origin = self._origin(joints, th_trans)
        return 1000 * (vertices - origin), 1000 * (joints - origin)

    def _rotations(self, pose):
        """manopth's pose coefficients as rotation matrices (B, 16, 3, 3)."""
        if self.takes_matrices:
            _expect(pose, (16, 3, 3), "th_pose_coeffs")
            return nearest_rotation(pose)
        _expect(pose, (self.rot + self.ncomps,), "th_pose_coeffs")
        root, hand = pose[:, : self.rot], pose[:, self.rot :]
        if self.use_pca:
            hand = hand @ self.th_selected_comps
        hand = axis_angle_to_matrix((hand + self.th_hands_mean).reshape(-1, 15, 3))
        if self.rot == 3:
            root = axis_angle_to_matrix(root)
        else:
            root = rotation_6d_to_matrix(_evened(root) if self.robust_rot else root)
        return torch.cat([root[:, None], hand], 1)

    def _origin(self, joints, trans):
        """What is subtracted from the hand: minus the translation, or the centre joint."""
        if trans is not None and bool(torch.any(trans != 0)):
            return -trans[:, None]
        if self.center_idx is None:
            return torch.zeros_like(joints[:, :1])
        return joints[:, self.center_idx, None]


def _evened(rotation_6d):
    """The orthogonal pair (B, 6) that lies evenly about the two vectors of (B, 6)."""
    a, b = (nn.functional.normalize(v, dim=-1) for v in rotation_6d.split(3, -1))
    middle, across = (nn.functional.normalize(v, dim=-1) for v in (a + b, a - b))
    return torch.cat([middle + across, middle - across], -1)


def _expect(tensor, shape, name):
    if tuple(tensor.shape[1:]) != shape or tensor.ndim != len(shape) + 1:
        expected = ", ".join(["B", *map(str, shape)])
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected ({expected})")
