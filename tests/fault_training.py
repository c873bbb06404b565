"""Cases of ``faults``: what happens to a training and to what it has saved."""

import json
import os
import random
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
from faults import GOES_ON, REFUSED, case
from posed_hands import PosedHands

from handlib import checkpoints
from handlib.data import HandDataset, open_dataset
from handlib.mano import load_hand_model
from handlib.model import make_model
from handlib.recipe import TrainConfig
from handlib.training import train

TRAINING, SAVED = "training", "saved work"


# -- training --------------------------------------------------------------------------------
def _train(at, *watchers, data=None, folder="run", steps=4, save_every=1, **settings):
    torch.set_num_threads(1)  # threads would not survive a fork
    hand = load_hand_model()
    data = data or HandDataset(PosedHands(hand, 8), seed=3)
    config = TrainConfig(
        steps=steps, batch_size=4, log_every=1, save_every=save_every, log_with=None, **settings
    )
    made = make_model("small", hand, hidden=32)
    return train(made, data, None, config, at.folder / folder, watchers=watchers)


def _at_step(step, function):
    """A watcher that calls a function of the trainer after a step."""
    return lambda trainer: function(trainer) if trainer.step == step else None


def _stop(trainer):
    trainer.stop_file.touch()


def _half(at, **settings):
    """Two finished steps of four."""
    assert _train(at, _at_step(2, _stop), **settings).step == 2


@contextmanager
def _keeping(at, step, folder="run"):
    """What is saved in a run folder must be whole and not before ``step``, whatever happens."""
    try:
        yield
    finally:
        last = checkpoints.find_checkpoint(at.folder / folder / "checkpoints/last")
        checkpoints.verify(last)
        saved = json.loads((last / "trainer.json").read_text())["step"]
        at.lost = "nothing" if saved >= step else f"{step - saved} steps"


@case(
    TRAINING,
    "the loss is not finite",
    "NaN put into a bias after step 2",
    REFUSED,
    r"step 2: the loss \(nan\).*checkpoints keeps the last good weights.*smaller lr",
)
def _nan(at):
    def poison(trainer):
        trainer.net.head[-1].bias.data.fill_(float("nan"))

    yield
    with _keeping(at, 2):
        _train(at, _at_step(2, poison))


@case(
    TRAINING,
    "not enough memory for a batch",
    "a layer that asks for a petabyte at step 2",
    REFUSED,
    "step 2: not enough memory for batch_size 4. Begin a new run with batch_size 2",
)
def _memory(at):
    def greedy(trainer):
        trainer.net.register_forward_pre_hook(lambda *_: torch.empty(1 << 50, dtype=torch.uint8))

    yield
    with _keeping(at, 2):
        _train(at, _at_step(2, greedy))


class _Deadly(PosedHands):
    def __getitem__(self, index):
        os.kill(os.getpid(), 9)


@case(
    TRAINING,
    "a process that reads samples is killed",
    "SIGKILL after two finished steps",
    REFUSED,
    "a process that reads samples was killed.*enough memory.*goes on from the last",
)
def _dead_worker(at):
    _half(at)
    yield
    with _keeping(at, 2):
        _train(at, data=HandDataset(_Deadly(load_hand_model(), 8), seed=3), workers=1)


@case(
    TRAINING,
    "an image breaks while it is trained on",
    "emptied after opening; one worker",
    REFUSED,
    "^DIR/data/training/rgb/[0-9]+.jpg is not a readable image.*copy it again.*skip_bad",
)
def _broken_image(at):
    root = at.dataset()
    reader = open_dataset(root)
    for path in (root / "training/rgb").iterdir():
        path.write_bytes(b"")
    yield
    _train(at, data=HandDataset(reader, seed=3), workers=1)


@case(
    TRAINING,
    "the disk is full",
    "",
    REFUSED,
    "could not save .*checkpoints/last .*is the disk full.*kept: make room.*goes on from it|"
    "metrics.jsonl.*no space left|no space left.*metrics.jsonl",
)
def _full_training(at):
    at.small_disk("run")
    _half(at)
    yield
    try:
        with _keeping(at, 2), at.full():
            _train(at)
    finally:
        with suppress(FileNotFoundError):
            (at.folder / "run/filler").unlink()
        assert _train(at).finished


@case(
    TRAINING,
    "the run folder is removed",
    "rm -r after step 2",
    REFUSED,
    "run is gone .*put it back.*or begin anew",
)
def _removed(at):
    yield
    at.lost = "nothing but what was removed"
    _train(at, _at_step(2, lambda trainer: shutil.rmtree(trainer.run_dir)), save_every=100)


@case(
    TRAINING,
    "the clock goes back",
    "time.time an hour less at each call",
    GOES_ON,
    "finished after 4 steps, times rising",
)
def _clock(at):
    true, calls = time.time, iter(range(10**9))
    at.undo.callback(setattr, time, "time", true)
    yield
    time.time = lambda: true() - 3600 * next(calls)
    result = _train(at)
    times = [record["time"] for record in result.history]
    assert times == sorted(times)
    return f"{result.stopped} after {result.step} steps, times rising"


@case(
    TRAINING,
    "the process is killed",
    "SIGKILL at some moment after step 3 of 40",
    GOES_ON,
    "finished after 40 steps",
)
def _killed(at):
    last = at.folder / "run/checkpoints/last/trainer.json"

    def begun():
        with suppress(OSError, ValueError):
            return json.loads(last.read_text())["step"] >= 3

    with at.killed(lambda: _train(at, steps=40), begun):
        time.sleep(random.random() / 5)
    yield
    with _keeping(at, 3):
        result = _train(at, steps=40)
    return f"{result.stopped} after {result.step} steps"


@case(
    TRAINING,
    "another setting in the same run folder",
    "clip 2 instead of 1",
    REFUSED,
    "run/checkpoints/last was trained with clip=1.0, not 2.0: .*or give a new run folder",
)
def _other_setting(at):
    _half(at)
    yield
    _train(at, clip=2.0)


# -- checkpoints -----------------------------------------------------------------------------
def _cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def _rewrite(folder, name, change):
    """Change a JSON file of a checkpoint as if it had been written so."""
    file = folder / name
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    listing = json.loads((folder / "files.json").read_text())
    listing[name] = checkpoints._checksum(file)
    (folder / "files.json").write_text(json.dumps(listing))


@case(
    SAVED,
    "the last checkpoint is damaged",
    "its weights cut short",
    GOES_ON,
    r"model.safetensors is missing or damaged(.|\n)*set aside as .*last.damaged; going on from "
    ".*last.previous",
)
def _damaged(at):
    _half(at)
    _cut(at.folder / "run/checkpoints/last/model.safetensors")
    yield
    result = _train(at)
    assert result.finished and (at.folder / "run/checkpoints/last.damaged").is_dir()
    at.lost = "nothing: one step is done again"


@case(
    SAVED,
    "both checkpoints are damaged",
    "the weights of both cut short",
    REFUSED,
    "model.safetensors is missing or damaged.*set aside as last.damaged.*begins anew",
)
def _both(at):
    _half(at)
    for name in ("last", "last.previous"):
        _cut(at.folder / "run/checkpoints" / name / "model.safetensors")
    yield
    at.lost = "nothing that could be read"
    _train(at)


def _loading(what, how, says, prepare):
    @case(SAVED, what, how, REFUSED, says)
    def steps(at):
        checkpoints.export(make_model("small", load_hand_model(), hidden=32), at.folder / "weights")
        prepare(at.folder / "weights")
        yield
        checkpoints.load_checkpoint(at.folder / "weights", load_hand_model())

    return steps


ANOTHER = "missing or damaged.*use another one"
_loading(
    "weights are cut short",
    "1 kB of model.safetensors",
    f"model.safetensors is {ANOTHER}",
    lambda folder: _cut(folder / "model.safetensors"),
)
_loading(
    "weights are gone",
    "model.safetensors deleted",
    f"model.safetensors is {ANOTHER}",
    lambda folder: (folder / "model.safetensors").unlink(),
)
_loading(
    "check sums are gone",
    "files.json deleted",
    "files.json is missing: use another checkpoint, or copy it again",
    lambda folder: (folder / "files.json").unlink(),
)
_loading(
    "there is no checkpoint",
    "an empty folder",
    "no checkpoint in .*weights.*02_train",
    lambda folder: [path.unlink() for path in folder.iterdir()],
)
_loading(
    "of a later version",
    "a field more in model.json",
    "model.json is not the description of a network .*'wings'.*use another checkpoint",
    lambda folder: _rewrite(folder, "model.json", lambda about: about["config"].update(wings=2)),
)
_loading(
    "of an earlier version",
    "model.json without the hand",
    "model.json is not the description of a network .*it lacks 'hand'.*use another checkpoint",
    lambda folder: _rewrite(folder, "model.json", lambda about: about.pop("hand")),
)
_loading(
    "of another network",
    "another width in model.json",
    "model.safetensors is damaged, or holds the weights of another model than",
    lambda folder: _rewrite(folder, "model.json", lambda about: about["config"].update(hidden=16)),
)


@case(
    SAVED,
    "trained with another hand model",
    "a hand twice as large",
    REFUSED,
    "weights was trained with 'stand-in hand' .*set or unset MANO.*or train again",
)
def _other_hand(at):
    hand = load_hand_model()
    checkpoints.export(make_model("small", hand, hidden=32), at.folder / "weights")
    yield
    other = replace(hand, v_template=2 * hand.v_template)
    checkpoints.load_checkpoint(at.folder / "weights", other)


@case(
    SAVED,
    "a run of an earlier version goes on",
    "trainer.json without the time",
    REFUSED,
    "trainer.json is not what a training writes .*it lacks 'elapsed_s'.*use another checkpoint",
)
def _old_run(at):
    _half(at)
    _rewrite(at.folder / "run/checkpoints/last", "trainer.json", lambda a: a.pop("elapsed_s"))
    yield
    _train(at)


@case(
    SAVED,
    "the record of a training is damaged",
    "a line of metrics.jsonl",
    REFUSED,
    "metrics.jsonl is not the record of a training .*move it away",
)
def _record(at):
    _half(at)
    file = at.folder / "run/metrics.jsonl"
    file.write_text(file.read_text().replace('"step": 1', '"step: 1', 1))
    yield
    _train(at)
