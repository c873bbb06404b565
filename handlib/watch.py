"""What to look at while a model trains: curves that grow, and a film of the same few hands."""

import time

import numpy as np
from IPython.display import display

from handlib.evaluation import predict
from handlib.paths import atomic_write
from handlib.plots import show_training

# Shares of the training at which the film is exposed: most happens early.
MOMENTS = (0.0, 0.03, 0.1, 0.25, 0.5, 1.0)
KEPT = ("pred_joints_2d", "pred_joints", "width")


class Film:
    """The same hands as the network sees them at ``MOMENTS`` of its training.

    Frames are files of the run, so a training that goes on goes on with its film.

    Args:
        samples: list of ``Sample`` as a ``HandDataset`` gives them.
        run_dir: of the training.
    """

    def __init__(self, samples, run_dir):
        self.samples, self.folder = list(samples), run_dir / "film"

    def __call__(self, trainer):
        """Expose the next frame, where it is time; for ``train``."""
        for step in self._steps():
            if step > trainer.step and trainer.rank == 0:  # of a session that was not saved
                self._path(step).unlink()
        taken = [step for step in self._steps() if step <= trainer.step]
        due = sum(trainer.progress() >= moment for moment in MOMENTS)
        if len(taken) >= due or trainer.step in taken:
            return
        seen = predict(trainer.kept, self.samples)
        if trainer.rank == 0:
            self.folder.mkdir(exist_ok=True)
            with atomic_write(self._path(trainer.step)) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **{name: seen[name] for name in KEPT})

    def frames(self):
        """dict of "step N" -> what ``evaluation.predict`` said of the samples then."""
        return {
            f"step {step}": dict(np.load(self._path(step), allow_pickle=False))
            for step in self._steps()
        }

    def _steps(self):
        return sorted(int(path.stem) for path in self.folder.glob("*.npz"))

    def _path(self, step):
        return self.folder / f"{step:07d}.npz"


class LiveCurves:
    """The curves of a training in a notebook, drawn anew now and then while it runs.

    Args:
        every_s: seconds between two drawings.
        **arguments: of ``plots.show_training``.
    """

    def __init__(self, every_s=30, **arguments):
        self.every_s, self.arguments = every_s, arguments
        self.handle, self.last = None, time.monotonic()

    def __call__(self, trainer):
        """Draw what there is, where it is time; for ``train``."""
        history = trainer.log.history
        if trainer.rank or not history or time.monotonic() - self.last < self.every_s:
            return
        picture = show_training(history, **self.arguments).encoded("png")
        shown = {"image/png": picture, "text/plain": "curves"}
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)
        self.last = time.monotonic()

    def close(self):
        """Take the curves away: those of the whole training follow."""
        if self.handle is not None:
            self.handle.update({"text/plain": "(curves: below)"}, raw=True)
