"""The command ``handlib predict``: photos, folders, annotated photos and videos."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from handlib.choices import check_predictor
from handlib.images import SUFFIXES
from handlib.inference.arguments import FORMATS
from handlib.inference.files import file_stems, save_hands, sentence
from handlib.inference.photo import VIDEO_SUFFIXES, list_photos, load_photo
from handlib.inference.predictor import Predictor, checked_camera
from handlib.names import require_text
from handlib.paths import make_folder
from handlib.reading import expecting, read_json

FILM = ("mp4", "jsonl")  # files of a video


def run(args):
    """Predict what the command line asks for; returns the exit code."""
    _check(args)
    faults, written = [], []
    videos, photos = ([], []) if args.boxes else _sorted(args.photos, faults)
    options = {
        "K": None if args.K is None else checked_camera(read_camera(args.K)),
        "is_right": {(True, False): False, (False, True): True}.get((args.left, args.right)),
    }
    reader = None
    if args.boxes:
        reader = _Given(
            read_boxes(args.boxes, next(iter(args.photos), None), args.order), **options
        )
        photos = list(dict.fromkeys(reader.paths()))
        if not photos:
            raise ValueError(f"{args.boxes} lists no hand: leave it out, and hands are found")
    elif not (videos or photos):
        return _end(faults, 0)
    if args.format and videos and not photos:
        raise ValueError("--format is for photos: of a video an MP4 and JSON lines are written")
    args.format = args.format or list(FORMATS)
    out = Path(args.out).expanduser()
    videos, photos = (dict(zip(p, file_stems(p), strict=True)) for p in (videos, photos))
    _spare(out, videos, photos, args)
    make_folder(out)
    predictor = Predictor(args.weights, views=args.views, refine=args.refine)
    for video, stem in videos.items():
        from handlib.inference.video import predict_video

        where, follow = (video, out, stem), options | _limits(args) | {"box": args.box}
        said = _try(faults, lambda w=where, f=follow: predict_video(predictor, *w, **f))
        if said:
            print(said)
            written.append(video)
    if reader is None:
        written += _photos(predictor, args, photos, out, options, faults)
    else:
        written += _annotated(predictor, args, reader, photos, out, faults)
    for stems, forms in ((videos, FILM), (photos, args.format)):
        _name_old_files(out, [stem for path, stem in stems.items() if path not in written], forms)
    if written:
        print(f"files: {out.resolve()}")
    return _end(faults, len(written))


def _check(args):
    """ValueError for a command line that asks for nothing, or for what cannot be."""
    if args.boxes is not None:
        require_text("--boxes", args.boxes)
    if args.boxes and args.box:
        raise ValueError("--box and --boxes both say where the hands are: give one of them")
    if not (args.photos or args.boxes):
        before = " before --K, which takes what follows it" if args.K else ""
        raise ValueError(
            f"nothing to predict: give photos, a folder of them, a video, or --boxes{before}"
        )
    for photo in args.photos:
        require_text("one of the photos", photo)
    require_text("--out", args.out)
    if args.boxes and len(args.photos) > 1:
        raise ValueError("--boxes takes one folder of photos, or none: those beside the file")
    if args.boxes and not all(Path(folder).is_dir() for folder in args.photos):
        raise ValueError(f"--boxes takes a folder of photos, or none: not {args.photos[0]}")
    if args.order and not args.boxes:
        raise ValueError("--order is of the keypoints that --boxes gives")
    check_predictor(args.refine, views=args.views, **_limits(args))


def _sorted(given, faults):
    """(videos, photos) that are named, or lie in folders that are named."""
    kinds = SUFFIXES + VIDEO_SUFFIXES
    listed = [_try(faults, lambda each=each: list_photos(each, kinds)) for each in given]
    paths = list(dict.fromkeys(path for some in listed for path in some or ()))
    is_video = [path.suffix.lower() in VIDEO_SUFFIXES for path in paths]
    videos = [path for path, video in zip(paths, is_video, strict=True) if video]
    return videos, [path for path, video in zip(paths, is_video, strict=True) if not video]


def _spare(out, videos, photos, args):
    """ValueError where a file that is read would be written over; dicts of path -> stem."""
    written = {out / f"{stem}.{kind}" for stem in photos.values() for kind in args.format}
    written |= {out / f"{stem}.{kind}" for stem in videos.values() for kind in FILM}
    read = [*videos, *photos, *([args.boxes] if args.boxes else ())]
    lost = sorted({Path(p).resolve() for p in read} & {path.resolve() for path in written})
    if lost:
        raise ValueError(f"{lost[0]} would be written over: give another folder as --out")


def _photos(predictor, args, photos, out, options, faults):
    """Predict photos, a dict of path -> stem of the files' names; returns those with files."""
    paths, written = list(photos), []
    with ThreadPoolExecutor(2) as readers:
        waiting = [readers.submit(load_photo, path) for path in paths[:4]]
        for number, path in enumerate(paths):
            reading = waiting.pop(0)
            if number + 4 < len(paths):
                waiting.append(readers.submit(load_photo, paths[number + 4]))
            hands = _try(faults, lambda r=reading, p=path: _hands(predictor, args, r, p, options))
            if hands:
                photo, together = reading.result(), len(paths) > 1
                if _save(faults, out, photos[path], photo, hands, args, together):
                    written.append(path)
    return written


def _save(faults, out, stem, photo, hands, args, together):
    return _try(faults, lambda: save_hands(out, stem, photo, hands, args.format, together))


def _name_old_files(out, stems, forms):
    """Say which files of an earlier prediction stay beside the new ones."""
    files = [f"{stem}.{form}" for stem in stems for form in forms]
    old = [name for name in files if (out / name).is_file()]
    if old:
        print(f"of an earlier prediction, and not written now: {', '.join(old)}")


def _hands(predictor, args, reading, path, options):
    photo = reading.result()
    if args.box:
        with _named(path):
            hands = predictor([photo], [args.box], **options)
    else:
        hands = predictor.find(photo, **options, **_limits(args))
    if not hands:
        raise ValueError(f"{path}: no hand found: give --box x0 y0 x1 y1, or a lower --sure")
    _say(path, hands)
    return hands


@contextmanager
def _named(path):
    """ValueError of a photo says of which."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _say(path, hands):
    for number, hand in enumerate(hands, 1):
        hand.path = path
        print(sentence(path, hand, number if len(hands) > 1 else None), flush=True)


def _limits(args):
    """Of the hands that are found, as given."""
    given = {"most": args.most, "sure": args.sure}
    return {name: value for name, value in given.items() if value is not None}


class _Given:
    """A reader of annotated hands, whose camera and side may be given on the command line."""

    def __init__(self, reader, K, is_right):
        self.reader = reader
        given = {"K": K, "is_right": is_right}
        self.given = {name: value for name, value in given.items() if value is not None}

    def __len__(self):
        return len(self.reader)

    def __getitem__(self, index):
        return self.reader[index].replace(**self.given)

    def paths(self):
        """The photo of each hand."""
        return [self.reader.path(i) for i in range(len(self))]


def _annotated(predictor, args, reader, photos, out, faults):
    """Predict annotated hands and print their errors; returns the photos with files."""
    from handlib.inference.scores import errors_table, photo_errors

    rows, written = {}, []
    for row, path in enumerate(reader.paths()):
        rows.setdefault(path, []).append(row)
    for path, of_photo in rows.items():
        found = [s for i in of_photo if (s := _try(faults, lambda i=i: reader[i])) is not None]
        hands = _try(faults, lambda found=found: _of_samples(predictor, found))
        if hands and _save(faults, out, photos[path], found[0].image, hands, args, True):
            written.append(path)
    how = {"expand": predictor.expand, "views": predictor.views, "refine": predictor.refine}
    errors = _try(faults, lambda: photo_errors(predictor.model, reader, **how))
    if errors:
        print(f"\n{errors_table(errors)}")
    return written


def _of_samples(predictor, samples):
    """The annotated hands of one photo."""
    hands = predictor(
        [samples[0].image] * len(samples), [s.box for s in samples],
        [s.K for s in samples], [s.is_right for s in samples],
    ) if samples else []  # fmt: skip
    if hands:
        _say(samples[0].path, hands)
    return hands


def read_boxes(path, images=None, order=None):
    """The annotated hands of a COCO-style file, or of a folder of InterHand2.6M or RHD.

    Args:
        images, order: of a COCO-style file, see ``read_coco_hands``; the datasets have their own.
    """
    from handlib.data import open_dataset, read_coco_hands
    from handlib.data.interhand import is_interhand
    from handlib.data.rhd import is_rhd

    path = Path(path).expanduser()
    if path.is_dir() and (is_interhand(path) or is_rhd(path)):
        return open_dataset(path, "test")
    return read_coco_hands(path, order or "freihand", images)


def read_camera(given):
    """K (3, 3) or (4,) of the words after --K: four numbers, or a JSON file."""
    if len(given) == 1:
        path = Path(given[0]).expanduser()
        remedy = "write [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], or give fx fy cx cy"
        content = read_json(path, remedy)
        with expecting(path, "not a JSON file of K", remedy):
            return checked_camera(content["K"] if isinstance(content, dict) else content)
    try:
        values = [float(word) for word in given]
    except ValueError:
        values = []
    if len(values) != 4:
        raise ValueError(f"--K takes fx fy cx cy in px, or a JSON file; got {' '.join(given)}")
    return values


def _try(faults, work):
    """What ``work`` returns; an expected error is a line of ``faults``, and the rest goes on."""
    try:
        return work()
    except (OSError, ValueError) as error:
        from handlib.data.usable import fault  # compiled code waits until it is needed

        said = fault(error)
        if said not in faults:  # both hands of a photo that is missing
            faults.append(said)
            print(f"handlib: {said}", file=sys.stderr, flush=True)
        return None


def _end(faults, done):
    """The exit code; what went wrong is said once more where it may have scrolled away."""
    if faults and len(faults) + done > 1:
        lines = "\n  ".join(faults)
        print(f"handlib: {len(faults)} failed, {done} done:\n  {lines}", file=sys.stderr)
    return int(bool(faults))
