"""Where the keypoints come from that a network of 24 channels sees beside the image, by name."""

from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader

from handlib.augment import Compose, GivenKeypoints, NoisyKeypoints, eval_transforms
from handlib.checkpoints import load_checkpoint, weights_folder
from handlib.choices import check_keypoints
from handlib.data import HandDataset, KeypointFiles
from handlib.data.sending import BatchSender, batches
from handlib.data.workers import start_worker

FRAME = 100.0  # px


def add_keypoints(dataset, source, given="", hand=None, *, training=False, workers=0):
    """A dataset whose samples carry keypoints.

    Args:
        dataset: ``HandDataset``.
        source: "predicted" by a trained model, from a detector's "file", "noisy truth", or "" for
            none. A first stage does better on images that it was trained on than on others:
            best train it on other hands than the second.
        given: the run or checkpoint of the model, or "shipped"; path of the files
            (``KeypointFiles``).
        hand: ``HandModel`` of the first stage.
        training: noisy truth is refused otherwise, for it would tell the answer.
        workers: processes that read images for the first stage.

    Raises:
        ValueError: an unknown source, or one that must not be used.
    """
    check_keypoints(source, given, training)
    if not source:
        return dataset
    if source == "noisy truth":
        first = NoisyKeypoints()
    elif source == "file":
        first = GivenKeypoints(KeypointFiles(given))
    else:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_checkpoint(weights_folder(given), hand).to(device)
        first = GivenKeypoints(partial(_look_up, find_keypoints(model, dataset.reader, workers)))
    rest = [] if dataset.transforms is None else [dataset.transforms]
    return HandDataset(dataset.reader, Compose([first, *rest]), dataset.seed)


def in_validation(source, given):
    """The source of keypoints of validation data, where ``source`` is that of the training: noisy
    truth gives way to what ``given`` names, "predicted" where that has a checkpoint, else "file".
    """
    if source != "noisy truth" or not given:
        return source
    try:
        weights_folder(given)
    except FileNotFoundError:
        return "file"
    return "predicted"


@torch.no_grad()
def find_keypoints(model, reader, workers=0):
    """Where ``model`` sees the joints in the images of a reader, shown as in an evaluation.

    Returns:
        dict (id, version, whether a left hand) -> (21, 3) x, y px of the image as read, and 1.
    """
    shown = Compose([GivenKeypoints(_frame), eval_transforms(model.config.input_size)])
    loader = DataLoader(
        HandDataset(reader, shown),
        64,
        num_workers=workers,
        collate_fn=BatchSender(),
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # the global random state stays as it is
    )
    table, device = {}, next(model.parameters()).device
    for batch in batches(loader):
        prediction = model(batch["image"].to(device), batch["K"].to(device))
        # Found directly, where the model does that: not held back by a hand model's shape.
        places = prediction.keypoints_2d
        places = (prediction.joints_2d if places is None else places).double().cpu()
        # Where the frame has gone tells how the image was shown.
        origin, *axes = batch["keypoints"][:, :3, :2].double().unbind(1)
        affine = torch.stack([axis - origin for axis in axes], -1) / FRAME
        places = torch.linalg.solve(affine, (places - origin[:, None]).mT).mT
        left = batch["is_right"] == batch["mirrored"]
        keys = zip(batch["id"].tolist(), batch["version"].tolist(), left.tolist(), strict=True)
        found = torch.cat([places, torch.ones_like(places[..., :1])], -1).numpy()
        table |= zip(keys, found, strict=True)
    if len(table) < len(reader):
        raise ValueError(f"{reader!r}: hands share id, version and side, so they cannot be told")
    return table


def _frame(sample):
    """(21, 3): the image's origin, and the ends of its axes."""
    frame = np.zeros((21, 3))
    frame[1, 0] = frame[2, 1] = FRAME
    return frame


def _look_up(table, sample):
    return table[sample.id, -1 if sample.version is None else sample.version, sample.is_left]
