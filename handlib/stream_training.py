"""Training on hands that are rendered meanwhile: how the weights that ship were made.

A piece of training takes weights, trains for some time on pictures that nobody has seen yet, and
leaves weights in half precision that the next piece, perhaps on another machine, begins with.
Beside them, ``card.json`` tells of every piece.
"""

import platform
import time
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from accelerate import PartialState

from handlib import checkpoints
from handlib.augment import stream_transforms
from handlib.data import HandDataset, HandStream
from handlib.data.kept import RepeatedHands
from handlib.data.synthesize import generator_version
from handlib.evaluation import evaluate
from handlib.losses import OF_TRAINED, InTurn, LossWeights
from handlib.mano import load_hand_model
from handlib.paths import write_json
from handlib.presets import UNTRAINED
from handlib.reading import BadFile, expecting, read_json
from handlib.recipe import TrainConfig
from handlib.training import finite_scores, train

# Pictures without a hand, for a network that tells whether there is one.
ABSENT = 0.07
CARD = "card.json"
SETTINGS = {
    "steps": None, "optimizer": "muon", "weight_decay": 0.05, "average": 0.999,
    "mixed_precision": "auto", "log_with": None, "save_every": 500,
}  # fmt: skip
# Of random weights. The side is told late: before the fingers are found, it would mostly disturb
# them.
LOSSES = InTurn(LossWeights(handedness=2.0), OF_TRAINED, 0.3)
SEEDS = 2**32  # what numpy's global state takes
HELD_OUT_SEED = 1_000_003  # another one than any piece of a training has


def train_on_stream(
    run_dir, minutes, preset="modern", start="random", batch_size=64, lr=None, seed=None, workers=1,
    threads=None, repeat=1, log_every=100, evaluations=10, held_out=512, **overrides,
):  # fmt: skip
    """One piece of training, by the clock; called again after an interruption, it goes on.

    What it began with is noted in its folder, and stays.

    Under torchrun each process renders and sees its share of every batch; the first one writes.

    Args:
        run_dir: folder of the piece: checkpoints, ``metrics.jsonl`` and, at its end, ``weights``.
        minutes: how long it takes, over all calls together.
        preset: a key of ``presets.MODEL_PRESETS``; **overrides: fields of ``ModelConfig``.
        start: the weights to begin with, as ``init`` of ``checkpoints.begin``. Those of another
            training, without a card, are the first piece's.
        batch_size, lr, workers: see ``TrainConfig``.
        seed: of the pictures; by default the number of pieces before this one.
        threads: of torch on a CPU; None leaves them.
        repeat: how often each picture is seen, with other transforms: a GPU learns faster than some
            cores render. They are kept in the folder (``data.kept.RepeatedHands``).
        log_every: steps between records.
        evaluations: how often the held-out hands are looked at; held_out: how many there are.

    Returns:
        (folder of the weights, dict of their scores on the held-out hands); (None, {}) where it was
        told to end before its time: all is saved, but a next piece cannot begin with it yet.

    Raises:
        ValueError: numbers that cannot be, or a folder that was begun otherwise.
        FloatingPointError: the training diverged.
        KeyboardInterrupt: an interrupt told it to end; all is saved.
    """
    if repeat < 1:
        raise ValueError(f"repeat must be at least 1, got {repeat}")
    set_up([] if seed is None else [seed], threads)
    hand, run_dir = load_hand_model(), Path(run_dir)
    note = _Beginning(run_dir, start)
    seed = len(note.pieces) if seed is None else seed
    # What goes on has its checkpoint's weights, and those of its beginning may be gone.
    model = checkpoints.begin(preset, hand, "random" if note.goes_on else start, seed, **overrides)
    config = TrainConfig(
        max_minutes=minutes, batch_size=batch_size, lr=lr, seed=seed, workers=workers,
        log_every=log_every, **SETTINGS,
    )  # fmt: skip
    losses = LOSSES if start in UNTRAINED else OF_TRAINED
    train_set = _train_set(model, seed, run_dir, repeat)
    watch = _Evaluations(model, held_out, minutes * 60 / evaluations)
    result = train(model, train_set, None, config, run_dir, losses, watchers=[note, watch])
    if result.stopped == "interrupt":
        raise KeyboardInterrupt
    if not result.finished:
        return None, {}
    scores = watch.scores(result.step, model)
    piece = note.before | _piece(model, result, config, losses, scores)
    piece |= {"repeat": repeat} if repeat > 1 else {}
    folder = run_dir / "weights"
    if PartialState().is_main_process:
        checkpoints.export(model, folder, card={"preset": preset, "pieces": [*note.pieces, piece]})
    return folder, scores


class _Beginning:
    """What weights a training in ``folder`` begins with: noted there by the training itself, when
    it has the folder to itself, and the same as long as it has a checkpoint to go on from.

    Attributes:
        goes_on: whether there is one. pieces: that the weights were trained in. before: what the
        next piece says of weights without.

    Raises:
        BadFile: it began with other weights.
    """

    def __init__(self, folder, start):
        self.folder, self.file, self.start = folder, folder / "start.json", str(start)
        self.goes_on = self._can_go_on()
        self.pieces, self.before = self._noted() if self.goes_on else _before(start)

    def __call__(self, trainer):
        """As a watcher of the training."""
        if self.goes_on:
            return
        if trainer.step and self.file.is_file():  # another one ended while this one waited for it
            raise BadFile(f"{self.folder} was begun meanwhile: give the command again")
        if trainer.rank == 0:
            about = {"start": self.start, "before": [self.pieces, self.before]}
            write_json(self.file, about)
        self.goes_on = True

    def _can_go_on(self):
        return self.file.is_file() and checkpoints.can_resume(self.folder / "checkpoints/last")

    def _noted(self):
        remedy = "give a new folder"
        noted = read_json(self.file, remedy, finite=False)
        with expecting(self.file, "not what a training notes", remedy):
            name, (pieces, before) = noted["start"], noted["before"]
        if name != self.start and [pieces, before] != [*_before(self.start)]:
            raise BadFile(
                f"{self.folder} was begun with --start {name}, not {self.start}: go on with that, "
                f"or {remedy}"
            )
        return pieces, before


def _before(start):
    if start in UNTRAINED:
        return [], {}
    folder = checkpoints.weights_folder(start)
    if (folder / CARD).is_file():
        return read_card(folder)["pieces"], {}
    return [], {"began_with": str(start)}


def set_up(seeds, threads):
    """Take so many threads of torch; ValueError for numbers that cannot be."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise ValueError(f"seeds must be from 0 to {SEEDS - 1}, got {seed}")
    if threads:
        torch.set_num_threads(threads)


def _train_set(model, seed, folder, repeat):
    """Hands that the network has not seen, as it is to see them."""
    config = model.config
    of = {"seed": seed, "absent": ABSENT * config.presence}
    if repeat > 1:
        reader = RepeatedHands(folder, model.hand, config.input_size, repeat, **of)
    else:
        reader = HandStream(model.hand, config.input_size, 10**9, **of)
    transforms = stream_transforms(config.input_size, config.handedness, config.looks)
    return HandDataset(reader, transforms, seed)


def _piece(model, result, config, losses, scores):
    """What the card says of a piece of training."""
    return {
        "images": result.step * config.batch_size,
        "minutes": round(result.elapsed_s / 60, 1),
        "ended": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "generator": generator_version(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "batch_size": config.batch_size,
        "optimizer": config.optimizer,
        "learning_rate": config.lr,
        "seed": config.seed,
        "loss_weights": asdict(losses),
        "held_out": scores,
    }


def average(folders, out, held_out=512):
    """The mean of the weights of several pieces of one training: a model soup (Wortsman et al.
    2022, arXiv 2203.05482), which may be better than each of them.

    Args:
        folders: of the weights. out: a new folder to write. held_out: hands that it is scored on.

    Returns:
        dict of its scores.

    Raises:
        ValueError: fewer than two, or not of one training, or of networks of different shapes.
        FileNotFoundError: one of the folders is not there.
        FileExistsError: ``out`` is there, and is no empty folder.
    """
    out, said = Path(out), ", ".join(map(str, folders))
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FileExistsError(f"{out} is there already: choose a new folder to write the mean to")
    if len(folders) < 2:
        raise ValueError(f"{said}: give two or more weights of one training")
    cards = sorted(((read_card(folder), folder) for folder in folders), key=_length)
    pieces, counts = cards[-1][0]["pieces"], [_length(each) for each in cards]
    if any(c["pieces"] != pieces[:n] for (c, _), n in zip(cards, counts)):
        raise ValueError(
            f"{said}: give two or more weights of one training, of which "
            "each begins with another's; between others lies nothing of use"
        )
    if len(set(counts)) < len(counts):
        raise ValueError(f"{said}: the same weights twice; their mean is one of them")
    hand = load_hand_model()
    models = [checkpoints.load_checkpoint(folder, hand) for _, folder in cards]
    if any(model.config != models[-1].config for model in models):
        raise ValueError(f"{said}: these networks differ in their shape")
    states = [model.state_dict() for model in models]
    model, mean = models[-1], states[-1].copy()
    for name in (name for name, value in mean.items() if value.is_floating_point()):
        mean[name] = torch.stack([state[name] for state in states]).mean(0)
    model.load_state_dict(mean)
    scores = evaluate(model, held_out_set(hand, model.config.input_size, held_out))
    last = pieces[-1] | {"averaged": {"with": counts[:-1], "held_out": scores}}
    card = cards[-1][0] | {"pieces": [*pieces[:-1], last]}
    checkpoints.export(model, out, card=card)
    return scores


def _length(card_and_folder):
    return len(card_and_folder[0]["pieces"])


class _Evaluations:
    """Scores of ``count`` held-out hands every so many seconds, printed and recorded."""

    def __init__(self, model, count, every):
        self.of, self.every = (model.hand, model.config.input_size, count), every
        self.began, self.step, self.last = None, None, {}

    @cached_property
    def hands(self):
        """Rendered when they are asked for: a folder of another training is refused before."""
        return held_out_set(*self.of)

    def scores(self, step, model):
        """Of the hands, at a step; the last ones where these were of the same step."""
        if step != self.step:
            with finite_scores(step):
                self.step, self.last = step, evaluate(model, self.hands)
        return self.last

    def __call__(self, trainer):
        if self.began is None:
            self.began = time.monotonic()
        early = trainer.agree(time.monotonic() - self.began) < self.every
        if early or trainer.step == self.step:
            return
        if trainer.reason_to_stop() not in ("", "finished"):  # who stops it, wants it to end
            return
        scores = self.scores(trainer.step, trainer.kept)
        self.began = time.monotonic()
        trainer.record({f"val_{name}": value for name, value in scores.items()})
        trainer.save("last")
        pa = scores["pa_mpjpe_mm"]
        if trainer.rank == 0:
            print(f"step {trainer.step}: PA-MPJPE {pa:.2f} mm on held-out hands", flush=True)


def held_out_set(hand, size, count):
    """``count`` rendered hands that no training sees, kept in memory."""
    stream = HandStream(hand, size, count, HELD_OUT_SEED)
    return [stream[i] for i in range(count)]


def read_card(folder):
    """The card beside weights: dict with ``preset`` and ``pieces``, a dict for each of them."""
    path = Path(folder) / CARD
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not path.is_file():
        raise ValueError(
            f"{folder} is not a piece of handlib train (no {CARD}): give the folder of the weights "
            "that it wrote"
        )
    card = checkpoints.read_json(path)
    if not isinstance(card.get("pieces"), list):
        raise BadFile(f"{path} is not a card (it lists no pieces): {checkpoints.OTHER}")
    return card


def machine():
    """What the training ran on, in a few words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    threads = PartialState().num_processes * torch.get_num_threads()
    return f"{name}, {threads} threads"
