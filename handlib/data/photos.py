"""Photos with 2D hand keypoints in COCO's JSON form: no camera, no 3D.

The form has no place for the side of a hand. It is taken from "hand_type" where an annotation says
"left" or "right" there (InterHand2.6M's word), else from a file name that ends in ``_l`` or ``_r``
(CMU Panoptic's), else it is not known.
"""

import json
from pathlib import Path

import numpy as np

from handlib.data.freihand import read_image
from handlib.data.sample import Sample
from handlib.joints import N_JOINTS, convert

FREIHAND_POSES = 32_560  # file id = unique id + this * version


def read_coco_hands(path, order="freihand"):
    """Read a COCO-style keypoint file and its photos.

    Args:
        path: the JSON file, or a folder with one; photos lie beside it.
        order: joint order of its keypoints, a key of ``joints.ORDERS``.

    Returns:
        list of Sample, ordered by file name, with ``joints_2d`` (NaN where a joint is not
        labelled), ``box`` and ``is_right`` (None where nothing tells it). In a folder called
        freihand, file ids give id and version, and all are right hands.

    Raises:
        FileNotFoundError: no file, or not one JSON with keypoints in the folder, or no photo.
        ValueError: not 21 keypoints.
    """
    path = _find_json(Path(path).expanduser())
    content = json.loads(path.read_text())
    images = {image["id"]: image for image in content["images"]}
    hands = [_sample(path, images[a["image_id"]], a, order) for a in content["annotations"]]
    return sorted(hands, key=lambda sample: (sample.path, sample.id))


def _find_json(path):
    if path.is_file():
        return path
    found = [p for p in sorted(path.glob("*.json")) if '"keypoints"' in p.read_text()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{path} holds {len(found)} JSON files with keypoints, expected one: give the file"
        )
    return found[0]


def _sample(path, image, annotation, order):
    keypoints = np.array(annotation["keypoints"], np.float64)
    if keypoints.size != 3 * N_JOINTS:
        raise ValueError(
            f"{path}: annotation {annotation['id']} has {keypoints.size} numbers, "
            f"expected {N_JOINTS} keypoints (x, y, visibility)"
        )
    keypoints = convert(keypoints.reshape(N_JOINTS, 3), order)
    keypoints[keypoints[:, 2] == 0] = np.nan
    is_freihand = path.parent.name == "freihand"
    unique, version = annotation["id"], None
    if is_freihand:
        version, unique = divmod(int(Path(image["file_name"]).stem), FREIHAND_POSES)
    x, y, width, height = annotation["bbox"]
    return Sample(
        image=read_image(path.parent / image["file_name"]),
        id=unique,
        version=version,
        source=f"photos ({path.parent.name})",
        path=path.parent / image["file_name"],
        is_right=True if is_freihand else _side(image["file_name"], annotation),
        joints_2d=keypoints[:, :2],
        box=np.array([x, y, x + width, y + height], np.float64),
    )


def _side(file_name, annotation):
    """Whether an annotation is of a right hand, or None."""
    said = annotation.get("hand_type", Path(file_name).stem[-2:])
    return {"right": True, "_r": True, "left": False, "_l": False}.get(said)
