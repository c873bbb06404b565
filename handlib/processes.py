"""A notebook on several processes: each runs all of it, in a kernel of its own.

torchrun starts them on one machine, srun inside of a Slurm job, on all of its machines. Their
kernels inherit RANK, WORLD_SIZE and the others by which torch.distributed finds its peers. The
first process's notebook is the run's; the others' are in ``ranks/``, beside what each came to.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, suppress
from pathlib import Path

from handlib.lifetimes import end_with
from handlib.notebooks import RunError, Stopped, execute
from handlib.paths import STOP, write_json
from handlib.reading import read_json

LAUNCHER = "HANDLIB_LAUNCHER"
STOPPED = ".stopped"  # in the folder of a training whose processes ended before it was finished
# Seconds that processes have to end when they are told to.
PATIENCE_S = 10


def rank():
    """Number of this process among those that run a notebook together; 0 where it is alone."""
    return int(os.environ.get("RANK", "0"))


# -- the process that starts the others ----------------------------------------------------------
def execute_on(processes, path, output, parameters, folder):
    """``notebooks.execute`` on so many processes.

    Args:
        processes: how many; 1 is this one.
        folder: for the spare notebooks, emptied first.

    Raises:
        Stopped, RunError: as ``execute``; of several failures, the first.
    """
    if processes == 1:
        execute(path, output, parameters)
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    task = folder / "task.json"
    write_json(task, {"notebook": str(path), "output": str(output), "parameters": parameters})
    # What the engine says of a failure is long, and is told in one line below. A session of its
    # own: Ctrl-C is for this process to pass on, once.
    with (folder / "engine.log").open("w") as log:
        engine = subprocess.Popen(
            _command(processes, ["-m", "handlib.processes", str(task)]),
            env=_environment(processes), stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            engine.wait()
        finally:
            _end(engine)
    _raise_if_not_done(folder, processes, path.stem, engine.returncode)


def train_together(processes, arguments, folder):
    """A training command on so many processes of this machine; an interrupt or SIGTERM stops them
    in order, all after the same step.

    Args:
        arguments: of the command, a list of words.
        folder: of the training, where a file named STOP is obeyed.

    Returns:
        the exit code.
    """
    told, stopped = [], folder / STOPPED
    stopped.unlink(missing_ok=True)

    def stop(number, _):
        told.append(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP).touch()

    # Told by SIGTERM itself, torchrun would fail, and kill after 30 s those that still save: it
    # begins with the signal ignored, and leaves that so.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, stop)}
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    engine = subprocess.Popen(
        _command(processes, ["-m", "handlib.cli", *arguments]),
        env=_environment(processes) | {"PET_SIGNALS_TO_HANDLE": "SIGINT,SIGHUP,SIGQUIT"},
        start_new_session=True,
    )  # fmt: skip
    signal.signal(signal.SIGTERM, stop)
    try:
        code = engine.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end(engine)
    if told:
        # Processes that were told themselves, or had finished, leave it.
        (folder / STOP).unlink(missing_ok=True)
    if code == 0 and stopped.exists():
        stopped.unlink()
        print("handlib: stopped, all saved; the same command goes on", file=sys.stderr)
        return 130 if signal.SIGINT in told else os.EX_TEMPFAIL  # as of one process
    return code


def _raise_if_not_done(folder, processes, name, code):
    """Make one error of what several processes came to."""
    outcomes = [read_json(file) for file in folder.glob("rank*.json")]
    heard = {outcome["rank"] for outcome in outcomes}
    lost = ", ".join(str(number) for number in range(processes) if number not in heard)
    failures = [outcome for outcome in outcomes if outcome["outcome"] == "failed"]
    reasons = []
    if failures:
        first = min(failures, key=lambda outcome: outcome["time"])
        reasons.append(f"process {first['rank']} of {processes}: {first['message']}")
    if lost:
        reasons.append(f"process {lost} of {processes} was killed (is there enough memory?)")
    stopped = [outcome for outcome in outcomes if outcome["outcome"] == "stopped"]
    if stopped and not reasons:
        raise Stopped(stopped[0]["message"])
    if code and not reasons:
        reasons.append(f"its processes ended with code {code}")
    if reasons:
        raise RunError(f"{name} failed: {'; '.join(reasons)}\nother processes: {folder}")


def _command(processes, program):
    """The engine's command line for so many ``python PROGRAM``."""
    if in_slurm_job(processes):
        # srun does not take a job's number of cores by itself.
        cores = os.environ.get("SLURM_CPUS_PER_TASK")
        return [
            "srun", f"--ntasks={processes}", *([f"--cpus-per-task={cores}"] if cores else []),
            "--kill-on-bad-exit=1", sys.executable, *program,
        ]  # fmt: skip
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", "--no-python", "--", sys.executable, *program,
    ]  # fmt: skip


def in_slurm_job(processes):
    """Whether this is the batch script of a Slurm job for so many processes."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_NTASKS") == str(processes)


def _environment(processes):
    """Variables of the processes: who started them, their share of the cores, where they meet."""
    added = {LAUNCHER: str(os.getpid())}
    if in_slurm_job(processes):
        added |= {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(_free_port())}
    elif "OMP_NUM_THREADS" not in os.environ:
        added["OMP_NUM_THREADS"] = str(max(1, cores() // processes))
    return os.environ | added


def cores():
    """How many cores this process may use; where the system does not tell (macOS), all."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _end(engine):
    """End an engine and its processes, where they have not ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if engine.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(engine.pid, number)
        with suppress(subprocess.TimeoutExpired):
            engine.wait(PATIENCE_S)


# -- one of the processes ------------------------------------------------------------------------
def main(task):
    """Execute the notebook of ``task`` as one process among several; returns the exit code."""
    task = Path(task)
    what = read_json(task)
    slurm = "RANK" not in os.environ
    if slurm:
        _take_slurm_place()
    end_with(os.getppid(), *([] if slurm else [int(os.environ[LAUNCHER])]))
    number, path, output = rank(), Path(what["notebook"]), Path(what["output"])

    def tell(outcome, message=""):
        about = {"rank": number, "outcome": outcome, "message": message, "time": time.time()}
        write_json(task.parent / f"rank{number}.json", about)

    def terminated(*_):
        if slurm:
            # A warning before the machines are taken: all stop together, in order.
            (Path(what["parameters"]["run_dir"]) / STOP).touch()
        else:
            # torchrun ends those that are left when one has failed.
            tell("ended")
            os._exit(1)

    signal.signal(signal.SIGTERM, terminated)
    if number:
        output = task.parent / f"{path.stem}.rank{number}.ipynb"
    try:
        with redirect_stderr(sys.stdout):
            execute(path, output, what["parameters"], quiet=number > 0)
    except Stopped as error:
        tell("stopped", str(error))
    except RunError as error:
        tell("failed", str(error))
        return 1
    else:
        tell("done")
    return 0


def _take_slurm_place():
    """The variables of torch.distributed, as torchrun would set them, from srun's."""
    here = os.environ.get("SLURM_NTASKS_PER_NODE", os.environ["SLURM_NTASKS"])
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "WORLD_SIZE": os.environ["SLURM_NTASKS"],
        "LOCAL_WORLD_SIZE": here,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
