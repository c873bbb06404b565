"""Fixtures shared by the tests; nothing here needs a network, a GPU or files of the user's."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from handlib.paths import cache_dir
from handlib.processes import cores

# Files of tests that take minutes.
MINUTES = {"test_notebooks", "test_processes", "test_slurm", "test_browser", "test_stream",
           "test_ablation", "test_export"}  # fmt: skip

# Compiled once for all sessions: where handlib keeps it when it is not tested.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "compiled"))

# Tests that run at the same time share the cores, and so does all that they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background jobs ignore interrupts, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers():
    """For ``-n auto``: one more than cores, as many tests wait for a kernel, a kill or Slurm; each
    takes up to 3 GB, with what it starts."""
    memory = psutil.virtual_memory().available // (3 * 2**30)
    return max(1, min(cores() + 1, memory, 8))


def pytest_collection_modifyitems(items):
    """The files that take minutes come first, so that none of them is waited for at the end."""
    items.sort(key=lambda item: item.path.stem not in MINUTES)


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory):
    """Tests see no MANO, no dataset, no experiments folder, and a cache of their own."""
    patch = pytest.MonkeyPatch()
    for name in ("MANO", "MP_DATA", "MP_BACKGROUNDS", "MP_EXPERIMENTS"):
        patch.delenv(name, raising=False)
    patch.setenv("HANDLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("MPLBACKEND", "agg")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def hand():
    """The stand-in right hand."""
    from handlib.mano import load_hand_model

    return load_hand_model()


@pytest.fixture(scope="session")
def rest(hand):
    """Vertices and joints of the hand at rest, MANO's frame."""
    import torch

    from handlib.mano import HandLayer

    rotations = torch.eye(3).expand(1, 16, 3, 3)
    vertices, joints = HandLayer(hand)(rotations, torch.zeros(1, 10))
    return vertices[0].double().numpy(), joints[0].double().numpy()


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory):
    """A small synthetic dataset: 24 unique hands in four versions, 8 for evaluation, 128 px."""
    from handlib.data.synthesize import synthesize

    out = tmp_path_factory.mktemp("data") / "synthetic"
    return synthesize(out, samples=24, evaluation=8, seed=3, size=128, workers=2, progress=False)


@pytest.fixture(scope="session")
def real_photos():
    """Folder of real photos beside the repository; absent for most people."""
    folder = Path(os.environ.get("HANDLIB_REAL_PHOTOS", Path(__file__).parents[2] / "shared/real"))
    if not folder.is_dir():
        pytest.skip(f"no real photos at {folder}")
    return folder
