"""``handlib run``, ``submit``, ``sweep``, ``status``, ``stop`` and ``compare``: the arguments of
each, and what it does with them."""

import argparse
import re

_TIMES = (
    "minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or "
    "days-hours:minutes:seconds"
)
_PARAMETER = "set a parameter of the notebooks that have it"


def count(text):
    """A number from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


count.__name__ = "number from 1 on"  # argparse says "invalid ... value"


def time_limit(text):
    """A time limit as Slurm takes it, for argparse: a mistake is told before a script is made."""
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", text, re.I):
        raise argparse.ArgumentTypeError(f"{text} is no time limit; Slurm takes {_TIMES}")
    return text


def add_run_commands(commands):
    """Add the subcommands to an argparse subparsers object."""
    run = commands.add_parser("run", help="execute notebooks in order into one run folder")
    _what(run, _PARAMETER)
    run.add_argument(
        "--processes", type=count, default=1, help="that execute each notebook together [1]"
    )
    run.set_defaults(function=_run)

    submit = commands.add_parser("submit", help="a run as a job of a Slurm cluster")
    _what(submit, _PARAMETER)
    _machines(submit)
    submit.set_defaults(function=_submit)

    sweep = commands.add_parser("sweep", help="one run for each combination of parameters")
    _what(sweep, f"{_PARAMETER}; several values are separated by commas")
    sweep.add_argument("--file", help="TOML or JSON file with the parameters and their values")
    sweep.add_argument(
        "--submit", action="store_true", help="as an array of Slurm jobs [here, one after another]"
    )
    sweep.add_argument("--at-once", type=count, default=1, help="runs at a time, here [1]")
    _machines(sweep)
    sweep.set_defaults(function=_sweep)

    for name, function, text in (
        ("status", _status, "what runs are doing: state, epoch, best error, time left"),
        ("stop", _stop, "stop runs, with everything saved"),
        ("compare", _compare, "a table of trained runs and the settings in which they differ"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "runs", nargs="+" if name == "stop" else "*", metavar="RUN",
            help="name or folder of a run, or a pattern: 'sweep-*'",
        )  # fmt: skip
        command.set_defaults(function=function)


def _what(command, parameter):
    command.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK",
        help="names or paths; all four of the workflow when none is given",
    )  # fmt: skip
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help=parameter,
    )  # fmt: skip
    command.add_argument("--name", help="name of the folder in outputs/")
    command.add_argument(
        "--skip-bad", action="append_const", dest="parameter", const=("skip_bad", " True"),
        help="leave out samples of a dataset that cannot be used: -p skip_bad True",
    )  # fmt: skip


def _machines(command):
    group = command.add_argument_group("the job")
    group.add_argument("--partition")
    group.add_argument("--account")
    group.add_argument("--nodes", type=count, default=1, help="[1]")
    group.add_argument("--gpus", type=count, help="of each node")
    group.add_argument(
        "--processes",
        type=count,
        help="of each node; of a run, where it runs here [one for each GPU]",
    )
    group.add_argument("--cpus", type=count, help="cores of each process")
    group.add_argument("--time", type=time_limit, help=f"limit: {_TIMES}")
    group.add_argument(
        "--warning", type=int, metavar="SECONDS", default=180,
        help="before the limit, when the run saves and the job queues again [180]",
    )  # fmt: skip
    group.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help='a further option of sbatch: --sbatch="--qos=long"',
    )
    group.add_argument("--dry-run", action="store_true", help="write the script, submit nothing")


def _given(args):
    """The parameters of a command line, {name: text}."""
    from handlib.runs import RunError

    given = {}
    for name, value in args.parameter:
        if name in given:
            raise RunError(f"parameter {name!r} is given twice")
        given[name] = value[1:]  # cli._shielded
    return given


def _run(args):
    from handlib import runs

    names = args.notebooks or runs.WORKFLOW
    run_dir = runs.run_notebooks(names, _given(args), args.name, args.processes)
    print(runs.summary(run_dir))


def _asked_machines(args):
    from handlib.slurm import Machines

    return Machines(
        args.nodes, args.processes or args.gpus or 1, args.gpus, args.cpus, args.time,
        args.partition, args.account, tuple(args.sbatch), args.warning,
    )  # fmt: skip


def _submit(args):
    from handlib import runs, slurm
    from handlib.description import check_same, describe
    from handlib.state import alone_in

    names, given, machines = args.notebooks or runs.WORKFLOW, _given(args), _asked_machines(args)
    planned = runs.plan(names, given, args.name, here=False)
    run_dir, folder = planned.run.path, planned.run.path / "slurm"
    if planned.is_done:
        check_same(run_dir, planned.parameters)
        print(f"finished before: {run_dir}")
        return
    job = slurm.job_of(run_dir)
    if job in slurm.queue():
        raise runs.RunError(f"job {job} of this run waits or runs already: handlib status")
    with alone_in(run_dir):
        describe(run_dir, planned.parameters)
    folder.mkdir(exist_ok=True)
    command = slurm.run_command(names, given, run_dir.name, machines.all_processes)
    script = slurm.job_script(run_dir.name, folder, machines, command)
    job = slurm.submit(folder, script, [(None, run_dir)], args.dry_run)
    _tell(job, folder, folder / f"{job}.log", run_dir.name)


def _tell(job, folder, log, runs):
    """Say what became of a submission, and where to look."""
    print(f"script: {folder / 'job.sh'}")
    if job is None:
        print("nothing was submitted (--dry-run)")
        return
    print(f"job {job}\nlog: {log}\nsee: handlib status '{runs}'   stop: handlib stop '{runs}'")


def _sweep(args):
    from pathlib import Path

    from handlib import runs, sweeps

    notebooks = args.notebooks or list(runs.WORKFLOW)
    varied = {name: _values(text) for name, text in _given(args).items()}
    members = [{}] if args.file is None else sweeps.read_sweep(args.file)
    members = [m | chosen for m in members for chosen in sweeps.combinations(varied)]
    if len(members) == 1:
        raise runs.RunError(
            "nothing to vary: give a parameter several values, as -p lr 1e-3,3e-4, or a --file of "
            "them; a single run is handlib run"
        )
    by_slurm = args.submit or args.dry_run
    folder, planned = sweeps.plan_sweep(notebooks, members, args.name, here=not by_slurm)
    of_each = f" of {', '.join(Path(n).stem for n in notebooks)} each" * (len(notebooks) > 1)
    print(f"{len(planned)} runs{of_each}: {folder}-*")
    for member in planned:
        print(f"  {member.label}{': finished before' * member.plan.is_done}")
    pattern = f"{folder.name}-*"
    if by_slurm:
        job, left = sweeps.submit_sweep(
            folder, notebooks, planned, _asked_machines(args), args.dry_run
        )
        if left:
            _tell(job, folder, folder / f"{job}_*.log", pattern)
        return 0
    print(f"stop: handlib stop '{pattern}'", flush=True)
    failed = sweeps.run_sweep(notebooks, planned, args.at_once, args.processes or 1)
    if failed:
        logs = "\n".join(f"  {member.label}: {member.run.path / 'log.txt'}" for member in failed)
        raise runs.RunError(
            f"{len(failed)} of {len(planned)} runs did not finish; the same command runs these "
            f"again\n{logs}"
        )
    print(f"all finished; look at them: handlib compare '{pattern}'")
    return 0


def _values(text):
    """Values of a sweep's parameter: separated by commas outside of brackets."""
    values, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth <= 0:
            values.append("")
        else:
            values[-1] += letter
    return [value.strip() for value in values]


def _status(args):
    from handlib.paths import runs_root
    from handlib.status import status
    from handlib.tables import results_table

    table = status(args.runs)
    print(results_table(table) if table else f"no runs in {runs_root()}")


def _stop(args):
    from handlib.status import stop

    for name, what in stop(args.runs).items():
        print(f"{name}: {what}")


def _compare(args):
    from handlib.compare import overview
    from handlib.runs import trained_runs
    from handlib.tables import results_table

    table = overview(trained_runs(",".join(args.runs)))
    print(results_table(table, metrics_down=len(table) < 6))
    print("\nimage by image, with intervals: handlib run 06_compare_runs -p compared NAMES")
