"""Predictions of a model on a dataset, and their metrics."""

import os

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, send_to_device
from torch.utils.data import DataLoader, Dataset, Subset

from handlib import metrics
from handlib.augment import Flip, ToRight
from handlib.data.sending import BatchSender, batches
from handlib.data.workers import start_worker
from handlib.mano import pose_hand
from handlib.model import inputs

# accelerate runs several processes without a GPU only when it is told to use the CPU.
ON_CPU = not torch.cuda.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1
PREDICTED = (
    *("joints", "vertices", "joints_2d", "pose", "betas", "scale", "trans", "root"),
    "right",  # where the model tells it
)
KNOWN = ("joints", "vertices", "joints_2d", "pose", "betas", "K", "unit")
_SCORED = 1024  # samples at a time: metrics take several double-precision copies of their vertices
LABELS = ("id", "group", "version", "is_right", "has_is_right", "mirrored")


def predict(model, dataset, batch_size=64, workers=0, sides="known"):
    """What ``model`` says of every sample of ``dataset``, beside what is known of it.

    Normalisation statistics are used, not updated. With several processes each takes a share and
    all get the whole. Everything is as the network sees it, mirrored where ``mirrored``:
    ``predictions.mirror_back`` undoes that for what is shown or written.

    Args:
        model: ``HandNet``; its training mode is restored afterwards.
        dataset: ``HandDataset`` whose transforms end in the model's input size.
        sides: "known": a hand of unknown side is taken for a right one. "predicted": the model
            decides, by the hand and its mirror image (``tell_sides``).

    Returns:
        dict of numpy arrays, one row per sample in the dataset's order: ``pred_<name>`` for the
        fields of ``Prediction``, ``gt_<name>`` for annotations (NaN where there is none; no
        ``gt_vertices`` where no sample has any, for they are half of what all this takes), and
        ``id``, ``group`` (samples of one show one pose: intervals draw whole groups),
        ``version``, ``is_right``, ``has_is_right``, ``mirrored``, and ``width`` of the crop, px.

    Raises:
        ValueError: sides shall be predicted by a model that does not tell them.
    """
    predictions = _predict(model, dataset, batch_size, workers)
    if sides == "known":
        return predictions
    if sides != "predicted" or "pred_right" not in predictions:
        raise ValueError(
            f"sides={sides!r}: give 'known', or 'predicted' with a model that was trained with "
            "handedness=True"
        )
    unknown = np.flatnonzero(~predictions["has_is_right"])
    if len(unknown):
        mirrored = _predict(model, _Changed(dataset, unknown, _mirrored), batch_size, workers)
        is_left = ~tell_sides(predictions["pred_right"][unknown], mirrored["pred_right"])
        for name, values in mirrored.items():
            predictions[name][unknown[is_left]] = values[is_left]
    return predictions


def tell_sides(right, right_mirrored):
    """Whether hands (N,) are right hands, by the log-odds of them and of their mirror images."""
    return right > right_mirrored


class _Changed(Dataset):
    """Samples ``rows`` of a dataset, each after ``change``."""

    def __init__(self, dataset, rows, change):
        self.dataset, self.rows, self.change = dataset, rows, change

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.change(self.dataset[int(self.rows[index])])


def _mirrored(sample):
    """A sample of unknown side, taken for a left hand."""
    return ToRight()(sample.replace(is_right=False), None).replace(is_right=None)


def _flipped(sample):
    return Flip().apply(sample, {"on": True})


@torch.no_grad()
def _predict(model, dataset, batch_size, workers, only=None, **look):
    """``predict`` without a look at sides; ``only``: which of its arrays, None for all."""
    state, device = PartialState(cpu=ON_CPU), next(model.parameters()).device
    share = range(state.process_index, len(dataset), state.num_processes)
    loader = DataLoader(
        Subset(dataset, share),
        batch_size,
        num_workers=workers,
        collate_fn=BatchSender(),
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # the global random state stays as it is
    )
    was_training = model.training
    model.eval()
    rows = [
        _rows(model(**send_to_device(inputs(batch), device), **look), batch, only)
        for batch in batches(loader)
    ]
    model.train(was_training)
    if state.num_processes == 1:
        return _join(rows)
    shares = gather_object([_join(rows) | {"place": np.array(share)}])
    everything = _join([part for part in shares if len(part["place"])])
    order = np.argsort(everything.pop("place"))
    return {name: values[order] for name, values in everything.items()}


def evaluate(model, dataset, batch_size=64, workers=0):
    """Metrics (see ``metrics.per_sample``) of ``model`` on ``dataset``: dict of name -> mean."""
    predictions = predict(model, dataset, batch_size, workers)
    predictions |= in_the_mirror(model, dataset, predictions, batch_size, workers)
    return score(predictions) | handedness_scores(predictions)


def in_the_mirror(model, dataset, predictions, batch_size=64, workers=0):
    """What the model says of the sides of the mirror images of samples of known side.

    Args:
        predictions: what ``predict`` returned for them.

    Returns:
        dict with ``pred_right_mirrored`` (N,) log-odds, NaN where the side is not known; empty for
        a model that does not tell the side.
    """
    known = np.flatnonzero(predictions["has_is_right"])
    if "pred_right" not in predictions:
        return {}
    right = np.full(len(predictions["pred_right"]), np.nan, np.float32)
    if len(known):
        flipped = _Changed(dataset, known, _flipped)
        # The side is what was looked at, not what refinement makes of it.
        told = _predict(model, flipped, batch_size, workers, ("pred_right",), refine=0)
        right[known] = told["pred_right"]
    return {"pred_right_mirrored": right}


def handedness_scores(predictions):
    """How well a model tells the side.

    Args:
        predictions: what ``predict`` and ``in_the_mirror`` returned.

    Returns:
        dict with ``handedness_accuracy``: right answers of ``tell_sides`` among the samples of
        known side; ``handedness_accuracy_one_view``: of one look at each of them, and at each of
        their mirror images. Empty without answers.
    """
    known = predictions["has_is_right"]
    if "pred_right_mirrored" not in predictions or not known.any():
        return {}
    is_right, seen, mirrored = (
        predictions[name][known] for name in ("is_right", "pred_right", "pred_right_mirrored")
    )
    told = tell_sides(seen, mirrored) == is_right
    alone = np.concatenate([(seen > 0) == is_right, (mirrored > 0) != is_right])
    return {
        "handedness_accuracy": float(told.mean()),
        "handedness_accuracy_one_view": float(alone.mean()),
    }


def score(predictions):
    """Metrics of what ``predict`` returned: dict of name -> mean."""
    return metrics.summarise(score_each(predictions))


def score_each(predictions):
    """Metrics of each sample of what ``predict`` returned: dict of name -> (N,) array."""
    starts = range(0, max(len(predictions["gt_unit"]), 1), _SCORED)
    rows = [slice(start, start + _SCORED) for start in starts]
    return _join([_score({n: v[some] for n, v in predictions.items()}) for some in rows])


def _score(predictions):
    metre = predictions["gt_unit"][:, None, None]
    vertices = predictions.get("gt_vertices")
    return metrics.per_sample(
        predictions["pred_joints"],
        predictions["gt_joints"] * metre,
        predictions["pred_vertices"],
        None if vertices is None else vertices * metre,
        predictions["pred_joints_2d"],
        predictions["gt_joints_2d"],
        predictions["pred_root"],
    )


def placed(predictions, depth=None):
    """Where the predicted hands are, by what ``predict`` returned.

    Args:
        depth: (N,) metres; each hand is moved along its line of sight until its root has this
            depth (NaN: as it is). A small error of apparent size is a large one of depth, beside
            which nothing else of two hands can be compared.

    Returns:
        joints (N, 21, 3) and vertices (N, V, 3), metres, camera frame; NaN where K is not known.
    """
    root = predictions["pred_root"][:, None]
    if depth is not None:
        root = root * np.nan_to_num(depth[:, None, None] / root[..., 2:], nan=1.0)
    return predictions["pred_joints"] + root, predictions["pred_vertices"] + root


def official_scores(predictions):
    """``metrics.freihand_scores`` of the samples that have all it needs: 3D joints, vertices and K.
    Its warning numbers them among themselves. None where there is no such sample."""
    if "gt_vertices" not in predictions:
        return None
    metre = predictions["gt_unit"][:, None, None]
    truth = (predictions["gt_joints"] * metre, predictions["gt_vertices"] * metre)
    arrays = (*truth, *placed(predictions))
    known = np.logical_and.reduce([np.isfinite(a).all((1, 2)) for a in arrays])
    return metrics.freihand_scores(*(a[known] for a in arrays)) if known.any() else None


def mean_pose_scores(hand, reader, fit_reader):
    """What the hand model's mean pose scores on the poses of a dataset split.

    Args:
        hand: ``HandModel``.
        reader: the split that is scored; fit_reader: the split whose hands give the best scale.

    Returns:
        dict of baseline -> metrics, see ``metrics.baselines``.

    Raises:
        ValueError: a split without 3D joints.
    """
    for each in (reader, fit_reader):
        if each.annotation("xyz") is None:
            raise ValueError(f"{each!r} has no 3D joints to measure against: take another split")
    mean = pose_hand(hand)
    return metrics.baselines(
        mean.joints,
        mean.vertices,
        reader.annotation("xyz", whole=False),
        reader.annotation("verts", whole=False),
        fit_reader.annotation("xyz"),
    )


def mean_pose_each(hand, predictions):
    """What the hand model's mean pose scores on each sample of what ``predict`` returned: to be
    compared with the predictions, for the poses of a whole split may be easier or harder.

    Returns:
        dict of metric of joints -> (N,) array, see ``metrics.per_sample``.

    Raises:
        ValueError: no sample has 3D joints.
    """
    truth = predictions["gt_joints"] * predictions["gt_unit"][:, None, None]
    if not np.isfinite(truth).any():
        raise ValueError("no image has 3D joints to measure against: take another split")
    return metrics.per_sample(np.broadcast_to(pose_hand(hand).joints, truth.shape), truth)


def _rows(prediction, batch, only):
    values = {f"pred_{name}": getattr(prediction, name) for name in PREDICTED}
    values = {name: value for name, value in values.items() if value is not None}
    values |= {f"gt_{name}": batch[name] for name in KNOWN} | {n: batch[n] for n in LABELS}
    values["width"] = torch.full_like(batch["id"], batch["image"].shape[-1])
    if not batch["has_vertices"].any():
        del values["gt_vertices"]
    values = {name: value for name, value in values.items() if only is None or name in only}
    # Copies: the batch is good until the next one.
    return {name: value.cpu().numpy().copy() for name, value in values.items()}


def _join(parts):
    """The rows of all ``parts``, dicts of arrays, which are used up: of many hands there is no room
    for a second copy. NaN where a part lacks an array."""
    if len(parts) == 1:
        return parts[0]
    counts, joined = [len(next(iter(part.values()))) for part in parts], {}
    for name, like in {name: values for part in parts for name, values in part.items()}.items():
        absent = [np.broadcast_to(np.float32(np.nan), (n, *like.shape[1:])) for n in counts]
        joined[name] = np.concatenate([part.pop(name, a) for part, a in zip(parts, absent)])
    return joined
