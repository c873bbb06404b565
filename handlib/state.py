"""What a run is doing: who works in its folder, since when, and how it ended.

``state.json`` of a run says so; while somebody works there it is touched every ``BEAT_S``, so that
it tells of a killed process, too, on whatever machine that was.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime

from handlib.lifetimes import lives
from handlib.notebooks import RunError, Stopped
from handlib.paths import locked, write_json
from handlib.reading import expecting, read_json

NAME = "state.json"
REMEDY = "remove it: it is written again"
BEAT_S = 15
# A shared file system shows other machines' beats late.
LOST_S = 90


def read_state(folder):
    """What a run is doing: dict with ``state``: "running", "stopped", "failed", "finished",
    "killed" (it says that it runs, and is silent) or "new", and ``message``; where it was begun,
    ``notebook``, ``host``, ``process``, ``processes``, ``job``, ``since``."""
    file = folder / NAME
    try:
        about = read_json(file, REMEDY)
        silent = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        finished = (folder / "metrics.json").exists()
        return {"state": "finished" if finished else "new", "message": ""}
    with expecting(file, "not the state of a run", REMEDY):
        here = about["host"] == socket.gethostname()
        gone = silent > LOST_S or (here and not lives(about["process"]))
        if about["state"] == "running" and gone:
            about |= {"state": "killed", "message": "the same command goes on"}
    return about


def alone_in(folder):
    """Context that keeps a second process out of a run folder."""
    told = f"another process is working in {folder}: wait for it, or give another --name"
    return locked(folder / ".lock", RunError(told))


@contextlib.contextmanager
def lifeline(run, processes):
    """Keep ``state.json`` of a run while the block works in it.

    Yields:
        A function that takes the name of the notebook whose turn it is.
    """
    about = {
        "state": "running",
        "message": "",
        "notebook": "",
        "host": socket.gethostname(),
        "process": os.getpid(),
        "processes": processes,
        "job": slurm_job(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    file, done = run.path / NAME, threading.Event()

    def tell(**changes):
        about.update(changes)
        write_json(file, about)

    def beat():
        while not done.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(file)

    tell()
    beats = threading.Thread(target=beat, daemon=True)
    beats.start()
    try:
        yield lambda notebook: tell(notebook=notebook)
    except BaseException as error:
        state = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):  # a full disk: the error itself says more
            tell(state=state, message=str(error).split("\n")[0])
        raise
    else:
        tell(state="finished")
    finally:
        done.set()
        beats.join()


def slurm_job():
    """Number of the Slurm job that this process is part of, "12" or "12_3" in an array, or ""."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    if task is not None:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    return os.environ.get("SLURM_JOB_ID", "")


@contextlib.contextmanager
def stopping(run):
    """Let SIGTERM and SIGUSR2, a cluster's warnings, stop a run in order.

    Its training ends at the next step and saves. What else runs has ``HANDLIB_GRACE_S`` seconds to
    end, and is done anew when the run goes on.

    Raises:
        Stopped: in place of the KeyboardInterrupt that ends what takes longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    timers = []

    def warned(signum, frame):
        print("stopping in order: a training saves after this step", flush=True)
        run.stop_file.touch()
        grace = float(os.environ.get("HANDLIB_GRACE_S", "120"))
        timers.append(threading.Timer(grace, os.kill, [os.getpid(), signal.SIGINT]))
        timers[-1].daemon = True
        timers[-1].start()

    numbers = (signal.SIGTERM, signal.SIGUSR2)
    before = {number: signal.signal(number, warned) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        if not timers:
            raise
        raise Stopped("stopped in the middle of a notebook, which is done anew") from None
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
