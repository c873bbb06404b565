"""The record of a training run: ``metrics.jsonl``, a tracker, and a line of life."""

import json
import time
from collections import defaultdict
from contextlib import contextmanager

from tqdm import tqdm

from handlib.paths import atomic_write, room_for
from handlib.reading import expecting, parse_json

HEARTBEAT_S = 10
# The record of an evaluation by which the best model is kept.
BEST_BY = "val_pa_mpjpe_mm"


def read_records(file):
    """The records of a ``metrics.jsonl``: list of dicts, empty where there is none yet."""
    with expecting(file, "not the record of a training", "move it away, or take another run"):
        lines = file.read_text().splitlines() if file.exists() else []
        # A killed process may leave half a line, always the last.
        records = [parse_json(line, finite=False) for line in lines if line.endswith("}")]
        for record in records:
            float(record["step"]), float(record["time"])
    return records


class RunLog:
    """Collects figures between two records; writes records; shows that the run is alive.

    Args:
        run_dir: folder of ``metrics.jsonl``.
        accelerator: its tracker gets the records too; only its main process writes.
        batch_size, samples: of the training, to count epochs and images.
    """

    def __init__(self, run_dir, accelerator, batch_size, samples):
        self.file, self.accelerator = run_dir / "metrics.jsonl", accelerator
        self.batch_size, self.samples = batch_size, samples
        self.history = []
        self.clear()

    def restore(self, step):
        """Take up the records of an earlier session, forgetting what came after ``step``."""
        self.history = [r for r in read_records(self.file) if r["step"] <= step]
        if self.accelerator.is_main_process:
            with atomic_write(self.file) as temporary:
                temporary.write_text("".join(json.dumps(r) + "\n" for r in self.history))
        self.accelerator.wait_for_everyone()

    def clear(self):
        self.sums, self.steps = defaultdict(float), 0

    @contextmanager
    def clock(self, part):
        """Add the time of a block to the next record's ``s_<part>`` (seconds per step)."""
        start = time.monotonic()
        yield
        self.sums[f"s_{part}"] += time.monotonic() - start

    def add(self, values):
        """Count one step's figures (scalar tensors) in the next record's means."""
        self.steps += 1
        for name, value in values.items():
            self.sums[name] += value.detach()

    def means(self):
        """Means over the steps since the last record, and images per second."""
        means = {name: float(total) / self.steps for name, total in self.sums.items()}
        seconds = sum(value for name, value in means.items() if name.startswith("s_"))
        self.clear()
        return means | {"images_per_s": self.batch_size / seconds}

    def record(self, step, elapsed, values):
        """Append a record; returns it."""
        epoch = step * self.batch_size / self.samples
        record = {"step": step, "epoch": epoch, "time": elapsed} | values
        self.history.append(record)
        self.accelerator.log(values, step=step)
        if self.accelerator.is_main_process:
            self._append(json.dumps(record) + "\n")
        return record

    def _append(self, line):
        try:
            with room_for(self.file), self.file.open("a") as file:
                file.write(line)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.file.parent} is gone (removed, or its disk was taken away) while it was "
                "trained in: put it back and the same goes on from its last checkpoint, or begin "
                "anew elsewhere"
            ) from None

    @contextmanager
    def progress(self, first, total):
        """Yields a function (step, progress, loss) that shows where training is.

        A bar on a terminal. Elsewhere (a notebook's output, a log file) a line now and then: a
        bar would fill the file, and silence would look like a hang.
        """
        main, last = self.accelerator.is_main_process, time.monotonic()
        with tqdm(initial=first, total=total, unit="step", disable=None if main else True) as bar:

            def show(step, progress, loss):
                nonlocal last
                bar.update()
                if main and bar.disable and time.monotonic() - last >= HEARTBEAT_S:
                    last = time.monotonic()
                    print(f"step {step} ({progress:.0%}): loss {float(loss):.4f}", flush=True)

            yield show
