"""Two processes on two cores beside one process on one: pictures per second and losses.

    python benchmarks/bench_processes.py

The real notebook, 02_train, by ``handlib run``; both see the same global batch. Needs two idle
cores, so it is not part of run.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def train(folder, processes, steps, batch, preset):
    """Records of a training: list of dicts."""
    name = f"{processes}-{batch}"
    given = {
        "preset": preset, "init": "random", "samples": 500, "steps": steps, "batch_size": batch,
        "evaluations": 1, "seed": 0, "workers": 0,
    }  # fmt: skip
    words = [word for name_value in given.items() for word in ("-p", *map(str, name_value))]
    command = [sys.executable, "-m", "handlib.cli", "run", "02_train", *words, "--name", name]
    command += ["--processes", str(processes)]
    cores = sorted(os.sched_getaffinity(0))[:processes]
    environment = os.environ | {"MP_EXPERIMENTS": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        command, env=environment, check=True, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--preset", default="modern")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {n: train(Path(folder), n, args.steps, args.batch, args.preset) for n in (1, 2)}
    pace, loss, error = {}, {}, {}
    for n, records in runs.items():
        pace[n] = statistics.median(r["images_per_s"] for r in records if "images_per_s" in r)
        loss[n] = statistics.mean([r["loss"] for r in records if "loss" in r][-20:])
        error[n] = [r["val_pa_mpjpe_mm"] for r in records if "val_pa_mpjpe_mm" in r][-1]
        print(f"{n} processes: {pace[n]:.1f} pictures/s, loss {loss[n]:.3f} (last fifth), "
              f"validation PA-MPJPE {error[n]:.2f} mm")  # fmt: skip
    print(f"efficiency: {pace[2] / pace[1] / 2:.0%}")


if __name__ == "__main__":
    main()
