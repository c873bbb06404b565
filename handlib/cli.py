"""The ``handlib`` command. Heavy imports wait until a subcommand needs them."""

import argparse
import os
import shlex
import signal
import sys
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version

from handlib.inference.arguments import add_arguments
from handlib.run_commands import add_run_commands, count
from handlib.train_commands import add_train_commands


def _parser():
    # An abbreviated --parameter would escape ``_shielded``.
    plain = partial(argparse.ArgumentParser, allow_abbrev=False)
    parser = plain(
        prog="handlib", description="3D hand pose and shape from one RGB image, in notebooks."
    )
    parser.add_argument("--version", action="version", version=version("handlib"))
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=plain
    )

    add_run_commands(commands)
    add_train_commands(commands)

    synthesize = commands.add_parser(
        "synthesize", help="render a synthetic dataset in FreiHAND's folder layout"
    )
    synthesize.add_argument("--samples", type=count, required=True, help="unique training hands")
    synthesize.add_argument("--out", required=True, help="folder to write")
    synthesize.add_argument("--evaluation", type=count, help="evaluation hands [samples / 10]")
    synthesize.add_argument("--seed", type=int, default=0)
    synthesize.add_argument("--size", type=int, default=224, help="image side in px [224]")
    synthesize.add_argument("--workers", type=count, help="processes [one per core]")
    synthesize.set_defaults(function=_synthesize)

    predict = commands.add_parser("predict", help="find hands in photos and videos, in 3D")
    add_arguments(predict)
    predict.set_defaults(function=_predict)

    export = commands.add_parser("export", help="write a trained network for other programs")
    export.add_argument("--onnx", required=True, metavar="FILE", help="file to write")
    export.add_argument(
        "--weights", metavar="RUN", help="run's name or folder, or checkpoint [handlib's]"
    )
    export.set_defaults(function=_export)

    doctor = commands.add_parser("doctor", help="check the whole set-up, and say what to do")
    doctor.set_defaults(function=_doctor)
    return parser


def _shielded(words):
    """A space before each value of -p: argparse would take -1e-3 for an option."""
    shielded = list(words)
    for i, word in enumerate(words[:-2]):
        if word in ("-p", "--parameter"):
            shielded[i + 2] = " " + words[i + 2]
    return shielded


def _synthesize(args):
    with _stopped_by_sigterm():
        from handlib.data.synthesize import synthesize

        out = synthesize(
            args.out, args.samples, evaluation=args.evaluation, seed=args.seed, size=args.size,
            workers=args.workers,
        )  # fmt: skip
    print(f"dataset: {out}\nuse it with: MP_DATA={shlex.quote(str(out.resolve()))} handlib run")


@contextmanager
def _stopped_by_sigterm():
    """Stopped, once the block is left, on SIGTERM."""
    told = []

    def stop(*_):
        told.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (KeyboardInterrupt, ChildProcessError):  # its processes may have been told, too
        if not told:
            raise
        from handlib.runs import Stopped

        raise Stopped("stopped, all saved") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _predict(args):
    from handlib.inference.command import run

    return run(args)


def _export(args):
    from handlib.export import export_onnx
    from handlib.inference.predictor import load_weights
    from handlib.names import require_text
    from handlib.paths import user_path

    require_text("--onnx", args.onnx)
    try:
        path = export_onnx(load_weights(args.weights), user_path(args.onnx))
    except ImportError as error:
        raise ValueError(error) from error
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print("what it takes and returns, and a program that uses it: docs/onnx.md")


def _doctor(args):
    from handlib.doctor import doctor

    return doctor()


def main(argv=None):
    """Entry point of the ``handlib`` command; returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(_shielded(words))
    args.words = words
    try:
        return args.function(args) or 0
    except KeyboardInterrupt:
        print("\nhandlib: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if _is_expected(error):
            again = _can_go_on(error)
            print(f"handlib: {error}" + "; the same command goes on" * again, file=sys.stderr)
            # A stopped run's code is the system's "try again".
            return os.EX_TEMPFAIL if again else 1
        raise


def _is_expected(error):
    """Errors whose message is all a user needs; anything else keeps its traceback."""
    from handlib.runs import RunError

    expected = RunError | OSError | ValueError | FloatingPointError | MemoryError
    return isinstance(error, expected)


def _can_go_on(error):
    from handlib.runs import Stopped

    return isinstance(error, Stopped)


if __name__ == "__main__":
    sys.exit(main())
