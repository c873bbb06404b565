"""Is anything off with a training? Plain sentences, and the layers at a glance."""

import math
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from handlib.joints import ROOT
from handlib.losses import total_loss
from handlib.model import inputs

# What counts as off. Shares of the training are of its records.
HARDLY = 0.97  # loss at the end, of that at the beginning
WAITING = 0.25  # of a step's time spent on waiting for data
KNOWS = 0.6  # validation error, of the mean pose's: no fault of the labels, whatever the loss does
REBOUND = 1.1  # validation error at the end, of the best
GAP = 1.6  # validation error, of the training images'
ALIKE = 0.1  # spread of the predicted joints, of the true ones'
SILENT = 0.9  # units of a layer that no image wakes


def layer_figures(model, batch, loss):
    """How strongly each layer speaks and learns, on one batch.

    Args:
        model: ``HandNet``; its mode, gradients and statistics are left as they were.
        batch: of ``data.sample.collate``, on the model's device.
        loss: function (prediction, batch) -> scalar.

    Returns:
        dict of layer -> dict: ``activation`` (RMS of its output), ``gradient`` (RMS of the
        weights' gradient over RMS of the weights), both of layers with weights; ``silent`` (share
        of units that are 0 for the whole batch), of rectifiers.
    """
    figures, hooks = {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.ReLU):
            figures[name] = {}
            hooks.append(layer.register_forward_hook(_note(figures[name])))
    try:
        with _learning(model):
            loss(model(**inputs(batch)), batch).backward()
            for name, layer in model.named_modules():
                weight = getattr(layer, "weight", None) if name in figures else None
                if weight is not None and weight.grad is not None:
                    figures[name]["gradient"] = _rms(weight.grad) / max(_rms(weight), 1e-12)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: values for name, values in figures.items() if values}


def loss_gradients(model, batch, weights):
    """How hard each loss pulls at the encoder, on one batch: a loss may be large and move little.

    Args:
        model, batch: as of ``layer_figures``.
        weights: ``LossWeights``.

    Returns:
        dict of loss -> norm of its gradient, times its factor, by the kernel of the encoder's last
        layer: what Chen et al. 2018, "GradNorm", balance. Those of all layers have nearly the same
        shares, and cost a pass through the network for each loss.
    """
    norms = {}
    with _learning(model):
        prediction = model(**inputs(batch))
        last = [p for p in model.backbone.parameters() if p.requires_grad and p.ndim > 1][-1]
        for name in total_loss(prediction, batch, weights)[1]:
            term, _ = total_loss(prediction, batch, weights.only(name))
            (gradient,) = torch.autograd.grad(term, last, retain_graph=True, materialize_grads=True)
            norms[name] = gradient.norm().item()
    return norms


@contextmanager
def _learning(model):
    """The model as it learns, without gradients; afterwards all is as it was."""
    mode, kept = model.training, {name: value.clone() for name, value in model.named_buffers()}
    before = {name: p.grad for name, p in model.named_parameters()}
    try:
        model.train()
        model.zero_grad(set_to_none=True)
        yield
    finally:
        for name, p in model.named_parameters():
            p.grad = before[name]
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(kept[name])
        model.train(mode)


def _note(figures):
    def note(layer, given, made):
        if isinstance(layer, nn.ReLU):
            # Units: channels of maps, entries of vectors.
            awake = (made > 0).flatten(2).any(2) if made.ndim > 2 else made > 0
            figures["silent"] = 1 - awake.any(0).float().mean().item()
        else:
            figures["activation"] = _rms(made)

    return note


def _rms(values):
    return values.detach().float().square().mean().sqrt().item()


def find_faults(history, baseline_mm=None, train_mm=None, predictions=None, layers=None):
    """What looks wrong about a training.

    Args:
        history: records of ``metrics.jsonl``.
        baseline_mm: PA-MPJPE of the mean pose on the validation split.
        train_mm: PA-MPJPE of the trained model on training images, not augmented.
        predictions: what ``evaluation.predict`` says of validation images.
        layers: of ``layer_figures``.

    Returns:
        list of sentences that say what is off and what to try; empty where nothing is.
    """
    errors = [r["val_pa_mpjpe_mm"] for r in history if "val_pa_mpjpe_mm" in r]
    knows = bool(baseline_mm and errors) and min(errors) < KNOWS * baseline_mm
    found = [*_of_loss(history, knows), *_of_validation(errors, baseline_mm, train_mm)]
    found += [*_of_start(history), *_of_predictions(predictions or {})]
    return found + [*_of_layers(layers or {})]


def _of_loss(history, knows):
    losses = [record["loss"] for record in history if "loss" in record]
    if not all(map(math.isfinite, losses)):
        yield "the loss was not a finite number: look at the data, or take a smaller lr"
    tenth = max(1, len(losses) // 10)
    first, last = np.mean(losses[:tenth] or [1]), np.mean(losses[-tenth:] or [0])
    if len(losses) > 1 and last > HARDLY * first and not knows:
        yield (
            f"the loss hardly fell ({first:.3g} to {last:.3g}): lr is far too small or too large, "
            "or labels do not belong to their images (see 01)"
        )
    parts = [{k: v for k, v in r.items() if k.startswith("s_")} for r in history]
    total = sum(sum(each.values()) for each in parts)
    waited = sum(each.get("s_data", 0) for each in parts)
    if total and waited > WAITING * total:
        yield f"{waited / total:.0%} of the time went into waiting for data: raise workers"


def _of_validation(errors, baseline_mm, train_mm):
    if not errors:
        return
    best = min(errors)
    if baseline_mm is not None and best >= baseline_mm:
        yield (
            f"the model ({best:.1f} mm) is no better than the mean pose ({baseline_mm:.1f} mm): "
            "it knows nothing of the fingers yet; train longer"
        )
    if errors[-1] > REBOUND * best:
        yield (
            f"the validation error rose again ({best:.1f} to {errors[-1]:.1f} mm): overfit, or lr "
            "too large; checkpoints/best has the best weights"
        )
    if train_mm is not None and errors[-1] > GAP * train_mm:
        yield (
            f"training images have {train_mm:.1f} mm, validation ones {errors[-1]:.1f} mm: "
            "overfit; take more data, or a stronger augmentation"
        )


def _of_start(history):
    """Of a training whose first evaluation was before its first step."""
    errors = {r["step"]: r["val_pa_mpjpe_mm"] for r in history if "val_pa_mpjpe_mm" in r}
    if len(errors) > 1 and min(errors, key=errors.get) == 0:
        start, *_, last = errors.values()
        yield (
            f"no evaluation was better than that of the weights it began with ({start:.2f} mm, at "
            f"the end {last:.2f} mm): checkpoints/best has those; take a smaller lr, or images of "
            "a kind that they have not seen"
        )


def _of_predictions(predictions):
    if not len(predictions.get("pred_joints", [])):
        return
    true = predictions["gt_joints"] * predictions["gt_unit"][:, None, None]
    true = np.nanstd(true - true[:, [ROOT]], 0).mean()
    said = predictions["pred_joints"].std(0).mean()
    if said < ALIKE * true:
        yield (
            f"all images get nearly the same hand (spread {1000 * said:.1f} mm, truth "
            f"{1000 * true:.1f} mm): the head does not see the image"
        )


def _of_layers(layers):
    dead = {n: v["silent"] for n, v in layers.items() if v.get("silent", 0) > SILENT}
    for name, share in dead.items():
        yield f"{share:.0%} of the units of {name} are silent: lr may be too large"
    flat = [name for name, values in layers.items() if values.get("gradient") == 0]
    if flat:
        yield f"no gradient reaches {', '.join(flat)}: is a loss switched off?"
