"""Time and memory of FreiHAND's scores at the size of its evaluation set.

    OMP_NUM_THREADS=1 python benchmarks/bench_metrics.py

The hands are those of the tests, repeated. Beside it, in turns in the same process: the search for
nearest neighbours alone, both ways, raw and aligned, by scipy's trees: what any straightforward
F-score costs, and a measure of how busy the machine is.
"""

import resource
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from handlib.metrics import freihand_scores

SAMPLES, ROUNDS = 3960, 7


def main():
    stored = np.load(Path(__file__).parents[1] / "tests/data/freihand_eval.npz")
    names = ("xyz", "verts", "pred_xyz", "pred_verts")
    few = [stored[f"{name}_um"] / 1e6 for name in names]
    many = [np.resize(a, (SAMPLES, *a.shape[1:])) for a in few]
    warnings.simplefilter("ignore")  # two of the predicted hands are mirrored, on purpose
    freihand_scores(*few)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = {"freihand_scores": [], "trees alone": []}
    for _ in range(ROUNDS):
        times["freihand_scores"].append(_ms_per_sample(freihand_scores, *many))
        times["trees alone"].append(_ms_per_sample(_trees, few[1], few[3]))
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name}: median {middle:.3f}, best {min(values):.3f} ms a sample")
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory beyond the arrays of {SAMPLES} samples: {added / 1024:.0f} MB")


def _ms_per_sample(function, *arrays):
    start = time.perf_counter()
    function(*arrays)
    return 1000 * (time.perf_counter() - start) / len(arrays[0])


def _trees(verts, pred):
    for _ in ("raw", "aligned"):
        for gt, found in zip(verts, pred):
            cKDTree(gt).query(found)
            cKDTree(found).query(gt)


if __name__ == "__main__":
    main()
