"""The folder of a run, as notebooks and commands see it."""

import fnmatch
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from handlib.names import hint
from handlib.notebooks import RunError, Stopped
from handlib.paths import STOP, has_model, runs_root, write_json
from handlib.processes import rank
from handlib.reading import BadFile, read_json

LONGEST_NAME = 200  # bytes; file systems take 255
CHECKPOINT = "checkpoints/best/model.safetensors"


def check_name(name):
    """RunError for the name of a folder that would not be one in ``runs_root``."""
    if name is None:
        return
    if name in ("", ".", "..") or Path(name).name != name:
        raise RunError(f"--name {name!r}: give the name of a folder; MP_EXPERIMENTS says where")
    if "," in name:
        raise RunError(f"--name {name}: commas stand between the names of several runs")
    if len(name.encode()) > LONGEST_NAME:
        raise RunError(f"--name {name}: give one of at most {LONGEST_NAME} letters")


def matching(known, patterns, what, where=""):
    """Those of the known names that one of some names or patterns (``sweep-*``) means; all of them
    without patterns. RunError for a pattern of none, with the nearest ``what``, or all, ``where``.
    """
    chosen = set() if patterns else set(known)
    for pattern in patterns:
        found = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not found:
            there = hint(pattern, known) if known else "there is none yet"
            raise RunError(f"no {what} {pattern}{where}; {there}")
        chosen |= set(found)
    return [name for name in known if name in chosen]


class Run:
    """A run folder as a notebook sees it: where figures and results are kept.

    Of several processes that run the same notebook, the first one writes.

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
        if rank():
            return figure
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        figure.savefig(folder / f"{name}.png")
        if hasattr(figure, "save_html"):
            figure.save_html(folder / f"{name}.html", beside=True)
            figure.save_mesh(folder / f"{name}.ply")
        return figure

    def report(self, name, value):
        """Keep a JSON-able value as ``results/<name>.json``; ``metrics.json`` collects them."""
        if not rank():
            write_json(self.path / "results" / f"{name}.json", value)

    def results(self):
        """What was reported, as {name: value}."""
        files = sorted((self.path / "results").glob("*.json"))
        return {file.stem: read_json(file, finite=False) for file in files}

    def go_on_unless_stopped(self, result):
        """End the notebook here if its training was asked to stop: the next start goes on.

        Args:
            result: ``TrainResult``.

        Raises:
            Stopped: a file named STOP, a signal to the process, or ``max_minutes`` ended the
                training before its last step.
        """
        if result.stopped in ("STOP file", "SIGTERM", "deadline"):
            raise Stopped(f"stopped after {result.step} steps, all saved")

    @property
    def stop_file(self):
        """Where it exists, a training ends at its next step, with everything saved."""
        return self.path / STOP

    @property
    def is_finished(self):
        """Whether it has a whole ``metrics.json``: one that is damaged is collected anew."""
        with suppress(FileNotFoundError, BadFile):
            read_json(self.path / "metrics.json", finite=False)
            return True
        return False

    @property
    def is_trained(self):
        return has_model(self.path)

    def __repr__(self):
        return f"Run({str(self.path)!r})"


def open_run(run_dir, notebook):
    """The run that a notebook works in: ``run_dir``, or a fresh folder named after the notebook."""
    return Run(run_dir or runs_root() / f"{notebook}-{datetime.now():%Y%m%d-%H%M%S-%f}")
