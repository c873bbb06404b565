"""Runs: notebooks executed in order into one self-describing folder.

A run folder holds ``run.json`` (parameters, command, versions, commit), ``notebooks/`` (as
executed), what the notebooks made (``figures/``, ``checkpoints/``, ``metrics.jsonl``, ...),
``report.html``, which shows it all on one page, and, written last, ``metrics.json``: the mark of a
finished run.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from handlib.choices import SEVERAL, check_training, check_values
from handlib.description import describe, fingerprint, run_name
from handlib.notebooks import (
    NOTEBOOKS,
    WORKFLOW,
    Finished,
    RunError,
    Stopped,
    notebook_parameters,
    notebook_path,
    split_parameters,
)
from handlib.paths import (
    SHIPPED,
    existing_run,
    has_model,
    name_of_run,
    run_folders,
    run_path,
    runs_root,
    user_path,
    user_paths,
    write_json,
)
from handlib.presets import UNTRAINED
from handlib.processes import execute_on, rank
from handlib.reading import read_json
from handlib.report import write_report
from handlib.runfolder import (
    CHECKPOINT,
    Run,
    check_name,
    matching,
    open_run,
)
from handlib.state import alone_in, lifeline, stopping
from handlib.tables import results_table

__all__ = [
    "WORKFLOW",
    "Finished",
    "Run",
    "RunError",
    "Stopped",
    "notebook_parameters",
    "notebook_path",
    "open_run",
    "plan",
    "run_notebooks",
    "runs_root",
    "split_parameters",
    "summary",
    "trained_run",
    "trained_runs",
    "write_json",
]


# -- trained runs ----------------------------------------------------------------------------
def trained_run(run_dir="", own=None):
    """A run with a trained model.

    Args:
        run_dir: of it, or its name in ``runs_root``, or "shipped" for the weights that come with
            handlib. Where empty: ``own``, else the newest one, else the shipped weights; with a
            hand model other than the stand-in, for which they do not speak, one trained by
            02_train now.
        own: the ``Run`` that asks; taken where it has trained a model itself.

    Raises:
        RunError: ``run_dir`` is given and holds no trained model.
        FileNotFoundError: it is the name of no run.
    """
    if run_dir == "shipped":
        return Run(SHIPPED)
    if run_dir:
        folder = existing_run(run_dir, "shipped")
        if has_model(folder):
            return Run(folder)
        raise RunError(f"{run_dir} has no trained model ({CHECKPOINT}): run 02_train first")
    if own is not None and own.is_trained:
        return own
    found = _trained()
    if found:
        return Run(found[-1])
    if SHIPPED.exists() and not os.environ.get("MANO", "").strip():
        print("no trained run yet: these are the weights that come with handlib")
        return Run(SHIPPED)
    print("no trained run yet: running 02_train with its defaults first")
    return Run(run_notebooks(["02_train"]))


def trained_runs(names=""):
    """Folders of runs with a trained model, oldest first.

    Args:
        names: of some of them, paths, or patterns (``sweep-*``), separated by commas; "" for all.

    Raises:
        RunError: there is none, or a name that is not there or has no trained model.
    """
    wanted = [name_of_run(name.strip()) for name in names.split(",") if name.strip()]
    found = {path.name: path for path in _trained()}
    if wanted:  # those that were not evaluated yet have no best weights, but the last ones
        found |= {name: path for name, path in run_folders().items() if has_model(path)}
    if not found:
        raise RunError(f"no trained run in {runs_root()}: run 02_train first")
    return [found[name] for name in matching(found, wanted, "trained run", f" in {runs_root()}")]


def _trained():
    found = sorted(runs_root().glob(f"*/{CHECKPOINT}"), key=lambda p: p.stat().st_mtime)
    return [path.parents[CHECKPOINT.count("/")] for path in found]


# -- execution -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Plan:
    """Notebooks that are to run with parameters that suit them."""

    paths: list
    """Of the notebooks, in order."""
    parameters: dict
    """Of each notebook, by its name: {parameter: value}."""
    run: Run

    @property
    def outputs(self):
        """The executed notebooks."""
        return [self.run.path / "notebooks" / path.name for path in self.paths]

    @property
    def is_done(self):
        return self.run.is_finished and all(output.exists() for output in self.outputs)


def plan(names=WORKFLOW, given=None, name=None, here=True):
    """Check what is asked for, before anything starts, and make its run folder.

    Args:
        names: paths, or names of handlib's own notebooks.
        given: {parameter: text or value}; each notebook takes those that it has.
        name: of the run folder; by default made from what differs and the content.
        here: whether it is to run on this machine, which must have what the notebooks read.

    Returns:
        Plan.

    Raises:
        RunError, FileNotFoundError: unknown notebooks or parameters, a folder that cannot be, or
            data, photos or trained runs that are not there.
        ValueError: a value that one of handlib's notebooks does not take.
    """
    given = dict(given or {})
    paths = [notebook_path(n) for n in names]
    if len({path.stem for path in paths}) < len(paths):
        raise RunError("the notebooks of one run need names of their own")
    check_name(name)
    parameters = {p.stem: v for p, v in split_parameters(paths, given).items()}
    for path in (path for path in paths if path.parent == NOTEBOOKS):
        _check_values(path.stem, notebook_parameters(path), parameters[path.stem])
        if here:
            values = notebook_parameters(path) | parameters[path.stem]
            _check_places(path.stem, values, trains="02_train" in parameters)
    name = name or run_name(paths, parameters, given, _seen(paths, given))
    run = Run(runs_root() / name)
    return Plan(paths, parameters, run)


def _check_values(notebook, defaults, given):
    """Tell at once what a cell of one of handlib's notebooks would refuse."""
    if notebook == "02_train":
        check_training(defaults | given)
    else:
        check_values(notebook, given)
    if notebook == "04_evaluate" and {"rank_by", "filter"} & given.keys():
        from handlib.analysis.early import check_selection  # takes seconds to import

        values = defaults | given
        check_selection(values["rank_by"], values["filter"])
    if notebook == "07_ablation" and given.get("only"):
        from handlib.questions import chosen_settings  # needs torch

        chosen_settings((defaults | given)["question"], given["only"])


def _check_places(notebook, parameters, trains):
    """RunError or FileNotFoundError for what a notebook of handlib is to read and is not there.

    Args:
        notebook: its name. parameters: of it.
        trains: whether the run trains weights, which its other notebooks may be told to take.
    """
    for name in ("data", "pretrain_data", "photos"):
        text, told = parameters.get(name, ""), name
        if not text and name == "data" and name in parameters:
            text, told = os.environ.get("MP_DATA", "").strip(), "MP_DATA"
        several = name in SEVERAL.get(notebook, ())
        for place in user_paths(text, told) if several else [user_path(text, told)]:
            if text:
                _require(place, told)
    _check_keypoints_from(parameters.get("keypoints"), parameters.get("keypoints_from"))
    for name in ("init",) if trains else ("trained", "weights"):
        if parameters.get(name, "") not in ("", *UNTRAINED):
            trained_run(parameters[name])
    if not trains and "compared" in parameters:
        trained_runs(parameters["compared"])  # "" are all: there must be one
        trained_runs(parameters["reference"])


def _check_keypoints_from(source, given):
    """As ``_check_places``, where keypoints are to come from."""
    if source == "predicted":
        trained_run(given)
    elif source and given:  # validation may see a run's where training sees noisy truth
        place = user_path(given, "keypoints_from") if source == "file" else run_path(given)
        _require(place, "keypoints_from")


def _require(place, told):
    if not place.exists():
        raise RunError(f"{told}: {place} does not exist; give the path of what is there")


def _seen(paths, given):
    """What notebooks see beyond their parameters: the runs trained so far, photos of a folder. A
    run without a name is another one when they change."""
    seen = [fingerprint(p) for p in user_paths(given["photos"])] if given.get("photos") else []
    takes = {name for path in paths for name in notebook_parameters(path)}
    if "02_train" not in (path.stem for path in paths) and takes & {"trained", "compared"}:
        seen += [f"{path.name} {(path / CHECKPOINT).stat().st_mtime_ns}" for path in _trained()]
    return seen


def run_notebooks(names=WORKFLOW, given=None, name=None, processes=1):
    """Execute notebooks in order into one run folder.

    Notebooks that a run of the same name has executed are kept, and training resumes from its
    last checkpoint: an interrupted run goes on, and other notebooks can be added to it.

    Args:
        names, given, name: see ``plan``.
        processes: that execute each notebook together; see ``processes``.

    Returns:
        The run folder.

    Raises:
        RunError: as ``plan``, a run of this name that was made with others or is being made by
            another process, or a notebook that failed.
        Stopped: the run was asked to stop.
    """
    if rank():
        raise RunError("one of several processes cannot start a run: train first, then use it")
    planned = plan(names, given, name)
    run, paths, outputs = planned.run, planned.paths, planned.outputs
    print(f"run folder: {run.path}", flush=True)
    with alone_in(run.path):
        describe(run.path, planned.parameters)
        if planned.is_done:
            gone = "02_train" in planned.parameters and not run.is_trained
            print(
                f"finished before{', but its weights are gone' * gone}; to make it anew, give "
                "another --name or remove the folder"
            )
            return run.path
        (run.path / "metrics.json").unlink(missing_ok=True)
        run.stop_file.unlink(missing_ok=True)  # one that came too late for the run before
        with lifeline(run, processes) as tell, stopping(run):
            for number, (path, output) in enumerate(zip(paths, outputs, strict=True), 1):
                kept = output.exists()
                print(f"[{number}/{len(paths)}] {path.stem}{': done before' * kept}", flush=True)
                if not kept:
                    tell(path.stem)
                    values = {**planned.parameters[path.stem], "run_dir": str(run.path)}
                    _execute(run, path, output, values, processes)
            write_report(run.path)
            write_json(run.path / "metrics.json", run.results())
        # Now that its state is "finished", ``handlib stop`` makes no other one.
        run.stop_file.unlink(missing_ok=True)
    return run.path


def _execute(run, path, output, parameters, processes):
    if run.stop_file.exists():
        raise Stopped(f"stopped before {path.stem}")
    try:
        execute_on(processes, path, output, parameters, run.path / "ranks")
    except RunError as error:
        write_report(run.path, str(error))
        raise


# -- report ----------------------------------------------------------------------------------
def summary(run_dir):
    """What a run made and measured, as text for a terminal."""
    run_dir = Path(run_dir)
    lines = ["", f"Run {run_dir.name}"]
    evaluation = read_json(run_dir / "metrics.json", finite=False).get("evaluate")
    if evaluation:
        lines += [f"hand model: {evaluation['hand']}", f"data: {evaluation['data']}", ""]
        table = results_table(evaluation["scores"], metrics_down=True)
        lines += [str(table), "", evaluation["verdict"]]
    made = sorted(path for path in run_dir.iterdir() if not path.name.startswith("."))
    lines += ["", f"Everything is in {run_dir}:"]
    lines += [f"  {path.name}{'/' if path.is_dir() else ''}" for path in made]
    return "\n".join(lines)
