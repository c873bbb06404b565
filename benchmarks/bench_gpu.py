"""The hand layer, and training, on a GPU; no rows where there is none.

    python benchmarks/bench_gpu.py

By the clock, once the GPU has done what it was told: the hand layer beside smplx's, also compiled
by torch; and training's loop in bf16 beside the bare step, ResNet-34 at 224 and 320 px.
"""

import os
import time

import bench_training
import torch
from timing import Row, backward, compare, in_turns, random_hands, smplx_hands

from handlib.mano import HandLayer, load_hand_model
from handlib.mano.standin import standin_path


def rows(device=None, rounds=25, batches=(64, 512, 4096), compiled=True, sizes=(224, 320), **train):
    """Rows of the table.

    Args:
        device: None is the GPU, if there is one.
        compiled: measure torch.compile too, which takes a minute to begin.
        train: of ``bench_training.row``, to make it shorter.
    """
    if device is None and not torch.cuda.is_available():
        return []
    device = torch.device(device or "cuda")
    found = [row for batch in batches for row in _layer(device, rounds, batch, compiled)]
    train = {"rounds": 3, "steps": 200, "samples": 512, "batch": 128} | train
    train.setdefault("workers", max(1, (os.cpu_count() or 1) - 1))
    for size in sizes:
        found.append(
            bench_training.row(
                f"training loop on the {_name(device)}, bf16, ResNet-34, {size} px",
                preset="boukhayma2019", size=size, mixed_precision="bf16", **train,
            )
        )  # fmt: skip
    return found


def _name(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _layer(device, rounds, batch, compiled):
    layer = HandLayer(load_hand_model(standin_path("right")), "manopth").to(device)
    forward = {"handlib": layer}
    if compiled:
        forward["compiled"] = torch.compile(layer)
    done = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    functions = {name: _ours(layer, each, device, batch, done) for name, each in forward.items()}
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


def _ours(layer, forward, device, batch, done):
    pose, betas = random_hands(batch, device)

    def run():
        backward(pose, betas, forward(layer.rotations(pose), betas))
        done()

    return run


if __name__ == "__main__":
    for row in rows():
        print(row, flush=True)
