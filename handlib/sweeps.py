"""The same notebooks with several parameters: as an array of jobs, or some at a time here."""

import hashlib
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from handlib import slurm
from handlib.description import check_same, describe
from handlib.notebooks import RunError, notebook_parameters, notebook_path
from handlib.paths import runs_root, user_path, write_json
from handlib.runfolder import check_name
from handlib.runs import plan
from handlib.state import alone_in, read_state

LONGEST = 100  # letters of a folder's name that say what differs


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    label: str
    """What differs, "lr=0.001, seed=0"."""
    given: dict
    plan: object

    @property
    def run(self):
        return self.plan.run


def read_sweep(file):
    """Parameters of a sweep from a TOML or JSON file.

    The file holds ``name = value`` for what all members share, ``name = [values]`` for what is
    varied (every combination), or a list ``members`` of tables, one for each.

    Returns:
        list of dicts of parameter -> value.

    Raises:
        RunError: naming the file and what is wrong with it.
    """
    file = user_path(file)
    try:
        text = file.read_text()
        content = tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text)
        json.dumps(content)  # a date of TOML is no parameter
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{file}: {error}; a sweep is a TOML or JSON file") from None
    if not isinstance(content, dict):
        raise RunError(f"{file}: a sweep is a table of parameters, not {type(content).__name__}")
    members = content.pop("members", [{}])
    if not (isinstance(members, list) and members and all(isinstance(m, dict) for m in members)):
        raise RunError(f"{file}: members is a list of tables, one for each run")
    varied = {name: v if isinstance(v, list) else [v] for name, v in content.items()}
    return [shared | member for shared in combinations(varied) for member in members]


def combinations(varied):
    """Every choice of one of the values of each name: list of dicts."""
    if empty := [name for name, values in varied.items() if not values]:
        raise RunError(f"parameter {empty[0]!r} has no values")
    return [
        dict(zip(varied, chosen, strict=True)) for chosen in itertools.product(*varied.values())
    ]


def plan_sweep(notebooks, members, name=None, here=True):
    """Check all members of a sweep, before any starts.

    Args:
        notebooks, here: see ``runs.plan``.
        members: list of dicts of parameter -> value.
        name: of the sweep; by default of the first notebook and what is varied.

    Returns:
        (folder of the sweep, list of ``Member``).
    """
    check_name(name)
    names = dict.fromkeys(key for member in members for key in member)
    varied = [n for n in names if len({json.dumps(m.get(n)) for m in members}) > 1]
    labels = [", ".join(f"{n}={m[n]}" for n in varied if n in m) or "alone" for m in members]
    if len(set(labels)) < len(labels):
        raise RunError("two members of the sweep have the same parameters")
    takes = (n for n in notebooks if notebook_parameters(notebook_path(n)).keys() & set(varied))
    about = Path(next(takes, notebooks[0])).stem
    name = _folder_name(name or "-".join(["sweep", about, *varied]))
    planned = [
        Member(label, given, plan(notebooks, given, _folder_name(f"{name}-{label}"), here))
        for label, given in zip(labels, members, strict=True)
    ]
    for member in planned:
        if member.plan.is_done:
            check_same(member.run.path, member.plan.parameters)
    folder = runs_root() / name
    folder.mkdir(exist_ok=True)
    write_json(folder / "sweep.json", {m.run.path.name: m.given for m in planned})
    return folder, planned


def _folder_name(text):
    """Of a member, or of a sweep: what no folder's name should hold gives way to a check sum."""
    plain = re.sub(r", |[^\w.=+-]+", "-", text)
    if plain != text.replace(", ", "-") or len(plain) > LONGEST:
        plain = f"{plain[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return plain


def run_sweep(notebooks, members, at_once=1, processes=1):
    """Run the members that are not finished, ``at_once`` at a time.

    What they print goes to ``log.txt`` of each. A file STOP in the folder of one that has not begun
    keeps it from it, this time.

    Returns:
        list of the members that did not finish.
    """
    running, ended = set(), threading.Event()
    for member in members:
        member.run.stop_file.unlink(missing_ok=True)

    def run(member):
        if member.plan.is_done or ended.is_set() or member.run.stop_file.exists():
            return
        words = slurm.run_command(notebooks, member.given, member.run.path.name, processes)
        command = [sys.executable, "-m", "handlib.cli", *words[1:]]
        with (member.run.path / "log.txt").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            running.add(process)
            process.wait()
            running.discard(process)
        print(f"{member.label}: {_told(read_state(member.run.path))}", flush=True)

    def end(number, frame):
        ended.set()
        for process in list(running):
            process.send_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with ThreadPoolExecutor(at_once) as pool:
            started = pool.map(run, members)
            try:
                list(started)
            except KeyboardInterrupt:  # those that run have it too; no other begins
                ended.set()
                raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return [member for member in members if not member.plan.is_done]


def _told(about):
    """What became of a run, by its state; the message may begin with that word itself."""
    said = about["message"].removeprefix(about["state"]).strip()
    return f"{about['state']} {said}".rstrip()


def submit_sweep(folder, notebooks, members, machines, dry_run=False):
    """One job array of the members that are neither finished nor in the queue.

    Returns:
        (number of the job or None, the members of it).
    """
    jobs = slurm.queue()
    left = [
        n for n, m in enumerate(members)
        if not m.plan.is_done and slurm.job_of(m.run.path) not in jobs
    ]  # fmt: skip
    if not left:
        return None, []
    for number in left if not dry_run else ():
        with alone_in(members[number].run.path):
            describe(members[number].run.path, members[number].plan.parameters)
    commands = [
        slurm.run_command(notebooks, m.given, m.run.path.name, machines.all_processes)
        for m in members
    ]
    array = ",".join(map(str, left))
    script = slurm.job_script(folder.name, folder, machines, commands, array)
    places = [(number, members[number].run.path) for number in left]
    return slurm.submit(folder, script, places, dry_run), [members[number] for number in left]
