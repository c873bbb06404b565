"""Runs beside each other: what differs, how they went, and which is better by how much."""

import json
from pathlib import Path

import numpy as np

from handlib.checkpoints import find_checkpoint, read_json
from handlib.metrics import mean_interval, t_interval
from handlib.reading import expecting
from handlib.recipe import MAY_CHANGE
from handlib.runlog import BEST_BY, read_records

# Settings that change nothing of what is learnt.
SILENT = MAY_CHANGE - {"max_minutes"}


def history(run_dir):
    """The records of a run's training, ``metrics.jsonl``."""
    return read_records(Path(run_dir) / "metrics.jsonl")


def settings(run_dir):
    """All that a run was made with: dict of dotted name -> value.

    The parameters of its notebooks that are not their defaults (run.json), and the settings of its
    model, training and losses (its checkpoint).
    """
    run_dir, flat = Path(run_dir), {}
    if (run_dir / "run.json").exists():  # a notebook that was run by hand leaves none
        about = read_json(run_dir / "run.json")
        with expecting(run_dir / "run.json", "not what a run writes", "compare other runs"):
            for given in about["parameters"].values():
                flat |= {f"parameter {name}": value for name, value in given.items()}
            flat |= {name: value for name, value in about["environment"].items() if value}
    folder = find_checkpoint(run_dir)
    model, trainer = read_json(folder / "model.json"), read_json(folder / "trainer.json")
    with expecting(folder / "model.json", "not what a training writes", "compare other runs"):
        flat |= {f"model.{name}": value for name, value in model["config"].items()}
        flat |= {"hand": model["hand"]["name"]}
    with expecting(folder / "trainer.json", "not what a training writes", "compare other runs"):
        flat |= {"training images": trainer["samples"]}
        for part, prefix in (("config", ""), ("loss_weights", "loss.")):
            flat |= {f"{prefix}{n}": v for n, v in trainer[part].items() if n not in SILENT}
    # A parameter that the training knows under its own name needs no second line.
    return {n: v for n, v in flat.items() if n.removeprefix("parameter ") not in flat.keys() - {n}}


def overview(run_dirs):
    """A table of runs: state, time, error, and the settings in which they differ.

    Returns:
        dict of run name -> dict of column -> value, for ``plots.results_table``.
    """
    all_settings = {Path(run_dir).name: settings(run_dir) for run_dir in run_dirs}
    names = dict.fromkeys(name for each in all_settings.values() for name in each)
    values = {n: {json.dumps(each.get(n)) for each in all_settings.values()} for n in names}
    differ = [name for name, found in values.items() if len(found) > 1]
    table = {}
    for run_dir in run_dirs:
        records, own = history(run_dir), all_settings[Path(run_dir).name]
        errors = [r[BEST_BY] for r in records if BEST_BY in r]
        table[Path(run_dir).name] = {
            "step": records[-1]["step"] if records else 0,
            "minutes": records[-1]["time"] / 60 if records else 0.0,
            "val PA-MPJPE (mm)": min(errors, default=None),
        } | {name: _plain(own.get(name)) for name in differ}
    return table


METRICS = {
    "pa_mpjpe_mm": "PA-MPJPE (mm)",
    "mpjpe_root_mm": "root-relative (mm)",
    "error_2d_px": "2D (px)",
}


def over_seeds(scores):
    """Mean and standard deviation of trainings that differ by their seeds alone.

    Args:
        scores: dict of setting -> list of the scores of each seed.

    Returns:
        dict of setting -> dict of column -> text, for ``tables.results_table``.
    """
    return {
        name: {
            title: _spread([one[metric] for one in each])
            for metric, title in METRICS.items()
            if all(metric in one for one in each)
        }
        for name, each in scores.items()
    }


def _spread(values):
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def _plain(value):
    return None if value is None else str(value)


# How sure all verdicts together are, and from how many hands on there are any.
CONFIDENCE, ENOUGH_HANDS = 0.95, 5


def differences(errors, groups=None, reference=None, baselines=None):
    """How much runs differ on the same images, and whether chance explains it.

    Each difference to the reference has an interval by Student's t of the hands' differences. The
    intervals hold together: where no runs differ, any is called better or worse in 5 % of such
    comparisons, however many runs there are. So each is as wide as its share of the 5 % asks for
    (Bonferroni): of all pairs of runs where these images choose the reference, for the best of
    several equal runs is the luckiest, else of those with the reference. Baselines are a question
    of their own: with 5 % of their own, shared in the same way, they widen nothing of the runs'.

    Args:
        errors: dict of run -> (N,) errors of the same N images, NaN where unknown.
        groups: (N,) which hand an image shows: images of one are not independent.
        reference: the run that the others are compared with; None for the one of least error.
        baselines: dict of name -> (N,) errors of what is no run, as the mean pose; compared with
            the reference, and never the reference.

    Returns:
        (reference, rows): rows is a dict of name -> dict with ``error`` (``Interval``, of 95 % by
        itself), ``difference`` to the reference (``Interval``; positive is worse), and ``verdict``.
        No difference is told of fewer hands than ``ENOUGH_HANDS``.

    Raises:
        ValueError: no runs, or the reference is none of them.
    """
    if not errors or (reference or next(iter(errors))) not in errors:
        there = ", ".join(errors) or "none, for all were left out above"
        raise ValueError(f"no run {reference or ''} to compare with; there are: {there}")
    baselines = baselines or {}
    every = {**errors, **baselines}
    means = {name: float(np.nanmean(values)) for name, values in every.items()}
    groups = np.arange(len(next(iter(errors.values())))) if groups is None else np.asarray(groups)
    others = len(errors) - 1
    pairs = others if reference else others * (others + 1) // 2
    beside = len(baselines) * (1 if reference else len(errors))
    reference = reference or min(errors, key=means.get)
    rows = {}
    for name in sorted(means, key=means.get):
        difference, verdict = None, "the reference"
        if name != reference:
            apart = np.asarray(every[name]) - every[reference]
            share = (1 - CONFIDENCE) / (beside if name in baselines else pairs)
            difference, verdict = _verdict(apart, groups, 1 - share)
        error = mean_interval(every[name], groups)
        rows[name] = {"error": error, "difference": difference, "verdict": verdict}
    return reference, rows


def _verdict(apart, groups, confidence):
    """Differences (N,) to the reference: (their mean's ``Interval`` or None, what it says)."""
    hands = len(np.unique(groups[np.isfinite(apart)]))
    if hands < ENOUGH_HANDS:
        return None, "too few hands"
    difference = t_interval(apart, groups, confidence)
    if difference.low <= 0 <= difference.high:
        return difference, "not distinguishable"
    return difference, "worse" if difference.value > 0 else "better"
