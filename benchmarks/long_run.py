"""Do memory and open files grow over a long training? ``python benchmarks/long_run.py``

A small network on stored synthetic hands, with everything that a run of 02_train does on the way:
worker, records, tracker, evaluations, checkpoints, moving average.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import psutil

from handlib.augment import eval_transforms, named_transforms
from handlib.data import HandDataset, load_backgrounds, open_dataset
from handlib.data.synthesize import one_thread, synthesize
from handlib.mano import load_hand_model
from handlib.model import make_model
from handlib.recipe import TrainConfig
from handlib.training import train

SIZE = 64


def long_run(steps):
    """Train so many steps; dict of what memory (MB) and open files (count) did.

    Each is (first, last, slope in 10,000 steps); the first fifth of the steps is left out, in
    which caches fill.
    """
    hand, seen = load_hand_model(), []
    process = psutil.Process()

    def look(trainer):
        everyone = [process, *process.children(recursive=True)]
        memory = [each.memory_info().rss / 1e6 for each in everyone]
        files = sum(each.num_fds() for each in everyone)
        seen.append((trainer.step, memory[0], sum(memory[1:]), files))
        if len(seen) % 20 == 1:
            print("step {}: {:.0f} MB, workers {:.0f} MB, {} files".format(*seen[-1]), flush=True)

    with tempfile.TemporaryDirectory() as folder, one_thread():
        data = synthesize(Path(folder) / "data", 16, 1, progress=False)
        transforms = named_transforms("light", SIZE, load_backgrounds())
        sets = [
            HandDataset(open_dataset(data, split), each)
            for split, each in (("train", transforms), ("val", eval_transforms(SIZE)))
        ]
        config = TrainConfig(
            steps=steps, batch_size=2, workers=1, average=0.99, log_every=50,
            eval_every=max(steps // 20, 1), save_every=200,
        )  # fmt: skip
        model = make_model("small", hand, input_size=SIZE, hidden=16)
        train(model, *sets, config, Path(folder) / "run", watchers=[look])
    at, *columns = np.array(seen[len(seen) // 5 :]).T
    return {
        name: (values[0], values[-1], np.polyfit(at, values, 1)[0] * 10_000)
        for name, values in zip(("process", "worker", "files"), columns, strict=True)
    }


def told(steps, found):
    """A sentence."""
    process, worker, files = found["process"], found["worker"], found["files"]
    return (
        f"{steps:,} steps of training with a worker, a checkpoint every 200 and 20 evaluations: "
        f"from step {steps // 5:,} on the process went from {process[0]:.0f} to {process[1]:.0f} "
        f"MB (fitted line: {process[2]:+.1f} MB in 10,000 steps), its worker from {worker[0]:.0f} "
        f"to {worker[1]:.0f} MB ({worker[2]:+.1f}), open files from {files[0]:.0f} to "
        f"{files[1]:.0f}."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps
    print(told(steps, long_run(steps)))
