"""Calls a reader on files, each in a process of its own that may use little time and memory."""

import copyreg
import importlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

MEMORY = 700 << 20  # bytes beyond what the imports take
SECONDS = 10


def outcomes(reader, paths, folder):
    """What ``reader`` ("module:function") says of each path, called in ``folder``.

    Returns:
        dict of path -> dict: ``error`` (name of the exception's type; "" where the file was read,
        "died" where the process was killed by a limit or crashed) and ``message``. Time is the
        processor's, so that a busy machine changes nothing.
    """
    paths = [str(path) for path in paths]
    done = subprocess.run(
        [sys.executable, __file__, reader, *paths],
        capture_output=True, text=True, timeout=600, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(paths, lines, strict=True))


def _outcome(read, path):
    try:
        read(path)
    except BaseException as error:
        return {"error": type(error).__name__, "message": str(error)[:5000]}
    return {"error": "", "message": ""}


def _limited(read, path):
    """``_outcome`` in a child."""
    end, start = os.pipe()
    if not (child := os.fork()):
        os.close(end)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        with os.fdopen(start, "w") as pipe:
            json.dump(_outcome(read, path), pipe)
            pipe.flush()
            os._exit(0)
    os.close(start)
    with os.fdopen(end) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(told) if told else {"error": "died", "message": str(status)}


if __name__ == "__main__":
    copyreg.add_extension("os", "system", 240)  # as another package could have registered one
    module, name = sys.argv[1].split(":")
    function = getattr(importlib.import_module(module), name)
    for path in sys.argv[2:]:
        print(json.dumps(_limited(function, Path(path))), flush=True)
