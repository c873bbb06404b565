"""Kill parts of a training run at random moments: ``python tests/kill_runs.py --times 20``

Each time one of the launcher, a process of two, or one of their kernels is killed (SIGKILL), at a
random moment, and the run is started again. At the end it must have the weights of a run that
nobody disturbed, and no kill may have cost more steps than lie between two checkpoints.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import safetensors.numpy
from launched import handlib, kernels, training_notebook

from handlib.runlog import read_records

STEPS, SAVE_EVERY, PAUSE_S = 800, 5, 0.2
VICTIMS = ("launcher", "process", "kernel")


def weights(run_dir):
    return safetensors.numpy.load_file(run_dir / "checkpoints/last/model.safetensors")


def steps(run_dir):
    return [r["step"] for r in read_records(run_dir / "metrics.jsonl") if "loss" in r]


def launch(folder, path, name, processes):
    given = {"steps": STEPS, "save_every": SAVE_EVERY, "pause": PAUSE_S}
    words = ["run", path, "--name", name, "--processes", processes]
    words += [word for parameter in given.items() for word in ("-p", *parameter)]
    # Nobody reads what it says: a pipe would fill.
    log = (folder / f"{name}.log").open("a")
    return handlib(*words, experiments=folder, stdout=log, stderr=log)


def kill(process, victim, rng):
    """Kill one of a run's processes; False when there is none of this kind yet."""
    found = kernels(process)
    if victim == "launcher":
        targets = [psutil.Process(process.pid)]
    else:
        targets = found if victim == "kernel" else [kernel.parent() for kernel in found]
    if not targets:
        return False
    rng.choice(targets).kill()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shortest", type=float, default=1.0, help="seconds before a kill")
    parser.add_argument("--longest", type=float, default=45.0)
    args = parser.parse_args()
    rng, killed = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path, run_dir = training_notebook(folder), folder / "killed"
        while killed < args.times and not (run_dir / "metrics.json").exists():
            process, victim = launch(folder, path, "killed", args.processes), rng.choice(VICTIMS)
            end = time.monotonic() + rng.uniform(args.shortest, args.longest)
            while time.monotonic() < end and process.poll() is None:
                time.sleep(0.1)
            struck = False
            while process.poll() is None and not struck:
                struck = kill(process, victim, rng)
                time.sleep(0.1)  # there may be none yet
            code = process.wait()
            if code and not struck:
                sys.exit(f"the run failed before its {victim} was killed: exit code {code}")
            if struck:
                killed += 1
                done = max(steps(run_dir), default=0)
                print(f"{killed}: {victim} after step {done}, exit code {code}", flush=True)
        (run_dir / "fast").touch()  # nobody waits for the rest
        ended = launch(folder, path, "killed", args.processes).wait()
        (folder / "whole").mkdir()
        (folder / "whole" / "fast").touch()
        launch(folder, path, "whole", args.processes).wait()
        one, other = weights(folder / "whole"), weights(run_dir)
        same = all(np.array_equal(one[name], other[name]) for name in one)
        taken = len((run_dir / "taken.txt").read_text().splitlines())
        lost = taken - STEPS
        print(f"{killed} kills: exit code {ended}, weights as of an undisturbed run: {same}")
        print(f"steps taken again: {lost} in all, saved every {SAVE_EVERY}")
        return not (ended == 0 and same and lost <= killed * (SAVE_EVERY + 1))


if __name__ == "__main__":
    sys.exit(main())
