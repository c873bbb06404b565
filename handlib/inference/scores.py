"""How well a network does on photos whose hands are annotated, beside the mean pose.

The error of a hand is the mean distance of its annotated joints from the predicted ones, divided
by the longer side of its box: 0.1 is about the width of a finger of an open hand. Where the joints
are known in 3D, PA-MPJPE is told too.
"""

import numpy as np

from handlib.data.usable import fault
from handlib.geometry import best_view, mirror_points
from handlib.inference.look import BATCH, EXPAND, assumed_camera, look, probability
from handlib.mano import pose_hand
from handlib.metrics import per_sample
from handlib.tables import results_table

HELD = 100_000_000  # bytes of photos from which on no more are held: three of twelve megapixels
# Figures of a hand whose means are told.
MEANS = ("error", "keypoint_error", "mean_pose", "pa_mpjpe_mm", "mean_pose_pa_mpjpe_mm")


def photo_errors(model, reader, expand=EXPAND, views=1, refine=None):
    """Errors and sides of the hands in photos; the boxes are given, and the side where known.

    Args:
        model: ``HandNet``.
        reader: samples with ``joints_2d`` (NaN where not annotated) and ``box``: of
            ``data.read_coco_hands``, ``InterHandReader``, ``RHDReader``. K is used where known.
        expand: side of the crop, in longer sides of the box.
        views, refine: see ``look``.

    Returns:
        dict: ``error``, ``keypoint_error``, ``mean_pose``, ``pa_mpjpe_mm``,
        ``mean_pose_pa_mpjpe_mm``: means of what ``each`` lists;
        ``handedness`` the share of hands of known side that the model tells right, None where it
        does not tell the side; ``n`` hands; ``left_out``: a line for each hand without a photo or
        an annotated joint; ``each``: list
        of dict with ``name``, ``is_right`` (as annotated), ``error``, ``keypoint_error`` of the
        places found without the hand model (None where the network does not look for them),
        ``mean_pose``, ``right_probability`` (None where the network does not tell the side),
        ``pa_mpjpe_mm``, ``mean_pose_pa_mpjpe_mm`` (None where the joints are not known in 3D, see
        ``metrics.per_sample``).

        The mean pose has every advantage: of the hand of the true side, turned, scaled and moved
        to where it is seen nearest to the annotated joints (``geometry.best_view``).

    Raises:
        ValueError: no hand is there.
    """
    was_training = model.training
    model.eval()
    each, left_out = [], []
    for samples in _batches(reader, left_out):
        each += _score(model, samples, expand, views, refine)
    model.train(was_training)
    if not each:
        raise ValueError(f"none of the hands is there: {'; '.join(left_out[:3]) or 'no samples'}")
    known = [e for e in each if None not in (e["is_right"], e["right_probability"])]
    told = [(e["right_probability"] > 0.5) == e["is_right"] for e in known]
    means = {name: _mean(each, name) for name in MEANS}
    counts = {"handedness": float(np.mean(told)) if told else None, "n": len(each)}
    return means | counts | {"left_out": left_out, "each": each}


def _batches(reader, left_out):
    """The samples that can be scored, up to ``BATCH`` at a time, and of large photos fewer; of the
    others a line each in ``left_out``."""
    samples = []
    for index in range(len(reader)):
        sample = _read(reader, index, left_out)
        samples += [] if sample is None else [sample]
        if len(samples) == BATCH or sum(s.image.nbytes for s in samples) > HELD:
            yield samples
            samples = []
    if samples:
        yield samples


def _read(reader, index, left_out):
    """A sample; None, and a line in ``left_out``, where it cannot be scored."""
    try:
        sample = reader[index]
    except (OSError, ValueError) as error:
        left_out.append(fault(error))
        return None
    if sample.joints_2d is None or not np.isfinite(sample.joints_2d).all(1).any():
        left_out.append(f"{sample.path}: no joint of hand {sample.id} is annotated")
        return None
    return sample


def _score(model, samples, expand, views, refine):
    """An entry of ``each`` for each sample."""
    images, boxes = [s.image for s in samples], np.array([s.box for s in samples])
    K = [assumed_camera(s.size, s.box, expand) if s.K is None else s.K for s in samples]
    telling = model.config.handedness
    sides = [True if s.is_right is None and not telling else s.is_right for s in samples]
    seen = look(model, images, boxes, K, sides, expand, views, refine)
    told = [None] * len(samples)
    if telling:
        log_odds = look(model, images, boxes, K, None, expand, refine=0)["right"]
        told = probability(log_odds).tolist()
    mean, each = pose_hand(model.hand).joints, []
    for n, sample in enumerate(samples):
        fixed = mean if seen["is_right"][n] else mirror_points(mean)
        places = {"error": seen["joints_2d"][n], "mean_pose": _placed(fixed, sample.joints_2d)}
        if "keypoints_2d" in seen:
            places["keypoint_error"] = seen["keypoints_2d"][n]
        entry = {"name": sample.path.name, "is_right": sample.is_right, "keypoint_error": None}
        entry |= {name: _error(sample, points) for name, points in places.items()}
        entry |= {"pa_mpjpe_mm": _aligned_mm(sample, seen["joints"][n])}
        entry |= {"mean_pose_pa_mpjpe_mm": _aligned_mm(sample, fixed)}
        each.append(entry | {"right_probability": told[n]})
    return each


def _placed(points, joints_2d):
    """A hand (21, 3) as it is seen best, (21, 2); fitted to the joints that are known."""
    known = np.isfinite(joints_2d).all(1)
    seen = np.full_like(joints_2d, np.nan)
    seen[known] = best_view(points[known], joints_2d[known])
    return seen


def _error(sample, joints_2d):
    """Mean distance of the annotated joints, in longer sides of the box."""
    x0, y0, x1, y1 = sample.box
    apart = np.linalg.norm(joints_2d - sample.joints_2d, axis=-1)
    return float(np.nanmean(apart) / max(x1 - x0, y1 - y0))


def _aligned_mm(sample, joints):
    """PA-MPJPE (mm); None where too few joints are known in 3D."""
    if sample.joints is None:
        return None
    scores = per_sample(joints[None], sample.unit * sample.joints[None])
    value = float(scores["pa_mpjpe_mm"][0])
    return None if np.isnan(value) else value


def _mean(each, name):
    """Of the hands that have it; None where none has."""
    values = [entry[name] for entry in each if entry[name] is not None]
    return float(np.mean(values)) if values else None


def errors_table(errors):
    """What ``photo_errors`` returned, as a table: a row for each hand, and the means."""
    rows = {}
    for number, entry in enumerate(errors["each"], 1):
        side = {True: "right", False: "left", None: "side not known"}[entry["is_right"]]
        rows[f"{number} {entry['name']}, {side}"] = entry | {"said": entry["right_probability"]}
    rows["mean"] = errors | {"said": None}
    columns = {
        "error / box": "error",
        "found directly": "keypoint_error",
        "mean pose": "mean_pose",
        "PA-MPJPE (mm)": "pa_mpjpe_mm",
        "mean pose (mm)": "mean_pose_pa_mpjpe_mm",
        "right, says the model": "said",
    }
    if errors["pa_mpjpe_mm"] is None:
        columns = {title: key for title, key in columns.items() if "mm" not in key}
    caption = "2D joint error, in longer sides of the hand's box (mean pose: best view of it)"
    if errors["left_out"]:
        caption += f"; {len(errors['left_out'])} hands left out"
    return results_table(
        {name: {title: row[key] for title, key in columns.items()} for name, row in rows.items()},
        caption,
    )
