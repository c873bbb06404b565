"""From joint rotations and shape to vertices and joints: MANO's formula in plain torch."""

from typing import NamedTuple

import torch

# Numbers of the vertices in ``HandLayer.template``; those of the joints come after them.
AT_REST = 3 * 778


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
    made = torch.addmm(arrays.template, features(rotations, betas), arrays.directions)
    shaped, rest = made.split([AT_REST, 2 * 48], 1)
    shaped = shaped.reshape(B, 3, 778)
    rest, bones = rest.reshape(B, 2, 16, 3).unbind(1)
    turned, chain = kinematic_chain(rotations, bones, arrays.last_row)
    # Each joint moves x to R x + (chain - R rest); a vertex moves by the weighted mean of these.
    shift = chain - turned @ rest[..., None]
    moves = torch.cat([turned, shift], 3).permute(0, 3, 2, 1).reshape(B * 12, 16)
    turns, shifts = (moves @ arrays.weights).reshape(B, 4, 3, 778).split([3, 1], 1)
    points = (turns * shaped[:, :, None]).sum(1) + shifts[:, 0]
    vertices = points.transpose(1, 2).contiguous()
    if arrays.joint_definition == "freihand":
        chain = (points.reshape(B * 3, 778) @ arrays.regressor.T).reshape(B, 3, 16).mT
    # On a GPU index_select's gradient is one kernel; an indexing's sorts its indices first.
    joints = torch.cat([chain.reshape(B, 16, 3), vertices.index_select(1, arrays.tips)], 1)
    joints = joints.index_select(1, arrays.order)
    return HandOutput(vertices, joints)


def features(rotations, betas):
    """What ``HandLayer.directions`` are of: (B, 154)."""
    return torch.cat([betas, rotations.flatten(1)], 1)


def kinematic_chain(rotations, bones, last_row):
    """Global rotations (B, 16, 3, 3) and joints (B, 16, 3, 1) of MANO's tree.

    The tree is a root with five fingers of three joints, so each level is done for all fingers.

    Args:
        rotations: (B, 16, 3, 3) relative to the parent.
        bones: (B, 16, 3) joints at rest as seen from their parents, metres; the root as it is.
        last_row: (4,) of a rigid motion as a matrix: 0, 0, 0, 1.
    """
    B = bones.shape[0]
    moves = torch.cat([rotations, bones[..., None]], 3)
    local = torch.cat([moves, last_row.expand(B, 16, 1, 4)], 2)
    root, fingers = local.split([1, 15], 1)  # one gradient for both, where two slices have four
    levels = fingers.reshape(B, 5, 3, 4, 4).unbind(2)
    first = root @ levels[0]
    second = first @ levels[1]
    fingers = torch.stack([first, second, second @ levels[2]], 2).reshape(B, 15, 4, 4)
    moves = torch.cat([root, fingers], 1)
    return moves[..., :3, :].split([3, 1], 3)
