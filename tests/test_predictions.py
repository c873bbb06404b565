import gzip
import json
import zipfile

import numpy as np
import pytest

from handlib import predictions
from handlib.joints import BONES, ORDERS, WRIST


def hands(n=5, vertices=30, seed=0):
    """Hands with bones of 30 mm, and points around them."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((n, 21, 3))
    joints[:, WRIST] = rng.normal(0, 0.1, (n, 3)) + [0, 0, 0.6]
    for parent, child in BONES:
        step = rng.normal(size=(n, 3))
        joints[:, child] = joints[:, parent] + 0.03 * step / np.linalg.norm(step, axis=1)[:, None]
    points = joints.mean(1, keepdims=True) + rng.normal(0, 0.04, (n, vertices, 3))
    return joints, points


def test_freihand_files_hold_what_was_written(tmp_path):
    xyz, verts = hands()
    zipped = predictions.write_freihand(tmp_path / "pred.json", xyz, verts, count=5)
    with zipfile.ZipFile(zipped) as archive:
        assert archive.namelist() == ["pred.json"]
    plain = json.loads((tmp_path / "pred.json").read_text())
    assert [np.shape(part) for part in plain] == [(5, 21, 3), (5, 30, 3)]
    for path in (zipped, tmp_path / "pred.json"):
        found_xyz, found_verts = predictions.read_freihand(path, count=5)
        np.testing.assert_allclose(found_xyz, xyz, atol=1e-7)
        np.testing.assert_allclose(found_verts, verts, atol=1e-7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pred.json", "pred.zip"]


def test_the_zip_has_the_name_of_its_json_file(tmp_path):
    xyz, verts = hands()
    for name in ("lr0.001", "lr0.002", "pred.json"):
        predictions.write_freihand(tmp_path / name, xyz, verts)
    zips = {path.name for path in tmp_path.glob("*.zip")}
    assert zips == {"lr0.001.zip", "lr0.002.zip", "pred.zip"}
    for name in ("pred.json.gz", "pred.zip"):
        with pytest.raises(ValueError, match=rf"{name}: give the path of the JSON file"):
            predictions.write_freihand(tmp_path / "more" / name, xyz, verts)
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("name", ["test_preds.json", "test_preds.json.gz"])
def test_course_files_are_in_the_servers_order(tmp_path, name):
    joints, _ = hands()
    predictions.write_course(tmp_path / name, joints)
    content = (tmp_path / name).read_bytes()
    stored = np.array(json.loads(gzip.decompress(content) if name.endswith("gz") else content))
    assert stored.shape == (5, 21, 3)
    tip = ORDERS["mpii"].index("thumb_tip")
    assert tip == 16
    np.testing.assert_allclose(stored[:, tip], joints[:, 4], atol=1e-7)
    np.testing.assert_allclose(predictions.read_course(tmp_path / name), joints, atol=1e-7)


def test_only_what_changes_is_copied_to_mirror_it_back():
    joints, vertices = hands()
    made = {"pred_vertices": vertices, "pred_joints": joints, "pred_betas": np.ones((5, 10))}
    made |= {"width": np.full(5, 64), "mirrored": np.zeros(5, bool), "is_right": np.ones(5, bool)}
    assert all(made[n] is values for n, values in predictions.mirror_back(made).items())
    made["mirrored"] = np.arange(5) == 3
    back = predictions.mirror_back(made)
    copied = {name for name, values in back.items() if not np.shares_memory(values, made[name])}
    assert copied == {"pred_vertices", "pred_joints", "mirrored", "is_right"}
    np.testing.assert_array_equal(back["is_right"], ~made["mirrored"])
    np.testing.assert_array_equal((back["pred_joints"] != joints).any((1, 2)), made["mirrored"])


def test_mistakes_are_named_and_nothing_is_written(tmp_path):
    xyz, verts = hands()
    path = tmp_path / "pred.json"
    broken = verts.copy()
    broken[2, 0, 0] = np.inf
    cases = {
        "pred.json: 5 samples, expected 3960": (xyz, verts, 3960),
        "5 samples of joints, 4 of vertices": (xyz, verts[1:], None),
        "these are millimetres: divide by 1000": (1000 * xyz, 1000 * verts, None),
        "vertices lie .* m from their joints": (xyz, 1000 * verts, None),
        "vertices lie 0.3.* m from their joints": (xyz, verts + [0.3, 0, 0], None),
        "the median bone is 0.003 m long: give metres": (xyz / 10, verts / 10, None),
        "vertices of sample 2 are not finite": (xyz, broken, None),
        r"joints are \(5, 20, 3\), expected \(N, 21, 3\)": (xyz[:, 1:], verts, None),
        "joints differ in shape between samples": ([xyz[0], xyz[1, :3]], verts, None),
    }
    for message, arguments in cases.items():
        with pytest.raises(ValueError, match=message):
            predictions.write_freihand(path, *arguments)
    with pytest.raises(ValueError, match="millimetres"):
        predictions.write_course(tmp_path / "test_preds.json", 1000 * xyz)
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_hold_what_was_written_is_refused(tmp_path, monkeypatch):
    xyz, verts = hands()
    for other in ((xyz + 1e-5, verts), (xyz, verts + 1e-5), (xyz, verts[:, 1:])):
        monkeypatch.setattr(predictions, "read_freihand", lambda *_, other=other: other)
        with pytest.raises(ValueError, match=r"pred\.zip: holds other numbers than were written"):
            predictions.write_freihand(tmp_path / "pred.json", xyz, verts)
    monkeypatch.setattr(predictions, "read_course", lambda *_: xyz + 1e-5)
    with pytest.raises(ValueError, match=r"a\.json: holds other numbers than were written"):
        predictions.write_course(tmp_path / "a.json", xyz)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pred\.json"):
        predictions.read_freihand(tmp_path / "pred.json")
    for name, content in (("a.json", b"[[1, 2"), ("b.zip", b"PK"), ("c.json.gz", b"no")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not readable"):
            predictions.read_freihand(tmp_path / name)
    (tmp_path / "d.json").write_text("[[], [], []]")
    with pytest.raises(ValueError, match=r"expected \[xyz list, verts list\]"):
        predictions.read_freihand(tmp_path / "d.json")
