"""A process that does nothing but save checkpoints is killed again and again (SIGKILL).

python benchmarks/kill_saving.py --kills 200

After each kill, what a training would go on from must be whole, of one step, and not older than
the last one whose saving had ended.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from handlib import checkpoints
from handlib.mano import load_hand_model
from handlib.model import make_model


def kill_saving(kills, folder, seed=0):
    """Kill so many processes while they save into ``folder``.

    Returns:
        Counter: "kills"; "saves" that had ended; in which state the folder was found ("whole",
        "one before": the name of the last one was free, "half beside": an unfinished one lay
        there); "lost" checkpoints, and those that were "damaged" or "mixed" from two steps.
    """
    torch.set_num_threads(1)  # threads would not survive a fork
    rng = random.Random(seed)
    folder, saver = Path(folder) / "last", _Saver()
    start = time.perf_counter()
    saver.save(folder, 1)
    once = time.perf_counter() - start
    counts, step = Counter(kills=0, saves=0, lost=0, damaged=0, mixed=0), 1
    for _ in tqdm(range(kills), "kills", mininterval=5):
        ended = _killed(saver, folder, step + 1, rng.uniform(0, 4 * once))
        counts["kills"] += 1
        counts["saves"] += ended
        counts["half beside"] += folder.with_name(f".{folder.name}.new").exists()
        found, fault = saver.read(folder)
        counts["whole" if folder.exists() else "one before"] += 1
        counts["lost"] += found < step + ended
        if fault:
            counts[fault] += 1
        step = max(found, step)
    return counts


class _Saver:
    """What saves and reads; each step's number stands in the weights too."""

    def __init__(self):
        self.accelerator = Accelerator(cpu=True)
        self.model = make_model("small", load_hand_model(), hidden=32)
        self.optimizer = torch.optim.AdamW(self.model.parameters())

    def save(self, folder, step):
        self.model.head[-1].bias.data.fill_(step)
        checkpoints.save(folder, self.accelerator, self.model, {"step": step}, self.optimizer)

    def read(self, folder):
        """(step of the newest checkpoint, 0 for none; what is wrong with it, or "")."""
        try:
            found = checkpoints.find_checkpoint(folder)
            checkpoints.verify(found)
            checkpoints.restore(found, self.accelerator, self.model, self.optimizer)
        except (OSError, ValueError):
            return 0, "damaged"
        step = checkpoints.read_json(found / "trainer.json")["step"]
        same = bool((self.model.head[-1].bias == step).all())
        return step, "" if same else "mixed"


def _killed(saver, folder, step, seconds):
    """Save from ``step`` on in a forked process, which is killed; how many savings had ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            while True:
                saver.save(folder, step)
                os.write(writing, b".")
                step += 1
        finally:
            os._exit(1)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, 9)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as file:
        return len(file.read())


def told(counts):
    """A sentence."""
    return (
        f"{counts['kills']} times SIGKILL at a random moment of saving, in which "
        f"{counts['saves']} savings had ended: an unfinished checkpoint lay beside in "
        f"{counts['half beside']} cases, the last one's name was free in {counts['one before']}; "
        f"damaged: {counts['damaged']}, mixed from two steps: {counts['mixed']}, "
        f"finished ones lost: {counts['lost']}."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    with tempfile.TemporaryDirectory() as name:
        print(told(kill_saving(parser.parse_args().kills, name)))
