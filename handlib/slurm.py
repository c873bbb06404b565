"""Runs as jobs of a Slurm cluster: a readable script in the run's folder, submitted and watched.

The script's shell gets the warning before the time limit or a preemption and passes it on. The run
saves and ends with the code for "try again", and the shell puts the job back into the queue, where
it goes on under the same name.
"""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from handlib.notebooks import RunError
from handlib.paths import atomic_write, write_json
from handlib.reading import expecting, read_json

# Seconds before the time limit at which a job is warned, and how long of them other things than a
# training, which stops at its next step, may still take.
WARNING_S, GRACE_S = 180, 120
# What it means where one of Slurm's programs fails.
_MEANING = {
    "sbatch": "Slurm did not take the job",
    "scancel": "Slurm did not take the job out of the queue",
}

_SCRIPT = """\
#!/bin/bash
{options}

# The environment that it was submitted from.
cd {folder}
export PATH={path}:$PATH
export HANDLIB_GRACE_S={grace}

{command} &
run=$!
# Warned before the time limit, or before another job takes the machines: save, then queue again.
trap 'warned=yes; kill -USR2 $run' USR2 TERM
wait $run; code=$?
while [ $code -gt 128 ] && kill -0 $run 2>/dev/null; do wait $run; code=$?; done
if [ $code = {again} ] && [ -n "$warned" ]; then
  echo 'the job goes back into the queue, and goes on from here'
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""


class NoAnswer(RunError):
    """One of Slurm's programs waits in vain for the cluster's controller."""


@dataclass(frozen=True)
class Machines:
    """What a job asks for; None leaves it to the cluster."""

    nodes: int = 1
    processes: int = 1
    """On each node; with GPUs, one for each of them is usual."""
    gpus: int | None = None
    """On each node."""
    cpus: int | None = None
    """Cores of each process."""
    time: str | None = None
    """Limit, as Slurm writes it (minutes, or [days-]hours:minutes:seconds)."""
    partition: str | None = None
    account: str | None = None
    more: tuple = ()
    """Further options of sbatch, as "--qos=long"."""
    warning: int = WARNING_S
    """Seconds before the time limit at which the run is told to save."""

    @property
    def all_processes(self):
        return self.nodes * self.processes

    def options(self):
        """Options of sbatch."""
        asked = {
            "nodes": self.nodes,
            "ntasks-per-node": self.processes,
            "gpus-per-node": self.gpus,
            "cpus-per-task": self.cpus,
            "time": self.time,
            "partition": self.partition,
            "account": self.account,
            "signal": f"B:USR2@{self.warning}",
        }
        named = [f"--{name}={value}" for name, value in asked.items() if value is not None]
        return [*named, "--requeue", "--open-mode=append", *self.more]


def run_command(notebooks, given, name, processes):
    """The words that run notebooks: ``handlib run ...``."""
    parameters = [word for n, value in given.items() for word in ("-p", n, _text(value))]
    paths = [Path(n) for n in notebooks]
    is_path = [path.suffix == ".ipynb" and path.is_file() for path in paths]
    places = [str(p.resolve()) if is_path[i] else notebooks[i] for i, p in enumerate(paths)]
    together = ["--processes", str(processes)] if processes > 1 else []
    return ["handlib", "run", *places, *parameters, f"--name={name}", *together]


def _text(value):
    return value if isinstance(value, str) else json.dumps(value)


def job_script(name, folder, machines, command, array=None):
    """Text of the script of a job.

    Args:
        name: of the job; folder: where its log goes.
        command: words of a run, or for an array a list of them, one for each task.
        array: numbers of the tasks that are wanted, as Slurm writes them.
    """
    log = folder / ("%A_%a.log" if array else "%j.log")
    options = [f"--job-name={name}", f"--output={log}", *machines.options()]
    if array:
        options.append(f"--array={array}")
        lines = [f"  {n}) set -- {shlex.join(words)} ;;" for n, words in enumerate(command)]
        body = "\n".join(['case "$SLURM_ARRAY_TASK_ID" in', *lines, "esac", '"$@"'])
    else:
        body = shlex.join(command)
    return _SCRIPT.format(
        options="\n".join(f"#SBATCH {shlex.quote(option)}" for option in options),
        folder=shlex.quote(str(Path.cwd())),
        path=shlex.quote(str(Path(sys.executable).parent)),
        grace=min(GRACE_S, machines.warning * 2 // 3),
        command=body,
        again=os.EX_TEMPFAIL,
    )


def submit(folder, script, runs, dry_run=False):
    """Keep a job's script as ``job.sh`` in ``folder`` and give it to Slurm.

    Args:
        folder: for the script and the logs.
        script: its text.
        runs: list of (task or None, run folder) of the job.
        dry_run: keep the script only.

    Returns:
        Number of the job, a string; None for a dry run.

    Raises:
        RunError: there is no Slurm here, or it refuses the job.
    """
    path = folder / "job.sh"
    with atomic_write(path) as temporary:
        temporary.write_text(script)
    if dry_run:
        return None
    job = _slurm("sbatch", "--parsable", str(path)).split(";")[0].strip()
    for task, run_dir in runs:
        number = job if task is None else f"{job}_{task}"
        write_json(run_dir / "job.json", {"job": number, "script": str(path)})
    return job


def job_of(run_dir):
    """Number of the job that was last submitted for a run, or ""."""
    try:
        about = read_json(run_dir / "job.json", "remove it")
        with expecting(run_dir / "job.json", "not what a submission writes", "remove it"):
            return str(about["job"])
    except FileNotFoundError:
        return ""


def queue(wait_s=None):
    """Jobs of this user that wait or run: dict of number ("12", or "12_3" in an array) to dict with
    ``state``, ``left`` (of its time limit) and ``reason``; empty without a Slurm.

    Raises:
        NoAnswer: the controller is silent for so many seconds.
    """
    try:
        said = _slurm("squeue", "-h", "-r", "--me", "-o", "%i|%T|%L|%r", wait_s=wait_s)
    except NoAnswer:
        raise
    except RunError:
        return {}
    rows = [line.split("|") for line in said.splitlines()]
    return {job: {"state": s, "left": left, "reason": why} for job, s, left, why in rows}


def cancel(job):
    """Take a job out of the queue."""
    _slurm("scancel", job)


def silence(wait_s=5):
    """Why no controller answers within some seconds, in a line; "" where one does."""
    try:
        _slurm("squeue", "-h", "--me", wait_s=wait_s)
    except RunError as error:
        return str(error).splitlines()[-1]
    return ""


def _slurm(*command, wait_s=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=wait_s)
    except FileNotFoundError:
        raise RunError(
            f"there is no {command[0]} here: submit from a machine of a Slurm cluster, or use "
            "handlib run (with --processes on a machine of several GPUs)"
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().replace(f"{command[0]}: ", "")
        raise RunError(f"{_MEANING.get(command[0], command[0])}: {said}") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]}: no answer in {wait_s} s") from None
    return done.stdout
