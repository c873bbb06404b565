"""Two processes on two cores beside one process on one: pictures per second and losses.

    python benchmarks/bench_processes.py

The real notebook, 02_train, by ``handlib run``; both see the same global batch. Two runs of one
process each at the same time show what the machine's second core is worth on its own: a shared
machine takes part of it away. Needs two idle cores, so it is not part of run.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def start(folder, name, processes, cores, seed, args):
    """A run of 02_train on the given cores: the process."""
    given = {
        "preset": args.preset, "init": "random", "samples": 500, "steps": args.steps,
        "batch_size": args.batch, "evaluations": 1, "seed": seed, "workers": 0,
    }  # fmt: skip
    words = [word for name_value in given.items() for word in ("-p", *map(str, name_value))]
    command = [sys.executable, "-m", "handlib.cli", "run", "02_train", *words, "--name", name]
    command += ["--processes", str(processes)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL,
        env=os.environ | {"MP_EXPERIMENTS": str(folder), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip


def train(folder, setting, seed, args):
    """(pictures per second of all runs of a setting together, records of the last one)."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    parts = {
        "1 process": [(1, cores[:1])],
        "2 processes": [(2, cores)],
        "2 runs at once": [(1, [core]) for core in cores],
    }[setting]
    names = [f"{setting}-{seed}-{n}".replace(" ", "-") for n in range(len(parts))]
    started = [
        start(folder, name, *part, seed, args) for name, part in zip(names, parts, strict=True)
    ]
    if sum(process.wait() != 0 for process in started):
        sys.exit(f"{setting}: a run failed")
    pace = 0
    for name in names:
        lines = (folder / name / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        pace += statistics.median(r["images_per_s"] for r in records if "images_per_s" in r)
    return pace, records


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--preset", default="modern")
    parser.add_argument("--rounds", type=int, default=3, help="each with a seed of its own")
    args = parser.parse_args()
    paces = {"1 process": [], "2 processes": [], "2 runs at once": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.rounds):
            for setting in paces:
                pace, records = train(Path(folder), setting, seed, args)
                paces[setting].append(pace)
                losses = [r["loss"] for r in records if "loss" in r]
                loss = statistics.mean(losses[-max(1, len(losses) // 5) :])
                error = [r["val_pa_mpjpe_mm"] for r in records if "val_pa_mpjpe_mm" in r][-1]
                print(f"seed {seed}, {setting}: {pace:.1f} pictures/s, loss {loss:.3f} "
                      f"(last fifth), validation PA-MPJPE {error:.2f} mm", flush=True)  # fmt: skip
    one, two, pair = paces.values()
    for name, other, count in (("one process", one, 2), ("two runs at once", pair, 1)):
        shares = [a / b / count for a, b in zip(two, other, strict=True)]
        each = ", ".join(f"{share:.0%}" for share in shares)
        print(f"of {name}: {statistics.median(shares):.0%} ({each})")


if __name__ == "__main__":
    main()
