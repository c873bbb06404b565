"""``handlib doctor``: is everything there that a run needs, and what to do where it is not.

Each check is a function that returns its ``Finding``. What a check raises is found wrong, in the
words of the error: the same that a run would end with.
"""

import os
import platform
import shutil
import sys
import tempfile
import threading
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from handlib.paths import SHIPPED, cache_dir, from_environment, runs_root

OK, WARNING, WRONG = "ok", "warning", "wrong"
OLDEST_PYTHON = (3, 11)
GB = 1 << 30
# Below these, a run of the defaults may not come to its end; the workflow takes 1 GB of each.
LEAST_DISK, LEAST_MEMORY = 2 * GB, 3 * GB
LEAST_SHARED = GB // 4  # three batches of 128 at 320 px, of a single worker; docker gives 64 MB
KERNEL_S = 60


@dataclass
class Finding:
    """One line: what was looked at, how it is, and what to do where that is not ok."""

    what: str
    text: str
    state: str = OK
    remedy: str = ""

    def __str__(self):
        told = f"{self.text}: {self.remedy}" if self.remedy else self.text
        return f"{self.state:<8} {self.what:<12} {told}"


def doctor(show=print):
    """Look at everything, and show a line for each.

    Returns:
        0, or 1 where something is wrong: the exit code.
    """
    kernel = _Kernel()  # starts meanwhile
    checks = {
        "Python": python, "packages": packages, "torch": torch_build, "GPU": gpu,
        "memory": memory, "hand model": hand_model, "data": data, "backgrounds": backgrounds,
        "outputs": outputs, "cache": cache, "weights": weights, "Slurm": slurm, "notebooks": kernel,
    }  # fmt: skip
    states = []
    for what, check in checks.items():
        try:
            finding = Finding(what, *check())
        except Exception as error:
            lines = (str(error) or type(error).__name__).strip().splitlines()
            if len(lines) > 3:  # where it looked
                lines[2:-1] = ["..."]
            finding = Finding(what, " ".join(line.strip() for line in lines), WRONG)
        states.append(finding.state)
        show(str(finding))
    counts = {state: states.count(state) for state in (WRONG, WARNING) if state in states}
    show("\n" + (", ".join(f"{n} {state}" for state, n in counts.items()) or "all is well"))
    return int(WRONG in states)


# -- the machine -----------------------------------------------------------------------------
def python():
    text = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return text, WRONG, "make the environment anew with Python 3.11 or newer"
    return (text,)


def packages():
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in requires("handlib") or ()]
    needed = [need for need in needed if need.marker is None or need.marker.evaluate()]
    lacking = []
    for need in needed:
        try:
            found = version(need.name)
        except PackageNotFoundError:
            found = None
        if found is None or not need.specifier.contains(found, prereleases=True):
            lacking.append(f"{need} ({found or 'not installed'})")
    if lacking:
        return f"not as needed: {', '.join(lacking)}", WRONG, "pip install -e . in handlib's folder"
    return (f"handlib {version('handlib')} and the {len(needed)} that it needs",)


def torch_build():
    import torch

    if torch.version.cuda or torch.version.hip:
        return (f"{torch.__version__}, a build for GPUs",)
    text = f"{torch.__version__}, a build for CPUs, {torch.get_num_threads()} threads"
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        remedy = "this machine has a GPU; install the build for it from pytorch.org"
        return text, WARNING, remedy
    return (text,)


def gpu():
    import torch

    if not torch.cuda.is_available():
        text = "none that torch can use"
        if torch.version.cuda:
            return text, WARNING, "look at nvidia-smi, or ask Slurm for one; a CPU will do"
        return (f"{text}; the defaults are made for a CPU",)
    name, (free, total) = torch.cuda.get_device_name(), torch.cuda.mem_get_info()
    text = f"{name}, {free / GB:.0f} of {total / GB:.0f} GB free"
    torch.ones(8, device="cuda").sum().item()  # a driver that is too old says so here
    if free < LEAST_MEMORY:
        return text, WARNING, "others use it; take another one or a smaller batch_size"
    return (text,)


def memory():
    free = _free_memory()
    if free is None:
        return ("not told by this system",)
    text = f"{free / GB:.1f} GB free"
    if free < LEAST_MEMORY:
        return text, WARNING, "close something, or take a smaller batch_size and workers 0"
    shared = _free_shared_memory()
    if shared is None:
        return (text,)
    if shared < LEAST_SHARED:
        text += f", of which workers may share {shared / 2**20:.0f} MB"
        return text, WARNING, "docker run --shm-size=4g, or workers 0 where batches are large"
    return (f"{text}, {min(shared, free) / GB:.1f} GB for workers to share",)


def _free_shared_memory():
    """Bytes that workers may send batches in, or None where this system does not tell."""
    place = Path("/dev/shm")
    return shutil.disk_usage(place).free if place.is_dir() else None


def _free_memory():
    """Bytes that a new process may take, or None: of the machine, or of its container or job."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except OSError:
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{what}").read_text() for what in ("max", "current"))
        free.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no limit
    return min(free, default=None)


# -- what the environment names --------------------------------------------------------------
def hand_model():
    from handlib.mano import load_hand_model

    hand = load_hand_model()
    if from_environment("MANO"):
        return (f"{hand.source}, {hand.fingerprint}",)
    return ("the stand-in hand: MANO is not set, and no number of it is one on FreiHAND",)


def data():
    root = from_environment("MP_DATA")
    if root is None:
        return ("synthetic, rendered when first needed: MP_DATA is not set",)
    from handlib.data import open_dataset

    found, faults, reader = {}, [], None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for split in ("train", "val", "test", "evaluation"):
            try:
                reader = open_dataset(root, split)
                reader[0]
                found[split] = len(reader)
            except (OSError, ValueError) as error:
                faults.append(error)
    if not found:
        raise faults[0]
    counts = ", ".join(f"{split} {count}" for split, count in found.items())
    text = f"{reader.source} in {root}: {counts}"
    # FreiHAND's evaluation images are a download of their own, and others have no such split.
    lacking = {"train", "val", "test"} - found.keys()
    told = [f"another split cannot be opened ({faults[0]})"] if lacking else []
    # Splits share files, and each warns in numbers of its own: one warning of a file will do.
    said = [str(warning.message) for warning in caught]
    told += {message.split(": ")[0]: message for message in said}.values()
    return (text, WARNING, "; ".join(told)) if told else (text,)


def backgrounds():
    if from_environment("MP_BACKGROUNDS") is None:
        return ("made up: MP_BACKGROUNDS is not set",)
    from handlib.data import load_backgrounds

    pictures = load_backgrounds()
    return (f"{len(pictures.paths)} files in {pictures.folder}",)


def outputs():
    return _disk(runs_root(), "MP_EXPERIMENTS")


def cache():
    return _disk(cache_dir(), "HANDLIB_CACHE")


def _disk(folder, name):
    """Whether there is room in a folder, which need not exist yet, and it can be written to."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        remedy = f"set {name} to a folder that you may write to"
        return f"{folder} cannot be written to ({error.strerror})", WRONG, remedy
    free = shutil.disk_usage(place).free
    text = f"{folder}, {free / GB:.0f} GB free"
    if free < LEAST_DISK:
        return text, WARNING, f"make room, or set {name} to a folder on another disk"
    return (text,)


# -- handlib's own ---------------------------------------------------------------------------
def weights():
    from handlib.checkpoints import verify

    if not SHIPPED.is_dir():
        return "none come with this copy", WARNING, "train some with handlib run 02_train"
    verify(SHIPPED)
    size = sum(file.stat().st_size for file in SHIPPED.iterdir())
    return (f"those that come with handlib are whole, {size / 1e6:.0f} MB",)


def slurm():
    from handlib.slurm import silence

    there = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name)]
    if not there:
        return ("not on this machine: runs stay here",)
    if len(there) < 4:
        return f"only {', '.join(there)}", WARNING, "load your cluster's Slurm module"
    if why := silence():
        remedy = "handlib submit needs it: ask who runs the cluster, or use handlib run"
        return f"its programs are here, but no controller answers ({why})", WARNING, remedy
    inside = " (in a job)" * ("SLURM_JOB_ID" in os.environ)
    return (f"{shutil.which('sbatch')} and the others{inside}",)


class _Kernel(threading.Thread):
    """A notebook's kernel, started while the other things are looked at."""

    def __init__(self):
        super().__init__(daemon=True)
        self.answer, self.fault = None, None
        self.start()

    def run(self):
        try:
            self.answer = _prefix_of_kernel()
        except Exception as error:
            self.fault = error

    def __call__(self):
        self.join(KERNEL_S)
        here = f"{sys.executable} -m ipykernel install --sys-prefix"
        if self.answer is None:
            why = f" ({self.fault})" if self.fault else ""
            return f"no kernel python3 starts{why}", WRONG, here
        if self.answer != sys.prefix:
            return f"their kernel python3 is of {self.answer}, not {sys.prefix}", WRONG, here
        return ("a kernel starts, and is this Python",)


def _prefix_of_kernel():
    """The environment that notebooks are executed in, as a kernel itself tells it."""
    from jupyter_client.manager import KernelManager

    with tempfile.TemporaryDirectory(prefix="hl", dir="/tmp") as sockets:
        manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/k")
        manager.start_kernel(stdout=-3, stderr=-3)
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=KERNEL_S)
            told = {"path": "__import__('sys').prefix"}
            reply = client.execute_interactive(
                "", user_expressions=told, timeout=KERNEL_S, output_hook=lambda message: None
            )
            answer = reply["content"]["user_expressions"]["path"]["data"]["text/plain"]
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return answer.strip("'\"")
