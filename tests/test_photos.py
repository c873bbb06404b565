import json

import cv2
import numpy as np
import pytest

from handlib.augment import eval_transforms
from handlib.data import KeypointFiles, collate, photos, read_coco_hands
from handlib.joints import convert
from handlib.mano import pose_hand


def write_photos(folder, name="32563.jpg"):
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / name), image)
    points = np.random.default_rng(1).uniform(10, 50, (21, 2))
    keypoints = np.c_[points, np.ones(21)]
    keypoints[4] = 0
    content = {
        "images": [{"id": 7, "file_name": name, "width": 80, "height": 60}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "keypoints": keypoints.ravel().tolist(),
                "bbox": [9, 8, 40, 30],
            }
        ],
    }
    (folder / "hands.json").write_text(json.dumps(content))
    return points


def hand_file(folder, order, hand):
    """A COCO file of hands of the stand-in's rest pose, their joints in that order."""
    write_photos(folder)
    path = folder / "hands.json"
    content = json.loads(path.read_text())
    points = pose_hand(hand).joints[:, :2] * 300 + (40, 30)
    keypoints = np.c_[convert(points, "freihand", order), np.ones(21)]
    content["annotations"][0]["keypoints"] = keypoints.ravel().tolist()
    path.write_text(json.dumps(content))
    return path, points


def test_fingers_listed_from_the_tip_are_told(tmp_path, hand):
    path, points = hand_file(tmp_path / "a", "rhd", hand)
    with pytest.warns(UserWarning, match=r"hands\.json: its fingers .* \(--order rhd\)"):
        read_coco_hands(path)
    (sample,) = read_coco_hands(path, "rhd")
    np.testing.assert_allclose(sample.joints_2d, points)


@pytest.mark.filterwarnings("error")
def test_fingers_from_the_palm_or_too_few_to_tell_are_taken_as_they_are(tmp_path, hand):
    for order in ("freihand", "mpii", "3dhand"):
        path, _ = hand_file(tmp_path / order, order, hand)
        assert len(read_coco_hands(path, order)) == 1
    path, _ = hand_file(tmp_path / "b", "rhd", hand)
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"][2 : 3 * 15 : 3] = [0] * 15
    path.write_text(json.dumps(content))
    assert len(read_coco_hands(path)) == 1


def test_photos_have_2d_joints_and_a_box(tmp_path):
    points = write_photos(tmp_path / "freihand")
    (sample,) = read_coco_hands(tmp_path / "freihand")
    assert (sample.id, sample.version, sample.size) == (3, 1, (80, 60))
    assert sample.is_right is True
    np.testing.assert_array_equal(np.delete(sample.joints_2d, 4, 0), np.delete(points, 4, 0))
    assert np.isnan(sample.joints_2d[4]).all()
    np.testing.assert_array_equal(sample.box, [9, 8, 49, 38])
    assert sample.annotations() == ()  # one joint is missing, and there is no camera
    crop = eval_transforms(32, 1.25)(sample, None)
    np.testing.assert_allclose(np.ptp(crop.box[[0, 2]]), 32 / 1.25)


def test_the_side_is_known_where_something_tells_it(tmp_path):
    for name, hand_type, expected in (
        ("a_l.jpg", None, False),
        ("a_r.jpg", None, True),
        ("a.jpg", None, None),
        ("a_l.jpg", "right", True),
        ("a.jpg", "left", False),
        ("a_l.jpg", "interacting", None),
        ("a_l.jpg", "", False),
        ("a_l.jpg", "Right", True),
    ):
        folder = tmp_path / f"{name}-{hand_type}"
        write_photos(folder, name)
        content = json.loads((folder / "hands.json").read_text())
        if hand_type is not None:
            content["annotations"][0]["hand_type"] = hand_type
        (folder / "hands.json").write_text(json.dumps(content))
        (sample,) = read_coco_hands(folder)
        assert sample.is_right is expected


def test_joint_orders_are_converted(tmp_path):
    points = write_photos(tmp_path / "other")
    (sample,) = read_coco_hands(tmp_path / "other/hands.json", order="rhd")
    expected = convert(points, "rhd")
    known = np.isfinite(sample.joints_2d)
    assert sample.version is None and known.sum() == 40
    np.testing.assert_array_equal(sample.joints_2d[known], expected[known])


def test_faults_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds 0 JSON files"):
        read_coco_hands(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nofile\.json is missing: give a COCO-style file"):
        read_coco_hands(tmp_path / "nofile.json")
    write_photos(tmp_path / "a")
    path = tmp_path / "a/hands.json"
    text = path.read_text()
    for damaged, fault in ((text[:-9], "is truncated"), ("{}", "is not .* lacks 'images'")):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=rf"hands\.json {fault}"):
            read_coco_hands(path)
    path.write_text(text)
    (tmp_path / "a/32563.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"32563\.jpg is missing"):
        read_coco_hands(tmp_path / "a")
    content = json.loads((tmp_path / "a/hands.json").read_text())
    content["annotations"][0]["keypoints"] = [1, 2, 1]
    (tmp_path / "a/hands.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected 21 keypoints"):
        read_coco_hands(tmp_path / "a")


def test_a_wrong_order_is_no_fault_of_the_file(tmp_path):
    write_photos(tmp_path / "a")
    with pytest.raises(ValueError, match=r"^unknown joint order 'xx'; known: freihand, mano"):
        read_coco_hands(tmp_path / "a", order="xx")
    with pytest.raises(ValueError, match=r"^unknown joint order 'xx'; known: freihand, mano"):
        KeypointFiles(tmp_path / "a/hands.json", order="xx")


@pytest.mark.parametrize("ids", [("b", "a"), (7, "a"), (None, 2**70)])
def test_hands_whose_ids_are_no_whole_numbers_are_numbered(tmp_path, ids):
    write_photos(tmp_path / "a")
    path = tmp_path / "a/hands.json"
    content = json.loads(path.read_text())
    content["annotations"] = [content["annotations"][0] | {"id": each} for each in ids]
    path.write_text(json.dumps(content))
    assert collate(list(read_coco_hands(path)))["id"].tolist() == [0, 1]


def test_whole_bodies_have_two_hands(tmp_path):
    """COCO-WholeBody: 17 keypoints of the body are not a hand's; invalid hands are zeros."""
    points = write_photos(tmp_path / "a")
    path = tmp_path / "a/hands.json"
    content = json.loads(path.read_text())
    hand = content["annotations"][0]["keypoints"]
    body = {"keypoints": [0] * 51, "bbox": [0, 0, 80, 60], "image_id": 7}
    left = {"lefthand_kpts": hand, "lefthand_box": [1, 2, 30, 40], "lefthand_valid": True}
    right = {"righthand_kpts": hand, "righthand_box": [5, 6, 30, 40], "righthand_valid": True}
    nothing = {"righthand_kpts": [0] * 63, "righthand_box": [0] * 4, "righthand_valid": False}
    content["annotations"] = [{"id": 1} | body | left | nothing, {"id": 2} | body | left | right]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    samples = list(read_coco_hands(tmp_path / "instances.json", images=tmp_path / "a"))
    assert [(s.id, s.is_right) for s in samples] == [(1, False), (2, False), (2, True)]
    for sample in samples:
        known = np.delete(sample.joints_2d, 4, 0)
        np.testing.assert_array_equal(known, np.delete(points, 4, 0))
        assert np.isnan(sample.joints_2d[4]).all()
    np.testing.assert_array_equal(samples[2].box, [5, 6, 35, 46])


def test_a_photo_is_read_once_for_its_hands(tmp_path, monkeypatch):
    write_photos(tmp_path / "p", "a.jpg")
    write_photos(tmp_path / "q", "b.jpg")
    content = json.loads((tmp_path / "p/hands.json").read_text())
    (tmp_path / "p/b.jpg").write_bytes((tmp_path / "q/b.jpg").read_bytes())
    content["images"].append(content["images"][0] | {"id": 8, "file_name": "b.jpg"})
    hand = content["annotations"][0]
    content["annotations"] = [hand | {"id": n, "image_id": 7 + n % 2} for n in range(4)]
    (tmp_path / "p/hands.json").write_text(json.dumps(content))
    read, paths = photos.read_image, []
    monkeypatch.setattr(photos, "read_image", lambda path: paths.append(path.name) or read(path))
    samples = list(read_coco_hands(tmp_path / "p"))
    assert paths == ["a.jpg", "b.jpg"] and len(samples) == 4
    assert samples[0].image is samples[1].image is not samples[2].image


def test_real_signed_hands_are_left_and_right(real_photos):
    samples = read_coco_hands(real_photos / "panoptic")
    assert [s.is_right for s in samples] == [False, True, False, True]


def test_real_frames_can_be_read(real_photos):
    samples = read_coco_hands(real_photos / "freihand")
    assert [(s.id, s.version) for s in samples] == [(i, v) for v in range(4) for i in (355, 17620)]
    for sample in samples:
        inside = (sample.joints_2d > sample.box[:2] - 15) & (sample.joints_2d < sample.box[2:] + 15)
        assert inside.all() and sample.size == (224, 224)
