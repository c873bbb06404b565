"""Measures handlib's parts and writes docs/benchmarks.md.

    python benchmarks/run.py

About ten minutes on a quiet machine with two cores. Each part also runs alone, by its own file.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import argparse
from pathlib import Path

import bench_augment
import bench_generator
import bench_gpu
import bench_layer
import bench_metrics
import bench_predict
import bench_startup
import bench_training
from timing import page

OUT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = (
    bench_layer, bench_augment, bench_metrics, bench_generator, bench_startup, bench_predict,
    bench_training, bench_gpu,
)  # fmt: skip
TINY = {  # settings that only show that everything runs
    bench_layer: {"rounds": 1, "batches": (1,)},
    bench_augment: {"rounds": 1, "samples": 2},
    bench_metrics: {"rounds": 1, "samples": 3},
    bench_generator: {"rounds": 1, "samples": 1},
    bench_startup: {"rounds": 1},
    bench_predict: {"rounds": 1, "photos": 4},
    bench_training: {"rounds": 1, "steps": 3, "samples": 2, "workers": 0, "batch": 2},
    bench_gpu: {
        "device": "cpu",
        "rounds": 1,
        "batches": (1,),
        "compiled": False,
        "sizes": (64,),
        "steps": 3,
        "samples": 2,
        "workers": 0,
        "batch": 2,
    },
}
NOTES = """\
Made by `python benchmarks/run.py`. One process, one thread, handlib and its peer in turns; medians
over the rounds, and the ratio is the median of each round's (above 1: handlib is faster). Layer,
transforms, scores and generator are counted in the process's own CPU time, the others by the
clock. A busy machine (the load above is of its last minutes) makes both longer; ratios less so.
Goals in milliseconds or pictures were set where smplx took 9 ms for a batch of 64 hands; what they
come to here is told by smplx, which has its turns beside each of them.

- smplx and handlib get the same poses and return the same vertices and joints. manopth does not
  install beside a current numpy (it needs chumpy); where it is installed,
  `pytest tests/test_backends.py` prints its speed and difference. Measured elsewhere, forward and
  backward at batch 64 and 512: manopth 14 and 109 ms, smplx 8-10 and 50-62 ms.
- "Step by step" is a plain implementation of the six transforms with OpenCV, written for this
  comparison. The course project's own code took 2.2-3.6 ms a sample (measured elsewhere), of data
  in its layout (one JPEG, K and joints), where a hand is told by the green screen of one look in
  four. FreiHAND as published has a mask to decode for each image, a new background for every look
  and all of the hand's annotations to move: that is more than the goal was set for.
- FreiHAND's official program took 11 ms a sample (measured elsewhere).
- The generator is counted in CPU seconds of one process: a picture is posed, rendered,
  composited and written as JPEG, its mask and annotations included.
- The bare step of the training sees one batch in memory again and again, with the same losses and
  optimizer; the loop reads and transforms files in a worker process that has a core of its own
  where the machine has one to spare.
- Where there is a GPU, its rows come last. `python benchmarks/bench_gpu.py` measures them alone:
  [benchmarks_gpu.md](benchmarks_gpu.md).
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="show that everything runs")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rows = []
    for part in PARTS:
        print(f"{part.__name__} ...", flush=True)
        rows += part.rows(**(TINY[part] if args.tiny else {}))
    args.out.write_text(page(rows, NOTES))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
