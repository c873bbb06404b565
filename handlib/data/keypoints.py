"""Keypoints that a hand detector has found, from its files."""

from pathlib import Path

import numpy as np

from handlib.joints import N_JOINTS, convert
from handlib.reading import BadFile, expecting, read_json, require_finite

NOTHING = np.zeros((N_JOINTS, 3))
REMEDY = "run the detector again, and let it write the file whole"


class KeypointFiles:
    """Called with a sample, the most confident hand that a detector found in its image.

    Images are known by name, with as many of their folders as the files have ("train/00000012"
    or "00000012"): where two splits share their names, keep their files in such folders.

    Args:
        path: a COCO JSON file, or a folder with a JSON file for each image: OpenPose's
            ``<name>_keypoints.json`` (in px: ``--keypoint_scale 0``) or ``<name>.json`` with the
            fields of MediaPipe's HandLandmarkerResult.
        order: joint order of the COCO file, a key of ``joints.ORDERS``; the others' is FreiHAND's.

    Raises:
        FileNotFoundError: no such file or folder; called: the files do not know an image.
        ValueError: files of another form.
    """

    def __init__(self, path, order="freihand"):
        self.path = Path(path).expanduser()
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: no such file or folder of keypoints")
        self.hands = None if self.path.is_dir() else _read_coco(self.path, order)

    def __call__(self, sample):
        """(21, 3) x, y px and confidence in FreiHAND's order; all 0 where no hand was found."""
        hands = self._find(sample)
        return max(hands, key=lambda hand: hand[:, 2].sum(), default=NOTHING)

    def _find(self, sample):
        path = Path(sample.path or "")
        parts = path.with_suffix("").relative_to(path.anchor).parts if sample.path else ()
        for name in ("/".join(parts[start:]) for start in range(len(parts))):
            if self.hands is not None:
                if name in self.hands:
                    return self.hands[name]
                continue
            for file in (self.path / f"{name}_keypoints.json", self.path / f"{name}.json"):
                if file.is_file():
                    return _read_hands(file, sample)
        raise FileNotFoundError(
            f"{self.path} has no keypoints for the image {sample.path}: run the detector on it"
        )


def _read_coco(path, order):
    content = read_json(path, REMEDY)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise BadFile(
            f"{path} is not a COCO file with images and annotations: give one, or a folder of "
            "OpenPose's or MediaPipe's files"
        )
    with expecting(path, "not a COCO file of keypoints", REMEDY):
        names = {
            i["id"]: Path(i["file_name"]).with_suffix("").as_posix() for i in content["images"]
        }
        hands = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            found = convert(_checked(path, annotation["keypoints"]), order)
            hands[names[annotation["image_id"]]].append(found)
    return hands


def _read_hands(path, sample):
    """List of (21, 3) in an OpenPose or MediaPipe file."""
    content = read_json(path, REMEDY)
    with expecting(path, "not a file of OpenPose or MediaPipe", REMEDY):
        return _hands(path, content, sample)


def _hands(path, content, sample):
    if "people" in content:
        sides = {True: ["right"], False: ["left"], None: ["right", "left"]}[sample.is_right]
        fields = [f"hand_{side}_keypoints_2d" for side in sides]
        found = [person.get(field) or NOTHING for person in content["people"] for field in fields]
        return [_checked(path, hand) for hand in found]
    for field in ("hand_landmarks", "landmarks"):  # in Python, in JavaScript
        if field in content:
            told = content.get("handedness") or [[{}]] * len(content[field])
            scores = [side[0].get("score", 1.0) for side in told]
            places = [[(p["x"], p["y"]) for p in hand] for hand in content[field]]
            found = [  # from shares of the image
                np.column_stack([np.array(place) * sample.size - 0.5, np.full(len(place), score)])
                for place, score in zip(places, scores, strict=True)
            ]
            return [_checked(path, hand) for hand in found]
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
