"""One session of a training: alone in its folder, ended in order by signals, told of memory."""

import signal
import threading
from contextlib import contextmanager, nullcontext

from handlib.paths import locked

# A killed run's kernel goes on for some seconds.
LOCK_S = 20

# What torch says of a GPU, of a CPU, and of a CPU under Windows.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def alone(run_dir, rank):
    """Context that keeps other trainings out of the run folder, for the first of several processes:
    BlockingIOError if one does not end soon."""
    if rank:
        return nullcontext()
    told = f"another process is training in {run_dir}: wait for it, stop it, or give another folder"
    return locked(run_dir / ".training.lock", BlockingIOError(told), LOCK_S)


@contextmanager
def signals(interrupted, terminated):
    """Let signals set events: an interrupt (Ctrl-C, a notebook's stop button), of which a second
    one raises, and SIGTERM, a cluster's last warning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(signum, frame):
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        print("stopping after this step; interrupt again to stop at once", flush=True)

    handlers = {signal.SIGINT: note, signal.SIGTERM: lambda *_: terminated.set()}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def enough_memory(step, batch_size):
    """MemoryError with a remedy, where torch cannot get the memory that it asks for."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise MemoryError(
            f"step {step}: not enough memory for batch_size {batch_size}. Begin a new run with "
            f"batch_size {max(1, batch_size // 2)}, or a smaller input size ({_first_line(error)})"
        ) from error


def _first_line(error):
    return str(error).strip().split("\n")[0]
