"""Do memory and open files grow over a long training? ``python benchmarks/long_run.py``

A small network on stored synthetic hands, with everything that a run of 02_train does on the way:
worker, records, tracker, evaluations, checkpoints, moving average.
"""

import argparse
import tempfile
import time
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    args = parser.parse_args()
    hand, seen = load_hand_model(), []
    process, start = psutil.Process(), time.monotonic()

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
            steps=args.steps, batch_size=2, workers=1, average=0.99, log_every=50,
            eval_every=max(args.steps // 20, 1), save_every=200,
        )  # fmt: skip
        model = make_model("small", hand, input_size=SIZE, hidden=16)
        train(model, *sets, config, Path(folder) / "run", watchers=[look])
    # What fills caches comes in the first fifth.
    steps, own, workers, files = np.array(seen[len(seen) // 5 :]).T
    for name, values in (("training process", own), ("workers", workers)):
        slope = np.polyfit(steps, values, 1)[0] * 10_000
        print(f"{name}: {values[0]:.0f} to {values[-1]:.0f} MB, {slope:+.1f} MB in 10,000 steps")
    print(f"open files: {files[0]:.0f} to {files[-1]:.0f}")
    print(f"{args.steps} steps in {(time.monotonic() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()
