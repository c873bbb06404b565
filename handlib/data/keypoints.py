"""Keypoints that a hand detector has found, from its files."""

from collections import Counter
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from handlib.data.hands import SIDES, side_of
from handlib.geometry import box_overlap, tight_box
from handlib.joints import N_JOINTS, convert, order_indices
from handlib.reading import BadFile, expecting, read_json, require_finite

NOTHING = np.zeros((N_JOINTS, 3))
REMEDY = "run the detector again, and let it write the file whole"


class _Found(NamedTuple):
    """A hand that a detector found."""

    points: np.ndarray  # (21, 3) x, y px and confidence
    is_right: bool | None = None  # as the detector says


class KeypointFiles:
    """Called with a sample, the hand that a detector found in its image.

    Where it found several: the one that overlaps the sample's box most (one that it takes for a
    hand of the other side counts half, for detectors err in that), and none that lies beside it.
    Without a box, the most confident one that is not of the other side.

    Images are known by name, with as many of their folders as the files have ("train/00000012.jpg"
    or "00000012"): where two splits share their names, keep their files in such folders.

    Args:
        path: a COCO JSON file, or a folder with a JSON file for each image: OpenPose's
            ``<name>_keypoints.json`` (in px: ``--keypoint_scale 0``) or ``<name>.json`` with the
            fields of MediaPipe's HandLandmarkerResult.
        order: joint order of the COCO file, a key of ``joints.ORDERS``; the others' is FreiHAND's.

    Raises:
        FileNotFoundError: no such file or folder; called: the files do not know an image.
        ValueError: files of another form, or made for an image of another size; an order that is
            not known.
    """

    def __init__(self, path, order="freihand"):
        order_indices(order)  # a wrong one is no fault of the file
        self.path = Path(path).expanduser()
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: no such file or folder of keypoints")
        self.images = None if self.path.is_dir() else _read_coco(self.path, order)

    def __call__(self, sample):
        """(21, 3) x, y px and confidence in FreiHAND's order; all 0 where it was not found."""
        return _choose(self._find(sample), sample)

    def _find(self, sample):
        path = Path(sample.path or "")
        parts = path.relative_to(path.anchor).parts if sample.path else ()
        for name in (PurePath(*parts[start:]) for start in range(len(parts))):
            stem = name.with_suffix("").as_posix()
            if self.images is None:
                for file in (self.path / f"{stem}_keypoints.json", self.path / f"{stem}.json"):
                    if file.is_file():
                        return _read_hands(file, sample)
                continue
            for key in (name.as_posix(), stem):
                if key in self.images:
                    return self._of_size(self.images[key], sample)
        raise FileNotFoundError(
            f"{self.path} has no keypoints for the image {sample.path}: run the detector on it"
        )

    def _of_size(self, image, sample):
        """The hands of an image of the COCO file."""
        size, hands = image
        if size not in (None, sample.size):
            there, here = "{} x {}".format(*size), "{} x {}".format(*sample.size)
            raise BadFile(
                f"{self.path}: its keypoints are for {there} px and {sample.path} has {here}: run "
                "the detector on the images as they are"
            )
        return hands


def _choose(hands, sample):
    """(21, 3) of that one of the hands found that is the sample's."""
    best, chosen = (0.0, 0.0), NOTHING
    for points, is_right in hands:
        other = None not in (is_right, sample.is_right) and is_right != sample.is_right
        confidence = points[:, 2].sum()
        if not confidence:
            continue
        near = not other if sample.box is None else _overlap(points, sample.box) / (1 + other)
        if near and (near, confidence) > best:
            best, chosen = (near, confidence), points
    return chosen


def _overlap(points, box):
    x0, y0, x1, y1 = tight_box(points[points[:, 2] > 0, :2])
    return box_overlap(np.array([x0 - 1, y0 - 1, x1 + 1, y1 + 1]), box)  # one joint is a box too


def _read_coco(path, order):
    """dict of name, with and without suffix -> size (or None) and list of ``_Found``."""
    content = read_json(path, REMEDY)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise BadFile(
            f"{path} is not a COCO file with images and annotations: give one, or a folder of "
            "OpenPose's or MediaPipe's files"
        )
    with expecting(path, "not a COCO file of keypoints", REMEDY):
        images = {}  # by id: its name, its size where told, its hands
        for image in content["images"]:
            name, size = PurePath(image["file_name"]), (image.get("width"), image.get("height"))
            name = name.relative_to(name.anchor)
            images[image["id"]] = name, size if all(size) else None, []
        for annotation in content["annotations"]:
            points = convert(_checked(path, annotation["keypoints"]), order)
            hand = _Found(points, side_of(annotation.get("hand_type")))
            images[annotation["image_id"]][2].append(hand)
        stems = Counter(name.with_suffix("") for name, _, _ in images.values())
    named = {}
    for name, *known in images.values():
        named[name.as_posix()] = known
        if stems[name.with_suffix("")] == 1:  # a detector may have seen a copy of another kind
            named.setdefault(name.with_suffix("").as_posix(), known)
    return named


def _read_hands(path, sample):
    """List of ``_Found`` in an OpenPose or MediaPipe file."""
    content = read_json(path, REMEDY)
    with expecting(path, "not a file of OpenPose or MediaPipe", REMEDY):
        return _hands(path, content, sample)


def _hands(path, content, sample):
    if "people" in content:
        fields = {side: f"hand_{side}_keypoints_2d" for side in SIDES}
        return [
            _Found(_checked(path, person.get(field) or NOTHING), side_of(side))
            for person in content["people"]
            for side, field in fields.items()
        ]
    for field in ("hand_landmarks", "landmarks"):  # in Python, in JavaScript
        if field in content:
            told = content.get("handedness") or [[{}]] * len(content[field])
            scores = [side[0].get("score", 1.0) for side in told]
            places = [[(p["x"], p["y"]) for p in hand] for hand in content[field]]
            found = [  # from shares of the image
                np.column_stack([np.array(place) * sample.size - 0.5, np.full(len(place), score)])
                for place, score in zip(places, scores, strict=True)
            ]
            # Whether its sides are the photo's or a mirror's differs between its versions.
            return [_Found(_checked(path, hand)) for hand in found]
    raise BadFile(
        f"{path} is neither OpenPose's (people) nor MediaPipe's (hand_landmarks): write it again"
    )


def _checked(path, hand):
    """A hand as (21, 3), with zeros where a joint was not found."""
    hand = np.asarray(hand, np.float64)
    require_finite(keypoints=hand)
    if hand.size != 3 * N_JOINTS:
        raise BadFile(f"{path}: {hand.size} numbers in a hand, expected 21 x (x, y, confidence)")
    hand = np.where(hand.reshape(N_JOINTS, 3)[:, 2:] > 0, hand.reshape(N_JOINTS, 3), 0.0)
    if hand[:, 2].any() and np.abs(hand[:, :2]).max() <= 1:
        raise BadFile(f"{path}: x and y are not px: run OpenPose with --keypoint_scale 0")
    return hand.clip(max=[np.inf, np.inf, 1.0])  # COCO's visibility goes to 2
