"""Training: one loop for a laptop, a notebook's kernel, and several processes.

A run is a function of its configuration and data alone: step ``s`` sees the same samples, with the
same random numbers, whether or not the run was stopped before it, and for any number of loader
workers. It stops at a step's boundary, with everything saved: when its steps are done, when its
time is up, when a file named STOP appears in its folder, on SIGTERM, or on an interrupt (Ctrl-C).
"""

import math
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration, broadcast, set_seed

from handlib import checkpoints
from handlib.data.sending import batches
from handlib.evaluation import ON_CPU, evaluate
from handlib.losses import PARAMETERS_ONLY, LossWeights, total_loss
from handlib.metrics import NotFinite
from handlib.model import inputs
from handlib.paths import STOP
from handlib.precision import precision
from handlib.reading import BadFile, expecting
from handlib.recipe import MAY_CHANGE, make_optimizer, moving_average, step_loader
from handlib.runlog import BEST_BY, RunLog
from handlib.session import alone, enough_memory, signals

REASONS = ("", "finished", "deadline", "STOP file", "SIGTERM", "interrupt")


@dataclass
class TrainResult:
    """What a call of ``train`` leaves."""

    history: list
    """Records of ``metrics.jsonl``: training figures, and ``val_*`` figures of evaluations."""
    best: dict
    """The record of the best evaluation; empty without validation data."""
    step: int
    """Optimizer steps taken so far, earlier sessions included."""
    elapsed_s: float
    """Seconds that they took, with evaluations and saving."""
    stopped: str
    """Why it ended: one of ``REASONS``."""
    run_dir: Path
    """Where ``checkpoints/best`` and ``checkpoints/last`` are."""

    @property
    def finished(self):
        return self.stopped == "finished"


class Trainer:
    """State of a training run between two steps. ``train`` is the way in."""

    def __init__(self, model, train_set, val_set, config, run_dir, loss_weights=None):
        self.net, self.train_set, self.val_set = model, train_set, val_set
        self.config, self.run_dir = config, Path(run_dir)
        self.loss_weights = loss_weights or LossWeights()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.stop_file = self.run_dir / STOP
        # Silent units' moments fade into denormal numbers, which make a CPU's Adam twice as slow.
        torch.set_flush_denormal(True)
        self.accelerator = _make_accelerator(config, self.run_dir)
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        if config.batch_size % self.world:
            raise ValueError(f"batch_size {config.batch_size} does not divide by {self.world}")
        set_seed(config.seed, device_specific=True)
        optimizer, self.learning_rate = make_optimizer(model, config)
        # Kernels of one pixel have two descriptions of one layout; nobody can do anything about it.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.average = moving_average(model, config.average) if config.average else None
        self.log = RunLog(self.run_dir, self.accelerator, config.batch_size, len(train_set))
        self.step, self.earlier_s, self.best = 0, 0.0, {}
        self.watchers = []
        self.interrupted, self.terminated = threading.Event(), threading.Event()

    @property
    def kept(self):
        """The ``HandNet`` to predict with: of averaged weights, where they are averaged."""
        return self.net if self.average is None else self.average.module

    def run(self):
        """Train until something ends it; see ``train``."""
        with alone(self.run_dir, self.rank):
            return self._run()

    def _run(self):
        self.started = time.monotonic()
        self.resume()
        reason = self.reason_to_stop()
        if reason != "finished":
            self.start_tracker()
            with signals(self.interrupted, self.terminated):
                reason = self.loop()
        if reason == "finished" and self.unevaluated():
            self.evaluate()
        # Not ``end_training``: with that, several processes could not even evaluate together.
        for tracker in self.accelerator.trackers:
            tracker.finish()
        if self.average is not None:
            self.net.load_state_dict(self.kept.state_dict())
        self.share_statistics()
        self.net.eval()
        history, took = self.log.history, self.elapsed()
        return TrainResult(history, self.best, self.step, took, reason, self.run_dir)

    def loop(self):
        """Steps until there is a reason to stop; everything is saved on return."""
        config = self.config
        loader = step_loader(self.train_set, config, self.step, self.rank, self.world)
        coming = batches(loader, self.accelerator.device)
        self.model.train()
        if config.evaluate_first and self.step == 0 and self.unevaluated():
            self.evaluate()
        self.watch()
        with self.log.progress(self.step, config.steps) as show:
            while not (reason := self.reason_to_stop()):
                with self.log.clock("data"):
                    batch = next(coming)
                with enough_memory(self.step, config.batch_size):
                    loss = self.train_step(batch)
                show(self.step, self.progress(), loss)
                if self.step % config.log_every == 0:
                    lr = self.optimizer.param_groups[0]["lr"]
                    self.record(self.log.means() | {"lr": lr})
                    self.watch()
                if config.eval_every and self.step % config.eval_every == 0:
                    self.evaluate()
                if self.step % config.save_every == 0:
                    self.save("last")
        self.save("last")
        self.watch()
        if reason == "STOP file" and self.rank == 0:
            # Obeyed: the next call goes on.
            self.stop_file.unlink(missing_ok=True)
        return reason

    def train_step(self, batch):
        """One optimizer step on this process's share of a batch; returns the loss."""
        with self.log.clock("forward"):
            prediction = self.model(**inputs(batch))
            loss, terms = self.loss(prediction, batch)
        with self.log.clock("backward"):
            self.accelerator.backward(loss)
        with self.log.clock("step"):
            norm = self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.clip)
            self.check_finite(loss, norm)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(self.progress())
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.average is not None:
                self.average.update_parameters(self.net)
        self.step += 1
        named = {f"loss_{name}": value for name, value in terms.items()}
        self.log.add({"loss": loss, "grad_norm": norm} | named)
        return loss.detach()

    def loss(self, prediction, batch):
        """What is minimised, and its weighted terms; for experiments to override."""
        return total_loss(prediction, batch, self.loss_weights.at(self.progress()))

    def check_finite(self, loss, norm):
        """FloatingPointError, in all processes alike, before bad numbers reach the weights."""
        # The scaler of fp16 meets infinite gradients by design, and skips those steps.
        watched = norm if self.accelerator.scaler is None else loss.detach()
        if not math.isfinite(float(self.accelerator.reduce(watched, "mean"))):
            raise _diverged(
                self.step,
                f"the loss ({loss.item()}) or its gradient is not finite. "
                f"{self.run_dir / 'checkpoints'} keeps the last good weights",
            )

    # -- when to stop ----------------------------------------------------------------------------
    def elapsed(self):
        """Seconds of training so far, earlier sessions included."""
        return self.earlier_s + time.monotonic() - self.started

    def progress(self):
        """Share of the budget used, the same in all processes."""
        if self.config.steps is not None:
            return self.step / self.config.steps
        return self.agree(self.elapsed() / (60 * self.config.max_minutes))

    def reason_to_stop(self):
        """One of ``REASONS``; the first process decides for all."""
        limit = self.config.max_minutes
        reasons = {
            "finished": self.progress() >= 1,
            "deadline": limit is not None and time.monotonic() - self.started > 60 * limit,
            "STOP file": self.stop_file.exists(),
            "SIGTERM": self.terminated.is_set(),
            "interrupt": self.interrupted.is_set(),
        }
        reason = next((name for name, holds in reasons.items() if holds), "")
        return REASONS[int(self.agree(REASONS.index(reason)))]

    def agree(self, number):
        """The first process's number."""
        if self.world == 1:
            return number
        return float(broadcast(torch.tensor(float(number), device=self.accelerator.device)))

    # -- data, records, evaluation ---------------------------------------------------------------
    def start_tracker(self):
        name = self.config.log_with
        if name == "tensorboard":
            # A resumed run takes back what was drawn beyond its checkpoint.
            options = {"tensorboard": {"purge_step": self.step + 1}}
            self.accelerator.init_trackers("tensorboard", init_kwargs=options)
        elif name:
            self.accelerator.init_trackers("handlib", config=asdict(self.config))

    def watch(self):
        for watcher in self.watchers:
            watcher(self)

    def record(self, values):
        return self.log.record(self.step, self.elapsed(), values)

    def evaluate(self):
        """Record the metrics on the validation data; keep the model if it is the best so far."""
        self.share_statistics()
        with finite_scores(self.step):
            values = evaluate(self.kept, self.val_set, self.config.batch_size, self.config.workers)
        record = self.record({f"val_{name}": value for name, value in values.items()})
        self.model.train()
        # Without 3D joints to compare with, the last is the best.
        if record.get(BEST_BY, -math.inf) < self.best.get(BEST_BY, math.inf):
            self.best = record
            self.save("best")
        self.save("last")

    def share_statistics(self):
        """Give all processes the first one's normalisation statistics, as a checkpoint has them."""
        if self.world > 1:
            for buffer in dict.fromkeys([*self.net.buffers(), *self.kept.buffers()]):
                torch.distributed.broadcast(buffer, 0)

    def unevaluated(self):
        """Whether there are validation data whose metrics at the current step are not known."""
        known = any(r["step"] == self.step and BEST_BY in r for r in self.log.history)
        return self.val_set is not None and not known

    # -- saving and resuming ---------------------------------------------------------------------
    def save(self, name):
        """Write checkpoint ``name``: "best" to predict with, "last" to go on from too."""
        description = self.settings() | {
            "step": self.step,
            "elapsed_s": self.elapsed(),
            "best": self.best,
        }
        optimizer = self.optimizer if name == "last" else None
        average = None if self.average is None else self.kept
        folder = self.run_dir / "checkpoints" / name
        checkpoints.save(folder, self.accelerator, self.net, description, optimizer, average)

    def settings(self):
        """What a run cannot change on the way."""
        return {
            "config": asdict(self.config),
            "network": asdict(self.net.config) | {"hand model": self.net.hand.fingerprint},
            "loss_weights": asdict(self.loss_weights),
            "samples": len(self.train_set),
            "data": getattr(self.train_set, "settings", dict)(),
        }

    def resume(self):
        """Take up the run's last checkpoint, if there is one; forget what was logged after it."""
        folder = checkpoints.last_whole(self.run_dir / "checkpoints" / "last", self.accelerator)
        if folder is None:
            self.log.restore(-1)
            return
        saved = checkpoints.read_json(folder / "trainer.json")
        with expecting(folder / "trainer.json", "not what a training writes", checkpoints.OTHER):
            step, elapsed_s = int(saved["step"]), float(saved["elapsed_s"])
            best = saved["best"]
            self.check_same(folder, saved)
        average = None if self.average is None else self.kept
        checkpoints.restore(folder, self.accelerator, self.net, self.optimizer, average)
        if self.average is not None:
            self.average.n_averaged.fill_(step)
        self.step, self.earlier_s, self.best = step, elapsed_s, best
        self.log.restore(self.step)

    def check_same(self, folder, saved):
        """ValueError when the run was begun with other settings."""
        for part, now in self.settings().items():
            if part in ("network", "data") and part not in saved:  # of an earlier handlib
                continue
            before = saved[part] if isinstance(now, dict) else {part: saved[part]}
            now = now if isinstance(now, dict) else {part: now}
            for name in now:
                if name not in MAY_CHANGE and before.get(name) != now[name]:
                    raise BadFile(
                        f"{folder} was trained with {name}={before.get(name)!r}, not "
                        f"{now[name]!r}: go on with the old value, or give a new run folder"
                    )


@contextmanager
def finite_scores(step):
    """FloatingPointError with the remedy, for scores of a network whose predictions are not finite:
    its last step came too late for the training to see it."""
    try:
        yield
    except NotFinite as error:
        raise _diverged(step, f"evaluating, {error}") from error


def _diverged(step, what):
    """The error of a training whose numbers are not finite, with the remedy."""
    remedy = "look at the data, or begin a new run with a smaller lr"
    return FloatingPointError(f"step {step}: {what}; {remedy}")


def _make_accelerator(config, run_dir):
    # A notebook trains more than once in a process, and accelerate keeps the first precision.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=ON_CPU,
        mixed_precision=precision(config.mixed_precision),
        log_with=config.log_with,
        project_config=ProjectConfiguration(project_dir=run_dir, logging_dir=run_dir),
    )


def train(
    model, train_set, val_set, config, run_dir, loss_weights=None, pretrain_set=None, watchers=()
):
    """Train ``model`` in place, from where ``run_dir`` stands; what is finished is not done again.

    Args:
        model: ``HandNet``.
        train_set, val_set: ``HandDataset``; ``val_set`` may be None.
        config: ``TrainConfig``.
        run_dir: folder for ``checkpoints/{best,last}``, ``metrics.jsonl`` and the tracker's files.
        loss_weights: ``LossWeights``; None for the usual ones.
        pretrain_set: ``HandDataset`` of ``config.pretrain_steps``, in a run folder of their own,
            ``pretrain``, whose weights the others begin with; None for ``train_set``.
        watchers: functions of the ``Trainer``, called in all processes when the training begins,
            after each record and at the end; see ``handlib.watch``.

    Returns:
        TrainResult, of the pretraining where that was stopped. The model has the last step's
        weights, or their moving average where there is one, and is in evaluation mode.

    Raises:
        ValueError: for an unknown setting, or a run folder that was begun with other settings.
        FloatingPointError: the loss or its gradient is not finite, and the last checkpoint is good;
            or a prediction on ``val_set`` is not.
        MemoryError: a batch does not fit; ChildProcessError: a loader's worker was killed.
    """
    if config.pretrain_steps:
        stage = replace(config, steps=config.pretrain_steps, pretrain_steps=0, eval_every=None)
        folder = Path(run_dir) / "pretrain"
        first = Trainer(model, pretrain_set or train_set, None, stage, folder, PARAMETERS_ONLY)
        first.stop_file = Path(run_dir) / STOP
        result = first.run()
        if not result.finished:
            return result
        if config.max_minutes is not None:
            # Minutes are of a session, or, where they are the budget, of all sessions.
            spent = first.elapsed() - (first.earlier_s if config.steps else 0)
            left = config.max_minutes - spent / 60
            config = replace(config, max_minutes=max(left, 1e-9))
    trainer = Trainer(model, train_set, val_set, config, run_dir, loss_weights)
    trainer.watchers = list(watchers)
    return trainer.run()
