"""Checkpoints: a folder with the weights, what made them, and all that a resumed run needs.

    model.safetensors   weights and normalisation statistics to predict with
    training.safetensors  those that training goes on from, where the above are averages of them
    model.json          the model's configuration and the hand model it was made for
    optimizer.pt        optimizer and gradient scaler
    random-<rank>.pt    random states of each process
    trainer.json        step, the best evaluation, configuration of the training
    files.json          sizes and check sums of the above

A folder appears whole or not at all; nothing in it can run code when it is read. Beside the one
that training resumes from lies the one before it, ``<name>.previous``, for the day when a disk
damages the last.
"""

import hashlib
import json
import os
import random
import shutil
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from handlib import reading
from handlib.model import HandNet, make_model
from handlib.paths import CHECKPOINT_PLACES, SHIPPED, existing_run, readable
from handlib.presets import UNTRAINED, ModelConfig
from handlib.reading import BadFile, expecting
from handlib.resnet import ResNet

OTHER = "use another checkpoint, or copy it again"
WEIGHTS, TRAINING = "model.safetensors", "training.safetensors"
PREVIOUS = ".previous"


def save(folder, accelerator, model, description, optimizer=None, average=None):
    """Write a checkpoint and put it in the place of ``folder`` once it is whole; all processes.

    Args:
        folder: where the checkpoint goes.
        accelerator: its main process writes; each process adds its random state.
        model: ``HandNet``, not wrapped.
        description: what ``trainer.json`` says.
        optimizer: None for a checkpoint to predict with, which no training resumes from.
        average: ``HandNet`` of averaged weights, which are predicted with in place of the model's.
    """
    folder = Path(folder)
    with _written(folder) as new:
        if accelerator.is_main_process:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            write_model(average or model, new)
            (new / "trainer.json").write_text(json.dumps(description, indent=1))
            if optimizer is not None:
                parts = {"optimizer": optimizer, "scaler": accelerator.scaler}
                state = {n: part.state_dict() for n, part in parts.items() if part is not None}
                torch.save(state, new / "optimizer.pt")
                if average is not None:
                    safetensors.torch.save_file(_weights(model), new / TRAINING)
        accelerator.wait_for_everyone()
        if optimizer is not None:
            torch.save(random_state(), new / f"random-{accelerator.process_index}.pt")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            # The one before costs its space alone, and a disk may damage the last one.
            _put_in_place(new, folder, keep_previous=optimizer is not None)
    accelerator.wait_for_everyone()


@contextmanager
def _written(folder):
    """Yield where a checkpoint is written first. OSError with a remedy where it cannot be: nothing
    of it is left, for a full disk's sake, and what was there is untouched."""
    new = folder.with_name(f".{folder.name}.new")
    try:
        yield new
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        # torch and safetensors have errors of their own for a disk that is full.
        shutil.rmtree(new, ignore_errors=True)
        raise OSError(
            f"could not save {folder} ({str(error).splitlines()[0]}): is the disk full, or the "
            "folder gone or not yours to write to? What was saved there before is kept: make room, "
            "and the same again goes on from it"
        ) from error


def restore(folder, accelerator, model, optimizer, average=None):
    """Inverse of ``save``, in place; the folder has been verified."""
    load_weights(average or model, folder)
    if average is not None:
        load_weights(model, folder, TRAINING)
    state = load_tensors(folder / "optimizer.pt")
    optimizer.load_state_dict(state["optimizer"])
    if accelerator.scaler is not None and "scaler" in state:  # else it was trained without one
        accelerator.scaler.load_state_dict(state["scaler"])
    own = folder / f"random-{accelerator.process_index}.pt"
    if own.exists():  # not for a process that the run did not have before
        set_random_state(load_tensors(own))


def export(model, folder, **more):
    """Write a checkpoint of weights in half precision: to predict with, or to begin with.

    Args:
        model: ``HandNet``.
        folder: put in its place once it is whole.
        **more: name -> content of further JSON files.
    """
    folder = Path(folder)
    with _written(folder) as new:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        write_model(model, new, half=True)
        for name, content in more.items():
            (new / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        _put_in_place(new, folder)


def write_model(model, folder, half=False):
    """Write weights and configuration of a ``HandNet`` into ``folder``."""
    weights = _weights(model)
    if half:
        weights = {n: v.half() if v.is_floating_point() else v for n, v in weights.items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS)
    hand = {"name": model.hand.name, "fingerprint": model.hand.fingerprint}
    text = json.dumps({"config": asdict(model.config), "hand": hand}, indent=1)
    (folder / "model.json").write_text(text)


def _weights(model):
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def load_checkpoint(path, hand):
    """The model of a checkpoint, in evaluation mode, on the CPU.

    Args:
        path: a checkpoint folder, or a run folder (its best checkpoint, else its last).
        hand: the ``HandModel`` that the checkpoint was trained with.

    Returns:
        ``HandNet``.

    Raises:
        FileNotFoundError: there is no checkpoint at ``path``.
        ValueError: a damaged checkpoint, or one of another hand model.
    """
    folder = find_checkpoint(path)
    verify(folder)
    config, name, fingerprint = _described(folder)
    if fingerprint != hand.fingerprint:
        remedy = "load that hand model (set or unset MANO), or train again"
        if name == hand.name:
            remedy = (
                "load that version of it (set or unset MANO), begin with it (init), or train again"
            )
        raise ValueError(
            f"{folder} was trained with {name!r} ({fingerprint}), not with "
            f"{hand.name!r} ({hand.fingerprint}): {remedy}"
        )
    model = HandNet(config, hand)
    load_weights(model, folder)
    return model.eval()


def _described(folder):
    """A checkpoint's ``ModelConfig``, and name and fingerprint of the hand model it is for."""
    description = read_json(folder / "model.json")
    with expecting(folder / "model.json", "not the description of a network", OTHER):
        trained, config = description["hand"], ModelConfig(**description["config"])
        config.check()
        return config, trained["name"], trained["fingerprint"]


def load_weights(model, folder, name=WEIGHTS, grow=False):
    """Fill ``model`` with the weights in ``folder``; ValueError when they are not of its shape.

    With ``grow``, weights of a ResNet of fewer layers are taken too: see ``ResNet.grow``.
    """
    file = Path(folder) / name
    try:
        weights = safetensors.torch.load_file(file)
        if grow and isinstance(model.backbone, ResNet):
            own = "backbone."
            known = [key.removeprefix(own) for key in weights if key.startswith(own)]
            weights |= {own + key: value for key, value in model.backbone.grow(known).items()}
        model.load_state_dict(weights)
    except (RuntimeError, LookupError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{file} is damaged, or holds the weights of another model than {model.config}: "
            f"{reading.short(error)}"
        ) from error


def begin(preset, hand, init="random", seed=0, **overrides):
    """A ``HandNet`` to train: ``make_model``, with the weights that it begins with.

    Args:
        init: "random", "pretrained" (the encoder's, from the model hub), "shipped" (those that
            come with handlib), or those of a run (its folder, or its name) or checkpoint. The hand
            model that they were trained with may be another one: they tell of rotations, not of a
            mesh. A ResNet may have had fewer layers.

    Raises:
        FileNotFoundError, ValueError: no such weights, or those of another network.
    """
    if init in UNTRAINED:
        return make_model(preset, hand, init, seed, **overrides)
    model = make_model(preset, hand, seed=seed, **overrides)
    folder = weights_folder(init)
    verify(folder)
    try:
        load_weights(model, folder, grow=True)
    except ValueError as error:
        made, wanted = asdict(_described(folder)[0]), asdict(model.config)
        differ = [f"{n} {made[n]!r:.80}, not {wanted[n]!r}" for n in wanted if made[n] != wanted[n]]
        what = f"{folder} is of another model ({'; '.join(differ)})" if differ else str(error)
        raise ValueError(f"{what}: a network of its own begins with init 'random'") from error
    return model


def weights_folder(init):
    """The folder of the weights that ``begin`` means, if they are not random ones."""
    return find_checkpoint(SHIPPED if init == "shipped" else existing_run(init, "shipped"))


def find_checkpoint(path):
    """The checkpoint folder at or below ``path``; FileNotFoundError says where it looked."""
    path = Path(path).resolve()
    for place in (path / name for name in CHECKPOINT_PLACES):
        # Killed between the two renames of a save, a run leaves only the one before.
        for folder in (place, _previous(place)):
            if (folder / "model.json").is_file():
                return folder
    looked = ", ".join(CHECKPOINT_PLACES[1:])
    raise FileNotFoundError(
        f"no checkpoint in {path} (looked for model.json there and in {looked}): train "
        "one with the notebook 02_train, or give the folder of a finished run"
    )


def verify(folder):
    """ValueError, naming the file, when a checkpoint's file is missing, cut short or altered."""
    listing = read_json(Path(folder) / "files.json")
    for name, expected in listing.items():
        if Path(name).name != name or len(name) > 100:
            raise BadFile(f"{folder}/files.json names {name!r:.100}, no file of it: {OTHER}")
        file = Path(folder) / name
        if not file.is_file() or _checksum(file) != expected:
            raise ValueError(
                f"{file} is missing or damaged (cut short in a copy?): copy the checkpoint again, "
                "or use another one"
            )


def last_whole(folder, accelerator):
    """The newest checkpoint at ``folder`` that verifies, or the one before it; all processes.

    One that does not verify is set aside under the name ``<folder>.damaged``, which is printed.

    Returns:
        its folder, or None where there has been no checkpoint yet.

    Raises:
        ValueError: there is no whole one any more.
    """
    faults, whole = [], None
    for place in (folder, _previous(folder)):
        if whole is None and place.is_dir():
            try:
                verify(place)
                whole = place
            except (OSError, ValueError) as error:
                faults.append((place, error))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for place, error in faults:
            aside = place.with_name(f"{folder.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            place.rename(aside)
            print(f"{error}\nset aside as {aside}; going on from {whole or 'nothing'}", flush=True)
    accelerator.wait_for_everyone()
    if faults and whole is None:
        raise ValueError(
            f"{faults[0][1]}. It is set aside as {folder.name}.damaged and there is no other to go "
            "on from: the same again begins anew, init= the folder of a run begins with its best"
        )
    return whole


def read_json(file):
    """The content of a checkpoint's JSON file, a dict; ValueError, naming it, where it is not."""
    content = reading.read_json(file, OTHER, finite=False)
    if not isinstance(content, dict):
        raise BadFile(f"{file} is damaged (it holds a {type(content).__name__}): {OTHER}")
    return content


def _put_in_place(new, folder, keep_previous=False):
    """Give ``new`` the name ``folder``, once it is on disk and reads back whole."""
    files = sorted(new.iterdir())
    listing = {file.name: _checksum(file) for file in files}
    (new / "files.json").write_text(json.dumps(listing, indent=1))
    for file in files:
        readable(file)
    for path in [*files, new / "files.json", new]:
        _to_disk(path)
    verify(new)
    previous = _previous(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    new.rename(folder)
    _to_disk(folder.parent)
    if not keep_previous:
        shutil.rmtree(previous, ignore_errors=True)


def can_resume(folder):
    """Whether there is a checkpoint ``folder``, or the one before it, to go on from."""
    return folder.is_dir() or _previous(folder).is_dir()


def _previous(folder):
    return folder.with_name(folder.name + PREVIOUS)


def random_state():
    """States of python's, numpy's and torch's random numbers, loadable without pickle's code."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (whoever uses the global state)
    version, python, gauss = random.getstate()
    return {
        "python": [version, list(python), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state):
    """Inverse of ``random_state``."""
    version, python, gauss = state["python"]
    random.setstate((version, tuple(python), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def load_tensors(file):
    """Content of a ``.pt`` file: tensors and plain values, no code."""
    return torch.load(file, map_location="cpu", weights_only=True)


def _checksum(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _to_disk(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
