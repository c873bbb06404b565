"""RHD, the Rendered Hand Pose Dataset (Zimmermann and Brox, ICCV 2017): rendered people.

Published layout: ``{training,evaluation}/color/%05d.png``, ``mask/%05d.png`` (classes: 2-17 left
hand, 18-33 right hand) and ``anno_{training,evaluation}.pickle``: for each image ``K``, ``xyz``
(42, 3) metres and ``uv_vis`` (42, 3), left hand first, each the wrist and then each finger from its
tip. The COCO-like JSON that others made of it (one hand per image, millimetres) is read as well.
"""

import numpy as np

from handlib.data.annotations import load_tables
from handlib.data.hands import HandReader, intrinsics, side_of
from handlib.data.usable import usable_hands
from handlib.joints import ENOUGH_JOINTS, N_JOINTS, check_metres, convert
from handlib.mano.pickles import read_pickled_rows
from handlib.reading import expecting, read_json, short

HOMEPAGE = (
    "https://lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html"
)
WIDTH = 320
MASK_CLASSES = {False: (2, 17), True: (18, 33)}  # by is_right; first and last
# The published training files serve two splits, cut by image.
PARTS = {
    "train": ("training", 0.0, 0.9),
    "val": ("training", 0.9, 1.0),
    "test": ("evaluation", 0.0, 1.0),
    "evaluation": ("evaluation", 0.0, 1.0),
}
_JSON_NAMES = {
    "training": ("annotations/rhd_train.json", "rhd_train.json", "train_rhd.json"),
    "evaluation": ("annotations/rhd_test.json", "rhd_test.json", "test_rhd.json"),
}


class RHDReader(HandReader):
    """One split of RHD; see ``HandReader``.

    A hand is a sample where most of its joints are seen; the hidden ones are known too. ``mask``
    is of this hand alone, without the arm.

    Args:
        root: folder with ``training`` and ``evaluation``, or with the JSON.
        split: "test" or "evaluation": the published evaluation images; "train", "val": the first
            nine tenths of the training images, the last tenth.
        skip_bad: see ``HandReader``.
    """

    splits, source = tuple(PARTS), "RHD"
    per_sample = (*HandReader.per_sample, "_names", "_xyz", "_cameras")

    def _open(self):
        part, start, stop = PARTS[self.split]
        path = find_annotations(self.root, part)
        if path is None:
            raise FileNotFoundError(
                f"{self.root} has no {part}/anno_{part}.pickle: extract RHD there ({HOMEPAGE})"
            )
        build = _from_pickle if path.suffix == ".pickle" else _from_json
        tables = load_tables("rhd-3", build, [path])
        check_metres(tables["joints"][tables["usable"]], path)
        images = np.unique(tables["ids"])
        edges = [round(share * len(images)) for share in (start, stop)]
        rows = np.isin(tables["ids"], images[slice(*edges)])
        if not rows.any():
            raise ValueError(f"{path}: {len(images)} images are too few for a {self.split!r} split")
        self.ids, self.is_right, self.usable, self._names, self._xyz, self._cameras = (
            tables[name][rows] for name in ("ids", "is_right", "usable", "names", "joints", "K")
        )
        self._file = path
        self.widths = np.full(len(self), WIDTH)
        self.complete = np.ones(len(self), bool)
        self._images = path.parent if path.suffix == ".pickle" else self.root
        if self._beside(0).parent.is_dir():
            self.also = ("mask",)

    def _path(self, row):
        return self._images / self._names[row].decode()

    def _beside(self, row):
        path = self._path(row)
        return path.parent.with_name("mask") / path.name

    def _mask_path(self, row):
        return self._beside(row) if self.also else None

    def _of_hand(self, mask, row):
        first, last = MASK_CLASSES[bool(self.is_right[row])]
        return (mask >= first) & (mask <= last)

    def _joints(self, rows):
        return convert(self._xyz[rows], "rhd")

    def _K(self, rows):
        return self._cameras[rows]


def find_annotations(root, part):
    """Path of the annotations of "training" or "evaluation" below ``root``, or None."""
    for name in (f"{part}/anno_{part}.pickle", *_JSON_NAMES[part]):
        if (root / name).is_file():
            return root / name
    return None


def is_rhd(root):
    return any(
        find_annotations(root, part) or (root / part / "color").is_dir() for part in _JSON_NAMES
    )


# -- from files to tables --------------------------------------------------------------------
def _from_pickle(path):
    """Tables of one part: ``ids``, ``is_right``, ``names``, ``joints`` (N, 21, 3) metres in RHD's
    order, ``K`` (N, 3, 3), ``usable`` (N,)."""
    try:
        found = read_pickled_rows(path.read_bytes(), ("xyz", "uv_vis", "K"))
        ids = np.array(sorted(found), np.int64)
        xyz, uv_vis, K = (
            np.array([found[i][name] for i in ids], np.float64) for name in ("xyz", "uv_vis", "K")
        )
        xyz = xyz.reshape(len(ids), 2, N_JOINTS, 3)
        seen = uv_vis.reshape(len(ids), 2, N_JOINTS, 3)[..., 2] > 0
        K = K.reshape(len(ids), 3, 3)
    except Exception as error:
        said = f"{type(error).__name__}: {short(error)}"
        raise ValueError(
            f"{path} is not RHD's annotation file ({said}); nothing of it was run. Extract it "
            f"again, or download it from {HOMEPAGE}."
        ) from error
    image, side = np.nonzero(seen.sum(-1) >= ENOUGH_JOINTS)
    return _checked(
        {
            "ids": ids[image],
            "is_right": side == 1,
            "names": np.array([f"color/{i:05d}.png".encode() for i in ids[image]]),
            "joints": xyz[image, side],
            "K": K[image],
        }
    )


def _from_json(path):
    content = read_json(path)
    needs = "it needs cam_param of each image, joint_cam and hand_type of each hand"
    with expecting(path, "not RHD as COCO-like JSON", needs):
        images = {image["id"]: image for image in content["images"]}
        hands = [(images[a["image_id"]], a) for a in content["annotations"]]
        cameras = [image["cam_param"] for image, _ in hands]
        joints = np.array([a["joint_cam"] for _, a in hands], np.float64)
        focal = np.array([c["focal"] for c in cameras], np.float64)
        principal = np.array([c["princpt"] for c in cameras], np.float64)
        return _checked(
            {
                "ids": np.array([image["id"] for image, _ in hands], np.int64),
                "is_right": np.array([_is_right(a) for _, a in hands], bool),
                "names": np.array([image["file_name"].encode() for image, _ in hands]),
                "joints": joints.reshape(-1, N_JOINTS, 3) / 1000,
                "K": intrinsics(focal, principal),
            }
        )


def _is_right(annotation):
    side = side_of(annotation["hand_type"])
    if side is None:
        raise ValueError(f"hand_type is {annotation['hand_type']!r}, not right or left")
    return side


def _checked(tables):
    K, joints = tables["K"], tables["joints"]
    known = np.ones(joints.shape[:2], bool)
    focal, principal = K[:, [0, 1], [0, 1]], K[:, :2, 2]
    return tables | {"usable": usable_hands(joints, joints[..., 2], known, focal, principal)}
