"""Training's pictures per second beside the bare model step on tensors that lie in memory.

    python benchmarks/bench_training.py

Both run in turns: the same model, losses and optimizer. The bare step sees one batch again and
again; the loop of ``handlib.training`` reads files, transforms them in worker processes, logs.
"""

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from timing import Row

from handlib import training
from handlib.augment import train_transforms
from handlib.data import FreiHANDReader, HandDataset, load_backgrounds
from handlib.data.synthesize import synthesize
from handlib.mano import load_hand_model
from handlib.model import MODEL_PRESETS, make_model
from handlib.recipe import TrainConfig

BATCH = 32


def rows(rounds=3, steps=30, samples=64, workers=1):
    hand = load_hand_model()
    size = MODEL_PRESETS["small"].input_size
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        synthesize(folder / "data", samples, 1, progress=False)
        transforms = train_transforms(size, load_backgrounds())
        data = HandDataset(FreiHANDReader(folder / "data", "train"), transforms)
        rates = {"loop": [], "bare": []}
        for number in range(2 * rounds):
            kind = ("loop", "bare")[number % 2]
            rates[kind].append(_rate(kind, data, hand, folder / str(number), steps, workers))
    shares = sorted(a / b for a, b in zip(rates["loop"], rates["bare"]))
    share = shares[len(shares) // 2]
    loop, bare = (sorted(rates[k])[rounds // 2] for k in ("loop", "bare"))
    return [
        Row(f"training loop, preset small, {workers} data worker", "images/s", loop, bare,
            share, "0.95 of the bare step", share >= 0.95, "bare step")
    ]  # fmt: skip


def _rate(kind, data, hand, folder, steps, workers):
    """Images per second of ``steps`` steps after a fifth as many to get going."""
    model = make_model("small", hand)
    warm = max(steps // 5, 1)
    config = TrainConfig(
        steps=steps + warm, batch_size=BATCH, workers=workers, log_with=None,
        save_every=10**9, log_every=10**9,
    )  # fmt: skip
    trainer = training.Trainer(model, data, None, config, folder)
    times = []
    step = trainer.train_step

    def timed(batch):
        loss = step(batch)
        times.append(time.perf_counter())
        return loss

    with patch.object(trainer, "train_step", timed):
        if kind == "loop":
            trainer.run()
        else:
            batch = next(iter(training.step_loader(data, TrainConfig(batch_size=BATCH))))
            model.train()
            trainer.started = time.monotonic()
            for _ in range(steps + warm):
                timed(batch)
    return BATCH * steps / (times[-1] - times[-1 - steps])


if __name__ == "__main__":
    for row in rows():
        print(row)
