"""What tells samples apart, and the error of each group of them."""

from itertools import pairwise

import numpy as np

from handlib.anatomy import bend_angles, view_directions
from handlib.data.sample import VERSIONS
from handlib.joints import BONES, FINGER_JOINTS, N_JOINTS, WRIST
from handlib.metrics import mean_interval, root_relative
from handlib.metrics.points import is_annotated

# The side of the hand that the camera sees, two for each axis of the hand's frame.
SIDES = (("thumb side", "pinky side"), ("fingertips", "wrist"), ("palm", "back"))
VIEWS = ("palm", "back", "thumb side", "pinky side", "fingertips", "wrist")
# Half as thick as a finger, and as the palm is around each of its bones.
FINGER_M, PALM_M = 0.008, 0.016
# A joint lies that deep inside its own hand; what covers it is nearer still.
DEPTH_M = 0.012


def attributes(predictions):
    """What is known of each sample beside its errors.

    Args:
        predictions: what ``evaluation.predict`` returned.

    Returns:
        dict of (N,) arrays. Text, "" where unknown: ``view`` (one of ``VIEWS``), ``look`` (one of
        ``data.sample.VERSIONS``). Numbers, NaN where unknown: ``bend_deg`` (mean of the 15
        joints, towards the palm), ``hidden_joints`` (see below), ``size_px`` (longer side of the
        joints' box in the network's input).
    """
    joints, known = _camera_joints(predictions)
    view = np.full(len(joints), "", object)
    view[known] = _view_names(joints[known])
    looks = np.array([*VERSIONS, ""], object)  # the last one for version -1
    box = np.ptp(predictions["gt_joints_2d"].astype(float), 1).max(-1)
    return {
        "view": view,
        "look": looks[predictions["version"]],
        "bend_deg": _filled(known, np.degrees(bend_angles(joints[known])).mean(-1)),
        "hidden_joints": _filled(known, hidden_joints(joints[known]).sum(-1)),
        "size_px": box,
    }


def _camera_joints(predictions):
    joints = predictions["gt_joints"].astype(float) * predictions["gt_unit"][:, None, None]
    return joints, is_annotated(joints)


def _filled(known, values):
    filled = np.full(len(known), np.nan)
    filled[known] = values
    return filled


def _view_names(joints):
    longitude, latitude = view_directions(joints).T
    direction = np.stack(
        [
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
            np.cos(latitude) * np.cos(longitude),
        ],
        -1,
    )
    axis = np.abs(direction).argmax(-1)
    behind = np.take_along_axis(direction, axis[:, None], 1)[:, 0] < 0
    return np.array(SIDES, object)[axis, behind.astype(int)]


def hidden_joints(joints):
    """Which joints the hand itself hides: bones as thick as fingers are nearer to the camera.

    Joints alone tell it, so that it means the same for datasets without meshes.

    Args:
        joints: (N, 21, 3) metres, camera frame.

    Returns:
        (N, 21) bool.
    """
    start, end = np.array(BONES).T
    seen = joints[..., :2] / joints[..., 2:]
    a, along = seen[:, start], seen[:, end] - seen[:, start]
    from_a = seen[:, :, None] - a[:, None]  # (N, 21, 20, 2)
    length = (along**2).sum(-1).clip(1e-12)
    t = (np.einsum("njbd,nbd->njb", from_a, along) / length[:, None]).clip(0, 1)
    inverse = 1 / joints[..., 2]  # it is what varies linearly along a bone in the image
    depth = 1 / ((1 - t) * inverse[:, None, start] + t * inverse[:, None, end])
    aside = np.linalg.norm(from_a - t[..., None] * along[:, None], axis=-1) * depth
    covers = (aside < np.where(start == WRIST, PALM_M, FINGER_M)) & (
        depth < joints[:, :, None, 2] - DEPTH_M
    )
    of_joint = np.arange(N_JOINTS)[:, None]
    return (covers & (start != of_joint) & (end != of_joint)).any(-1)


# -- groups ----------------------------------------------------------------------------------
def groups(predictions):
    """Which samples, or which of their joints, belong together.

    Returns:
        dict of attribute -> dict of group -> bool mask that broadcasts to (N, 21). Attributes that
        do not tell samples apart, and empty groups, are left out. Numbers are cut at their
        quartiles.
    """
    about = attributes(predictions)
    joints, known = _camera_joints(predictions)
    hidden = _filled_rows(known, hidden_joints(joints[known]))
    fingers = {f: np.isin(np.arange(N_JOINTS), chain)[None] for f, chain in FINGER_JOINTS.items()}
    found = {
        "finger": fingers,
        "joint is": {"visible": hidden == 0, "hidden": hidden == 1},
        "view onto": {name: (about["view"] == name)[:, None] for name in VIEWS},
        "look": {name: (about["look"] == name)[:, None] for name in VERSIONS},
        "mean bend (°)": _quarters(about["bend_deg"]),
        "hidden joints": _quarters(about["hidden_joints"]),
        "hand size (px)": _quarters(about["size_px"]),
    }
    found = {a: {n: m for n, m in masks.items() if m.any()} for a, masks in found.items()}
    return {attribute: masks for attribute, masks in found.items() if len(masks) > 1}


def _filled_rows(known, rows):
    filled = np.full((len(known), N_JOINTS), -1)
    filled[known] = rows
    return filled


def _quarters(values):
    """Masks (N, 1) of the values below, between and above their quartiles, as whole numbers."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    edges = np.unique(np.percentile(known, (25, 50, 75)).round())
    # Without those that cut off nothing: a group left out would look like a gap.
    edges = edges[np.unique(np.searchsorted(edges, known, "right"))[1:] - 1]
    if not len(edges):
        return {}
    names = [f"< {edges[0]:g}"]
    names += [f"{a:g} to < {b:g}" for a, b in pairwise(edges)] + [f"≥ {edges[-1]:g}"]
    place = np.where(np.isfinite(values), np.searchsorted(edges, values, "right"), -1)
    return {name: (place == n)[:, None] for n, name in enumerate(names)}


def group_errors(errors, masks, poses, **options):
    """Mean error of each group, with a bootstrap interval; poses are drawn, with all their looks.

    Args:
        errors: (N, 21) mm or px, NaN where unknown.
        masks: what ``groups`` returned.
        poses: (N,) the ``group`` of each sample, of what ``evaluation.predict`` returned.
        options: of ``metrics.mean_interval``.

    Returns:
        dict of attribute -> dict of group -> {"n": samples, "error": ``Interval``}; groups
        without a known error are left out.
    """
    result = {}
    for attribute, of in masks.items():
        result[attribute] = {}
        for name, mask in of.items():
            values = np.where(mask, errors, np.nan)
            n = int(np.isfinite(values).any(1).sum())
            if n:
                error = mean_interval(values, poses, **options)
                result[attribute][name] = {"n": n, "error": error}
    return result


def split_depth_mm(pred_joints, gt_joints):
    """Root-relative errors in the image plane and along the view: two (N,) of means in mm.

    Args:
        pred_joints, gt_joints: (N, 21, 3) metres, camera frame.
    """
    difference = 1000 * (root_relative(pred_joints) - root_relative(gt_joints))
    in_plane = np.hypot(difference[..., 0], difference[..., 1])
    return in_plane.mean(-1), np.abs(difference[..., 2]).mean(-1)
