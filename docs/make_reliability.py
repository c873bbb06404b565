"""Make docs/reliability.md: python docs/make_reliability.py

Lets every bad input and every fault of ``tests/fault_*.py`` happen, and writes down what came of
it. Ends with an error where one did not do what its case says, or lost finished work.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests", "benchmarks")]

import fault_datasets  # noqa: E402, F401
import fault_runs  # noqa: E402, F401
import fault_settings  # noqa: E402, F401
import fault_training  # noqa: E402, F401
import kill_saving  # noqa: E402
import long_run  # noqa: E402
from faults import CASES, produce  # noqa: E402

PAGE = REPOSITORY / "docs" / "reliability.md"
HEAD = """# What happens when something is wrong

{count} bad inputs and faults, each produced by `python docs/make_reliability.py`, most of them in
every run of the tests too: what handlib said, and what was lost of finished work. `DIR` is the
folder in which it happened. One message names the file and the remedy: on the command line it is
all that is shown, in a notebook the last line of the failed cell. `handlib doctor` looks at a
set-up before anything is run.

{kills} (`python benchmarks/kill_saving.py --kills {n}`)

{growth} (`python benchmarks/long_run.py --steps {steps}`)

The same seed on the same machine, with the same versions and threads, gives the same data,
augmentation and weights, bit by bit: however many workers read, however often the training was
interrupted, and whoever else uses the machine (`tests/test_dataset.py`, `tests/test_training.py`,
`tests/test_synthesize.py`). Three things are not exact. On a GPU some kernels add in an order of
their own, and no slower ones are forced. A training that ends by the clock ends where the machine
has got to. And another number of `--processes` gives each other random numbers in dropout and
batch norms of another batch: the same training, not the same weights.
"""
COLUMNS = ("what", "how it was produced", "what happened", "the message", "lost")
LONGEST = 400  # letters of a message


def main(kills, steps):
    rows, wrong = {}, []
    for case in CASES:
        outcome = produce(case)
        print(f"{outcome.seconds:5.1f} s  {case}: {outcome.happened}", flush=True)
        if outcome.happened != case.happens or not re.search(case.says, outcome.message):
            wrong.append(f"{case}: {outcome.happened}: {outcome.message}")
        if not outcome.lost.startswith("nothing"):
            wrong.append(f"{case}: lost {outcome.lost}")
        values = (case.what, case.how, outcome.happened, outcome.message, outcome.lost)
        rows.setdefault(case.group, []).append([_cell(value) for value in values])
    if wrong:
        sys.exit("\n".join(wrong))
    with tempfile.TemporaryDirectory() as name:
        saved = kill_saving.told(kill_saving.kill_saving(kills, name))
    grown = long_run.told(steps, long_run.long_run(steps))
    parts = [HEAD.format(count=len(CASES), kills=saved, n=kills, growth=grown, steps=steps)]
    for group, lines in rows.items():
        parts.append(f"## {group[0].upper()}{group[1:]}\n" + _table(lines))
    PAGE.write_text("\n".join(parts))
    print(f"{PAGE}: {len(CASES)} rows\n{saved}\n{grown}")


def _cell(text):
    text = " ".join(text.split())
    # Numbers of processes and times: no two runs would write the same page.
    text = re.sub(r"pid\(s\) \d+|\d{8}-\d{6}-\d{6}", "...", text)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return text.replace("|", "\\|").replace("<", "&lt;")


def _table(rows):
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=10_000)
    main(**vars(parser.parse_args()))
