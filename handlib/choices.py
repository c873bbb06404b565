"""What notebooks take as parameters, told before a kernel starts, and what ``Predictor`` takes:
nothing here needs torch."""

from math import inf
from numbers import Integral, Real

from handlib.names import require_one_of
from handlib.presets import CAMERAS, MODEL_PRESETS, USUAL

PRECISIONS = ("no", "bf16", "fp16", "auto")
KEYPOINTS = ("predicted", "file", "noisy truth")
SPLITS = ("train", "val", "test", "evaluation")  # of a dataset; not each has all of them
# Notebook -> parameter -> what it may be, beside "" where that is its default. The splits of the
# readers and the names of ``augment.CHAINS`` and of ``recipe.OPTIMIZERS`` stand here too, for these
# need torch; a test compares.
CHOICES = {
    "01_explore_data": {"split": SPLITS},
    "02_train": {
        "preset": tuple(MODEL_PRESETS),
        "camera": CAMERAS,
        "augmentation": ("full", "light", "course", "none"),
        "optimizer": ("adam", "adamw", "muon"),
        "mixed_precision": PRECISIONS,
    },
    "03_visualize_meshes": {"split": SPLITS},
    "04_evaluate": {"split": SPLITS, "write": ("freihand", "course")},
    "06_compare_runs": {"split": SPLITS},
    "07_ablation": {"question": ("faults", "pieces")},
}
# The parameters that "" is no value of.
NEVER_EMPTY = ("split", "preset", "mixed_precision", "question")
# Parameter of 02_train -> the least that it may be, and the value that stands for the preset's.
OF_PRESET = {
    "size": (32, 0),
    "batch_size": (1, 0),
    "lr": (0, 0),
    "weight_decay": (0, -1),
    "average": (0, -1),
}
# Notebook -> parameter -> the least that it may be.
LEAST = {
    "01_explore_data": {"samples": 1, "size": 32, "seed": 0},
    "02_train": {
        "samples": 1, "steps": 1, "pretrain_steps": 0, "max_minutes": 0, "mask_weight": 0,
        "evaluations": 0, "val_samples": 0, "workers": 0, "threads": 0, "seed": 0,
    },
    "03_visualize_meshes": {"samples": 1, "hands": 1, "most": 1, "seed": 0},
    "04_evaluate": {
        "samples": 1, "images": 0, "hands": 1, "batch_size": 1, "workers": 0, "seed": 0,
    },
    "05_predict_photos": {"sure": 0, "views": 1, "shown": 1, "seed": 0},
    "06_compare_runs": {
        "samples": 1, "images": 0, "most": 1, "hands": 1, "batch_size": 1, "workers": 0, "seed": 0,
    },
    "07_ablation": {
        "samples": 1, "steps": 1, "batch_size": 1, "size": 32, "seeds": 1, "workers": 0,
        "threads": 0, "seed": 0,
    },
}  # fmt: skip
# What ``Predictor`` takes -> its kind, the least and the most that it may be; 7 are the ``VIEWS``
# of ``inference.look``, which needs torch: a test compares.
OF_PREDICTOR = {
    "expand": (Real, 0.1, 100),  # beyond, a crop shows a patch of skin, or a hand of a few pixels
    "views": (Integral, 1, 7),
    "refine": (Integral, 0, inf),
    "most": (Integral, 1, inf),
    "sure": (Real, 0, 1),
}
# Notebook -> parameter -> the most that it may be.
MOST = {"05_predict_photos": {name: OF_PREDICTOR[name][2] for name in ("sure", "views")}}
# Notebook -> the parameters that take several paths, with commas between them.
SEVERAL = {"05_predict_photos": ("photos",)}


def is_left_to_preset(name, value):
    """Whether a parameter's value stands for that of the preset."""
    return value is None or value == "" or (name in OF_PRESET and value == OF_PRESET[name][1])


def check_training(parameters):
    """ValueError for a choice or a number that 02_train does not take.

    Args:
        parameters: {name: value} of some of its parameters; other names do not matter.
    """
    check_values("02_train", parameters)
    begins = parameters.get("init") or USUAL.get(parameters.get("preset"), {}).get("init")
    if parameters.get("keypoints") and begins == "shipped":
        raise ValueError(
            "the shipped weights see no keypoints, and a network that does cannot begin with them; "
            "give -p init random, or a run that was trained with keypoints"
        )
    for name, (least, left) in OF_PRESET.items():
        value = parameters.get(name)
        if not is_left_to_preset(name, value) and not value >= least:  # so that NaN is refused
            what = f"at least {least}" if least else "0 or more"
            raise ValueError(f"{name} is {value}, not {what}; {left} takes the preset's")


def check_values(notebook, parameters):
    """ValueError for a choice or a number that one of handlib's notebooks does not take.

    Args:
        notebook: its name. parameters: {name: value} of some of its parameters; other names do not
            matter.
    """
    for name, known in CHOICES.get(notebook, {}).items():
        value = parameters.get(name)
        if value or (value == "" and name in NEVER_EMPTY):
            require_one_of(name, value, known)
    source, given = parameters.get("keypoints"), parameters.get("keypoints_from")
    check_keypoints(source, given, training=notebook == "02_train")
    for name, least in LEAST.get(notebook, {}).items():
        most = MOST.get(notebook, {}).get(name, inf)
        require_number(name, parameters.get(name, least), least, most)


def check_predictor(refine=None, **numbers):
    """ValueError for a number that a ``Predictor`` does not take.

    Args:
        refine: None leaves it to the model. numbers: others of ``OF_PREDICTOR``.
    """
    given = numbers if refine is None else {**numbers, "refine": refine}
    for name, value in given.items():
        kind, least, most = OF_PREDICTOR[name]
        require_number(name, value, least, most, kind)


def require_number(name, value, least, most=inf, kind=Real):
    """ValueError, naming the parameter, for what is no number of a kind from ``least`` to ``most``.

    Args:
        kind: ``numbers.Real`` or, for whole ones, ``numbers.Integral``.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r:.80}, not a {'whole ' * (kind is Integral)}number")
    if not least <= value <= most:  # so that NaN is refused
        what = f"at least {least}" if most == inf else f"between {least} and {most}"
        raise ValueError(f"{name} is {value}, not {what}")


def check_keypoints(source, given, training):
    """ValueError for keypoints that no network is to be shown.

    Args:
        source: one of ``KEYPOINTS``, or "" for none. given: where they come from: a run, or files.
        training: whether they are for a training; noisy truth would tell another the answer.
    """
    if not source:
        return
    require_one_of("keypoints", source, KEYPOINTS)
    if source == "noisy truth":
        if not training:
            raise ValueError(
                "keypoints from noisy truth are for training: a score with them would be the "
                "truth's own; take 'predicted' or 'file'"
            )
    elif not given:
        what = "a trained run's folder" if source == "predicted" else "the detector's files"
        raise ValueError(f"keypoints {source!r} need keypoints_from: {what}")
