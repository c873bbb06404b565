"""Training's pictures per second beside the bare model step on tensors that lie in memory.

    python benchmarks/bench_training.py

Both run in turns: the same model, losses and optimizer. The bare step sees one batch again and
again; the loop of ``handlib.training`` reads files, transforms them in worker processes, logs.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import torch
from accelerate.utils import send_to_device
from timing import Row

from handlib import training
from handlib.augment import named_transforms
from handlib.data import FreiHANDReader, HandDataset, load_backgrounds
from handlib.data.synthesize import one_thread, synthesize
from handlib.mano import load_hand_model
from handlib.model import make_model
from handlib.presets import MODEL_PRESETS
from handlib.recipe import TrainConfig


def rows(rounds=9, steps=18, samples=64, workers=1, batch=32):
    what = f"training loop, preset small, {workers} data worker"
    return [row(what, rounds, steps, samples, workers, batch)]


def row(
    what, rounds, steps, samples, workers, batch, preset="small", size=None, augmentation="full",
    **config,
):  # fmt: skip
    """A row of the table.

    Args:
        what: its name. samples: unique hands, each in four versions.
        size: of the network's input, px; None is the preset's.
        augmentation: see ``augment.named_transforms``.
        config: further fields of ``TrainConfig``.
    """
    hand = load_hand_model()
    size = size or MODEL_PRESETS[preset].input_size
    config = TrainConfig(
        steps=steps, batch_size=batch, workers=workers, log_with=None,
        save_every=10**9, log_every=10**9, **config,
    )  # fmt: skip
    rates = {"loop": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        transforms = named_transforms(augmentation, size, load_backgrounds())
        data = HandDataset(FreiHANDReader(_dataset(samples).name, "train"), transforms)
        for index in range(len(data)):  # made-up backgrounds are made once, not by each worker
            data[index]
        for number in range(2 * rounds):
            kind, model = ("loop", "bare")[number % 2], make_model(preset, hand, input_size=size)
            rates[kind].append(_rate(kind, data, model, folder / str(number), config))
    share = statistics.median(a / b for a, b in zip(rates["loop"], rates["bare"]))
    loop, bare = (statistics.median(rates[kind]) for kind in ("loop", "bare"))
    return Row(
        what, "images/s", loop, bare, share, "0.95 of the bare step", share >= 0.95, "bare step"
    )


@cache
def _dataset(samples):
    """A folder of so many hands, which goes when the program ends."""
    folder = tempfile.TemporaryDirectory()
    synthesize(folder.name, samples, 1, progress=False)
    return folder


def _rate(kind, data, model, folder, config):
    """Images per second over the last five sixths of the steps."""
    trainer, times = training.Trainer(model, data, None, config, folder), []
    step, device = trainer.train_step, trainer.accelerator.device

    def timed(batch):
        loss = step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())
        return loss

    with patch.object(trainer, "train_step", timed), one_thread():
        if kind == "loop":
            trainer.run()
        else:
            batch = next(training.batches(training.step_loader(data, replace(config, workers=0))))
            batch = send_to_device(batch, device)
            model.train()
            for _ in range(config.steps):
                timed(batch)
    counted = times[len(times) // 6 :]
    return config.batch_size * (len(counted) - 1) / (counted[-1] - counted[0])


if __name__ == "__main__":
    for row in rows():
        print(row)
