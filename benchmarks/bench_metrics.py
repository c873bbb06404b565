"""FreiHAND's scores at the size of its evaluation set: time and memory.

    python benchmarks/bench_metrics.py

The hands are those of the tests, repeated. Beside it, in turns: the search for nearest neighbours
alone, both ways, raw and aligned, by scipy's trees: what any straightforward F-score costs. The
official program takes 11 ms a sample (measured elsewhere).
"""

import resource
import warnings
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from timing import Row, compare, in_turns, slower, smplx_hands

from handlib.data.synthesize import one_thread
from handlib.metrics import freihand_scores

OFFICIAL_MS, FASTER = 11, 30


def rows(rounds=5, samples=3960):
    stored = np.load(Path(__file__).parents[1] / "tests/data/freihand_eval.npz", allow_pickle=False)
    names = ("xyz", "verts", "pred_xyz", "pred_verts")
    few = [stored[f"{name}_um"] / 1e6 for name in names]
    many = [np.resize(a, (samples, *a.shape[1:])) for a in few]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of the predicted hands are mirrored, on purpose
        functions = {
            "handlib": lambda: freihand_scores(*many),
            "trees": lambda: _trees(few[1], few[3]),
            "yardstick": smplx_hands(64),
        }
        times = in_turns(functions, rounds)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name, count in (("handlib", samples), ("trees", len(few[0]))):
        times[name] = [1e3 * t / count for t in times[name]]
    ours, trees, ratio = compare(times, "handlib", "trees")
    goal = OFFICIAL_MS / FASTER
    most = goal * slower(times)
    return [
        Row("FreiHAND's scores, a sample", "ms", ours, trees, ratio,
            f"{goal:.2f} ms ({FASTER}x the official program), here {most:.2f}", ours <= most,
            "scipy trees alone"),
        Row(f"memory of the scores beyond the arrays of {samples} samples", "MB", added),
    ]  # fmt: skip


def _trees(verts, pred):
    for _ in ("raw", "aligned"):
        for gt, found in zip(verts, pred):
            cKDTree(gt).query(found)
            cKDTree(found).query(gt)


if __name__ == "__main__":
    for row in rows():
        print(row)
