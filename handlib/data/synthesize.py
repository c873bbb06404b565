"""A synthetic dataset in FreiHAND's own folder layout, so that one reader serves both.

Each id has its own random stream, made of the seed, the split and its number there (its
articulation is drawn together with its neighbours', for speed): the same hands come out whatever
the number of workers or of interruptions, and a larger dataset trains on no hand that a smaller one
tests with. Work is done in chunks of ids; a chunk ends with one small file of
annotations, and a run that was stopped goes on after the last.
"""

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

import handlib.mano
from handlib.data.backgrounds import Backgrounds, load_backgrounds
from handlib.data.composite import composite
from handlib.data.decimals import json_text
from handlib.data.freihand import SHARES, ids_of
from handlib.data.poses import sample_articulations
from handlib.data.scene import Generator
from handlib.lifetimes import end_with
from handlib.paths import atomic_write, make_folder, room_for, user_path
from handlib.reading import BadFile, expecting, read_json, short

SPLITS = ("training", "evaluation")
VERSIONS = 4
MARKER = "synthetic.json"
# Random streams of the splits; those between are a ``HandStream``'s and ``KeptHands``'.
_STREAMS = {"train": 0, "evaluation": 1, "val": 5, "test": 6}
_PARTS = ".parts"
_CHUNK = 64
_BLOCK = 512  # ids whose articulations are drawn together: one at a time is slow
_ANNOTATIONS = {"K": 9, "xyz": 6, "verts": 6, "mano": 9, "scale": 9}  # decimals
# What decides how the pictures look: a change of these files makes another dataset.
_SOURCES = (
    *("raster", "shading", "shadows", "skin", "relief", "forearm"),
    *("poses", "things", "held", "beside", "look", "scene", "composite", "decimals", "synthesize"),
    *("backgrounds", "abstract", "places", "bodies", "paint"),
)


def synthesize(
    out, samples, evaluation=None, seed=0, size=224, hand=None, backgrounds=None, workers=None,
    progress=True,
):  # fmt: skip
    """Render a dataset of hands, or finish one, or find it already there.

    Writes FreiHAND's public layout: ``training/rgb`` with four versions of each id (version 0 on
    a green screen, file number = id + samples * version), ``training/mask``, ``evaluation/rgb``
    (one picture per id) and ``evaluation/mask``, ``{split}_{K,xyz,verts,mano,scale}.json``, and at
    the end ``synthetic.json`` with the settings.

    Args:
        out: folder; new, empty, or an unfinished or finished one of the same settings.
        samples: number of training ids.
        evaluation: number of evaluation ids; a tenth of ``samples`` by default.
        seed: the same seed and settings give the same bytes.
        size: side of the pictures, px.
        hand: right-handed ``HandModel``; ``load_hand_model()`` by default.
        backgrounds: folder of pictures; by default ``MP_BACKGROUNDS``, or made-up ones.
        workers: processes; by default one per core.
        progress: show a progress bar.

    Returns:
        Path of the folder.

    Raises:
        ValueError: a left hand, a size under 32, or the folder holds other settings or things.
        FileNotFoundError: the folder of backgrounds does not exist.
    """
    leave_where_main_is_unguarded()
    out = user_path(out)
    hand = hand or handlib.mano.load_hand_model()
    settings = _settings(samples, evaluation, seed, size, hand, backgrounds)
    if (out / MARKER).is_file() and _is_finished(out, settings):
        shutil.rmtree(out / _PARTS, ignore_errors=True)  # a run may have ended just before it did
        return out
    with _alone_in(out):
        if not _is_finished(out, settings):  # another process may have done it meanwhile
            _render(out, settings, hand, workers or os.cpu_count() or 1, progress)
    return out


def _render(out, settings, hand, workers, progress):
    """Everything that is not there yet; the marker of a whole dataset comes last."""
    job = {**settings, "out": str(out)}
    chunks = [
        (split, start, min(start + _CHUNK, settings[count]))
        for split, count in zip(SPLITS, ("samples", "evaluation"))
        for start in range(0, settings[count], _CHUNK)
    ]
    for split in SPLITS:
        for kind in ("rgb", "mask"):
            (out / split / kind).mkdir(parents=True, exist_ok=True)
    _run_chunks(job, hand, chunks, workers, progress)
    for split in SPLITS:
        _write_annotations(out, split, [c for c in chunks if c[0] == split])
    with atomic_write(out / MARKER) as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n")
    shutil.rmtree(out / _PARTS)


def settings_name(samples, seed=0, size=224, hand=None, backgrounds=None):
    """Name of a folder for a dataset of these settings: other settings, other name."""
    hand = hand or handlib.mano.load_hand_model()
    made_of = _settings(samples, None, seed, size, hand, backgrounds)
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return f"{samples}x{VERSIONS}-{digest[:8]}"


def _settings(samples, evaluation, seed, size, hand, backgrounds):
    """What decides a dataset's bytes; JSON-able."""
    evaluation = max(1, samples // 10) if evaluation is None else evaluation
    if samples < 1 or evaluation < 1:
        raise ValueError(f"samples and evaluation must be at least 1: {samples}, {evaluation}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more: {seed}")
    Generator.check(hand, size)
    behind = load_backgrounds(backgrounds)
    return {
        "generator": generator_version(),
        "seed": seed,
        "samples": samples,
        "evaluation": evaluation,
        "size": size,
        "hand_model": hand.name,
        "hand_fingerprint": hand.fingerprint,
        "backgrounds": behind.source,
        **({"background_pictures": behind.fingerprint()} if behind.folder else {}),
    }


def generator_version():
    """What names the generator's source: other pictures, other word of 12 letters."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in _SOURCES]
    files.append(Path(handlib.mano.__file__).parent / "articulation.py")
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def _is_finished(out, settings):
    """Whether everything is there; notes the settings where a new dataset begins.

    Raises:
        ValueError: the folder holds something else.
    """
    noted = out / _PARTS / "settings.json"
    for path in (out / MARKER, noted):
        if path.is_file():
            old = read_json(path, "choose another folder, or delete this one")
            with expecting(path, "not what handlib synthesize writes", "choose another folder"):
                changed = [k for k in settings if old.get(k) != settings[k]]
            if changed:
                what = ", ".join(f"{k} {short(old.get(k))} (asked: {settings[k]})" for k in changed)
                raise BadFile(
                    f"{out} holds a synthetic dataset with other settings: {what}. "
                    "Choose another folder, or delete this one"
                )
            return path != noted
    # Parts without settings were begun on a disk that was full.
    if any(path.name != _PARTS for path in out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no synthetic dataset: choose a new folder")
    with atomic_write(noted) as temporary:
        temporary.write_text(json.dumps(settings))
    return False


# -- chunks ----------------------------------------------------------------------------------
def _part(out, split, start):
    return Path(out) / _PARTS / f"{split}_{start:08d}.npz"


def _run_chunks(job, hand, chunks, workers, progress):
    # One that a full disk or a crash cut short is rendered again.
    left = [c for c in chunks if not zipfile.is_zipfile(_part(job["out"], *c[:2]))]
    total = sum(c[2] - c[1] for c in chunks)
    done = total - sum(c[2] - c[1] for c in left)
    workers = min(workers, len(left))
    with tqdm(
        total=total, initial=done, desc="rendering hands", unit="hand", mininterval=1,
        disable=not progress,
    ) as bar:  # fmt: skip
        if workers <= 1:
            with one_thread():
                for chunk in left:
                    bar.update(_render_chunk(job, hand, *chunk))
            return
        # Fresh processes: a fork of a process with running threads may hang.
        context = multiprocessing.get_context("spawn")
        # Killed, this process ends no worker; beside one that goes on they would render unlocked.
        pool = ProcessPoolExecutor(workers, context, initializer=end_with, initargs=(os.getpid(),))
        with _told_of_death(), pool:
            futures = [pool.submit(_render_chunk, job, hand, *chunk) for chunk in left]
            try:
                for future in as_completed(futures):
                    bar.update(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def leave_where_main_is_unguarded():
    """End a worker that is still being started: its parent's script came here without a guard."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


@contextmanager
def _told_of_death():
    """ChildProcessError with a remedy where a process that renders has died."""
    try:
        yield
    except BrokenProcessPool:
        main = sys.modules["__main__"]
        script = getattr(main, "__file__", None) if main.__spec__ is None else None
        unguarded = (
            f'if {script} calls synthesize outside of `if __name__ == "__main__":`, put it there '
            "(or give workers=1): each process that renders reads the script first. Otherwise: "
        )
        raise ChildProcessError(
            f"a process that renders has died; {unguarded if script else ''}is there enough "
            "memory? Fewer workers need less. What is rendered is kept, and the same call goes on"
        ) from None


@contextmanager
def _alone_in(out):
    """Keep a second process from rendering into the same folder."""
    handle = os.open(make_folder(out), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ValueError(
            f"another process is rendering into {out}: wait for it, or choose another folder"
        ) from None
    finally:
        os.close(handle)


@contextmanager
def one_thread():
    """One thread for each library: sums in the same order, and no fight between the workers."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


_WORKER = {}


def _tools(job, hand):
    """The generator and backgrounds of this process, made once."""
    key = (job["hand_fingerprint"], job["size"], job["seed"], job["backgrounds"])
    if _WORKER.get("key") != key:
        folder = None if job["backgrounds"] == "procedural" else job["backgrounds"]
        pictures = Backgrounds(folder, job["seed"])
        _WORKER.update(key=key, tools=(Generator(hand, job["size"]), pictures))
    return _WORKER["tools"]


def _render_chunk(job, hand, split, start, stop):
    """Render ids start to stop of a split; the file that marks the chunk as done comes last."""
    with one_thread():
        generator, backgrounds = _tools(job, hand)
        numbers, seed = range(start, stop), job["seed"]
        drawn = [_stream(split, n, job["samples"]) for n in numbers]
        streams = [np.random.default_rng([seed, *place]) for place in drawn]
        bent = [_articulations(seed, stream, n // _BLOCK)[n % _BLOCK] for stream, n in drawn]
        poses = [generator.draw_pose(*pair) for pair in zip(streams, bent)]
        rows = []
        for n, rng, pose, v, j in zip(numbers, streams, poses, *generator.posed(poses)):
            render = generator.render(rng, pose, v, j)
            _write_images(Path(job["out"]) / split, n, job["samples"], rng, render, backgrounds)
            rows.append((render.K, render.joints, render.vertices, render.mano, render.scale))
        with atomic_write(_part(job["out"], split, start)) as temporary:
            np.savez(temporary, **dict(zip(_ANNOTATIONS, map(np.array, zip(*rows)))))
    return stop - start


def _stream(split, n, samples):
    """(number of the random stream, place in it) of an id: the reader's splits have one each."""
    if split == "evaluation":
        return _STREAMS[split], n
    for part in SHARES:
        ids = ids_of(part, samples)
        if n in ids:
            return _STREAMS[part], n - ids.start
    raise ValueError(f"{samples} samples have no id {n}")


@lru_cache(maxsize=4)
def _articulations(seed, stream, block):
    """(_BLOCK, 45) of a stream's places from block * _BLOCK on."""
    # numpy pads seeds with zeros: the last number keeps this stream apart from those of the ids.
    rng = np.random.default_rng([seed, stream, block, 1])
    return sample_articulations(rng, _BLOCK)


def _write_images(folder, n, samples, rng, render, backgrounds):
    for version in range(VERSIONS) if folder.name == "training" else (1,):
        number = n + samples * version if folder.name == "training" else n
        picture = composite(rng, render, version, backgrounds)
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _write_jpeg(folder / "rgb" / f"{number:08d}.jpg", picture, rng.integers(90, 96))
    _write_jpeg(folder / "mask" / f"{n:08d}.jpg", np.uint8(255) * render.mask, 95)


def _write_jpeg(path, picture, quality):
    # Not cv2.imwrite, which calls a picture written that a full disk has cut short.
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    with room_for(path):
        path.write_bytes(encoded)


# -- annotation files ------------------------------------------------------------------------
def _write_annotations(out, split, chunks):
    """FreiHAND's JSON lists, one chunk in memory at a time."""
    for name, decimals in _ANNOTATIONS.items():
        with atomic_write(out / f"{split}_{name}.json") as temporary, temporary.open("w") as file:
            separator = "["
            for _, start, _ in chunks:
                with np.load(_part(out, split, start), allow_pickle=False) as part:
                    values = part[name]
                values = values[:, None] if name == "mano" else values  # theirs are (1, 61)
                for value in values:
                    file.write(separator + json_text(value, decimals))
                    separator = ", "
            file.write("]")
