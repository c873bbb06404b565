"""The hand layer, and training, on a GPU; no rows where there is none.

    python benchmarks/bench_gpu.py

By the clock, once the GPU has done what it was told: the hand layer beside smplx's, also compiled
by torch; and training's loop in bf16 beside the bare step, ResNet-34 at 224 and 320 px, with the
six transforms of its preset and, at 224 px, with those of long trainings.
"""

import argparse
import os
import time
from pathlib import Path

import bench_training
import torch
from timing import Row, backward, compare, in_turns, page, random_hands, smplx_hands

from handlib.mano import HandLayer, load_hand_model
from handlib.mano.standin import standin_path
from handlib.recipe import USUAL

OUT = Path(__file__).parents[1] / "docs" / "benchmarks_gpu.md"
NOTES = """\
Made by `python benchmarks/bench_gpu.py`. By the clock, each call until the GPU is done; handlib and
its peer in turns, medians over the rounds, and the ratio is the median of each round's.

- Compiled is what makes vertices of pose vectors, by `torch.compile` as it comes.
- The bare step of the training sees one batch on the GPU again and again, with the same losses and
  optimizer; the loop reads files, transforms them in a process for each core but one, and copies
  them to the GPU. "course" are the six transforms that `02_train` takes for this preset, "full"
  those of long trainings.
"""


def rows(device=None, rounds=25, batches=(64, 512, 4096), compiled=True, sizes=(224, 320), **train):
    """Yield rows of the table.

    Args:
        device: None is the GPU, if there is one.
        compiled: measure torch.compile too, which takes a minute to begin.
        train: of ``bench_training.row``, to make it shorter.
    """
    if device is None and not torch.cuda.is_available():
        return
    device = torch.device(device or "cuda")
    train = {"rounds": 2, "steps": 100, "samples": 256, "batch": 128} | train
    train.setdefault("workers", max(1, (os.cpu_count() or 1) - 1))
    usual = USUAL["boukhayma2019"]["augmentation"]
    for size, augmentation in [*((size, usual) for size in sizes), (sizes[0], "full")]:
        yield bench_training.row(
            f"training loop on the {_name(device)}, bf16, ResNet-34, {size} px, transforms "
            f'"{augmentation}"', preset="boukhayma2019", size=size, augmentation=augmentation,
            mixed_precision="bf16", **train,
        )  # fmt: skip
    for batch in batches:
        yield from _layer(device, rounds, batch, compiled)


def _name(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _layer(device, rounds, batch, compiled):
    layer = HandLayer(load_hand_model(standin_path("right")), "manopth").to(device)

    def hands(pose, betas):
        return layer(layer.rotations(pose), betas)

    forward = {"handlib": hands}
    if compiled:
        forward["compiled"] = torch.compile(hands)
    done = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    functions = {name: _ours(each, device, batch, done) for name, each in forward.items()}
    theirs = smplx_hands(batch, device)
    functions["smplx"] = lambda: (theirs(), done())
    times = in_turns(functions, rounds, calls=10, clock=time.perf_counter)
    for name in forward:
        ours, peer, ratio = compare(times, name, "smplx")
        how = ", torch.compile" if name == "compiled" else ""
        yield Row(
            f"hand layer on the {_name(device)}{how}, forward and backward, batch {batch}", "ms",
            1e3 * ours, 1e3 * peer, ratio, "2x smplx", ratio >= 2, "smplx",
        )  # fmt: skip


def _ours(forward, device, batch, done):
    pose, betas = random_hands(batch, device)

    def run():
        backward(pose, betas, forward(pose, betas))
        done()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = []
    for row in rows():
        found.append(row)
        print(row, flush=True)
        args.out.write_text(page(found, NOTES, "Benchmarks on a GPU"))


if __name__ == "__main__":
    main()
