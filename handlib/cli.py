"""The ``handlib`` command. Heavy imports wait until a subcommand needs them."""

import argparse
import os
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from handlib.inference.arguments import add_arguments
from handlib.run_commands import add_run_commands


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

    train = commands.add_parser(
        "train", help="train on hands rendered meanwhile, for so many minutes: plain Python"
    )
    train.add_argument("out", metavar="FOLDER", help="of this piece of training; goes on there")
    train.add_argument("--minutes", type=float, required=True)
    train.add_argument("--start", help="folder of weights to begin with [random ones]")
    train.add_argument("--preset", default="modern")
    train.add_argument("--batch-size", type=int, default=32)
    train.add_argument("--lr", type=float, help="highest learning rate [the optimizer's usual one]")
    _add_machine(train)
    train.add_argument("--seed", type=int, help="of the pictures [the number of pieces before]")
    train.set_defaults(function=_train)

    average = commands.add_parser(
        "average", help="the mean of the weights of several pieces of one training"
    )
    average.add_argument("out", metavar="FOLDER", help="to write")
    average.add_argument("weights", nargs="+", metavar="WEIGHTS", help="folders of weights")
    average.set_defaults(function=_average)

    ablate = commands.add_parser(
        "ablate", help="train presets, and modern without each piece, on equally many hands"
    )
    ablate.add_argument("out", metavar="FOLDER", help="of the trainings; they go on there")
    ablate.add_argument("--images", type=int, required=True, help="that each training sees")
    ablate.add_argument("--only", default="", help="settings, with ; between them [all]")
    ablate.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="[0 1 2]")
    ablate.add_argument("--minutes", type=float, help="after which to stop, all saved")
    ablate.add_argument("--batch-size", type=int, default=64)
    ablate.add_argument("--size", type=int, default=128, help="of the networks' input, px [128]")
    _add_machine(ablate)
    ablate.set_defaults(function=_ablate)

    synthesize = commands.add_parser(
        "synthesize", help="render a synthetic dataset in FreiHAND's folder layout"
    )
    synthesize.add_argument("--samples", type=int, required=True, help="unique training hands")
    synthesize.add_argument("--out", required=True, help="folder to write")
    synthesize.add_argument("--evaluation", type=int, help="evaluation hands [samples / 10]")
    synthesize.add_argument("--seed", type=int, default=0)
    synthesize.add_argument("--size", type=int, default=224, help="image side in px [224]")
    synthesize.add_argument("--workers", type=int, help="processes [one per core]")
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


def _add_machine(parser):
    parser.add_argument("--workers", type=int, default=1, help="processes that render [1]")
    parser.add_argument("--threads", type=int, help="of torch on a CPU [one for each core]")
    parser.add_argument("--processes", type=int, default=1, help="that train together [1]")


def _together(args):
    """The exit code of a command that several processes run; None in each of them."""
    if args.processes > 1 and "RANK" not in os.environ:
        from handlib.processes import train_together

        return train_together(args.processes, args.words, Path(args.out))
    return None


def _ablate(args):
    if (code := _together(args)) is not None:
        return code
    from handlib.ablation import ablate, scores_table

    scores, mean_pose = ablate(
        args.out, args.images, args.only, args.seeds, args.minutes, args.batch_size, args.workers,
        args.threads, args.size,
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        caption = f"{args.images} images of {args.size} px, on held-out rendered hands; mm and px"
        print(f"\n{scores_table(scores, mean_pose, caption)}")
    return 0


def _train(args):
    if (code := _together(args)) is not None:
        return code
    from handlib.stream_training import train_on_stream

    folder, scores = train_on_stream(
        args.out, args.minutes, args.preset, args.start, args.batch_size, args.lr, args.seed,
        args.workers, args.threads,
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        print(f"PA-MPJPE {scores['pa_mpjpe_mm']:.2f} mm on held-out hands; weights: {folder}")
    return 0


def _average(args):
    from handlib.stream_training import average

    scores = average(args.weights, args.out)
    print(f"PA-MPJPE {scores['pa_mpjpe_mm']:.2f} mm on held-out hands; weights: {args.out}")
    return 0


def _synthesize(args):
    from handlib.data.synthesize import synthesize

    out = synthesize(
        args.out, args.samples, evaluation=args.evaluation, seed=args.seed, size=args.size,
        workers=args.workers,
    )  # fmt: skip
    print(f"dataset: {out}\nuse it with: MP_DATA={out} handlib run")


def _predict(args):
    from handlib.inference.command import run

    return run(args)


def _export(args):
    from handlib.export import export_onnx
    from handlib.inference.predictor import load_weights
    from handlib.paths import user_path

    try:
        path = export_onnx(load_weights(args.weights), user_path(args.onnx))
    except ImportError as error:
        raise ValueError(error) from error
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


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
