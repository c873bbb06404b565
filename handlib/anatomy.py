"""Directions and angles of a hand, by its 21 joints alone."""

import numpy as np

from handlib.joints import FINGER_JOINTS, JOINT_NAMES, ROOT, WRIST

INDEX_MCP, PINKY_MCP = JOINT_NAMES.index("index_mcp"), JOINT_NAMES.index("pinky_mcp")


def hand_frames(joints):
    """Axes of right hands: towards the thumb's side, towards the fingers, out of the palm.

    Args:
        joints: (N, 21, 3).

    Returns:
        (N, 3, 3), the three unit vectors as rows. For a left hand (or left joints called right)
        the third one points out of the back instead, and everything below shows it.
    """
    fingers = _unit(joints[:, ROOT] - joints[:, WRIST])
    palm = np.cross(
        joints[:, INDEX_MCP] - joints[:, WRIST], joints[:, PINKY_MCP] - joints[:, WRIST]
    )
    palm = _unit(palm - (palm * fingers).sum(-1, keepdims=True) * fingers)
    return np.stack([np.cross(fingers, palm), fingers, palm], 1)


def view_directions(joints):
    """From where the camera sees each hand, in the hand's own frame.

    Args:
        joints: (N, 21, 3) camera frame.

    Returns:
        (N, 2) longitude and latitude, radians. (0, 0): onto the palm; longitude +pi/2: onto the
        thumb's side, +-pi: onto the back; latitude +pi/2: onto the fingertips.
    """
    to_camera = _unit(-joints[:, ROOT])
    side, up, out = np.einsum("nij,nj->in", hand_frames(joints), to_camera)
    return np.stack([np.arctan2(side, out), np.arcsin(up.clip(-1, 1))], -1)


def bend_angles(joints):
    """Bend (N, 15) radians at the joints base, middle, end of thumb .. pinky.

    The angle between the bone before and the bone after the joint. For the fingers it is signed:
    positive towards the palm. The thumb bends about another axis and is left unsigned.
    """
    across = hand_frames(joints)[:, 0]
    angles = []
    for finger, chain in FINGER_JOINTS.items():
        points = joints[:, [WRIST, *chain]]
        bones = _unit(np.diff(points, axis=1))
        for before, after in zip(bones[:, :-1].swapaxes(0, 1), bones[:, 1:].swapaxes(0, 1)):
            axis = np.cross(before, after)
            angle = np.arctan2(np.linalg.norm(axis, axis=-1), (before * after).sum(-1))
            sign = 1 if finger == "thumb" else np.where((axis * across).sum(-1) < 0, -1, 1)
            angles.append(sign * angle)
    return np.stack(angles, -1)


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
