"""Work out how training scales, from times measured here: python docs/make_scaling.py

What needs a GPU or a network between machines is assumed, and said to be.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from handlib.augment import named_transforms, stream_transforms
from handlib.data import FreiHANDReader, HandDataset, HandStream, load_backgrounds
from handlib.data.synthesize import one_thread, synthesize
from handlib.mano import load_hand_model
from handlib.model import make_model
from handlib.stream_training import machine

PRESETS = ("modern", "freihand", "boukhayma2019")
# Assumed, not measured: what convolutions at these sizes sustain on a large GPU in bf16 (about a
# tenth of its peak), and the links between GPUs of a machine and between machines, bytes/s.
FLOPS, INSIDE, BETWEEN, SLOW = 1e14, 200e9, 25e9, 1.25e9
DISK = 200e6  # bytes/s of a shared file system, read in small files
SETUPS = {"1 GPU": (1, 1), "8 GPUs": (1, 8), "4 machines of 8": (4, 8)}
SETS = {"FreiHAND, 130,240 pictures": 130_240, "10 million synthetic pictures": 10_000_000}
CORES = 8  # for each GPU, as clusters usually have them
HEAD = (
    "| preset | set-up | GPU's pace | cores needed: light, full, rendered "
    "| allowed: light, full, rendered | gradients: fast link, 10 Gb/s |"
)
PAGE = """# How far it scales

What follows is worked out by `python docs/make_scaling.py` from times measured on one core
({machine}, {date}).
**No GPU was measured**: a GPU is taken to sustain {tflops:.0f} TFLOP/s in
bf16, about a tenth of a large one's peak; links carry {inside:.0f} GB/s inside of a machine and
{between:.0f} between machines. Put your own numbers into the script's first lines.

## Measured on one core
| preset | input | parameters | GFLOP a picture, forward and backward | light | full |
|---|---:|---:|---:|---:|---:|
{costs}

*light*, *full*: milliseconds that one core needs to read, decode and augment a picture (224 px on
disk, {kilobytes:.1f} KB with its mask). Rendering and augmenting a new one of 128 px, as
`handlib train` does: {stream:.1f} ms. Averaging gradients of preset modern between 2 processes of
this machine (gloo): {gloo:.0f} ms.

## Pictures per second
The GPU's own pace; cores that its data need at that pace; and the pace that {cores} cores for each
GPU allow. *Gradients*: their exchange beside a step of 64 pictures a GPU.

{head}
|---|---|---:|---:|---:|---:|
{paces}

## One epoch
With the light augmentation and {cores} cores a GPU.

| preset | set-up | {sets} |
|---|---|{rules}
{epochs}

10 million pictures of {kilobytes:.1f} KB are {terabytes:.2f} TB in 20 million small files.

## What breaks first, and what to set
1. **The data, on the first GPU already.** Networks of this size are small for a GPU: decoding and
   augmentation are the limit wherever "cores needed" is above {cores}. Give `-p workers` all cores
   of the GPU's share (`--cpus {cores}` and `-p workers {fewer}`), prefer `-p augmentation light`,
   and a larger batch. More processes do not help where cores are missing.
2. **Storage.** One machine of 8 GPUs at {cores} cores each reads up to {demand:.0f} MB/s in small
   files; a shared file system often gives {disk:.0f} MB/s. Copy the data to the machine's own disk
   first (`MP_DATA=$SLURM_TMPDIR/...`). Rendered pictures (`handlib train`) need no storage at all,
   and cost {stream:.1f} ms of a core where reading costs {light:.1f}.
3. **Gradients.** Fast links hide them. On 10 Gb/s Ethernet they take the time of the table: use
   one machine, or a batch four times as large.
4. **The batch.** `batch_size` is over all processes: 32 processes at the usual 32 would see one
   picture each. Set 64 for each GPU, and raise the learning rate with its square root. That was
   not measured.
"""


def sample_times(hand, folder):
    """Milliseconds of a core for a picture of each chain and size; bytes of one on disk."""
    synthesize(folder, 64, 1, progress=False)
    sizes = [p.stat().st_size for p in folder.rglob("*.jpg")]
    masks = sum(p.stat().st_size for p in folder.rglob("mask/*"))
    backgrounds, times = load_backgrounds(), {}
    for size in (128, 224):
        for chain in ("light", "full"):
            transforms = named_transforms(chain, size, backgrounds)
            data = HandDataset(FreiHANDReader(folder, "train"), transforms)
            times[chain, size] = timed(lambda n, data=data: data[n % len(data)], 200)
    stream = HandDataset(HandStream(hand, 128, 10**6), stream_transforms(128))
    times["stream"] = timed(lambda n: stream[n], 300)
    return times, (sum(sizes) - masks) / (len(sizes) - 64) + masks / 64 / 4


def timed(call, count):
    """Milliseconds of this process on the processor: the median of five rounds."""
    for n in range(count // 2):  # what is drawn now and then compiles when it first is
        call(n)
    rounds = []
    for number in range(5):
        start = time.process_time()
        for n in range(count // 5):
            call(number * count // 5 + n)
        rounds.append(1000 * (time.process_time() - start) / (count // 5))
    return statistics.median(rounds)


def flops(preset, hand):
    """(input size, parameters, floating-point operations of a picture forward and backward)."""
    model = make_model(preset, hand).eval()
    size = model.config.input_size
    image = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    K = torch.tensor([[[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]]])
    look = model.look if hasattr(model, "look") else model  # a training step looks once
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        look(image, K)
    return size, sum(p.numel() for p in model.parameters()), 3 * counter.get_total_flops()


def _average(rank, numel, port, seconds):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    values, times = torch.zeros(numel), []
    for _ in range(20):
        start = time.monotonic()
        torch.distributed.all_reduce(values)
        times.append(time.monotonic() - start)
    if rank == 0:
        seconds.put(statistics.median(times))


def gloo_seconds(numel):
    context = torch.multiprocessing.get_context("spawn")
    seconds = context.SimpleQueue()
    torch.multiprocessing.spawn(_average, (numel, 29731, seconds), nprocs=2)
    return seconds.get()


def exchange(numel, machines, gpus, link):
    """Seconds to average float32 gradients in a ring."""
    n = machines * gpus
    return 2 * (n - 1) / n * 4 * numel / (link if machines > 1 else INSIDE)


def main():
    hand = load_hand_model()
    with tempfile.TemporaryDirectory() as folder, one_thread():
        times, size_on_disk = sample_times(hand, Path(folder) / "data")
    costs, paces, epochs = [], [], []
    networks = {preset: flops(preset, hand) for preset in PRESETS}
    for preset, (size, numel, operations) in networks.items():
        own = {c: times[c, 128 if size <= 128 else 224] for c in ("light", "full")}
        costs.append(
            f"| `{preset}` | {size} | {numel / 1e6:.1f} M | {operations / 1e9:.1f} | "
            f"{own['light']:.1f} ms | {own['full']:.1f} ms |"
        )
        for name, (machines, gpus) in SETUPS.items():
            n = machines * gpus
            pace = n * FLOPS / operations
            # What is not rendered at 128 px takes as much longer as it has more pixels.
            each = [*own.values(), times["stream"] * (size / 128) ** 2]
            needed = [pace * ms / 1000 for ms in each]
            allowed = [min(pace, 1000 * CORES * n / ms) for ms in each]
            step = 64 * n / allowed[0]
            links = [exchange(numel, machines, gpus, link) / step for link in (BETWEEN, SLOW)]
            shares = [f"{share:.0%}" for share in (links if machines > 1 else links[:1])]
            paces.append(
                f"| `{preset}` | {name} | {pace:,.0f} | {_row(needed)} | {_row(allowed)} | "
                f"{', '.join(shares) if n > 1 else '–'} |"
            )
            lengths = [_time(count / allowed[0]) for count in SETS.values()]
            epochs.append(f"| `{preset}` | {name} | {' | '.join(lengths)} |")
    light = times["light", 128]
    Path(__file__).with_name("scaling.md").write_text(
        PAGE.format(
            machine=machine(),
            date=time.strftime("%Y-%m-%d"),
            tflops=FLOPS / 1e12,
            inside=INSIDE / 1e9,
            between=BETWEEN / 1e9,
            costs="\n".join(costs),
            kilobytes=size_on_disk / 1e3,
            stream=times["stream"],
            cores=CORES,
            fewer=CORES - 1,
            gloo=1000 * gloo_seconds(networks["modern"][1]),
            head=HEAD,
            paces="\n".join(paces),
            sets=" | ".join(SETS),
            rules="---:|" * len(SETS),
            epochs="\n".join(epochs),
            terabytes=1e7 * size_on_disk / 1e12,
            disk=DISK / 1e6,
            light=light,
            demand=8 * CORES * 1000 / light * size_on_disk / 1e6,
        )
    )


def _row(values):
    return ", ".join(f"{value:,.0f}" for value in values)


def _time(seconds):
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    main()
