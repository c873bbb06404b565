"""How a model is trained: the settings, the optimizers by name, their schedules, the batches."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from handlib.choices import PRECISIONS, check_training, is_left_to_preset
from handlib.data.dataset import ShuffledSampler
from handlib.data.sending import BatchSender
from handlib.data.workers import start_worker
from handlib.muon import Muon
from handlib.names import require_one_of
from handlib.presets import USUAL

# name: (torch class, usual learning rate, schedule). "cosine" is a linear warm-up over the first
# WARM_UP of the training, then half a cosine down to zero.
OPTIMIZERS = {
    # Decoupled decay here too: as an L2 term of Adam, 0.05 |w| outweighs the gradients.
    "adam": (torch.optim.AdamW, 1e-3, "constant"),
    "adamw": (torch.optim.AdamW, 1e-3, "cosine"),
    "muon": (Muon, 1e-3, "cosine"),
}
WARM_UP = 0.05
# Settings that may change when a run goes on: they do not touch the weights it ends with.
MAY_CHANGE = {
    "max_minutes", "workers", "log_with", "log_every", "eval_every", "evaluate_first",
    "save_every",
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained."""

    steps: int | None = 1000
    """Optimizer steps in all; None: as many as ``max_minutes`` allow (the schedule then follows
    the clock, so such a run can be repeated only as closely as its machine keeps its speed)."""
    pretrain_steps: int = 0
    """Steps before these ones that teach the camera and the hand's parameters alone."""
    max_minutes: float | None = None
    """Stop after so many minutes. With ``steps`` this ends the session, not the run: the same
    call goes on where it stopped."""
    batch_size: int = 64
    """Samples per step, over all processes together."""
    optimizer: str = "adamw"
    """A key of ``OPTIMIZERS``."""
    lr: float | None = None
    """Highest learning rate; None: the optimizer's usual one."""
    weight_decay: float = 0.0
    """Weight decay; norms and biases are never decayed."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.0
    """Decay of a moving average of the weights, which is evaluated and kept; 0 for none."""
    mixed_precision: str = "no"
    """"no", "bf16", "fp16", or "auto": bf16 where the hardware is fast at it."""
    seed: int = 0
    """Of the order of the samples and of dropout."""
    workers: int = 0
    """Processes that make samples, for each training process; changes nothing but the speed."""
    log_with: str | None = "tensorboard"
    """A tracker by accelerate's name (tensorboard, mlflow, wandb, ...), or None."""
    log_every: int = 20
    """Steps between records of the training."""
    eval_every: int | None = None
    """Steps between evaluations on the validation data; None: only at the end."""
    evaluate_first: bool = False
    """Evaluate before the first step too: weights that were trained before may stay the best."""
    save_every: int = 200
    """Steps between checkpoints."""

    def __post_init__(self):
        if self.steps is None and self.max_minutes is None:
            raise ValueError("a training needs an end: give steps, max_minutes, or both")
        require_one_of("optimizer", self.optimizer, OPTIMIZERS)
        require_one_of("mixed_precision", self.mixed_precision, PRECISIONS)
        for name in ("steps", "batch_size", "log_every", "eval_every", "save_every"):
            self._check(name, (getattr(self, name) or 0) >= 1, "at least 1")
        for name in ("pretrain_steps", "weight_decay", "average", "workers"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("lr", "max_minutes", "clip"):
            self._check(name, 0 < (getattr(self, name) or 0) < math.inf, "more than 0, and finite")
        self._check("average", self.average < 1, "less than 1")

    def _check(self, name, holds, what):
        """ValueError for a field that is given and cannot be; NaN is no number that holds."""
        value = getattr(self, name)
        if value is not None and not holds:
            raise ValueError(f"{name} must be {what}, got {value}")


class StepBatches:
    """Batches of (epoch, index), an endless stream over epochs, shuffled unless ``in_order``.

    Step ``s`` takes the stream's samples ``s * batch_size`` and on, so the step is all that a
    resumed run must know. Each process takes its share of every batch.
    """

    def __init__(self, n, batch_size, seed, start=0, rank=0, world=1, in_order=False):
        self.sampler = ShuffledSampler(n, seed, in_order)
        self.batch_size, self.start = batch_size, start
        self.rank, self.world = rank, world

    def __iter__(self):
        epoch, position = divmod(self.start * self.batch_size, self.sampler.n)
        batch = []
        while True:
            self.sampler.set_epoch(epoch, position)
            for key in self.sampler:
                batch.append(key)
                if len(batch) == self.batch_size:
                    yield batch[self.rank :: self.world]
                    batch = []
            epoch, position = epoch + 1, 0


def step_loader(dataset, config, start=0, rank=0, world=1):
    """An endless DataLoader, for ``data.sending.batches``, of ``StepBatches`` from ``start`` on."""
    n, in_order = len(dataset), getattr(dataset, "in_order", False)
    return DataLoader(
        dataset,
        batch_sampler=StepBatches(n, config.batch_size, config.seed, start, rank, world, in_order),
        collate_fn=BatchSender(),
        num_workers=config.workers,
        worker_init_fn=start_worker,
        # Its own generator: making a loader must not move the global random state.
        generator=torch.Generator().manual_seed(config.seed),
    )


def parameter_groups(model, weight_decay):
    """Optimizer groups: weight decay for matrices and kernels, none for norms and biases.

    A norm's parameters may carry axes of size 1 (ConvNeXtV2's response norm): these do not count.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.squeeze().ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.squeeze().ndim <= 1], "weight_decay": 0.0},
    ]


def orthogonal_groups(model, weight_decay):
    """``parameter_groups``, the encoder's kernels after its first in a group for ``Muon``."""
    layers = [m for m in model.backbone.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    kernels = {id(m.weight) for m in layers[1:] if m.weight.requires_grad}
    decayed, others = parameter_groups(model, weight_decay)
    inner = [p for p in decayed["params"] if id(p) in kernels]
    decayed["params"] = [p for p in decayed["params"] if id(p) not in kernels]
    return [{"params": inner, "weight_decay": weight_decay, "orthogonal": True}, decayed, others]


def make_optimizer(model, config):
    """The torch optimizer that ``config`` names, and a function progress in [0, 1) -> lr."""
    kind, usual_lr, schedule = OPTIMIZERS[config.optimizer]
    lr = usual_lr if config.lr is None else config.lr
    groups = orthogonal_groups if kind is Muon else parameter_groups
    optimizer = kind(groups(model, config.weight_decay), lr=lr, fused=True)
    return optimizer, lambda progress: lr * schedule_factor(schedule, progress)


def moving_average(model, decay):
    """An ``AveragedModel`` of weights and normalisation statistics.

    The first steps have less memory: they were made by weights of no use.
    """

    def update(averages, current, _):
        if not averages[0].is_floating_point():  # counts of batches
            torch._foreach_copy_(averages, current)
            return
        n = int(averaged.n_averaged)  # on the CPU: what is given lies on a GPU that is still busy
        now = min(decay, (1 + n) / (10 + n))
        get_ema_multi_avg_fn(now)(averages, current, n)

    averaged = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    return averaged


def usual(preset, **asked):
    """``USUAL`` of a preset, with what was asked for in its place: see ``is_left_to_preset``."""
    require_one_of("preset", preset, USUAL)
    check_training(asked)
    return USUAL[preset] | {n: v for n, v in asked.items() if not is_left_to_preset(n, v)}


def schedule_factor(schedule, progress):
    """Share of the highest learning rate at ``progress`` in [0, 1) of the training."""
    if schedule == "constant":
        return 1.0
    if progress < WARM_UP:
        return 0.01 + 0.99 * progress / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * min((progress - WARM_UP) / (1 - WARM_UP), 1))
