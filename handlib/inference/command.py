"""The command ``handlib predict``: photos, folders, annotated photos and videos."""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from handlib.inference.files import save_hands, sentence
from handlib.inference.find import SURE
from handlib.inference.photo import VIDEO_SUFFIXES, list_photos, load_photo
from handlib.inference.predictor import Predictor, checked_camera
from handlib.reading import expecting, read_json


def run(args):
    """Predict what the command line asks for; returns the exit code."""
    videos, photos = _sorted(args.photos)
    if args.boxes and args.box:
        raise ValueError("--box and --boxes both say where the hands are: give one of them")
    if not (videos or photos or args.boxes):
        raise ValueError("nothing to predict: give photos, a folder of them, a video, or --boxes")
    options = {
        "K": None if args.K is None else checked_camera(read_camera(args.K)),
        "is_right": {(True, False): False, (False, True): True}.get((args.left, args.right)),
    }
    predictor = Predictor(args.weights, views=args.views, refine=args.refine)
    out, faults = Path(args.out).expanduser(), []
    for video in videos:
        from handlib.inference.video import predict_video

        _try(faults, lambda video=video: print(predict_video(predictor, video, out, **options)))
    if args.boxes:
        faults += _annotated(predictor, args, photos, out)
    elif photos:
        faults += _photos(predictor, args, photos, out, options)
    if videos or photos or args.boxes:
        print(f"files: {out.resolve()}")
    return _end(faults, len(videos) + len(photos))


def _sorted(given):
    """(videos, photos) that are named, or lie in folders that are named."""
    paths = [path for each in given for path in list_photos(each)]
    is_video = [path.suffix.lower() in VIDEO_SUFFIXES for path in paths]
    videos = [path for path, video in zip(paths, is_video, strict=True) if video]
    return videos, [path for path, video in zip(paths, is_video, strict=True) if not video]


def _photos(predictor, args, photos, out, options):
    """Predict photos; returns the faults."""
    faults = []
    stems = _stems(photos)
    with ThreadPoolExecutor(2) as readers:
        waiting = [readers.submit(load_photo, path) for path in photos[:4]]
        for number, path in enumerate(photos):
            reading = waiting.pop(0)
            if number + 4 < len(photos):
                waiting.append(readers.submit(load_photo, photos[number + 4]))
            hands = _try(faults, lambda r=reading, p=path: _hands(predictor, args, r, p, options))
            if hands:
                photo = reading.result()
                save_hands(out, stems[number], photo, hands, args.format, together=len(photos) > 1)
    return faults


def _hands(predictor, args, reading, path, options):
    photo = reading.result()
    if args.box:
        hands = predictor([photo], [args.box], **options)
    else:
        sure = SURE if args.sure is None else args.sure
        hands = predictor.find(photo, **options, most=args.most, sure=sure)
    if not hands:
        raise ValueError(f"{path}: no hand found: give --box x0 y0 x1 y1, or a lower --sure")
    for hand in hands:
        hand.path = path
        print(sentence(path, hand), flush=True)
    return hands


def _annotated(predictor, args, folders, out):
    """Predict annotated hands and print their errors; returns the faults."""
    from handlib.inference.scores import errors_table, photo_errors

    reader = read_boxes(args.boxes, folders[0] if folders else None)
    samples = (reader[i] for i in range(len(reader)))
    faults = []
    for path, group in groupby(_those_there(samples, faults), key=lambda sample: sample.path):
        found = list(group)
        hands = predictor(
            [s.image for s in found], [s.box for s in found],
            [s.K for s in found], [s.is_right for s in found],
        )  # fmt: skip
        for hand in hands:
            hand.path = path
            print(sentence(path, hand), flush=True)
        save_hands(out, path.stem, found[0].image, hands, args.format, together=True)
    how = {"expand": predictor.expand, "views": predictor.views, "refine": predictor.refine}
    print(f"\n{errors_table(photo_errors(predictor.model, reader, **how))}")
    return faults


def _those_there(samples, faults):
    while True:
        try:
            yield next(samples)
        except StopIteration:
            return
        except OSError as error:
            faults.append(str(error))


def read_boxes(path, images=None):
    """The annotated hands of a COCO-style file, or of a folder of InterHand2.6M or RHD."""
    from handlib.data import open_dataset, read_coco_hands
    from handlib.data.interhand import is_interhand
    from handlib.data.rhd import is_rhd

    path = Path(path).expanduser()
    if path.is_dir() and (is_interhand(path) or is_rhd(path)):
        return open_dataset(path, "test")
    return read_coco_hands(path, images=images)


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


def _stems(photos):
    """A name for the files of each photo; folders may hold photos of the same name."""
    stems, taken = [], set()
    for path in photos:
        stem, n = path.stem, 2
        while stem in taken:
            stem, n = f"{path.stem}-{n}", n + 1
        taken.add(stem)
        stems.append(stem)
    return stems


def _try(faults, work):
    """What ``work`` returns; an expected error is a line of ``faults``, and the rest goes on."""
    try:
        return work()
    except (OSError, ValueError) as error:
        faults.append(str(error))
        print(f"handlib: {error}", file=sys.stderr, flush=True)
        return None


def _end(faults, n):
    """The exit code; what went wrong is said once more where it may have scrolled away."""
    if faults and n > 1:
        lines = "\n  ".join(faults)
        print(f"handlib: {len(faults)} of {n} failed:\n  {lines}", file=sys.stderr)
    return int(bool(faults))
