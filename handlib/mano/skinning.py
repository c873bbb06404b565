"""From joint rotations and shape to vertices and joints: MANO's formula in plain torch."""

from typing import NamedTuple

import torch


class HandOutput(NamedTuple):
    vertices: torch.Tensor  # (B, 778, 3) metres
    joints: torch.Tensor  # (B, 21, 3) metres, FreiHAND's order


def hand_forward(arrays, rotations, betas):
    """Blend shapes, kinematic chain and skinning (Romero et al. 2017; Loper et al. 2015, eq. 2-10).

    Plain operations of torch, for any device and any derivative; ``kernels`` is faster on a CPU.

    Args:
        arrays: HandLayer, or any object with its buffers and ``joint_definition``.
        rotations: (B, 16, 3, 3).
        betas: (B, 10).

    Returns:
        HandOutput.
    """
    B = betas.shape[0]  # not len: an export keeps it free
    shaped = torch.addmm(arrays.template, features(rotations, betas), arrays.directions)
    shaped = shaped.reshape(B, 3, 778)
    rest = torch.addmm(arrays.rest_template, betas, arrays.rest_directions).reshape(B, 2, 16, 3)
    rest, bones = rest.unbind(1)
    turned, chain = kinematic_chain(rotations, bones)
    # Each joint moves x to R x + (chain - R rest); a vertex moves by the weighted mean of these.
    shift = chain - (turned @ rest[..., None])[..., 0]
    turns = (turned.permute(0, 3, 2, 1).reshape(B * 9, 16) @ arrays.weights).reshape(B, 3, 3, 778)
    shifts = (shift.transpose(1, 2).reshape(B * 3, 16) @ arrays.weights).reshape(B, 3, 778)
    points = (turns * shaped[:, :, None]).sum(1) + shifts
    vertices = points.transpose(1, 2).contiguous()
    if arrays.joint_definition == "freihand":
        chain = torch.matmul(arrays.regressor, vertices)
    joints = torch.cat([chain, vertices[:, arrays.tips]], 1)[:, arrays.order]
    return HandOutput(vertices, joints)


def features(rotations, betas):
    """What the displacements of the vertices are linear in: (B, 145)."""
    identity = torch.eye(3, dtype=betas.dtype, device=betas.device)
    return torch.cat([betas, (rotations[:, 1:] - identity).flatten(1)], 1)


def kinematic_chain(rotations, bones):
    """Global rotations (B, 16, 3, 3) and joints (B, 16, 3) of MANO's tree.

    The tree is a root with five fingers of three joints, so each level is done for all fingers.

    Args:
        rotations: (B, 16, 3, 3) relative to the parent.
        bones: (B, 16, 3) joints at rest as seen from their parents, metres; the root as it is.
    """
    B = bones.shape[0]
    last = rotations.new_tensor([0.0, 0, 0, 1]).expand(B, 16, 1, 4)
    local = torch.cat([torch.cat([rotations, bones[..., None]], 3), last], 2)
    levels = local[:, 1:].reshape(B, 5, 3, 4, 4).unbind(2)
    root = local[:, :1]
    first = root @ levels[0]
    second = first @ levels[1]
    fingers = torch.stack([first, second, second @ levels[2]], 2).reshape(B, 15, 4, 4)
    moves = torch.cat([root, fingers], 1)
    return moves[..., :3, :3], moves[..., :3, 3]
