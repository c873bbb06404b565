"""The faults of the 2021 course project, put back by name, to measure what each was worth.

A setting is the set of faults that it still has. Nothing in handlib uses this module
but ``questions``.
"""

from functools import lru_cache

import numpy as np
import torch

from handlib import losses
from handlib.augment import course_transforms, named_transforms
from handlib.data import HandDataset
from handlib.data.dataset import ShuffledSampler
from handlib.geometry import project
from handlib.model import make_model
from handlib.pooling import AveragePooling
from handlib.recipe import TrainConfig
from handlib.training import Trainer, train

# Fault -> what it is mended to, in the order of mending. The last two are no faults, but what
# handlib does otherwise.
FAULTS = {
    "regulariser only": "losses of joints",  # the phase was fixed: nothing else was trained
    "unlike 3D": "like compared with like in 3D",  # untranslated metres against bone lengths
    "no camera": "2D by the predicted camera",  # joints about the origin went through K
    "stale K": "K and 2D follow the image",  # resized, turned, flipped: K stayed
    "left hands": "flipped hands mirrored back",  # a right-hand model met left hands
    "same each epoch": "new order and augmentation",  # no shuffling, workers reseeded alike
    "window": "the whole map pooled",  # 7 x 7 of its 10 x 10 cells
    "old head": "handlib's network",  # axis-angle, 6 components, one layer, average
    "old recipe": "handlib's losses, schedule, augmentation",  # Adam, constant rate, the six
}
# The weights of the course project in handlib's units: 1 for joints in bone lengths (33 a metre),
# 0.1 for a pixel, 0.1 for the regulariser.
JOINTS, PIXEL, REGULARISER = 33.0, 0.1, 0.1


def ladder():
    """dict of setting -> faults it still has: all of them, then one mended after another."""
    names = ["course project", *(f"+ {mended}" for mended in FAULTS.values())]
    return {name: frozenset(list(FAULTS)[n:]) for n, name in enumerate(names)}


# Options of 02_train that handlib's own setting is tried with, each alone.
OPTIONS = {
    "with the mask loss": {"mask": 1.0},
    "with pretraining, a quarter of the steps": {"pretrain": 0.25},
    "with the perspective camera": {"camera": "perspective"},
}


def settings():
    """dict of setting -> (faults, options): the ladder, then each option without a fault."""
    mended = {name: (faults, {}) for name, faults in ladder().items()}
    return mended | {name: (frozenset(), option) for name, option in OPTIONS.items()}


class FaultyTransforms:
    """The transforms of a setting, for a network input of ``size`` px."""

    def __init__(self, faults, size, backgrounds):
        self.faults = faults
        if "old recipe" in faults:
            to_right = "left hands" not in faults
            self.chain = course_transforms(size, backgrounds, to_right=to_right)
        else:
            self.chain = named_transforms("light", size)

    def __call__(self, sample, rng):
        K = sample.K
        sample = self.chain(sample, rng)
        if "stale K" in self.faults:
            sample = sample.replace(K=K, joints_2d=project(sample.joints, K))
        return sample.replace(is_right=True)  # as the course project took left hands


class SameEachEpoch(HandDataset):
    """The first epoch again and again, in the order of the files."""

    def __getitem__(self, key):
        epoch, index = key
        return super().__getitem__((0, int(_places(self.seed, epoch, len(self))[index])))


@lru_cache(maxsize=2)
def _places(seed, epoch, n):
    """Where each sample stands in an epoch of ``ShuffledSampler``: undoes its order."""
    sampler = ShuffledSampler(n, seed)
    sampler.set_epoch(epoch)
    return np.argsort([index for _, index in sampler])


def faulty_dataset(faults, reader, size, backgrounds, seed):
    """Training data of a setting. ``seed`` must be the training's own."""
    kind = SameEachEpoch if "same each epoch" in faults else HandDataset
    return kind(reader, FaultyTransforms(faults, size, backgrounds), seed)


class WindowPooling(AveragePooling):
    """Pools seven tenths of the map's side."""

    def forward(self, maps):
        side = max(1, int(0.7 * maps[-1].shape[-1]))
        return super().forward([maps[-1][..., :side, :side]])


def faulty_model(faults, hand, size, seed, camera="weak"):
    """The network of a setting: the encoder of preset "small" for all of them."""
    old = {"pooling": "average", "rotation": "axis_angle", "n_pose": 6, "hidden": 0}
    options = old if "old head" in faults else {}
    model = make_model("small", hand, seed=seed, input_size=size, camera=camera, **options)
    if "window" in faults:
        model.pooling = WindowPooling(model.backbone.channels)
    return model


class FaultyTrainer(Trainer):
    """Minimises what the course project did, as far as its ``faults`` are not mended."""

    faults = frozenset()

    def loss(self, prediction, batch):
        if "old recipe" not in self.faults:
            return super().loss(prediction, batch)
        terms = {"regulariser": REGULARISER * losses.regulariser(prediction.pose, prediction.betas)}
        if "regulariser only" not in self.faults:
            terms["joints"] = self._joints(prediction, batch)
            terms["joints_2d"] = self._joints_2d(prediction, batch)
        return sum(terms.values()), {name: term.detach() for name, term in terms.items()}

    def _joints(self, prediction, batch):
        if "unlike 3D" in self.faults:
            return (prediction.joints - batch["joints"]).abs().mean()
        return JOINTS * losses.joint_3d_loss(prediction.joints, batch)

    def _joints_2d(self, prediction, batch):
        size, seen = batch["image"].shape[-1], prediction.joints_2d
        if "no camera" in self.faults:
            x, y, z = prediction.joints.unbind(-1)
            depth = torch.where(z < 0, -1.0, 1.0) * z.abs().clamp(min=1e-3)
            seen = project(torch.stack([x, y, depth], -1), batch["K"])
        return PIXEL * size / 2 * losses.joint_2d_loss(seen, batch, size)


def train_setting(setting, hand, reader, size, folder, backgrounds, steps, seed, **config):
    """The network that a setting makes of random weights, trained; arguments as of ``pieces``'.

    Args:
        setting: (faults, options), a value of ``settings``.
        steps: of the training; pretraining takes its share of them.
    """
    faults, options = setting
    optimizer, lr = ("adam", 1e-3) if "old recipe" in faults else ("adamw", 2e-3)
    first = round(options.get("pretrain", 0) * steps)
    config = TrainConfig(
        steps=steps - first, pretrain_steps=first, optimizer=optimizer, lr=lr, seed=seed, **config
    )
    model = faulty_model(faults, hand, size, seed, camera=options.get("camera", "weak"))
    data = faulty_dataset(faults, reader, size, backgrounds, seed)
    if faults:
        trainer = FaultyTrainer(model, data, None, config, folder)
        trainer.faults = faults
        trainer.run()
    else:
        train(model, data, None, config, folder, losses.LossWeights(mask=options.get("mask", 0.0)))
    return model
