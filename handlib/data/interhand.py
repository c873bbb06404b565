"""InterHand2.6M (Moon et al., ECCV 2020): photos of one or two hands from many cameras.

Published layout: ``annotations/{split}/InterHand2.6M_{split}_{data,camera,joint_3d}.json``, with
``MANO_NeuralAnnot`` beside them where it was fetched too, and ``images/{split}/...``. A single
folder of images with ``{split}_interhand2.6m_*.json`` among them is read as well.

In the files: world joints in mm, right hand first, each finger from its tip, the wrist last;
X_camera = camrot (X_world - campos).
"""

import cv2
import numpy as np

from handlib.data.annotations import load_tables
from handlib.data.hands import SIDES, HandReader, intrinsics
from handlib.data.usable import usable_hands
from handlib.joints import ENOUGH_JOINTS, N_JOINTS, check_metres, convert
from handlib.reading import expecting, read_json

HOMEPAGE = "https://mks0601.github.io/InterHand2.6M/"
MANO_NUMBERS = 58  # pose 48, shape 10
_FOLDERS = ("annotations/{split}", "annotations/all", "annotations", "")
_NAMES = ("InterHand2.6M_{split}_{kind}.json", "{split}_interhand2.6m_{kind}.json")


class InterHandReader(HandReader):
    """One split of InterHand2.6M; see ``HandReader``.

    A hand is a sample where most of its joints are annotated. What dozens of cameras see of one
    moment is one ``group``: that of its capture and frame. With the MANO_NeuralAnnot file a
    sample has ``pose`` (turned into the camera's frame) and ``betas``.

    Args:
        root: folder with ``annotations`` and ``images``.
        split: "train", "val" or "test", as published.
        skip_bad: see ``HandReader``.
    """

    splits, source = ("train", "val", "test"), "InterHand2.6M"
    per_sample = (*HandReader.per_sample, "_valid", "_image", "_frame", "_camera")

    def _open(self):
        split = self.split
        data = find_annotations(self.root, split)
        if data is None:
            raise FileNotFoundError(
                f"{self.root} has no annotations/{split}/InterHand2.6M_{split}_data.json: "
                f"extract the {split!r} annotations of InterHand2.6M there ({HOMEPAGE})"
            )
        paths = [_beside(data, split, kind) for kind in ("data", "camera", "joint_3d")]
        mano = _beside(data, split, "MANO_NeuralAnnot")
        if mano.is_file():
            paths.append(mano)
            self.also = ("mano",)
        folder = self.root / "images" / split
        self._images = folder if folder.is_dir() else data.parent
        self._tables = load_tables("interhand-3", _build, paths)
        hands = self._tables["hands"]
        if not len(hands):
            raise ValueError(f"{data} lists no annotated hand: copy or extract it again")
        self.ids, left, self._image, self._frame, self._camera, self.widths = hands.T
        self.is_right = left == 0
        self._valid, self.usable = self._tables["valid"], self._tables["usable"]
        self.complete = self._valid.all(1)
        self._file = paths[2]
        check_metres(self._joints(np.flatnonzero(self.usable)[:1000]), self._file)

    def _path(self, row):
        return self._images / self._tables["names"][self._image[row]].decode()

    def _joints(self, rows):
        world = self._tables["world"][self._frame[rows], (~self.is_right[rows]).astype(int)]
        camera = self._camera[rows]
        moved = world - self._tables["campos"][camera][:, None]
        joints = moved @ self._tables["camrot"][camera].swapaxes(-1, -2) / 1000
        joints[~self._valid[rows]] = np.nan
        return convert(joints, "interhand")

    def _K(self, rows):
        camera = self._camera[rows]
        return intrinsics(self._tables["focal"][camera], self._tables["princpt"][camera])

    def _more(self, row):
        return {"group": int(self._frame[row])} | self._fitted(row)

    def _fitted(self, row):
        """``pose`` and ``betas``, where the hand was fitted."""
        if "mano" not in self._tables:
            return {}
        mano = self._tables["mano"][self._frame[row], int(not self.is_right[row])].astype(float)
        if np.isnan(mano).any():
            return {}
        camrot = self._tables["camrot"][self._camera[row]]
        root = cv2.Rodrigues(camrot @ cv2.Rodrigues(mano[:3])[0])[0][:, 0]
        return {"pose": np.concatenate([root, mano[3:48]]), "betas": mano[48:]}


def find_annotations(root, split):
    """Path of a split's data file below ``root``, or None."""
    for folder in _FOLDERS:
        for name in _NAMES:
            path = root / folder.format(split=split) / name.format(split=split, kind="data")
            if path.is_file():
                return path
    return None


def is_interhand(root):
    return any(find_annotations(root, split) for split in InterHandReader.splits)


def _beside(data, split, kind):
    """Another annotation file of the same split."""
    form = next(name for name in _NAMES if data.name == name.format(split=split, kind="data"))
    return data.with_name(form.format(split=split, kind=kind))


# -- from JSON to tables ---------------------------------------------------------------------
def _build(data_path, camera_path, joints_path, mano_path=None):
    """Tables of one split.

    Returns:
        dict: ``hands`` (N, 6) int64: image id, 0 right or 1 left, rows of image, frame and camera,
        image width; ``valid`` (N, 21) bool; ``usable`` (N,) bool; ``names`` of image files;
        ``world`` (frames, 2, 21, 3) mm; ``campos``, ``camrot``, ``focal``, ``princpt`` by camera;
        ``mano`` (frames, 2, 58).
    """
    data = read_json(data_path, compact=_compact)
    cameras, joints = read_json(camera_path), read_json(joints_path, compact=_compact)
    mano = read_json(mano_path, compact=_compact) if mano_path else {}
    with expecting(
        data_path, "not InterHand2.6M's, or does not fit the files beside it",
        "copy or extract them again",
    ):  # fmt: skip
        return _tables(data, cameras, joints, mano)


def _compact(entry):
    """The parts that are used, of each kind of object in the large files."""
    if "world_coord" in entry:
        return _sides(entry["world_coord"], 3, np.float32), _sides(entry["joint_valid"])
    if "joint_valid" in entry:
        return entry["image_id"], _sides(entry["joint_valid"])
    if "file_name" in entry:
        place = str(entry["capture"]), str(entry["camera"]), str(entry["frame_idx"])
        return entry["id"], entry["file_name"], entry["width"], *place
    if "pose" in entry:
        return np.array([*entry["pose"], *entry["shape"]], np.float32)
    return entry


def _sides(values, columns=1, dtype=bool):
    return np.array(values, dtype).reshape(2, N_JOINTS, columns).squeeze()


def _tables(data, cameras, joints, mano):
    images = {image[0]: (row, image) for row, image in enumerate(data["images"])}
    frames = _Rows()
    views = _Rows()
    hands, valid = [], []
    for image_id, known in data["annotations"]:
        row, (_, _, width, capture, camera, frame) = images[image_id]
        known = known & _frame(joints, capture, frame)[1]
        place = row, frames[capture, frame], views[capture, camera], width
        for side in np.flatnonzero(known.sum(1) >= ENOUGH_JOINTS):
            hands.append((image_id, side, *place))
            valid.append(known[side])
    tables = {
        "hands": np.array(hands, np.int64).reshape(-1, 6),
        "valid": np.array(valid, bool).reshape(-1, N_JOINTS),
        "names": np.array([image[1].encode() for image in data["images"]]),
        "world": np.array([_frame(joints, *place)[0] for place in frames]),
    }
    for name, shape in (("campos", 3), ("camrot", (3, 3)), ("focal", 2), ("princpt", 2)):
        absent = np.full(shape, np.nan)  # so that its hands cannot be used
        values = [cameras.get(capture, {}).get(name, {}).get(camera, absent)
                  for capture, camera in views]  # fmt: skip
        tables[name] = np.array(values, np.float64)
    for name in ("world", "campos", "camrot", "focal", "princpt"):
        if hands and not np.isfinite(tables[name]).any():
            raise ValueError(f"no {name} for any of its hands")
    _, side, _, frame, camera, _ = tables["hands"].T
    placed = np.isfinite(tables["campos"]).all(-1) & np.isfinite(tables["camrot"]).all((-1, -2))
    joints, forward = tables["world"][frame, side], tables["camrot"][:, 2]
    depth = np.einsum("nji,ni->nj", joints, forward[camera])
    depth -= (tables["campos"] * forward).sum(1)[camera, None]
    tables["usable"] = placed[camera] & usable_hands(
        joints, depth, tables["valid"], tables["focal"][camera], tables["princpt"][camera]
    )
    if mano:
        tables["mano"] = np.stack([_mano(mano, *place) for place in frames])
    return tables


def _frame(joints, capture, frame):
    """World joints (2, 21, 3) and which are valid (2, 21); NaN where the file lacks the frame, so
    that its hands cannot be used."""
    absent = np.full((2, N_JOINTS, 3), np.nan, np.float32), np.ones((2, N_JOINTS), bool)
    return joints.get(capture, {}).get(frame, absent)


class _Rows(dict):
    """Numbers keys in the order in which they are first asked for."""

    def __missing__(self, key):
        self[key] = len(self)
        return self[key]


def _mano(mano, capture, frame):
    """(2, 58) of the right and the left hand; NaN where they were not fitted."""
    fitted = mano.get(capture, {}).get(frame, {})
    absent = np.full(MANO_NUMBERS, np.nan, np.float32)
    sides = [fitted.get(side) for side in SIDES]
    return np.stack([absent if side is None else side for side in sides])
