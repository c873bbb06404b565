"""Finished pictures per second and core of the generator: posed, rendered, composited, written.

python benchmarks/bench_generator.py
"""

import statistics
import tempfile
import time
from pathlib import Path

from timing import Row

from handlib.data.synthesize import synthesize
from handlib.mano import load_hand_model

GOAL = 300


def rows(rounds=3, samples=192):
    hand, rates = load_hand_model(), []
    for _ in range(rounds + 1):  # the first compiles and makes the backgrounds
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            synthesize(Path(folder) / "made", samples, 1, 0, 224, hand, workers=1, progress=False)
            taken = time.process_time() - start
        rates.append((4 * samples + 1) / taken)
    rate = statistics.median(rates[1:])
    return [
        Row("generator, 224 px, one worker", "pictures per CPU second", rate,
            goal=f"{GOAL}", met=rate >= GOAL)
    ]  # fmt: skip


if __name__ == "__main__":
    for row in rows():
        print(row)
