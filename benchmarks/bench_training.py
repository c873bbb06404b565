"""Training's pictures per second beside the bare model step on tensors that lie in memory.

    python benchmarks/bench_training.py

Both run in turns: the same model, losses and optimizer. The bare step sees one batch again and
again; the loop of ``handlib.training`` reads files, transforms them in worker processes, logs.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from timing import Row

from handlib import training
from handlib.augment import train_transforms
from handlib.data import FreiHANDReader, HandDataset, load_backgrounds
from handlib.data.synthesize import one_thread, synthesize
from handlib.mano import load_hand_model
from handlib.model import make_model
from handlib.presets import MODEL_PRESETS
from handlib.recipe import TrainConfig


def rows(rounds=9, steps=18, samples=64, workers=1, batch=32):
    hand = load_hand_model()
    size = MODEL_PRESETS["small"].input_size
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        synthesize(folder / "data", samples, 1, progress=False)
        transforms = train_transforms(size, load_backgrounds())
        data = HandDataset(FreiHANDReader(folder / "data", "train"), transforms)
        config = TrainConfig(
            steps=steps, batch_size=batch, workers=workers, log_with=None,
            save_every=10**9, log_every=10**9,
        )  # fmt: skip
        rates = {"loop": [], "bare": []}
        for number in range(2 * rounds):
            kind = ("loop", "bare")[number % 2]
            rates[kind].append(_rate(kind, data, hand, folder / str(number), config))
    share = statistics.median(a / b for a, b in zip(rates["loop"], rates["bare"]))
    loop, bare = (statistics.median(rates[kind]) for kind in ("loop", "bare"))
    return [
        Row(f"training loop, preset small, {workers} data worker", "images/s", loop, bare,
            share, "0.95 of the bare step", share >= 0.95, "bare step")
    ]  # fmt: skip


def _rate(kind, data, hand, folder, config):
    """Images per second over the last five sixths of the steps."""
    model = make_model("small", hand)
    trainer, times = training.Trainer(model, data, None, config, folder), []
    step = trainer.train_step

    def timed(batch):
        loss = step(batch)
        times.append(time.perf_counter())
        return loss

    with patch.object(trainer, "train_step", timed), one_thread():
        if kind == "loop":
            trainer.run()
        else:
            batch = next(training.batches(training.step_loader(data, replace(config, workers=0))))
            model.train()
            for _ in range(config.steps):
                timed(batch)
    counted = times[len(times) // 6 :]
    return config.batch_size * (len(counted) - 1) / (counted[-1] - counted[0])


if __name__ == "__main__":
    for row in rows():
        print(row)
