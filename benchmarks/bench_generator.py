"""Finished pictures per second and core of the generator: posed, rendered, composited, written.

python benchmarks/bench_generator.py
"""

import statistics
import tempfile
from pathlib import Path

from timing import Row, in_turns, slower, smplx_hands

from handlib.data.synthesize import one_thread, synthesize
from handlib.mano import load_hand_model

GOAL = 300


def rows(rounds=9, samples=64):  # many rounds: the yardstick is a call of milliseconds in each
    hand = load_hand_model()

    def generate():
        with tempfile.TemporaryDirectory() as folder:
            synthesize(Path(folder) / "made", samples, 1, 0, 224, hand, workers=1, progress=False)

    with one_thread():
        times = in_turns({"handlib": generate, "yardstick": smplx_hands(64)}, rounds)
    rate = (4 * samples + 1) / statistics.median(times["handlib"])
    least = GOAL / slower(times)
    return [
        Row("generator, 224 px, one worker", "pictures per CPU second", rate,
            goal=f"{GOAL}, here {least:.0f}", met=rate >= least)
    ]  # fmt: skip


if __name__ == "__main__":
    for row in rows():
        print(row)
