"""Readers of datasets with one or two hands in an image: InterHand2.6M and RHD."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from fake_data import write_interhand, write_rhd

from handlib import geometry
from handlib.anatomy import bend_angles
from handlib.augment import ToRight, eval_transforms
from handlib.data import InterHandReader, RHDReader, annotations, collate, open_dataset
from handlib.joints import JOINT_NAMES, convert
from handlib.mano import HandLayer


@pytest.fixture(scope="module")
def interhand(tmp_path_factory):
    root = tmp_path_factory.mktemp("interhand")
    return root, write_interhand(root, mano=True)


@pytest.fixture(scope="module")
def rhd(tmp_path_factory):
    root = tmp_path_factory.mktemp("rhd")
    return root, write_rhd(root)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# -- InterHand2.6M ---------------------------------------------------------------------------
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_interhand_joints_are_in_the_camera(interhand, split):
    root, written = interhand
    reader = open_dataset(root, split)
    assert isinstance(reader, InterHandReader) and reader.source == "InterHand2.6M"
    assert [(s.id, s.is_right) for s in reader] == [k[1:] for k in written if k[0] == split]
    for sample in reader:
        expected = written[split, sample.id, sample.is_right]
        np.testing.assert_allclose(sample.joints, expected, atol=1e-6)
        K = np.array([[70, 0, 20], [0, 71, 15], [0, 0, 1.0]])
        np.testing.assert_array_equal(sample.K, K)
        np.testing.assert_allclose(sample.joints_2d, geometry.project(expected, K), atol=1e-3)
        assert np.isfinite(sample.box).all() and sample.size == (40, 30)
        assert abs(int(sample.image[0, 0, 0]) - 50 * (sample.id - 10)) <= 2


def test_all_cameras_that_saw_a_pose_are_one_group(interhand, tmp_path):
    """Each camera's image has an id of its own: no more evidence for that."""
    write_interhand(tmp_path)

    def same_moment(content):
        content["images"][2]["frame_idx"] = 0
        content["images"].append(content["images"][0] | {"id": 20, "capture": 4})
        content["annotations"].append(content["annotations"][0] | {"image_id": 20})

    edit(tmp_path / "annotations/train/InterHand2.6M_train_data.json", same_moment)
    for kind in ("camera", "joint_3d"):
        path = tmp_path / f"annotations/train/InterHand2.6M_train_{kind}.json"
        edit(path, lambda content: content.update({"4": content["3"]}))
    samples = list(InterHandReader(tmp_path))
    groups = {s.id: s.group for s in samples}
    assert groups[10] == groups[12] and len(set(groups.values())) == len(groups) - 1
    batch = collate(samples)
    assert batch["group"].tolist() == [groups[i] for i in batch["id"].tolist()]
    assert InterHandReader(interhand[0])[0].group is not None  # with MANO's fits too


def test_a_joint_that_is_not_known_is_absent(interhand):
    """Neither InterHand's ones nor zeros; a hand with few known joints is no sample."""
    reader = InterHandReader(interhand[0])
    sample = reader[-1]
    assert sample.id == 13 and not sample.is_right and len(reader.looks(13)) == 1
    missing = np.isnan(sample.joints).all(1)
    assert [JOINT_NAMES[i] for i in np.flatnonzero(missing)] == ["wrist"]
    assert sample.annotations() == ("K",)
    batch = collate([eval_transforms(32)(sample, None)])
    assert not batch["has_joints"].any()
    assert batch["joints"].isnan().all(-1)[0].nonzero().flatten().tolist() == [0]
    assert len(reader.annotation("xyz")) == len(reader) - 1
    every = reader.annotation("xyz", whole=False)
    assert np.isnan(every).all(-1).sum(1).tolist() == [0] * (len(reader) - 1) + [1]
    np.testing.assert_array_equal(every[:-1], reader.annotation("xyz"))
    assert [n for name, n in reader.describe().items() if "unknown joint" in name] == [1]
    assert reader.annotation("verts") is None


def test_a_joint_that_only_the_joints_own_file_calls_unknown_is_absent(tmp_path):
    write_interhand(tmp_path, ["test"])
    whole = InterHandReader(tmp_path, "test")[0].joints

    def forget(content):
        content["3"]["0"]["joint_valid"][20] = [False]  # the right wrist

    edit(tmp_path / "annotations/test/InterHand2.6M_test_joint_3d.json", forget)
    joints = InterHandReader(tmp_path, "test")[0].joints
    assert np.isfinite(whole).all() and np.isnan(joints[0]).all()
    np.testing.assert_array_equal(joints[1:], whole[1:])


def test_both_hands_of_an_image_are_its_looks(interhand):
    right, left = InterHandReader(interhand[0]).looks(12)
    assert (right.is_right, left.is_right) == (True, False)
    assert np.abs(right.joints - left.joints).max() > 0.01


def test_annotations_are_of_right_hands_as_the_network_sees_them(interhand, rhd):
    for reader in (InterHandReader(interhand[0]), RHDReader(rhd[0])):
        samples = [s for s in reader if s.has("joints")]
        right = [ToRight()(s, None) for s in samples]
        for name, field in (("xyz", "joints"), ("K", "K")):
            expected = [getattr(s, field) for s in right]
            np.testing.assert_allclose(reader.annotation(name), expected)
        assert [reader[int(row)].id for row in reader.annotated] == [s.id for s in samples]


def test_fitted_poses_turn_with_the_camera(interhand, hand):
    """A MANO hand posed in the world and seen by the camera is the one of the sample's pose."""
    root, _ = interhand
    reader = InterHandReader(root)
    sample, left = reader[0], reader[1]
    assert "mano" in reader.describe()["annotations"] and left.pose is None
    folder = root / "annotations/train"
    fits = json.loads((folder / "InterHand2.6M_train_MANO_NeuralAnnot.json").read_text())
    camera = json.loads((folder / "InterHand2.6M_train_camera.json").read_text())
    rotation = np.array(camera["3"]["camrot"]["400026"])
    np.testing.assert_allclose(sample.betas, fits["3"]["0"]["right"]["shape"], rtol=1e-6)
    layer = HandLayer(hand)
    posed = []
    for pose in (np.array(fits["3"]["0"]["right"]["pose"]), sample.pose):
        pose = torch.tensor(pose[None], dtype=torch.float32)
        joints = layer(layer.rotations(pose), torch.tensor(sample.betas[None]).float())[1][0]
        posed.append((joints - joints[0]).numpy())
    np.testing.assert_allclose(posed[0] @ rotation.T, posed[1], atol=1e-5)


def test_interhand_in_metres_is_refused(tmp_path):
    write_interhand(tmp_path, ["test"])
    path = tmp_path / "annotations/test/InterHand2.6M_test_joint_3d.json"
    camera = tmp_path / "annotations/test/InterHand2.6M_test_camera.json"

    def to_metres(content):
        for frame in content["3"].values():
            frame["world_coord"] = (np.array(frame["world_coord"]) / 1000).tolist()

    edit(path, to_metres)
    edit(camera, lambda c: c["3"]["campos"].update({"400026": [0, 0, 0]}))
    with pytest.raises(ValueError, match=r"joint_3d\.json: the median bone.*were metres"):
        InterHandReader(tmp_path, "test")


def test_damaged_interhand_files_are_named(tmp_path):
    write_interhand(tmp_path, ["test"])
    with pytest.raises(FileNotFoundError, match="extract the 'train' annotations"):
        InterHandReader(tmp_path, "train")
    with pytest.raises(ValueError, match="unknown split 'evaluation' of InterHand"):
        InterHandReader(tmp_path, "evaluation")
    folder = tmp_path / "annotations/test"
    for kind in ("data", "camera", "joint_3d"):
        path = folder / f"InterHand2.6M_test_{kind}.json"
        text = path.read_text()
        path.write_text(text[:-9])
        with pytest.raises(ValueError, match=rf"{kind}\.json is truncated"):
            InterHandReader(tmp_path, "test")
        path.write_text("{}")
        with pytest.raises(ValueError, match=r"data\.json is not InterHand2\.6M's"):
            InterHandReader(tmp_path, "test")
        path.write_text(text)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"joint_3d\.json is missing"):
        InterHandReader(tmp_path, "test")
    path.write_text(text.replace("[1.0, 1.0, 1.0]", "[1.0, 1.0]", 1))
    with pytest.raises(ValueError, match=r"joint_3d\.json is truncated or not the JSON"):
        InterHandReader(tmp_path, "test")
    path.write_text(text)
    reader = InterHandReader(tmp_path, "test")
    (tmp_path / "images/test/Capture3/ROM/cam400026/image00000.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"image00000\.jpg is missing: copy"):
        reader[0]


@pytest.mark.parametrize("kind", ["joint_3d", "camera"])
def test_a_frame_or_camera_that_one_file_lacks_is_left_out(tmp_path, kind, capsys):
    write_interhand(tmp_path, ["test"])
    whole = InterHandReader(tmp_path, "test")
    first = whole[0].joints
    data = tmp_path / "annotations/test/InterHand2.6M_test_data.json"
    if kind == "camera":  # of the last image; the others' stays
        edit(data, lambda content: content["images"][-1].update(camera="400099"))
    else:
        frame = str(json.loads(data.read_text())["images"][-1]["frame_idx"])
        edit(
            tmp_path / f"annotations/test/InterHand2.6M_test_{kind}.json",
            lambda content: content["3"].pop(frame),
        )
    with pytest.raises(ValueError, match=r"hand of image 13 .*missing \(NaN\).*skip_bad=True"):
        InterHandReader(tmp_path, "test")
    reader = InterHandReader(tmp_path, "test", skip_bad=True)
    assert set(reader.ids) == {10, 11, 12} and reader.left_out
    np.testing.assert_array_equal(reader[0].joints, first)


@pytest.mark.parametrize("kind", ["campos", "camrot", "a row of camrot"])
def test_the_hands_of_a_camera_without_a_place_are_left_out(tmp_path, kind, capsys):
    write_interhand(tmp_path, ["test"])

    def placeless(content):
        for name, cameras in content["3"].items():
            if name != kind:
                cameras["400099"] = cameras["400026"]
        if kind == "a row of camrot":
            rotations = content["3"]["camrot"]
            rotations["400099"] = [[None] * 3, *rotations["400026"][1:]]

    edit(tmp_path / "annotations/test/InterHand2.6M_test_camera.json", placeless)
    data = tmp_path / "annotations/test/InterHand2.6M_test_data.json"
    edit(data, lambda content: content["images"][-1].update(camera="400099"))
    reader = InterHandReader(tmp_path, "test", skip_bad=True)
    assert set(reader.ids) == {10, 11, 12} and reader.left_out


def test_a_hand_behind_its_camera_is_left_out(tmp_path, capsys):
    write_interhand(tmp_path, ["test"])
    before = len(InterHandReader(tmp_path, "test"))
    data = tmp_path / "annotations/test/InterHand2.6M_test_data.json"
    camera = tmp_path / "annotations/test/InterHand2.6M_test_camera.json"

    def turned_round(content):  # the same camera looks the other way
        for kind in ("campos", "camrot", "focal", "princpt"):
            content["3"][kind]["400099"] = content["3"][kind]["400026"]
        content["3"]["camrot"]["400099"] = (
            np.diag([-1, 1, -1]) @ content["3"]["camrot"]["400026"]
        ).tolist()

    edit(camera, turned_round)
    edit(data, lambda content: content["images"][-1].update(camera="400099"))
    with pytest.raises(ValueError, match=r"hand of image 13 .* lies behind it"):
        InterHandReader(tmp_path, "test")
    reader = InterHandReader(tmp_path, "test", skip_bad=True)
    assert reader.left_out and len(reader) + reader.left_out == before
    assert all((reader[n].joints[:, 2] > 0).all() for n in range(len(reader)) if reader.complete[n])


def test_large_annotations_are_parsed_once(interhand, tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "SMALL", 0)
    monkeypatch.setenv("HANDLIB_CACHE", str(tmp_path))
    first = InterHandReader(interhand[0])
    monkeypatch.setattr("handlib.reading.json", None)  # a second parse would fail
    second = pickle.loads(pickle.dumps(InterHandReader(interhand[0])))
    np.testing.assert_array_equal(first[1].joints, second[1].joints)
    np.testing.assert_array_equal(first[0].pose, second[0].pose)


# -- RHD -------------------------------------------------------------------------------------
def test_rhd_hands_that_are_seen_are_samples(rhd):
    root, written = rhd
    reader = open_dataset(root, "test")
    assert isinstance(reader, RHDReader) and len(open_dataset(root, "evaluation")) == len(reader)
    hands = [(n, side) for n in range(10) for side in ((False, True) if n % 2 else (False,))]
    assert [(s.id, s.is_right) for s in reader] == [h for h in hands if h != (1, False)]
    for sample in reader:
        entry = written["evaluation"][sample.id]
        half = slice(21, 42) if sample.is_right else slice(0, 21)
        np.testing.assert_allclose(sample.joints, convert(entry["xyz"][half], "rhd"))
        uv = convert(entry["uv_vis"][half, :2], "rhd")
        np.testing.assert_allclose(sample.joints_2d, uv, atol=1e-3)
        assert sample.joints.shape == (21, 3) and sample.image[0, 0, 0] == sample.id
        first, last = (18, 33) if sample.is_right else (2, 17)
        rows = np.flatnonzero(sample.mask.any(1)) // 9
        assert (rows.min(), rows.max()) == (first, last) and len(rows) == 5 * 16


def test_rhd_training_images_are_cut_in_two(rhd):
    train, val = RHDReader(rhd[0], "train"), RHDReader(rhd[0], "val")
    assert set(train.ids) == set(range(9)) and set(val.ids) == {9}
    assert train.describe()["annotations"] == ["K", "xyz", "mask"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_rhd_pickle_runs_nothing(tmp_path, protocol):
    class Call:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    written = write_rhd(tmp_path, images=2, protocol=protocol)["training"]
    assert len(RHDReader(tmp_path))
    path = tmp_path / "training/anno_training.pickle"
    for content in ({0: written[0], 1: Call()}, {0: written[0] | {"K": Call()}}):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(ValueError, match=r"anno_training\.pickle is not RHD.*nothing of it"):
            RHDReader(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_damaged_rhd_files_are_named(tmp_path):
    written = write_rhd(tmp_path, images=2)["training"]
    path = tmp_path / "training/anno_training.pickle"
    data = path.read_bytes()
    missing = {k: v for k, v in written[0].items() if k != "K"}
    short = written[0] | {"xyz": written[0]["xyz"][:21]}
    for damaged in (data[:-50], b"", pickle.dumps({0: missing}), pickle.dumps({0: short})):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"anno_training\.pickle is not RHD's"):
            RHDReader(tmp_path)
    path.write_bytes(pickle.dumps({0: written[0] | {"xyz": 1000 * written[0]["xyz"]}}))
    with pytest.raises(ValueError, match="these are millimetres: divide by 1000"):
        RHDReader(tmp_path)
    path.write_bytes(data)
    reader = RHDReader(tmp_path)
    (tmp_path / "training/color/00000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"00000\.png is missing"):
        reader[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no training/anno_training\.pickle: extract RHD"):
        open_dataset(tmp_path)


def test_the_side_of_rhd_as_json_is_read_however_it_is_written_and_nothing_else(tmp_path):
    joints = np.cumsum(np.full((21, 3), 12.0), 0) + [0, 0, 500]
    hand = {"image_id": 3, "joint_cam": joints.tolist()}
    image = {"id": 3, "file_name": "3.png", "cam_param": {"focal": [300, 300], "princpt": [9, 9]}}
    path = tmp_path / "rhd_test.json"
    for side, is_right in (("right", True), ("Left", False)):
        path.write_text(
            json.dumps({"images": [image], "annotations": [hand | {"hand_type": side}]})
        )
        assert RHDReader(tmp_path, "test").is_right.tolist() == [is_right]
    path.write_text(json.dumps({"images": [image], "annotations": [hand | {"hand_type": "both"}]}))
    with pytest.raises(ValueError, match=r"rhd_test\.json is not RHD .*'both', not right or left"):
        RHDReader(tmp_path, "test")


# -- finding the layout ----------------------------------------------------------------------
def test_a_folder_above_or_without_a_dataset_is_explained(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found neither them nor InterHand"):
        open_dataset(tmp_path / "empty")
    write_interhand(tmp_path / "data/InterHand", ["test"])
    with pytest.raises(FileNotFoundError, match=r"did you mean .*data/InterHand"):
        open_dataset(tmp_path / "data", "test")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        open_dataset(tmp_path / "nowhere")


# -- real images -----------------------------------------------------------------------------
def present(reader):
    """The samples whose images are there: the folder has two of InterHand's four."""
    return [reader[i] for i in range(len(reader)) if reader._path(i).is_file()]


def test_real_interhand_projects_into_its_boxes(real_photos):
    root = real_photos / "interhand"
    reader = open_dataset(root, "test")
    content = json.loads((root / "test_interhand2.6m_data.json").read_text())
    boxes = {a["image_id"]: np.array(a["bbox"]) for a in content["annotations"]}
    samples = present(reader)
    assert {s.path.name: s.is_right for s in samples} == {
        "image2017.jpg": True,
        "image29590.jpg": False,
    }
    for sample in samples:
        x0, y0, width, height = boxes[sample.id]
        assert ((sample.box[:2] >= (x0, y0)) & (sample.box[2:] <= (x0 + width, y0 + height))).all()
        # the published box is the joints' one, a fifth larger
        size = sample.box[2:] - sample.box[:2]
        np.testing.assert_allclose(size * 1.2, (width, height), atol=2)


def test_real_rhd_projects_onto_its_2d_joints(real_photos):
    content = json.loads((real_photos / "rhd/test_rhd.json").read_text())
    reader = open_dataset(real_photos / "rhd", "test")
    assert [s.is_right for s in reader] == [False, False, True]
    for sample, annotation in zip(reader, content["annotations"], strict=True):
        given = convert(np.array(annotation["keypoints"])[:, :2], "rhd")
        assert np.abs(sample.joints_2d - given).max() < 1


def test_real_fingers_bend_towards_the_palm(real_photos):
    """Of right hands and of mirrored left ones; of left hands taken for right, to the back."""
    for name in ("interhand", "rhd"):
        for sample in present(open_dataset(real_photos / name, "test")):
            right = ToRight()(sample, None)
            assert right.is_right and right.mirrored == (not sample.is_right)
            bends = [np.median(bend_angles(s.joints[None])[0, 3:]) for s in (right, sample)]
            assert bends[0] > 0.05 and (bends[1] > 0) == sample.is_right
