"""All runs at a glance, and the way to stop one."""

import contextlib
import fnmatch

from handlib import slurm
from handlib.notebooks import RunError
from handlib.reading import read_json
from handlib.runfolder import Run, runs_root
from handlib.runlog import read_records
from handlib.state import read_state

BEST_BY = "val_pa_mpjpe_mm"


def find_runs(patterns=()):
    """Run folders, oldest first: those of these names or patterns (``sweep-*``), or all.

    Raises:
        RunError: a name that is not there.
    """
    known = {path.parent.name: path.parent for path in runs_root().glob("*/run.json")}
    found = dict.fromkeys(known if not patterns else ())
    for pattern in patterns:
        matching = fnmatch.filter(known, pattern)
        if not matching:
            raise RunError(f"no run {pattern} in {runs_root()}; there are: {', '.join(known)}")
        found |= dict.fromkeys(matching)
    return sorted((known[n] for n in found), key=lambda p: (p / "run.json").stat().st_mtime)


def status(patterns=()):
    """What each run is doing.

    Returns:
        dict of name -> dict with ``state``, ``notebook``, ``step``, ``epoch``, ``best`` (PA-MPJPE
        on the validation data, mm), ``left`` (time, estimated) and ``where``; for a table.
    """
    jobs = slurm.queue()
    return {path.name: _row(path, jobs) for path in find_runs(patterns)}


def _row(folder, jobs):
    about, job = read_state(folder), slurm.job_of(folder)
    state, where = about["state"], about.get("host", "")
    if about.get("job"):
        where = f"{where} (job {about['job']})"
    if job in jobs and state != "running":
        queued = jobs[job]
        state, where = f"waiting ({queued['reason']})", f"job {job}"
        if queued["state"] != "PENDING":
            state = queued["state"].lower()
    records = read_records(folder / "metrics.jsonl")
    last = records[-1] if records else {}
    return {
        "state": state,
        "notebook": about.get("notebook", ""),
        "step": last.get("step"),
        "epoch": round(last["epoch"], 2) if last else None,
        "best": min((r[BEST_BY] for r in records if BEST_BY in r), default=None),
        "left": _left(folder, last) if state == "running" else None,
        "where": where,
    }


def _left(folder, last):
    """How long a training still takes at its pace so far, "1 h 05 min", or None."""
    share = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        saved = read_json(folder / "checkpoints" / "last" / "trainer.json")
        steps, minutes = saved["config"]["steps"], saved["config"]["max_minutes"]
        share = last["step"] / steps if steps else last["time"] / (60 * minutes)
        minutes = round(last["time"] * (1 - share) / share / 60)
        return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
    return share


def stop(patterns):
    """Stop runs: a training at its next step, with everything saved; a waiting job at once.

    Returns:
        dict of name -> what was done.
    """
    jobs, done = slurm.queue(), {}
    for folder in find_runs(patterns):
        job, state = slurm.job_of(folder), read_state(folder)["state"]
        if state == "running":
            Run(folder).stop_file.touch()
            done[folder.name] = "told to stop: its training saves after this step"
        elif job in jobs:
            slurm.cancel(job)
            done[folder.name] = f"job {job} was taken out of the queue"
        else:
            done[folder.name] = f"does not run ({state})"
    return done
