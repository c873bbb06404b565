"""The pieces of preset "modern", left out one at a time, to measure what each is worth."""

from handlib.augment import named_transforms
from handlib.checkpoints import begin
from handlib.data import HandDataset
from handlib.presets import ModelConfig
from handlib.recipe import TrainConfig, usual

# Piece -> what 02_train (or ``ModelConfig``) is told to do without it.
PIECES = {
    "the second look": {"looks": 1},
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


def left_out():
    """dict of setting -> (preset, what it changes): modern, without each piece, other presets."""
    settings = {"modern": ("modern", RANDOM)}
    for piece, changes in PIECES.items():
        settings[f"without {piece}"] = ("modern", RANDOM | changes)
    return settings | {name: (name, {"init": "random"}) for name in OTHERS}


def named(settings, names):
    """Those of a dict of settings that a text names, with ; between them; all for "".

    Raises:
        ValueError: a name that is none of theirs.
    """
    asked = [name.strip() for name in names.split(";") if name.strip()]
    for name in asked:
        if name not in settings:
            raise ValueError(f"unknown setting {name!r}; known: {'; '.join(settings)}")
    return {name: settings[name] for name in asked} or settings


def of_setting(setting, hand, reader, size, seed, backgrounds=None, **config):
    """What trains a setting, all at the same input size, from random weights.

    Args:
        setting: (preset, changes), a value of ``left_out``.
        reader: of the training data. size: side of the network's input, px.
        **config: fields of ``TrainConfig`` that are the same for all.

    Returns:
        (``HandNet``, ``HandDataset``, ``TrainConfig``).
    """
    preset, changes = setting
    shape = {name: v for name, v in changes.items() if name in ModelConfig.__dataclass_fields__}
    recipe = usual(preset, **{name: v for name, v in changes.items() if name not in shape})
    model = begin(preset, hand, recipe.pop("init"), seed, input_size=size, **shape)
    transforms = named_transforms(
        recipe.pop("augmentation"), size, backgrounds, model.config.handedness, model.config.looks
    )
    data = HandDataset(reader, transforms, seed)
    return model, data, TrainConfig(**recipe | config, seed=seed)
