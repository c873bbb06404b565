"""A process that others started ends with them: nobody would read what it does."""

import os
import threading
import time

import psutil


def end_with(parent, *others):
    """End this process soon after its parent, or after others of this machine, by their numbers."""

    def look():
        # Slurm's parent is root's, and ``lives`` may not be allowed to see it.
        while os.getppid() == parent and all(map(lives, others)):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def lives(process):
    """Whether a process of this machine, by its number, has not ended."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
