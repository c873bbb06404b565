"""Fuzzes what reads other people's files: ``python tests/fuzz.py --minutes M``.

Where atheris is installed it is guided by which lines of handlib an input reaches; elsewhere valid
files are changed at random. Inputs that end in anything but one clear error are kept.
"""

import argparse
import importlib.util
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import mutate

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
if HAS_ATHERIS:
    import atheris

    with atheris.instrument_imports(include=["handlib"]):
        import hostile_files
else:
    import hostile_files

NAMES = list(hostile_files.TARGETS)


class Fuzzer:
    """Tries inputs: a byte that says which target, then the content of its file.

    Args:
        out: folder for the inputs that are faults, and for ``fuzz.json``, which counts.
    """

    def __init__(self, out, seconds):
        self.out, self.end, self.start = Path(out), time.time() + seconds, time.time()
        self.out.mkdir(parents=True, exist_ok=True)
        self.counts, self.faults = dict.fromkeys(NAMES, 0), {}
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        for number in range(len(NAMES)):
            (self.folder / str(number)).mkdir()

    def __call__(self, data):
        if not data:
            return
        number = data[0] % len(NAMES)
        start = time.time()
        fault = hostile_files.fault(NAMES[number], self.folder / str(number), data[1:])
        if time.time() - start > 5:
            fault = fault or "takes more than 5 s"
        self.counts[NAMES[number]] += 1
        if fault and (NAMES[number], fault[:40]) not in self.faults:
            self.faults[NAMES[number], fault[:40]] = fault
            (self.out / f"fault-{len(self.faults)}").write_bytes(data[1:])
            print(f"{NAMES[number]}: {fault} (fault-{len(self.faults)})", flush=True)
        if sum(self.counts.values()) % 10_000 == 0:
            self.note()

    def note(self):
        """Write what was done so far."""
        about = {
            "guided": HAS_ATHERIS,
            "minutes": round((time.time() - self.start) / 60, 1),
            "executions": sum(self.counts.values()),
            "of": self.counts,
            "faults": [f"{name}: {fault}" for (name, _), fault in self.faults.items()],
        }
        (self.out / "fuzz.json").write_text(json.dumps(about, indent=1) + "\n")
        print(f"{about['executions']} executions in {about['minutes']} minutes", flush=True)


def seeds():
    """An input for each target."""
    return [bytes([n]) + hostile_files.TARGETS[name][1] for n, name in enumerate(NAMES)]


def mutator(data, max_size, seed):
    """For atheris: changes by structure as often as its own."""
    rng = random.Random(seed)
    if rng.random() < 0.3:  # it forgets the targets whose readers share their lines with others
        data = rng.choice(seeds())
    if rng.random() < 0.3:
        return data[:1] + atheris.Mutate(data[1:], max_size - 1)
    return data[:1] + mutate.mutated(rng, data[1:])[: max_size - 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", default="outputs/fuzz", help="folder of what is found")
    args = parser.parse_args()
    fuzzer = Fuzzer(args.out, 60 * args.minutes)
    if not HAS_ATHERIS:
        rng, known = random.Random(0), seeds()
        while time.time() < fuzzer.end:
            data = rng.choice(known)
            fuzzer(data[:1] + mutate.mutated(rng, data[1:]))
        fuzzer.note()
        return
    corpus = fuzzer.out / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={60 * args.minutes:.0f}", "-max_len=60000", "-timeout=30"]
    options += ["-rss_limit_mb=3000", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *options], fuzzer, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
