"""Cases of ``faults``: datasets that break their contract."""

import json
import pickle
import shutil

import numpy as np
from fake_data import write_interhand, write_rhd
from faults import GOES_ON, REFUSED, WARNED, case

from handlib.data import open_dataset

DATA = "dataset"
AGAIN = "copy or extract"


def _change(file, change):
    """Write a JSON file anew, after a function of its content."""
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def _opening(what, how, says, prepare, happens=REFUSED, split="train", read=False, **options):
    """A case: ``prepare`` breaks a dataset folder, and it is opened (and its samples read)."""

    @case(DATA, what, how, happens, says)
    def steps(at):
        root = at.dataset()
        root = prepare(root) or root
        yield
        reader = open_dataset(root, split, **options)
        if read:
            for n in range(len(reader)):
                reader[n]

    return steps


def _entry(name, n, change):
    """A function that changes one entry of an annotation of a dataset folder."""

    def prepare(root):
        def one(values):
            values[n] = change(values[n])
            return values

        _change(root / f"training_{name}.json", one)

    return prepare


def _set(row, column, value):
    def change(entry):
        entry[row][column] = value
        return entry

    return change


# -- datasets --------------------------------------------------------------------------------
@case(DATA, "none is named", "MP_DATA unset, no folder given", REFUSED, "set MP_DATA to a FreiHAND")
def _unset(at):
    yield
    open_dataset()


def _delete(*names):
    def prepare(root):
        for name in names:
            (root / name).unlink()

    return prepare


def _text(name, text):
    return lambda root: (root / name).write_text(text) and None


def _truncate(name):
    def prepare(root):
        file = root / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return prepare


def _times(factor):
    def change(values):
        return (factor * np.array(values)).tolist()

    return change


_opening(
    "the folder does not exist",
    "a name that is not there",
    "nowhere is not a folder.*extract",
    lambda root: root / "nowhere",
)
_opening(
    "a file is named",
    "a JSON file as MP_DATA",
    r"training_K.json is not a folder.*extract",
    lambda root: root / "training_K.json",
)
_opening(
    "the folder above is named",
    "the dataset's parent",
    "did you mean .*data",
    lambda root: root.parent,
)


def _empty(root):
    (root.parent / "empty").mkdir()
    return root.parent / "empty"


_opening("the folder is empty", "mkdir", r"empty is not FreiHAND: looked for.*synthesize", _empty)
_opening(
    "K is missing",
    "training_K.json deleted",
    f"training_K.json is missing.*{AGAIN}",
    _delete("training_K.json"),
)
_opening(
    "joints are missing",
    "training_xyz.json deleted",
    f"training_xyz.json is missing.*{AGAIN}",
    _delete("training_xyz.json"),
)
_opening(
    "an annotation file is cut short",
    "half of training_xyz.json",
    f"training_xyz.json is (truncated|not a JSON list).*{AGAIN}",
    _truncate("training_xyz.json"),
)
_opening(
    "an annotation file is empty",
    "0 bytes",
    f"training_K.json is truncated.*{AGAIN}",
    lambda root: (root / "training_K.json").write_bytes(b"") and None,
)
_opening(
    "an annotation file lists nothing",
    "[]",
    f"training_K.json is truncated.*{AGAIN}",
    _text("training_K.json", "[]"),
)
_opening(
    "an annotation file holds text",
    '["a", "b"]',
    f"training_K.json is not .*{AGAIN}",
    _text("training_K.json", '["a", "b"]'),
)
_opening(
    "fewer joints than K",
    "the last entry of xyz deleted",
    f"training_xyz.json has 7 entries and training_K.json has 8.*{AGAIN}",
    lambda root: _change(root / "training_xyz.json", lambda v: v[:-1]),
)
_opening(
    "fewer hand vectors than K",
    "the last entry of mano deleted",
    f"training_mano.json has 7 entries and training_K.json has 8.*{AGAIN}",
    lambda root: _change(root / "training_mano.json", lambda v: v[:-1]),
)
_opening(
    "more annotations than images",
    "an entry of K, xyz, ... twice",
    f"is missing: training_K.json lists 9 poses.*{AGAIN}",
    lambda root: (
        [
            _change(root / f"training_{n}.json", lambda v: [*v, v[0]])
            for n in ("K", "xyz", "verts", "mano", "scale")
        ]
        and None
    ),
)
_opening(
    "fewer annotations than images",
    "the last entry of K, xyz, ... deleted",
    f"one picture too many: .*training_K.json lists 7 poses only.*{AGAIN}",
    lambda root: (
        [
            _change(root / f"training_{n}.json", lambda v: v[:-1])
            for n in ("K", "xyz", "verts", "mano", "scale")
        ]
        and None
    ),
)
_opening(
    "K is 3x4",
    "a column of zeros added to each K",
    f"training_K.json.*({AGAIN}|write the file anew)",
    lambda root: _change(root / "training_K.json", lambda v: [[[*r, 0] for r in k] for k in v]),
)
_opening(
    "K is 2x3",
    "the last row of each K deleted",
    f"training_K.json.*({AGAIN}|write the file anew)",
    lambda root: _change(root / "training_K.json", lambda v: [k[:2] for k in v]),
)
_opening(
    "K is transposed",
    "K of one sample transposed",
    "training_K.json: entry 3 is not a camera matrix.*skip_bad",
    _entry("K", 3, lambda k: [list(row) for row in zip(*k)]),
)
_opening(
    "a focal length is negative",
    "fx of one sample",
    "training_K.json: entry 2 is not a camera",
    _entry("K", 2, _set(0, 0, -64.0)),
)
_opening(
    "K holds NaN",
    "one number of one sample",
    r"training_K.json: entry 1 .*\(NaN\).*skip_bad",
    _entry("K", 1, _set(0, 2, float("nan"))),
)
_opening(
    "joints hold NaN",
    "one number of one sample",
    r"training_xyz.json: entry 5 .*\(NaN\).*skip_bad",
    _entry("xyz", 5, _set(20, 2, float("nan"))),
)
_opening(
    "a hand behind the camera",
    "z of one sample negative",
    "training_xyz.json: entry 4 lies behind the camera.*skip_bad",
    _entry("xyz", 4, lambda xyz: [[x, y, -z] for x, y, z in xyz]),
)
_opening(
    "vertices hold infinity",
    "one number of one sample, which is read",
    r"training_verts.json: entry 2 .*infinite.*skip_bad",
    _entry("verts", 2, _set(700, 0, float("inf"))),
    read=True,
)
_opening(
    "joints in millimetres",
    "xyz times 1000",
    "training_xyz.json: .*these are millimetres: divide by 1000",
    lambda root: _change(root / "training_xyz.json", _times(1000)),
    happens=WARNED,
)
_opening(
    "an image is missing",
    "one .jpg deleted, then read",
    "00000003.jpg is missing: copy it again.*skip_bad",
    _delete("training/rgb/00000003.jpg"),
    read=True,
)
_opening(
    "an image is empty",
    "0 bytes, then read",
    "00000003.jpg is not a readable image.*copy it again.*skip_bad",
    lambda root: (root / "training/rgb/00000003.jpg").write_bytes(b"") and None,
    read=True,
)
_opening(
    "an image is something else",
    "a text file named .jpg, then read",
    "00000003.jpg is not a readable image.*copy it again.*skip_bad",
    _text("training/rgb/00000003.jpg", "no picture"),
    read=True,
)
_opening(
    "a mask is missing",
    "one .jpg of mask/ deleted, then read",
    "mask/00000002.jpg is missing: copy it again.*skip_bad",
    _delete("training/mask/00000002.jpg"),
    read=True,
)


def _other_mask(root):
    import cv2

    cv2.imwrite(str(root / "training/mask/00000002.jpg"), np.zeros((16, 16), np.uint8))


_opening(
    "a mask of another size than its image",
    "16 px instead of 32, then read",
    f"mask/00000002.jpg is 16x16 px and its image is 32x32: {AGAIN}",
    _other_mask,
    read=True,
)
_opening(
    "there is no image at all",
    "training/rgb emptied",
    f"holds no images.*{AGAIN}",
    lambda root: [p.unlink() for p in (root / "training/rgb").iterdir()] and None,
)
_opening(
    "too few poses for a split",
    "all but one entry and image deleted",
    "1 poses are too few for a 'val' split",
    lambda root: (
        [
            _change(root / f"training_{n}.json", lambda v: v[:1])
            for n in ("K", "xyz", "verts", "mano", "scale")
        ]
        + [p.unlink() for p in sorted((root / "training").rglob("*.jpg")) if int(p.stem)]
        and None
    ),
    split="val",
)
_opening(
    "an unknown split",
    "split 'training'",
    "unknown split 'training'.*known: train, val",
    lambda root: None,
    split="training",
)
_opening(
    "a synthetic dataset is unfinished",
    "its folder .parts is still there",
    "unfinished synthetic dataset: run the same handlib synthesize again",
    lambda root: (root / ".parts").mkdir(),
)
_opening(
    "a synthetic dataset's description is cut short",
    "half of synthetic.json",
    f"synthetic.json is truncated.*{AGAIN}",
    _text("synthetic.json", '{"hand_model": '),
)


def _three_bad(root):
    _entry("K", 0, _set(0, 0, -1.0))(root)
    _entry("xyz", 1, _set(0, 0, float("nan")))(root)
    (root / "training/rgb/00000003.jpg").write_bytes(b"")
    (root / "training/rgb/00000000.jpg").unlink()


@case(
    DATA,
    "some samples are bad, with skip_bad",
    "a K, a joint, two images",
    GOES_ON,
    r"5 of 12 samples .* are left out:\n.*training_K.json.*\n.*training_xyz.json.*\n.*00000003",
)
def _skip(at):
    root = at.dataset()
    _three_bad(root)
    yield
    reader = open_dataset(root, skip_bad=True)
    assert len(reader) == 7 and len(reader.annotation("xyz")) == len(reader.annotated) == 4
    assert all(sample.id in (2, 3, 4, 5) for sample in (reader[n] for n in range(7)))


@case(
    DATA,
    "every sample is bad, with skip_bad",
    "every K negative",
    REFUSED,
    "none of the 12 samples of .* can be used; the first: .*training_K.json",
)
def _skip_all(at):
    root = at.dataset()
    _change(root / "training_K.json", _times(-1))
    yield
    open_dataset(root, skip_bad=True)


def _bad_rhd(at):
    """RHD with a joint that is no number, a camera without focal length, a picture missing."""
    root = at.folder / "rhd"
    rows = write_rhd(root, images=10)["training"]
    rows[2]["xyz"][0] = np.nan
    rows[3]["K"][0, 0] = 0
    (root / "training/anno_training.pickle").write_bytes(pickle.dumps(dict(enumerate(rows))))
    (root / "training/color/00000.png").unlink()
    return root


@case(
    DATA,
    "RHD's annotations hold NaN",
    "a joint of one hand",
    REFUSED,
    r"anno_training.pickle: the left hand of image 2 \(one of 3\) holds numbers .*skip_bad",
)
def _rhd_nan(at):
    root = _bad_rhd(at)
    yield
    open_dataset(root)


@case(
    DATA,
    "some samples of RHD are bad, with skip_bad",
    "a joint, a K, an image",
    GOES_ON,
    r"4 of 12 samples .* are left out:\n.*00000.png is missing.*\n.*image 2 .*\n.*image 3 ",
)
def _skip_rhd(at):
    root = _bad_rhd(at)
    yield
    reader = open_dataset(root, skip_bad=True)
    assert len(reader) == 8 and len(reader.annotation("xyz")) == len(reader.annotated) == 8
    for n in range(8):
        sample = reader[n]
        assert sample.mask.any() and np.isfinite(sample.joints).all()


@case(
    DATA,
    "every sample of RHD is bad, with skip_bad",
    "no camera has a focal length",
    REFUSED,
    "none of the 12 samples of .* can be used; the first: .*the left hand of image 0 .one of 12",
)
def _skip_all_rhd(at):
    root = at.folder / "rhd"
    rows = write_rhd(root, images=10)["training"]
    for row in rows:
        row["K"][0, 0] = 0
    (root / "training/anno_training.pickle").write_bytes(pickle.dumps(dict(enumerate(rows))))
    yield
    open_dataset(root, skip_bad=True)


@case(
    DATA,
    "some samples of InterHand2.6M are bad, with skip_bad",
    "infinite joints in a frame of two hands, an image",
    GOES_ON,
    r"3 of 5 samples .* are left out:\n.*image00000.jpg is missing.*\n.*right hand of image 12 ",
)
def _skip_interhand(at):
    root = at.folder / "interhand"
    truth = write_interhand(root, ["train"])
    path = root / "annotations/train/InterHand2.6M_train_joint_3d.json"
    joints = json.loads(path.read_text())
    joints["3"]["2"]["world_coord"] = [["none"] * 3] * 42
    path.write_text(json.dumps(joints).replace('"none"', "1e999"))  # infinite, and correct JSON
    (root / "images/train/Capture3/ROM/cam400026/image00000.jpg").unlink()
    yield
    reader = open_dataset(root, skip_bad=True)
    assert [int(reader[n].id) for n in range(len(reader))] == [11, 13]
    np.testing.assert_allclose(reader[0].joints, truth["train", 11, False], atol=1e-6)


@case(
    DATA,
    "freihand_dataset_MP without the split",
    "its folder val deleted",
    REFUSED,
    "has no split 'val'; it has: train, test",
)
def _mp(at):
    root = at.dataset(layout="MP")
    shutil.rmtree(root / "val")
    yield
    open_dataset(root, "val")


@case(
    DATA,
    "InterHand2.6M: a file is missing",
    "the cameras deleted",
    REFUSED,
    f"InterHand2.6M_train_camera.json is missing.*{AGAIN}",
)
def _interhand(at):
    write_interhand(at.folder / "data", ("train",))
    (at.folder / "data/annotations/train/InterHand2.6M_train_camera.json").unlink()
    yield
    open_dataset(at.folder / "data")


@case(
    DATA,
    "InterHand2.6M: a file is cut short",
    "half of the joints",
    REFUSED,
    f"InterHand2.6M_train_joint_3d.json is truncated.*{AGAIN}",
)
def _interhand_cut(at):
    write_interhand(at.folder / "data", ("train",))
    _truncate("annotations/train/InterHand2.6M_train_joint_3d.json")(at.folder / "data")
    yield
    open_dataset(at.folder / "data")


@case(
    DATA,
    "RHD: the annotations are cut short",
    "half of the pickle",
    REFUSED,
    "anno_training.pickle is not RHD's annotation file.*Extract it again",
)
def _rhd(at):
    write_rhd(at.folder / "data", images=4)
    _truncate("training/anno_training.pickle")(at.folder / "data")
    yield
    open_dataset(at.folder / "data")
