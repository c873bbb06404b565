"""Photos with 2D hand keypoints in COCO's JSON form, COCO-WholeBody's too: no camera, no 3D.

COCO-WholeBody says which hand is which. The plain form has no place for the side of a hand. It is
taken from "hand_type" where an annotation says "left" or "right" there (InterHand2.6M's word), else
from a file name that ends in ``_l`` or ``_r`` (CMU Panoptic's), else it is not known.
"""

from pathlib import Path

import numpy as np

from handlib.data.annotations import read_json
from handlib.data.images import read_image
from handlib.data.sample import Sample
from handlib.joints import N_JOINTS, convert

FREIHAND_POSES = 32_560  # file id = unique id + this * version


class PhotoReader:
    """Hands in photos as samples; a photo is read when it is asked for.

    Args:
        hands: list of dicts of the fields of ``Sample``, without its image.
    """

    def __init__(self, hands):
        self._hands = hands

    def __len__(self):
        return len(self._hands)

    def __getitem__(self, index):
        hand = self._hands[index]
        return Sample(image=read_image(hand["path"]), **hand)


def read_coco_hands(path, order="freihand", images=None):
    """Open a COCO-style keypoint file and its photos.

    COCO-WholeBody's valid ``lefthand_kpts`` and ``righthand_kpts`` are a hand each.

    Args:
        path: the JSON file, or a folder with one.
        order: joint order of its keypoints, a key of ``joints.ORDERS``.
        images: folder of the photos; None: where the JSON lies.

    Returns:
        PhotoReader, ordered by file name: samples with ``joints_2d`` (NaN where a joint is not
        labelled), ``box`` and ``is_right`` (None where nothing tells it). In a folder called
        freihand, file ids give id and version, and all are right hands.

    Raises:
        FileNotFoundError: no file, or not one JSON with keypoints in the folder, or no photo.
        ValueError: not such a JSON, or not 21 keypoints.
    """
    path = _find_json(Path(path).expanduser())
    folder = path.parent if images is None else Path(images).expanduser()
    content = read_json(path)
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        found = [
            (folder / names[annotation["image_id"]], annotation["id"], *hand)
            for annotation in content["annotations"]
            for hand in _hands(annotation, names[annotation["image_id"]])
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} lacks {error}: it is not a COCO file of hands") from error
    hands = [_fields(path, order, *hand) for hand in found]
    for hand in hands:
        if not hand["path"].is_file():
            raise FileNotFoundError(
                f"{hand['path']} is missing: put the photos there, or give their folder as images"
            )
    return PhotoReader(sorted(hands, key=lambda hand: (hand["path"], hand["id"])))


def _find_json(path):
    if path.is_file():
        return path
    found = [p for p in sorted(path.glob("*.json")) if '"keypoints"' in p.read_text()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{path} holds {len(found)} JSON files with keypoints, expected one: give the file"
        )
    return found[0]


def _hands(annotation, name):
    """(keypoints, box, whether it is a right hand, or None) of each hand of an annotation."""
    if "lefthand_kpts" in annotation:
        for side in ("left", "right"):
            if annotation[f"{side}hand_valid"]:
                box = annotation[f"{side}hand_box"]
                yield annotation[f"{side}hand_kpts"], box, side == "right"
    else:
        said = annotation.get("hand_type", Path(name).stem[-2:])
        side = {"right": True, "_r": True, "left": False, "_l": False}.get(said)
        yield annotation["keypoints"], annotation["bbox"], side


def _fields(path, order, image, unique, keypoints, box, is_right):
    keypoints = np.array(keypoints, np.float64)
    if keypoints.size != 3 * N_JOINTS:
        raise ValueError(
            f"{path}: annotation {unique} has {keypoints.size} numbers, "
            f"expected {N_JOINTS} keypoints (x, y, visibility)"
        )
    keypoints = convert(keypoints.reshape(N_JOINTS, 3), order)
    keypoints[keypoints[:, 2] <= 0] = np.nan
    version = None
    if path.parent.name == "freihand":
        version, unique = divmod(int(image.stem), FREIHAND_POSES)
        is_right = True
    x, y, width, height = box
    return {
        "id": unique,
        "version": version,
        "source": f"photos ({path.parent.name})",
        "path": image,
        "is_right": is_right,
        "joints_2d": keypoints[:, :2],
        "box": np.array([x, y, x + width, y + height], np.float64),
    }
