"""All runs at a glance, and the way to stop one."""

import sys
from contextlib import suppress

from handlib import slurm
from handlib.paths import name_of_run, run_folders, runs_root
from handlib.reading import BadFile, expecting, read_json, short
from handlib.runfolder import Run, matching
from handlib.runlog import BEST_BY, read_records
from handlib.state import read_state

ANSWER_S = 10  # that Slurm has to answer in


def find_runs(patterns=()):
    """Run folders, oldest first: those of these names, paths or patterns (``sweep-*``), or all.

    Raises:
        RunError: a name that is not there.
    """
    return _chosen(run_folders(), patterns)


def _chosen(known, patterns):
    names = [name_of_run(pattern) for pattern in patterns]
    return [known[name] for name in matching(known, names, "run", f" in {runs_root()}")]


def _not_begun():
    """Folders of sweeps' members that have not begun."""
    names = []
    for file in runs_root().glob("*/sweep.json"):
        with suppress(BadFile):  # the others can be stopped all the same
            names += read_json(file)
    folders = {name: runs_root() / name for name in names}
    return {n: f for n, f in folders.items() if f.is_dir() and not (f / "run.json").exists()}


def status(patterns=()):
    """What each run is doing.

    Returns:
        dict of name -> dict with ``state``, ``notebook``, ``step``, ``epoch``, ``best`` (PA-MPJPE
        on the validation data, mm), ``left`` (time, estimated) and ``where``; for a table.
    """
    jobs = _queue() or {}
    return {path.name: _row(path, jobs) for path in find_runs(patterns)}


def _queue():
    """``slurm.queue``; None where Slurm does not answer, which is said: runs here need no Slurm."""
    try:
        return slurm.queue(ANSWER_S)
    except slurm.NoAnswer:
        told = f"Slurm did not answer in {ANSWER_S} s: which jobs wait in its queue is not known"
        print(f"handlib: {told}", file=sys.stderr)
        return None


def _row(folder, jobs):
    try:
        with expecting(folder, "not what a run writes", "look at its files"):
            return _sound_row(folder, jobs)
    except ValueError as error:  # one damaged run hides no others
        unknown = dict.fromkeys(("notebook", "step", "epoch", "best", "left", "where"))
        return {"state": f"damaged: {short(error)}"} | unknown


def _sound_row(folder, jobs):
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
    """How long a training still takes at its pace so far, "1 h 05 min"; None before it has one."""
    if not last:
        return None
    try:
        config = read_json(folder / "checkpoints" / "last" / "trainer.json", finite=False)["config"]
    except FileNotFoundError:  # nothing was saved yet
        return None
    steps, minutes = config["steps"], config["max_minutes"]
    share = last["step"] / steps if steps else last["time"] / (60 * minutes)
    if not share:
        return None
    left = round(last["time"] * (1 - share) / share / 60)
    return f"{left // 60} h {left % 60:02} min" if left >= 60 else f"{left} min"


def stop(patterns):
    """Stop runs: a training at its next step, with everything saved; a waiting job, or a member of
    a sweep that has not begun, at once.

    Returns:
        dict of name -> what was done.
    """
    jobs, done, waiting = _queue(), {}, _not_begun()
    # First those that a sweep would begin in the stead of one that ends.
    for folder in _chosen(waiting | run_folders(), patterns):
        job, state = slurm.job_of(folder), read_state(folder)["state"]
        if folder.name in waiting:
            Run(folder).stop_file.touch()
            done[folder.name] = "told not to begin: its sweep's next start runs it"
        elif state == "running":
            Run(folder).stop_file.touch()
            done[folder.name] = "told to stop: its training saves after this step"
        elif job and jobs is None:
            unknown = f"whether job {job} waits is not known: stop it again later"
            done[folder.name] = f"does not run ({state}); {unknown}"
        elif jobs and job in jobs:
            slurm.cancel(job)
            done[folder.name] = f"job {job} was taken out of the queue"
        else:
            done[folder.name] = f"does not run ({state})"
    return done
