"""How a process that makes samples for another one begins."""

import multiprocessing
import os
import signal
import threading

import cv2
import torch

from handlib.lifetimes import end_with


def start_worker(_number):
    """``worker_init_fn`` of a ``DataLoader``.

    Workers are parallel already: threads inside them only fight for cores. And their parent alone
    ends them: an interrupt reaches all processes of a terminal, SIGTERM and a cluster's SIGUSR2 all
    of a job, and the parent still needs samples to end in order. They end when it dies, too: a
    ``DataLoader`` looks only between batches, and a large one takes long.
    """
    parent = multiprocessing.parent_process().pid  # not a server that forks, which is getppid's
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows: SIGTERM ends workers there
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_end, args=(parent,), daemon=True).start()
    # After the mask, which its thread inherits.
    end_with(os.getppid(), parent)


def _wait_for_end(parent):
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
