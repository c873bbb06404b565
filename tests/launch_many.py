"""Do runs that start at once all start? ``python tests/launch_many.py --times 50``"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from launched import handlib, write_notebook


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--times", type=int, default=50)
    args = parser.parse_args()
    failed, start = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = write_notebook(Path(folder) / "tiny.ipynb", "print(seed)")
        for number in range(args.times):
            names = [f"{number}-{n}" for n in range(args.at_once)]
            started = [handlib("run", path, "--name", n, experiments=folder) for n in names]
            for process in started:
                _, errors = process.communicate()
                if process.returncode:
                    failed += 1
                    print(errors, file=sys.stderr)
            print(f"{number + 1}/{args.times}: {failed} failed", flush=True)
    total, minutes = args.times * args.at_once, (time.monotonic() - start) / 60
    print(f"{total} runs, {args.at_once} at once: {failed} failed, {minutes:.0f} min")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
