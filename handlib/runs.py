"""Runs: notebooks executed in order into one self-describing folder.

A run folder holds ``run.json`` (parameters, command, versions, commit), ``notebooks/`` (as
executed), what the notebooks made (``figures/``, ``checkpoints/``, ``metrics.jsonl``, ...),
``report.html``, which shows it all on one page, and, written last, ``metrics.json``: the mark of a
finished run.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from handlib.notebooks import (
    WORKFLOW,
    RunError,
    execute,
    notebook_parameters,
    notebook_path,
    split_parameters,
)
from handlib.paths import SHIPPED, atomic_write
from handlib.report import write_report
from handlib.tables import results_table

__all__ = [
    "WORKFLOW",
    "Run",
    "RunError",
    "notebook_parameters",
    "notebook_path",
    "open_run",
    "run_notebooks",
    "runs_root",
    "split_parameters",
    "summary",
    "trained_run",
    "trained_runs",
    "write_json",
]

PACKAGE = Path(__file__).resolve().parent
CHECKPOINT = "checkpoints/best/model.safetensors"
# Environment variables that change what a run computes.
ENVIRONMENT = ("MANO", "MP_DATA", "MP_BACKGROUNDS")


def write_json(path, value):
    """Write ``value`` as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


# -- run folders -----------------------------------------------------------------------------
def runs_root():
    """Folder of the runs: ``MP_EXPERIMENTS`` or ``outputs/`` of the repository."""
    set_to = os.environ.get("MP_EXPERIMENTS", "").strip()
    return Path(set_to).expanduser() if set_to else PACKAGE.parent / "outputs"


class Run:
    """A run folder as a notebook sees it: where figures and results are kept.

    Args:
        path: the folder; made where it is missing.
    """

    def __init__(self, path):
        self.path = Path(path).expanduser().resolve()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make the run folder {self.path} ({error.strerror}): set MP_EXPERIMENTS "
                "to a folder that you may write to"
            ) from None

    def keep(self, figure, name):
        """Save a figure as ``figures/<name>.png``, 3D scenes as .html and .ply too; return it."""
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        figure.savefig(folder / f"{name}.png")
        if hasattr(figure, "save_html"):
            figure.save_html(folder / f"{name}.html")
            figure.save_mesh(folder / f"{name}.ply")
        return figure

    def report(self, name, value):
        """Keep a JSON-able value as ``results/<name>.json``; ``metrics.json`` collects them."""
        write_json(self.path / "results" / f"{name}.json", value)

    def results(self):
        """What was reported, as {name: value}."""
        files = sorted((self.path / "results").glob("*.json"))
        return {file.stem: json.loads(file.read_text()) for file in files}

    @property
    def is_trained(self):
        return (self.path / CHECKPOINT).exists()

    def __repr__(self):
        return f"Run({str(self.path)!r})"


def open_run(run_dir, notebook):
    """The run that a notebook works in: ``run_dir``, or a fresh folder named after the notebook."""
    return Run(run_dir or runs_root() / f"{notebook}-{datetime.now():%Y%m%d-%H%M%S-%f}")


def trained_run(run_dir="", own=None):
    """A run with a trained model.

    Args:
        run_dir: of it, or "shipped" for the weights that come with handlib. Where empty: ``own``,
            else the newest one, else the shipped weights; with a hand model other than the
            stand-in, for which they do not speak, one trained by 02_train now.
        own: the ``Run`` that asks; taken where it has trained a model itself.

    Raises:
        RunError: ``run_dir`` is given and holds no trained model.
    """
    if run_dir == "shipped":
        return Run(SHIPPED)
    if run_dir:
        if not (Path(run_dir).expanduser() / CHECKPOINT).exists():
            raise RunError(f"{run_dir} has no trained model ({CHECKPOINT}): run 02_train first")
        return Run(run_dir)
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
        names: of some of them, separated by commas; "" for all.

    Raises:
        RunError: there is none, or a name that is not there or has no trained model.
    """
    found = {path.name: path for path in _trained()}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    missing = [name for name in wanted if name not in found]
    if missing or not found:
        what = f"no trained run {', '.join(missing)}".strip()
        known = f"; there are: {', '.join(found)}" if found else ": run 02_train first"
        raise RunError(f"{what} in {runs_root()}{known}")
    return [path for name, path in found.items() if not wanted or name in wanted]


def _trained():
    found = sorted(runs_root().glob(f"*/{CHECKPOINT}"), key=lambda p: p.stat().st_mtime)
    return [path.parents[CHECKPOINT.count("/")] for path in found]


# -- execution -------------------------------------------------------------------------------
def run_notebooks(names=WORKFLOW, given=None, name=None):
    """Execute notebooks in order into one run folder.

    Notebooks that a run of the same name has executed are kept, and training resumes from its
    last checkpoint: an interrupted run goes on, and other notebooks can be added to it.

    Args:
        names: paths, or names of handlib's own notebooks.
        given: {parameter: text or value}; each notebook takes those that it has.
        name: of the run folder; by default made from what differs and the content.

    Returns:
        The run folder.

    Raises:
        RunError: unknown parameters, a run of this name that was made with others or is being
            made by another process, or a notebook that failed.
    """
    given = dict(given or {})
    paths = [notebook_path(n) for n in names]
    if len({path.stem for path in paths}) < len(paths):
        raise RunError("the notebooks of one run need names of their own")
    if name and Path(name).name != name:
        raise RunError(f"--name {name}: give the name of a folder; MP_EXPERIMENTS says where")
    parameters = {p.stem: v for p, v in split_parameters(paths, given).items()}
    run = Run(runs_root() / (name or _run_name(paths, parameters, given)))
    outputs = [run.path / "notebooks" / path.name for path in paths]
    print(f"run folder: {run.path}", flush=True)
    with _alone_in(run.path):
        _describe(run.path, parameters)
        for number, (path, output) in enumerate(zip(paths, outputs, strict=True), 1):
            kept = output.exists()
            print(f"[{number}/{len(paths)}] {path.stem}{': done before' * kept}", flush=True)
            if not kept:
                try:
                    execute(path, output, {**parameters[path.stem], "run_dir": str(run.path)})
                except RunError:
                    write_report(run.path)
                    raise
        write_report(run.path)
        write_json(run.path / "metrics.json", run.results())
    return run.path


@contextlib.contextmanager
def _alone_in(run_dir):
    """Keep a second process out of a run folder."""
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another process is working in {run_dir}: wait for it, or give another --name"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


def _run_name(paths, parameters, given):
    """What differs from the defaults, and a fingerprint of code, notebooks and settings."""
    digest = hashlib.sha256()
    for path in (*sorted(PACKAGE.rglob("*.py")), *paths):
        digest.update(path.read_bytes())
    digest.update(json.dumps([parameters, _environment()], sort_keys=True).encode())
    what = "run" if len(paths) > 1 else paths[0].stem
    differs = "-".join(f"{n}={Path(str(v)).name}" for n, v in sorted(given.items()))
    slug = re.sub(r"[^\w.=-]+", "_", f"{what}-{differs}" if differs else what)[:80]
    return f"{slug}-{digest.hexdigest()[:8]}"


def _environment():
    return {name: os.environ.get(name, "") for name in ENVIRONMENT}


def _describe(run_dir, parameters):
    """Write ``run.json``: what is needed to know how a run was made.

    A run that goes on keeps its description, and must agree with it.
    """
    path = run_dir / "run.json"
    about = json.loads(path.read_text()) if path.exists() else _made_by()
    settings = about["parameters"] | {"the environment": about["environment"]}
    for name, value in (parameters | {"the environment": _environment()}).items():
        if settings.get(name, value) != value:
            raise RunError(
                f"{run_dir} was made with other settings of {name}: {settings[name]}, now {value}; "
                "give another --name, or remove the folder"
            )
    write_json(path, about | {"parameters": about["parameters"] | parameters})


def _made_by():
    versions = {"python": platform.python_version()}
    for name in ("handlib", "torch", "numpy", "transformers", "accelerate", "papermill"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "parameters": {},
        "environment": _environment(),
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted": _git("status", "--porcelain", "--untracked-files=no"),
    }


def _git(*arguments):
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


# -- report ----------------------------------------------------------------------------------
def summary(run_dir):
    """What a run made and measured, as text for a terminal."""
    run_dir = Path(run_dir)
    lines = ["", f"Run {run_dir.name}"]
    evaluation = json.loads((run_dir / "metrics.json").read_text()).get("evaluate")
    if evaluation:
        lines += [f"hand model: {evaluation['hand']}", f"data: {evaluation['data']}", ""]
        table = results_table(evaluation["scores"], metrics_down=True)
        lines += [str(table), "", evaluation["verdict"]]
    made = sorted(path for path in run_dir.iterdir() if not path.name.startswith("."))
    lines += ["", f"Everything is in {run_dir}:"]
    lines += [f"  {path.name}{'/' if path.is_dir() else ''}" for path in made]
    return "\n".join(lines)
