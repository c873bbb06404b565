"""The commands that train on rendered hands, in plain Python; heavy imports wait until one runs."""

import os
from functools import partial
from pathlib import Path

from handlib.names import require_text
from handlib.paths import make_folder


def add_train_commands(commands):
    """Add ``train``, ``average`` and ``ablate`` to the subcommands of a parser."""
    train = commands.add_parser(
        "train", help="train on hands rendered meanwhile, for so many minutes: plain Python"
    )
    train.add_argument("out", metavar="FOLDER", help="of this piece of training; goes on there")
    train.add_argument("--minutes", type=float, required=True)
    train.add_argument(
        "--start", default="random", metavar="WEIGHTS",
        help="to begin with: random, shipped, a folder, or a run's name [random]",
    )  # fmt: skip
    train.add_argument("--preset", default="modern")
    train.add_argument("--batch-size", type=int, default=32)
    train.add_argument("--lr", type=float, help="highest learning rate [the optimizer's usual one]")
    train.add_argument("--seed", type=int, help="of the pictures [the number of pieces before]")
    train.add_argument(
        "--repeat", type=int, default=1, metavar="N",
        help="show each picture N times: for a GPU, which learns faster than cores render [1]",
    )  # fmt: skip
    _run_together(train, _train)

    average = commands.add_parser(
        "average", help="the mean of the weights of several pieces of one training"
    )
    average.add_argument("out", metavar="FOLDER", help="to write")
    average.add_argument("weights", nargs="+", metavar="WEIGHTS", help="folders of weights")
    average.set_defaults(function=lambda args: print(_average(args)))

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
    ablate.add_argument(
        "--renderings", type=int, metavar="N",
        help="show N pictures again and again, rendered once for all [show each once]",
    )  # fmt: skip
    _run_together(ablate, _ablate)


def _run_together(parser, work):
    """Let a command run on several processes; ``work`` returns what the first one prints, and why
    it was stopped, or ""."""
    parser.add_argument("--workers", type=int, default=1, help="processes that render [1]")
    parser.add_argument("--threads", type=int, help="of torch on a CPU [one for each core]")
    parser.add_argument("--processes", type=int, default=1, help="that train together [1]")
    parser.set_defaults(function=partial(_together, work))


def _together(work, args):
    if args.processes < 1:
        raise ValueError(f"processes must be at least 1, got {args.processes}")
    require_text("FOLDER", args.out)
    make_folder(Path(args.out))  # before anything heavy is imported or begun
    if args.processes > 1 and "RANK" not in os.environ:
        from handlib.processes import train_together

        return train_together(args.processes, args.words, Path(args.out))
    said, stopped = work(args)
    if said and os.environ.get("RANK", "0") == "0":
        print(said)
    if not stopped:
        return 0
    if stopped == "interrupt":
        raise KeyboardInterrupt
    if "RANK" in os.environ:  # to torchrun it would be a failure
        from handlib.processes import STOPPED

        Path(args.out, STOPPED).touch()
        return 0
    from handlib.notebooks import Stopped

    raise Stopped("stopped, all saved")


def _train(args):
    from handlib.stream_training import train_on_stream

    folder, scores = train_on_stream(
        args.out, args.minutes, args.preset, args.start, args.batch_size, args.lr, args.seed,
        args.workers, args.threads, args.repeat,
    )  # fmt: skip
    return ("", "stopped") if folder is None else (_made(folder, scores), "")


def _average(args):
    from handlib.stream_training import average

    return _made(args.out, average(args.weights, args.out))


def _made(folder, scores):
    return f"PA-MPJPE {scores['pa_mpjpe_mm']:.2f} mm on held-out hands; weights: {folder}"


def _ablate(args):
    from handlib.ablation import ablate, scores_table

    scores, mean_pose, stopped = ablate(
        args.out, args.images, args.only, args.seeds, args.minutes, args.batch_size, args.workers,
        args.threads, args.size, renderings=args.renderings,
    )  # fmt: skip
    caption = f"{args.images} images of {args.size} px, on held-out rendered hands; mm and px"
    return f"\n{scores_table(scores, mean_pose, caption)}", stopped
