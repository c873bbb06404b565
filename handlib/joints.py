"""Joint orders of hand-pose datasets, by name: the one place where an order is written down.

Inside handlib every array of 21 joints is in FreiHAND's order: the wrist, then thumb, index,
middle, ring and pinky, each from its base to its tip.

        8   12  16               4 8 12 16 20  tips
        7   11  15  20           3 7 11 15 19  thumb IP, finger DIPs
        6   10  14  19           2 6 10 14 18  thumb MCP, finger PIPs
    4   5    9  13  18           1 5  9 13 17  thumb CMC, finger MCPs
      3              17
        2  1
             0  wrist
"""

import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

JOINT_NAMES = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    *(f"{f}_{j}" for f in FINGERS[1:] for j in ("mcp", "pip", "dip", "tip")),
)  # fmt: skip
N_JOINTS = len(JOINT_NAMES)
WRIST = JOINT_NAMES.index("wrist")
# FreiHAND's "mano" vector places the hand by this joint, and its scale is this bone's length.
ROOT = JOINT_NAMES.index("middle_mcp")
# A hand of which fewer joints are annotated (or seen) is no sample, and has no 3D score.
ENOUGH_JOINTS = 11
REFERENCE_BONE = (JOINT_NAMES.index("middle_mcp"), JOINT_NAMES.index("middle_pip"))

PARENTS = tuple(-1 if i == 0 else 0 if i % 4 == 1 else i - 1 for i in range(N_JOINTS))
BONES = tuple((PARENTS[i], i) for i in range(1, N_JOINTS))
FINGER_JOINTS = {f: tuple(range(1 + 4 * n, 5 + 4 * n)) for n, f in enumerate(FINGERS)}
KNUCKLES = tuple(FINGER_JOINTS[f][0] for f in FINGERS[1:])
TIPS = tuple(FINGER_JOINTS[f][-1] for f in FINGERS)
# Median length of a hand's bones: an infant's to a giant's.
BONE_M = (0.008, 0.08)

# The kinematic tree of a MANO file: 16 joints, fingers in the order index, middle, pinky, ring,
# thumb. Its own names for the thumb's joints differ; these are the anatomical ones.
_MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
MANO_JOINT_NAMES = (
    "wrist",
    *(JOINT_NAMES[j] for f in _MANO_FINGERS for j in FINGER_JOINTS[f][:3]),
)
MANO_PARENTS = tuple(-1 if i == 0 else 0 if i % 3 == 1 else i - 1 for i in range(16))

# Vertices of the MANO mesh that stand for the fingertips (thumb, index, middle, ring, pinky).
# Systems disagree, by millimetres, so each set is chosen by name.
TIP_VERTICES = {
    "freihand": (744, 320, 443, 555, 672),
    "manopth": (745, 317, 444, 556, 673),
    "manopth_left": (745, 317, 445, 556, 673),
    "smplx": (744, 320, 443, 554, 671),
    "3dhand": (744, 333, 444, 555, 672),
}

# Wong's palette without black: distinguishable with the common colour blindnesses.
FINGER_COLORS = {
    "thumb": "#D55E00",
    "index": "#E69F00",
    "middle": "#009E73",
    "ring": "#0072B2",
    "pinky": "#CC79A7",
}
WRIST_COLOR = "#444444"
JOINT_COLORS = (WRIST_COLOR, *(FINGER_COLORS[f] for f in FINGERS for _ in range(4)))


def _by_level(fingers):
    """Joint names in the order root, all first joints, all second joints, ..."""
    return ("wrist", *(JOINT_NAMES[FINGER_JOINTS[f][k]] for k in range(4) for f in fingers))


def _by_finger(fingers, tip_first=False):
    step = -1 if tip_first else 1
    return tuple(JOINT_NAMES[j] for f in fingers for j in FINGER_JOINTS[f][::step])


ORDERS = {
    "freihand": JOINT_NAMES,
    # 16 joints of the kinematic tree, then the five tips in TIP_VERTICES' order.
    "mano": (*MANO_JOINT_NAMES, *(JOINT_NAMES[t] for t in TIPS)),
    # What the course server of freihand_dataset_MP takes ("AIT" order).
    "mpii": _by_level(FINGERS),
    "3dhand": ("wrist", *_by_finger(("index", "middle", "pinky", "ring", "thumb"))),
    "interhand": (*_by_finger(FINGERS, tip_first=True), "wrist"),
    "rhd": ("wrist", *_by_finger(FINGERS, tip_first=True)),
}


def order_indices(source, target="freihand"):
    """Indices that take joints from one order to another.

    Args:
        source, target: keys of ``ORDERS``.

    Returns:
        (21,) int array ``i`` with ``joints_target = joints_source[..., i, :]``.

    Raises:
        ValueError: for an order that is not known.
    """
    for name in (source, target):
        if name not in ORDERS:
            raise ValueError(f"unknown joint order {name!r}; known: {', '.join(ORDERS)}")
    return np.array([ORDERS[source].index(name) for name in ORDERS[target]])


def convert(joints, source, target="freihand"):
    """Reorder joints (..., 21, D), numpy or torch, from order ``source`` to ``target``."""
    if joints.shape[-2] != N_JOINTS:
        raise ValueError(f"expected (..., {N_JOINTS}, D) joints, got {tuple(joints.shape)}")
    return joints[..., order_indices(source, target), :]


# RHD's joints, read as RHD's: 0.76 times as long bones (photos of 3 hands); FreiHAND's: 1.39.
FAR_SHORTER = 0.85


def is_tip_first(joints):
    """Whether joints (N, 21, D) in FreiHAND's order look like RHD's, each finger from its tip on:
    read as these, their bones are far shorter. NaN where one is not known."""
    start, end = np.array(BONES).T
    lengths = []
    for order in ("freihand", "rhd"):
        read = convert(joints, order)
        bones = np.linalg.norm(read[:, end] - read[:, start], axis=-1)
        lengths.append(bones[np.isfinite(bones)])
    enough = min(map(len, lengths)) >= len(BONES) / 2
    return enough and bool(lengths[1].mean() < FAR_SHORTER * lengths[0].mean())


def check_metres(joints, where):
    """Refuse joints (N, 21, 3), FreiHAND's order, whose bones are not as long as a hand's.

    Args:
        joints: NaN where one is not known.
        where: the file that they come from or go to.

    Raises:
        ValueError: naming ``where`` and what their unit seems to be.
    """
    if not len(joints):
        return
    start, end = np.array(BONES).T
    bone = np.nanmedian(np.linalg.norm(joints[:, end] - joints[:, start], axis=-1))
    if BONE_M[0] <= bone <= BONE_M[1]:
        return
    remedy = "give metres"
    if BONE_M[0] <= bone / 1000 <= BONE_M[1]:
        remedy = "these are millimetres: divide by 1000"
    if BONE_M[0] <= bone * 1000 <= BONE_M[1]:
        remedy = "these were metres and were taken for millimetres"
    raise ValueError(f"{where}: the median bone is {bone:.3g} m long: {remedy}")
