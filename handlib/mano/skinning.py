"""From joint rotations and shape to vertices and joints: MANO's formula in plain torch."""

from typing import NamedTuple

import torch

# Numbers of the vertices in ``HandLayer.template``; those of the joints' motions come after them.
AT_REST = 3 * 778
# The joints of MANO's tree with the root first, then the first ones of all fingers, and so on: each
# level is done for all fingers at once.
BY_LEVEL = [0, *(1 + 3 * finger + level for level in range(3) for finger in range(5))]


class HandOutput(NamedTuple):
    vertices: torch.Tensor  # (B, 778, 3) metres
    joints: torch.Tensor  # (B, 21, 3) metres, FreiHAND's order


def hand_forward(arrays, rotations, betas):
    """Blend shapes, kinematic chain and skinning (Romero et al. 2017; Loper et al. 2015, eq. 2-10).

    Plain operations of torch, for any device and any derivative; ``kernels`` is faster on a CPU. As
    few of them as can be: on a GPU a batch of hands takes the time of their launches. So one matrix
    product makes vertices at rest, the joints' motions as matrices, and those that take each joint
    at rest back to the origin.

    Args:
        arrays: HandLayer, or any object with its buffers and ``joint_definition``.
        rotations: (B, 16, 3, 3).
        betas: (B, 10).

    Returns:
        HandOutput.
    """
    B = betas.shape[0]  # not len: an export keeps it free
    made = torch.addmm(arrays.template, features(rotations, betas), arrays.directions)
    shaped, root, fingers, back = made.split([AT_REST, 16, 15 * 16, 16 * 16], 1)
    chain = kinematic_chain(root.reshape(B, 1, 4, 4), fingers)
    # A vertex moves by the weighted mean of its joints' motions.
    moves = (chain @ back.reshape(B, 16, 4, 4))[:, :, :3].permute(0, 3, 2, 1).reshape(B * 12, 16)
    turns, shifts = (moves @ arrays.weights_by_level).reshape(B, 4, 3, 778).split([3, 1], 1)
    points = (turns * shaped.reshape(B, 3, 1, 778)).sum(1) + shifts[:, 0]
    vertices = points.transpose(1, 2).contiguous()
    if arrays.joint_definition == "manopth":
        points = torch.cat([points, chain[:, :, :3, 3].transpose(1, 2)], 2)
    joints = points.flatten(0, 1) @ arrays.shares_by_level
    return HandOutput(vertices, joints.reshape(B, 3, 21).transpose(1, 2).contiguous())


def features(rotations, betas):
    """What ``HandLayer.directions`` are of: (B, 154)."""
    return torch.cat([betas, rotations.flatten(1)], 1)


def kinematic_chain(root, fingers):
    """Global rigid motions (B, 16, 4, 4) of the joints ``BY_LEVEL``.

    Args:
        root: (B, 1, 4, 4) its motion. fingers: (B, 15 * 16) the other joints', each relative to its
            parent.
    """
    B = root.shape[0]
    levels = fingers.reshape(B, 3, 5 * 16).transpose(0, 1).reshape(3, B * 5, 4, 4).unbind(0)
    first = root.expand(B, 5, 4, 4).reshape(B * 5, 4, 4) @ levels[0]
    second = first @ levels[1]
    third = second @ levels[2]
    return torch.cat([root, *(v.reshape(B, 5, 4, 4) for v in (first, second, third))], 1)
