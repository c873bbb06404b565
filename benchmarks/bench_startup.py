"""How long a command waits before it does anything: new processes, in turns with a bare Python.

python benchmarks/bench_startup.py
"""

import subprocess
import sys
import time

from timing import Row, compare, in_turns

GOAL = 0.5  # s


def rows(rounds=9):
    commands = {
        "bare": ["-c", "pass"],
        "handlib --help": ["-m", "handlib.cli", "--help"],
        "import handlib": ["-c", "import handlib"],
    }
    functions = {name: lambda c=c: _run(c) for name, c in commands.items()}
    times = in_turns(functions, rounds, clock=time.perf_counter)
    found = []
    for name in ("handlib --help", "import handlib"):
        ours, bare, _ = compare(times, name, "bare")
        found.append(
            Row(f"`{name}`", "s", ours, bare, goal=f"{GOAL} s", met=ours < GOAL,
                peer_name="bare Python")
        )  # fmt: skip
    return found


def _run(arguments):
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    for row in rows():
        print(row)
