"""Photos with 2D hand keypoints in COCO's JSON form, COCO-WholeBody's too: no camera, no 3D.

COCO-WholeBody says which hand is which. The plain form has no place for the side of a hand. It is
taken from "hand_type" where an annotation says "left" or "right" there (InterHand2.6M's word), else
from a file name that ends in ``_l`` or ``_r`` (CMU Panoptic's), else it is not known.
"""

import os
import warnings
from pathlib import Path

import numpy as np

from handlib.data.hands import side_of
from handlib.data.sample import Sample
from handlib.images import is_turned, read_image
from handlib.joints import N_JOINTS, convert, is_tip_first, order_indices
from handlib.reading import BadFile, expecting, read_json, require_finite

FREIHAND_POSES = 32_560  # file id = unique id + this * version


class PhotoReader:
    """Hands in photos as samples; a photo is read when it is asked for, and once for those of its
    hands that are asked for one after the other, which share its array.

    Args:
        hands: list of dicts of the fields of ``Sample``, without its image.
        sizes: dict of path -> (width, height) px that a photo was annotated with, where known.
    """

    def __init__(self, hands, sizes):
        self._hands, self._sizes = hands, sizes
        self._last = None, None  # path and photo: large ones are costly to read

    def __len__(self):
        return len(self._hands)

    def path(self, index):
        """The image file of sample number ``index``."""
        return self._hands[index]["path"]

    def __getitem__(self, index):
        hand = self._hands[index]
        path, sides = hand["path"], hand["box"][2:] - hand["box"][:2]
        if not (sides > 0).all():
            raise BadFile(
                f"{path}: the box of annotation {hand['id']} has no area, {sides.tolist()} px: "
                "annotate it again, or leave it out of the file"
            )
        if self._last[0] != path:
            self._last = None, None  # not two at a time
            self._last = path, _as_annotated(path, self._sizes.get(path))
        return Sample(image=self._last[1], **hand)


def _as_annotated(path, size):
    """A photo as stored, or turned as its EXIF says where the annotations are for that."""
    image = read_image(path)
    if size in (None, image.shape[1::-1]):
        if is_turned(path, size):
            warnings.warn(
                f"{path}: its EXIF turns it, and its annotations do not tell whether they are for "
                "the turned photo: it is taken as stored. Look at it with its joints; if they are "
                "off, save it turned, without that mark",
                stacklevel=3,
            )
        return image
    upright = read_image(path, upright=True)
    if size != upright.shape[1::-1]:
        raise BadFile(
            f"{path} has {image.shape[1]} x {image.shape[0]} px and its annotations are for "
            f"{size[0]} x {size[1]}: give the photos that were annotated"
        )
    return upright


def read_coco_hands(path, order="freihand", images=None):
    """Open a COCO-style keypoint file and its photos.

    COCO-WholeBody's valid ``lefthand_kpts`` and ``righthand_kpts`` are a hand each.

    Args:
        path: the JSON file, or a folder with one.
        order: joint order of its keypoints, a key of ``joints.ORDERS``.
        images: folder of the photos; None: where the JSON lies.

    Returns:
        PhotoReader, ordered by file name: samples with ``joints_2d`` (NaN where a joint is not
        labelled), ``box`` and ``is_right`` (None where nothing tells it). Their ``id`` is that of
        the annotation; where one is no whole number, all are numbered from 0 on, as in the file. In
        a folder called freihand, file ids give id and version, and all are right hands.

    Raises:
        FileNotFoundError: no file, or not one JSON with keypoints in the folder, or no photo.
        ValueError: not such a JSON, or not 21 keypoints; an order that is not known.

    Warns:
        UserWarning: the fingers seem to be listed from the tip on, as RHD's are.
    """
    order_indices(order)  # a wrong one is no fault of the file
    path = _find_json(Path(path).expanduser())
    folder = path.parent if images is None else Path(images).expanduser()
    content = read_json(path)
    with expecting(path, "not a COCO file of hands", "export the annotations again"):
        names = {image["id"]: image["file_name"] for image in content["images"]}
        sizes = {
            folder / image["file_name"]: (image["width"], image["height"])
            for image in content["images"]
            if image.get("width") and image.get("height")
        }
        found = [
            (folder / names[annotation["image_id"]], unique, *hand)
            for unique, annotation in _numbered(content["annotations"])
            for hand in _hands(annotation, names[annotation["image_id"]])
        ]
        hands = [_fields(path, order, *hand) for hand in found]
        # One that no disk can hold would be an error of the system's.
        if any(
            len(os.fsencode(part)) > 255 for name in names.values() for part in Path(name).parts
        ):
            raise ValueError("a file_name of it is too long")
        hands.sort(key=lambda hand: (hand["path"], hand["id"]))
    if order == "freihand":
        _warn_of_order(path, hands)
    for hand in hands:
        if not hand["path"].is_file():
            raise FileNotFoundError(
                f"{hand['path']} is missing: put the photos there, or give their folder as images"
            )
    return PhotoReader(hands, sizes)


def _warn_of_order(path, hands):
    joints = np.array([hand["joints_2d"] for hand in hands]).reshape(-1, N_JOINTS, 2)
    if is_tip_first(joints):
        warnings.warn(
            f"{path}: its fingers seem to be listed from the tip on, as RHD's are: look at some of "
            "them, and give the order 'rhd' (--order rhd)",
            stacklevel=3,
        )


def _find_json(path):
    if path.is_file():
        return path
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: give a COCO-style file, or a folder with one")
    found = [p for p in sorted(path.glob("*.json")) if b'"keypoints"' in p.read_bytes()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{path} holds {len(found)} JSON files with keypoints, expected one: give the file"
        )
    return found[0]


def _numbered(annotations):
    """(id, annotation) of each: a batch takes whole numbers of 64 bits alone, so that the place in
    the file is the id where one is of another kind."""
    ids = [annotation["id"] for annotation in annotations]
    fit = all(type(unique) is int and abs(unique) < 2**63 for unique in ids)
    return zip(ids if fit else range(len(ids)), annotations, strict=True)


def _hands(annotation, name):
    """(keypoints, box, whether it is a right hand, or None) of each hand of an annotation."""
    if "lefthand_kpts" in annotation:
        for side in ("left", "right"):
            if annotation[f"{side}hand_valid"]:
                box = annotation[f"{side}hand_box"]
                yield annotation[f"{side}hand_kpts"], box, side == "right"
    else:
        said = annotation.get("hand_type")
        side = side_of(said) if said else {"_r": True, "_l": False}.get(Path(name).stem[-2:])
        yield annotation["keypoints"], annotation["bbox"], side


def _fields(path, order, image, unique, keypoints, box, is_right):
    keypoints = np.array(keypoints, np.float64)
    require_finite(keypoints=keypoints, box=np.array(box, np.float64))
    if keypoints.size != 3 * N_JOINTS:
        raise BadFile(
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
