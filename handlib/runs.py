"""Runs: notebooks executed in order by papermill into one self-describing folder.

A run folder holds ``run.json`` (parameters, command, versions, commit), ``notebooks/`` (as
executed), what the notebooks made (``figures/``, ``checkpoints/``, ``metrics.jsonl``, ...) and,
written last, ``metrics.json``: the mark of a finished run.
"""

import ast
import contextlib
import difflib
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from handlib.paths import atomic_write

PACKAGE = Path(__file__).resolve().parent
NOTEBOOKS = PACKAGE.parent / "notebooks"
WORKFLOW = ("01_explore_data", "02_train", "03_visualize_meshes", "04_evaluate")
CHECKPOINT = "checkpoints/best/model.safetensors"
# Environment variables that change what a run computes.
ENVIRONMENT = ("MANO", "MP_DATA", "MP_BACKGROUNDS")


class RunError(Exception):
    """A run that cannot start or did not finish; the message says why and what to do."""


# -- parameters ------------------------------------------------------------------------------
def notebook_path(name):
    """Path of a notebook given as a path or as the name of one of handlib's own."""
    for path in (Path(name), NOTEBOOKS / name, NOTEBOOKS / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    known = ", ".join(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")))
    raise RunError(f"no notebook {name!r}; handlib's own are: {known}")


def notebook_parameters(path):
    """Defaults of a notebook's parameters cell, as {name: value}."""
    from papermill import inspect_notebook

    try:
        found = inspect_notebook(str(path))
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    try:
        return {name: ast.literal_eval(p["default"]) for name, p in found.items()}
    except (ValueError, SyntaxError) as error:
        raise RunError(f"{path}: its parameters cell must hold plain literals ({error})") from None


def parse_value(text, default, name):
    """Text of a command line as a value of the type that ``default`` has."""
    if not isinstance(text, str) or isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text.capitalize() if isinstance(default, bool) else text)
    except (ValueError, SyntaxError):
        value = None
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        kind = type(default).__name__
        raise RunError(f"parameter {name} takes a value of type {kind}, got {text!r}")
    return value


def split_parameters(paths, given):
    """Check the given parameters against the notebooks and hand each what it takes.

    Args:
        paths: notebooks.
        given: {name: text or value}.

    Returns:
        {path: {name: value}}, with the parameters' types.

    Raises:
        RunError: for a name that no notebook has, or a value of another type.
    """
    defaults = {path: notebook_parameters(path) for path in paths}
    known = sorted({name for d in defaults.values() for name in d} - {"run_dir"})
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise RunError(f"no parameter {name!r} in {', '.join(p.stem for p in paths)}; {hint}")
    return {
        path: {n: parse_value(v, d[n], n) for n, v in given.items() if n in d}
        for path, d in defaults.items()
    }


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
        self.path.mkdir(parents=True, exist_ok=True)

    def keep(self, figure, name):
        """Save a figure as ``figures/<name>.png`` (3D scenes as .html too) and return it."""
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        if hasattr(figure, "save_html"):
            figure.save_html(folder / f"{name}.html")
            figure.save_png(folder / f"{name}.png")
        else:
            figure.savefig(folder / f"{name}.png")
        return figure

    def report(self, name, value):
        """Keep a JSON-able value as ``results/<name>.json``; ``metrics.json`` collects them."""
        write_json(self.path / "results" / f"{name}.json", value)

    def __repr__(self):
        return f"Run({str(self.path)!r})"


def open_run(run_dir, notebook):
    """The run that a notebook works in: ``run_dir``, or a fresh folder named after the notebook."""
    return Run(run_dir or _new_run_dir(notebook))


def trained_run(run_dir=""):
    """A run with a trained model: ``run_dir``, or the newest, or one trained now by 02_train.

    Raises:
        RunError: ``run_dir`` is given and holds no trained model.
    """
    if run_dir:
        if not (Path(run_dir).expanduser() / CHECKPOINT).exists():
            raise RunError(f"{run_dir} has no trained model ({CHECKPOINT}): run 02_train first")
        return Run(run_dir)
    found = sorted(runs_root().glob(f"*/{CHECKPOINT}"), key=lambda p: p.stat().st_mtime)
    if found:
        return Run(found[-1].parents[CHECKPOINT.count("/")])
    print("no trained run yet: running 02_train with its defaults first")
    return Run(run_notebooks(["02_train"]))


def _new_run_dir(prefix):
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    root = runs_root()
    root.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        path = root / (f"{prefix}-{stamp}" + (f"-{number}" if number > 1 else ""))
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise RunError(f"no free name for a run under {root}")


def _fingerprint(paths, parameters):
    """Name of a run by its content: code, notebooks, parameters and environment."""
    digest = hashlib.sha256()
    for path in (*sorted(PACKAGE.rglob("*.py")), *paths):
        digest.update(path.read_bytes())
    settings = {p.stem: v for p, v in parameters.items()}
    settings["environment"] = {n: os.environ.get(n, "") for n in ENVIRONMENT}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:8]


def _run_name(paths, parameters, given):
    what = "run" if len(paths) > 1 else paths[0].stem
    differs = "-".join(f"{n}={Path(str(v)).name}" for n, v in sorted(given.items()))
    slug = re.sub(r"[^A-Za-z0-9_.=-]+", "_", f"{what}-{differs}" if differs else what)[:80]
    return f"{slug}-{_fingerprint(paths, parameters)}"


def write_json(path, value):
    """Write ``value`` as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def describe_run(paths, parameters):
    """What is needed to know how a run was made, as a JSON-able dict."""
    versions = {"python": platform.python_version()}
    for name in ("handlib", "torch", "numpy", "transformers", "accelerate", "papermill"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "notebooks": [p.stem for p in paths],
        "parameters": {p.stem: v for p, v in parameters.items()},
        "environment": {n: os.environ.get(n, "") for n in ENVIRONMENT},
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


# -- execution -------------------------------------------------------------------------------
def run_notebooks(names=WORKFLOW, given=None, name=None):
    """Execute notebooks in order into one run folder.

    A finished run of the same name is not run again; an unfinished one goes on where it stopped:
    executed notebooks are skipped and training resumes from its last checkpoint.

    Args:
        names: paths, or names of handlib's own notebooks.
        given: {parameter: text or value}; each notebook takes those that it has.
        name: of the run folder; by default made from what differs and the content.

    Returns:
        The run folder.

    Raises:
        RunError: unknown parameters, or a notebook that failed (the message has its path).
    """
    given = dict(given or {})
    paths = [notebook_path(n) for n in names]
    parameters = split_parameters(paths, given)
    run_dir = runs_root() / (name or _run_name(paths, parameters, given))
    if (run_dir / "metrics.json").exists():
        print(f"already finished: {run_dir}\n(remove the folder, or give --name, to run again)")
        return run_dir
    if not (run_dir / "run.json").exists():
        write_json(run_dir / "run.json", describe_run(paths, parameters))
    print(f"run folder: {run_dir}", flush=True)
    for number, path in enumerate(paths, 1):
        output = run_dir / "notebooks" / path.name
        print(f"[{number}/{len(paths)}] {path.stem}", flush=True)
        if _is_complete(output):
            print("    executed before, kept", flush=True)
        else:
            _execute(path, output, {**parameters[path], "run_dir": str(run_dir)})
    write_json(run_dir / "metrics.json", collect_metrics(run_dir))
    return run_dir


def collect_metrics(run_dir):
    """Merge what the notebooks reported (``results/*.json``) into one dict."""
    files = sorted((Path(run_dir) / "results").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def _is_complete(output):
    try:
        meta = json.loads(output.read_text())["metadata"]["papermill"]
    except (OSError, ValueError, KeyError):
        return False
    return not meta.get("exception") and meta.get("end_time") is not None


def _execute(path, output, parameters):
    """One notebook through papermill, in a kernel with sockets of its own."""
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    output.parent.mkdir(parents=True, exist_ok=True)
    # Unix sockets under a private, short path: kernels that start at once never race for ports.
    with tempfile.TemporaryDirectory(prefix="hl") as sockets:
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/k"}})
        try:
            execute_notebook(
                str(path),
                str(output),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=sys.stderr.isatty(),
                log_output=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                config=config,
                coalesce_streams=True,
                iopub_timeout=60,
            )
        except PapermillExecutionError as error:
            cell = f"cell {error.exec_count}: {error.ename}: {error.evalue}"
            raise RunError(f"{path.stem} failed in {cell}\nexecuted notebook: {output}") from None
        except Exception as error:
            raise RunError(f"{path.stem} failed: {error}\nexecuted notebook: {output}") from error


# -- reports ---------------------------------------------------------------------------------
def summary(run_dir):
    """What a run made and measured, as text for a terminal."""
    run_dir = Path(run_dir)
    results = json.loads((run_dir / "metrics.json").read_text())
    lines = ["", f"Run {run_dir.name}"]
    evaluation = results.get("evaluate")
    if evaluation:
        lines += [f"  hand model: {evaluation['hand']}", f"  data: {evaluation['data']}", ""]
        lines += [*table(evaluation["scores"]), "", f"  {evaluation['verdict']}"]
    lines += ["", f"Everything is in {run_dir}:"]
    lines += [f"  {path.name}{'/' if path.is_dir() else ''}" for path in sorted(run_dir.iterdir())]
    return "\n".join(lines)


def table(columns):
    """Lines of a plain-text table of {column: {row: number}}."""
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    first = max(len(row) for row in rows)
    widths = {name: max(len(name), 8) for name in columns}
    lines = [" " * first + "".join(f"  {name:>{width}}" for name, width in widths.items())]
    for row in rows:
        cells = (
            f"  {columns[name][row]:>{width}.3f}" if row in columns[name] else " " * (width + 2)
            for name, width in widths.items()
        )
        lines.append(f"{row:<{first}}" + "".join(cells))
    return lines
