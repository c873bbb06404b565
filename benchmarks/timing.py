"""Times of functions that do the same job, called in turns in one process and on one thread.

The machine may be busy with other things: time is the process's own on the processor, what a round
says of two functions is their ratio, and what is reported is the median over the rounds.
"""

import datetime
import gc
import importlib.metadata
import os
import platform
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import smplx
import torch

from handlib.mano.standin import standin_path

# smplx's hand, forward and backward at batch 64 on one thread, where the goals in milliseconds
# were set: it took 8 to 10.
YARDSTICK_MS = 9.0
PACKAGES = ("torch", "numpy", "numba", "opencv-python-headless", "scipy", "smplx")


class Row(NamedTuple):
    """One line of docs/benchmarks.md; numbers are in ``unit``."""

    what: str
    unit: str
    ours: float
    peer: float | None = None  # measured beside ours
    ratio: float | None = None  # peer's time over ours: above 1 handlib is faster
    goal: str = ""
    met: bool | None = None
    peer_name: str = ""


def page(rows, notes, title="Benchmarks"):
    """A page as text: machine and versions, table, notes."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    lines = [
        f"# {title}",
        f"{datetime.date.today()}, {os.cpu_count()} cores ({_processor()}){gpu}, load {load}, "
        f"Python {platform.python_version()}, {versions}.",
        "",
        "| what | handlib | peer | ratio | goal | met |",
        "|---|---|---|---|---|---|",
        *map(_line, rows),
        "",
        notes,
    ]
    return "\n".join(lines)


def _line(row):
    ours, peer = (None if v is None else f"{_number(v)} {row.unit}" for v in (row.ours, row.peer))
    peer = f"{peer} ({row.peer_name})" if peer else ""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    met = {None: "", True: "yes", False: "**no**"}[row.met]
    return f"| {row.what} | {ours} | {peer} | {ratio} | {row.goal} | {met} |"


def _number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return next((v.split(":")[1].strip() for v in lines if v.startswith("model name")), "unknown")


def in_turns(functions, rounds, calls=1, clock=time.process_time):
    """Seconds of one call, in each round: dict of name -> list; the order changes every round.

    Args:
        functions: dict of name -> function without arguments.
        rounds: how often each has its turn.
        calls: calls in a turn, for those that take less than a millisecond.
        clock: seconds of this process on the processor, unless others' count too.
    """
    times = {name: [] for name in functions}
    for function in functions.values():  # compiles, fills caches
        function()
    names = list(functions)
    gc.collect()
    for number in range(rounds):
        for name in names[:: 1 if number % 2 else -1]:
            start = clock()
            for _ in range(calls):
                functions[name]()
            times[name].append((clock() - start) / calls)
    return times


def compare(times, ours, peer):
    """(median of ours, median of the peer's, median over rounds of peer / ours)."""
    ratios = [p / o for p, o in zip(times[peer], times[ours])]
    return (*(statistics.median(times[n]) for n in (ours, peer)), statistics.median(ratios))


def smplx_hands(batch, device="cpu"):
    """A function: smplx's hand layer, forward and backward, on ``batch`` random hands."""
    model = smplx.MANO(str(standin_path("right").parent), use_pca=False, batch_size=batch)
    model.to(device)
    pose, betas = random_hands(batch, device)

    def run():
        output = model(betas=betas, global_orient=pose[:, :3], hand_pose=pose[:, 3:])
        backward(pose, betas, output)

    return run


def random_hands(batch, device="cpu"):
    """Axis-angle poses (batch, 48) and betas (batch, 10) that want gradients."""
    generator = torch.Generator().manual_seed(0)
    pose, betas = (torch.randn(batch, n, generator=generator).to(device) for n in (48, 10))
    return pose.mul_(0.5).requires_grad_(), betas.requires_grad_()


def backward(pose, betas, output):
    pose.grad = betas.grad = None
    made = [output.vertices, output.joints]
    torch.autograd.backward(made, [torch.ones_like(values) for values in made])


def slower(times):
    """How many times slower the machine was than where the goals were set, by the "yardstick" that
    had its turns in ``in_turns``: ``smplx_hands(64)``."""
    return 1e3 * statistics.median(times["yardstick"]) / YARDSTICK_MS
