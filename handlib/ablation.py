"""Preset "modern", what is without one of its pieces, and other presets, trained beside each other.

As 07_ablation does with a stored dataset, here on hands that are rendered meanwhile, of which there
are as many as a training can look at: plain Python, for minutes of a GPU or nights of a CPU.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState

from handlib.augment import named_transforms, stream_transforms
from handlib.compare import over_seeds
from handlib.data import HandDataset, HandStream, load_backgrounds
from handlib.data.kept import KeptHands
from handlib.evaluation import evaluate
from handlib.mano import load_hand_model, pose_hand
from handlib.metrics import baselines
from handlib.paths import STOP, write_json
from handlib.pieces import begin_setting, chosen_settings, folder_name, settings
from handlib.reading import BadFile, expecting, read_json
from handlib.recipe import TrainConfig
from handlib.stream_training import LOSSES, SETTINGS, held_out_set, set_up
from handlib.tables import results_table
from handlib.training import Trainer, finite_scores

# The hands that are scored are as they are rendered, and the other presets' recipes spoil none.
PLAIN = {"clutter": 0, "color": 0.2, "sensor": 0, "motion": 0}


def ablate(
    folder, images, only="", seeds=(0, 1, 2), minutes=None, batch_size=64, workers=1, threads=None,
    size=128, held_out=1024, renderings=None,
):  # fmt: skip
    """Train settings on equally many hands each, and score them on others.

    Modern, and modern without a piece, is trained by the recipe of ``stream_training``, without
    what spoils pictures as photos are spoiled and without pictures that show no hand; another
    preset by the one that 02_train takes for it.
    Called again it goes on, and trains nothing that is finished. Under torchrun each process takes
    its share of every batch.

    Args:
        folder: of the trainings.
        images: that each training sees. only: see ``pieces.chosen_settings``.
        seeds: of the weights and of the hands; each setting is trained with each of them.
        minutes: after which a training stops, all saved, and no other begins; None does not stop.
        batch_size, workers: see ``TrainConfig``. threads: of torch on a CPU; None leaves them.
        size: side of the networks' input, px. held_out: how many hands are scored.
        renderings: so many hands, kept in the folder, that every training sees again and again, in
            an order and with transforms of its own; None renders each hand once, for one training.

    Returns:
        dict of setting -> list of the scores (``evaluation.evaluate``) of each seed, of the
        trainings that are finished; the scores of the mean pose; and why it was stopped, one of
        ``training.REASONS``, or "".

    Raises:
        RunError: a setting that is not there. ValueError: numbers that cannot be, or a folder of
            other trainings.
    """
    if renderings is not None and renderings < 1:
        raise ValueError(f"renderings must be at least 1, got {renderings}")
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    seeds = list(dict.fromkeys(seeds))  # the same twice would look like two without a spread
    set_up(seeds, threads)
    started, folder, hand = time.monotonic(), Path(folder), load_hand_model()
    steps, done, stopped = -(-images // batch_size), {}, ""
    config = TrainConfig(
        steps=steps, batch_size=batch_size, workers=workers, log_every=100,
        **{name: SETTINGS[name] for name in ("mixed_precision", "log_with", "save_every")},
    )  # fmt: skip
    about = {"images": steps * batch_size, "batch_size": batch_size, "size": size}
    about |= {"held out": held_out} | ({"renderings": renderings} if renderings else {})
    chosen = chosen_settings(settings(), only)
    _refuse_other(folder / "ablation.json", about)  # before a minute of rendering
    hands = held_out_set(hand, size, held_out)
    kept = KeptHands(folder, hand, size, renderings, workers=workers) if renderings else None
    for name, seed in ((name, seed) for seed in seeds for name in chosen):
        place = folder / folder_name(name, seed)
        scores = _finished(place / "scores.json", about)
        if scores is None:
            spent = (time.monotonic() - started) / 60
            left = None if minutes is None else max(minutes - spent, 1e-6)
            now = replace(config, seed=seed, max_minutes=left)
            scores, stopped = _train(name, chosen[name], hand, place, now, about, hands, kept)
        if stopped:
            break
        done.setdefault(name, []).append(scores)
    return done, _mean_pose(hand, hands), stopped


def _finished(file, about):
    """The scores of a training that is finished; None of another one."""
    if not file.exists():
        return None
    with expecting(file, "not what an ablation writes", "remove its folder, and it is done anew"):
        known = read_json(file, finite=False)
        scores = known.pop("scores")
    _require_same(file, known, about)
    return scores


def _refuse_other(file, about):
    """Note in the folder what its trainings are of; ``BadFile`` where that is something else."""
    if file.exists():
        _require_same(file, read_json(file, "remove it"), about)
    else:
        write_json(file, about)


def _require_same(file, known, about):
    if known != about:
        raise BadFile(f"{file} is of {known}, not of {about}: give another folder, or the same")


def _train(name, setting, hand, folder, config, about, hands, kept):
    """Scores of a setting's training and "", or None and why it was stopped, said in a line."""
    preset, seed, losses = setting[0], config.seed, None
    ours = preset == "modern"
    instead = {n: SETTINGS[n] for n in ("optimizer", "weight_decay", "average")} if ours else {}
    model, recipe = begin_setting(setting, hand, about["size"], seed, **instead)
    shape, augmentation = model.config, recipe.pop("augmentation")
    if ours:
        transforms = stream_transforms(about["size"], shape.handedness, shape.looks, **PLAIN)
        losses = LOSSES
    else:
        transforms = named_transforms(
            augmentation, about["size"], load_backgrounds(), shape.handedness, shape.looks
        )
    config = replace(config, **recipe | {"batch_size": config.batch_size})
    reader = kept or HandStream(hand, about["size"], 10**9, seed)
    trainer = Trainer(model, HandDataset(reader, transforms, seed), None, config, folder, losses)
    trainer.stop_file = folder.parent / STOP
    result, first = trainer.run(), PartialState().is_main_process
    if not result.finished:
        if first:
            print(
                f"{name}, seed {seed}: stopped ({result.stopped}) after {result.step} of "
                f"{config.steps} steps; the same command goes on", flush=True,
            )  # fmt: skip
        return None, result.stopped
    with finite_scores(result.step):
        scores = evaluate(model, hands)
    if first:
        write_json(folder / "scores.json", about | {"scores": scores})
        print(f"{name}, seed {seed}: PA-MPJPE {scores['pa_mpjpe_mm']:.2f} mm", flush=True)
    return scores, ""


def _mean_pose(hand, hands):
    """Scores of the mean pose on samples."""
    mean, truth = pose_hand(hand), np.array([sample.joints for sample in hands])
    return baselines(mean.joints, mean.vertices, truth)["mean pose"]


def scores_table(scores, mean_pose, caption=""):
    """What ``ablate`` returned, as a table: mean and standard deviation over the seeds, and how
    many times modern's PA-MPJPE each has."""
    lines = over_seeds(scores)
    pa = {name: np.mean([each["pa_mpjpe_mm"] for each in many]) for name, many in scores.items()}
    if "modern" in pa:
        for name, line in lines.items():
            line["PA / modern's"] = f"{pa[name] / pa['modern']:.2f}"
    return results_table(lines | over_seeds({"mean pose": [mean_pose]}), caption)
