"""The pieces of preset "modern", left out one at a time, to measure what each is worth."""

import re

from handlib.augment import named_transforms
from handlib.checkpoints import begin
from handlib.data import HandDataset
from handlib.presets import ModelConfig
from handlib.recipe import TrainConfig, usual
from handlib.runfolder import matching
from handlib.training import train

# Piece -> what 02_train (or ``ModelConfig``) is told to do without it.
PIECES = {
    "the second look": {"looks": 1},
    "looks from all sides": {"turns": 1},
    "refinement": {"refine": 0},
    "keypoints found in the image": {"pooling": "average", "depth": False},
    "their depth": {"depth": False},
    "a rotation of each joint": {"fingers": "pca"},
    "perspective": {"camera": "weak"},
    "side and presence": {"handedness": False, "presence": False},
    "warm-up and cosine": {"optimizer": "adam", "lr": 1e-3},
    "the moving average": {"average": 0.0},
}
OTHERS = ("small", "boukhayma2019")
RANDOM = {"init": "random", "lr": 2e-3}  # modern's usual rate is for weights that are trained


def settings():
    """dict of setting -> (preset, what it changes): modern, without each piece, other presets."""
    found = {"modern": ("modern", RANDOM)}
    for piece, changes in PIECES.items():
        found[f"without {piece}"] = ("modern", RANDOM | changes)
    return found | {name: (name, {"init": "random"}) for name in OTHERS}


def chosen_settings(known, only=""):
    """Those of ``settings`` that are named, by patterns too, with ; between them; all for ""."""
    return {name: known[name] for name in matching(known, named(only), "setting")}


def named(only):
    """The names and patterns in a text with ; between them."""
    return [name.strip() for name in only.split(";") if name.strip()]


def folder_name(setting, seed):
    """What the folder of a setting's training is called."""
    return f"{re.sub(r'[^a-z0-9]+', '_', setting)}-{seed}"


def train_setting(setting, hand, reader, size, folder, backgrounds, steps, seed, **config):
    """The network that a setting makes of random weights, trained.

    Args:
        setting: (preset, changes), a value of ``settings``.
        reader: of the training data. size: side of the network's input, px.
        folder: of the training: called again, it goes on.
        steps, seed, **config: fields of ``TrainConfig``, the same for all settings.
    """
    model, recipe = begin_setting(setting, hand, size, seed)
    transforms = named_transforms(
        recipe.pop("augmentation"), size, backgrounds, model.config.handedness, model.config.looks
    )
    config = TrainConfig(**recipe | config, steps=steps, seed=seed)
    train(model, HandDataset(reader, transforms, seed), None, config, folder)
    return model


def begin_setting(setting, hand, size, seed, **instead):
    """The network of a setting, and its recipe: as usual for its preset, or what is given
    ``instead``, but for what the setting changes."""
    preset, changes = setting
    shape = {name: v for name, v in changes.items() if name in ModelConfig.__dataclass_fields__}
    changes = {name: v for name, v in changes.items() if name not in shape}
    recipe = usual(preset, **instead | changes)
    return begin(preset, hand, recipe.pop("init"), seed, input_size=size, **shape), recipe
