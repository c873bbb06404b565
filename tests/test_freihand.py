import json
import pickle

import cv2
import numpy as np
import pytest
from fake_data import write_mp, write_public

from handlib import geometry
from handlib.data import annotations, open_dataset
from handlib.data.freihand import FreiHANDReader
from handlib.data.sample import OPTIONAL


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    root = tmp_path_factory.mktemp("public")
    return root, write_public(root)


@pytest.fixture
def broken(tmp_path):
    """A dataset that a test may damage."""
    write_public(tmp_path / "data", poses=4, versions=2)
    return tmp_path / "data"


def test_public_sample_holds_what_the_files_say(public):
    root, written = public
    reader = FreiHANDReader(root, "train")
    assert reader.layout == "public" and reader.source == "FreiHAND"
    sample = reader[14 + 3]  # second look of pose 3
    assert (sample.id, sample.version, sample.is_right) == (3, 1, True)
    expected = written["training"]
    np.testing.assert_array_equal(sample.K, expected["K"][3])
    np.testing.assert_array_equal(sample.joints, expected["xyz"][3])
    np.testing.assert_array_equal(sample.vertices, expected["verts"][3])
    mano = expected["mano"][3][0]
    np.testing.assert_array_equal(np.r_[sample.pose, sample.betas], mano[:58])
    assert sample.scale == expected["scale"][3]
    np.testing.assert_allclose(sample.joints_2d, geometry.project(sample.joints, sample.K))
    assert abs(int(sample.image[0, 0, 0]) - 23) <= 2  # file 3 + 20 * 1, and red comes first
    assert sample.mask.dtype == bool and sample.mask.sum(0).max() == 4


def test_splits_are_contiguous_and_share_no_pose(public):
    blocks = [np.unique(FreiHANDReader(public[0], s).ids) for s in ("train", "val", "test")]
    assert [len(b) for b in blocks] == [14, 3, 3]
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(20))


def test_one_mask_serves_four_versions_and_versions_can_be_chosen(public):
    reader = FreiHANDReader(public[0], "val", versions=(0, 2))
    assert reader.describe()["versions"] == ["green screen", "sampled"]
    assert [reader[i].version for i in (0, 3)] == [0, 2]
    np.testing.assert_array_equal(reader[0].mask, reader[3].mask)
    with pytest.raises(ValueError, match=r"none of \(7,\)"):
        FreiHANDReader(public[0], versions=(7,))


def test_fewer_samples_are_the_same_ones_each_time_with_their_own_annotations(public):
    root, written = public
    readers = [FreiHANDReader(root, "train") for _ in range(2)]
    before = [(s.id, s.version) for s in readers[0]]
    for reader in readers:
        reader.thin_out(9)
    kept, again = ([(s.id, s.version) for s in reader] for reader in readers)
    assert kept == again == sorted(set(kept), key=before.index) and len(kept) == 9
    reader = readers[0]
    np.testing.assert_array_equal(reader[4].joints, written["training"]["xyz"][reader[4].id])
    rows = [reader[int(i)].joints for i in reader.annotated]
    np.testing.assert_array_equal(reader.annotation("xyz"), rows)
    reader.thin_out(10)
    assert len(reader) == 9
    with pytest.raises(ValueError, match="at least 1 sample of 'train' has to stay, got -1"):
        reader.thin_out(-1)


def test_evaluation_without_labels_has_none(public):
    reader = FreiHANDReader(public[0], "evaluation")
    sample = reader[2]
    assert len(reader) == 3 and sample.annotations() == ("K", "scale")
    assert sample.joints is None and sample.joints_2d is None and sample.version is None


def test_mp_layout(tmp_path):
    write_mp(tmp_path)
    reader = FreiHANDReader(tmp_path, "train")
    assert (reader.layout, reader.source, len(reader)) == ("MP", "freihand_dataset_MP", 24)
    assert reader[7].id == 1 and reader[7].version == 1
    assert reader[7].annotations() == ("K", "joints", "joints_2d")
    assert FreiHANDReader(tmp_path, "test")[0].annotations() == ("K",)
    with pytest.raises(ValueError, match="it has: train, val, test"):
        FreiHANDReader(tmp_path, "evaluation")


def test_versions_are_inferred_from_the_files(tmp_path):
    write_mp(tmp_path, versions=1)
    assert FreiHANDReader(tmp_path, "train").versions == [0]


@pytest.mark.parametrize("missing", [0, 19])
def test_one_missing_picture_hides_no_version(tmp_path, missing):
    write_public(tmp_path)
    assert open_dataset(tmp_path).describe()["versions"][0] == "green screen"
    assert "versions" not in open_dataset(tmp_path, "evaluation").describe()
    path = tmp_path / f"training/rgb/{missing:08d}.jpg"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing:08d}.jpg is missing"):
        open_dataset(tmp_path)
    whole = [v for v in range(4) if v in open_dataset(tmp_path, skip_bad=True).versions]
    assert whole == [0, 1, 2, 3]


def test_synthetic_data_never_calls_itself_freihand(broken):
    (broken / "synthetic.json").write_text(json.dumps({"hand_model": "stand-in hand"}))
    assert FreiHANDReader(broken)[0].source == "synthetic (stand-in hand)"


def test_unfinished_synthetic_data_is_refused(broken):
    (broken / ".parts").mkdir()
    with pytest.raises(FileNotFoundError, match="run the same handlib synthesize again"):
        FreiHANDReader(broken)


def test_the_generator_writes_what_the_reader_reads(synthetic, hand):
    for split in ("train", "evaluation"):
        reader = FreiHANDReader(synthetic, split)
        assert hand.name in reader.source
        sample = reader[len(reader) - 1]
        assert set(OPTIONAL) <= set(sample.annotations())
        points = geometry.project(sample.vertices, sample.K).round().astype(int)
        points = points[((points >= 0) & (points < sample.size)).all(1)]
        assert sample.mask[points[:, 1], points[:, 0]].mean() > 0.9


def test_open_dataset_takes_the_folder_of_the_environment(public, monkeypatch):
    monkeypatch.setenv("MP_DATA", f" {public[0]}/ ")
    assert open_dataset().root == public[0].resolve()
    monkeypatch.delenv("MP_DATA")
    with pytest.raises(FileNotFoundError, match="set MP_DATA"):
        open_dataset()


def test_a_wrong_folder_is_explained(tmp_path, public):
    with pytest.raises(FileNotFoundError, match=r"is not a folder.*lmb\.informatik"):
        FreiHANDReader(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="looked for training/rgb"):
        FreiHANDReader(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"did you mean {public[0].resolve()}"):
        FreiHANDReader(public[0].parent)
    with pytest.raises(ValueError, match="unknown split 'training'"):
        FreiHANDReader(public[0], "training")


def test_damaged_annotations_are_named(broken):
    path = broken / "training_xyz.json"
    text = path.read_text()
    for damaged in (text[:-1], text[: len(text) // 2], text.replace("0.", "zero", 1), ""):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"training_xyz\.json"):
            FreiHANDReader(broken)
    shifted = json.loads(text)  # as many numbers, and brackets, as there should be
    shifted[2].append(shifted[1].pop())
    path.write_text(json.dumps(shifted))
    with pytest.raises(ValueError, match=r"xyz\.json: entry 1 has 60 numbers, expected 63"):
        FreiHANDReader(broken)
    path.write_text(json.dumps(json.loads(text)[:3]))
    with pytest.raises(ValueError, match=r"training_xyz\.json has 3 entries.*has 4"):
        FreiHANDReader(broken)
    path.write_text(text)
    for name in ("training_verts.json", "training_xyz.json"):
        (broken / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name} is missing: copy"):
            FreiHANDReader(broken)


def test_an_entry_that_cannot_be_used_is_told_each_time_it_is_read(broken):
    path = broken / "training_verts.json"
    vertices = json.loads(path.read_text())
    vertices[1][0][0] = float("nan")
    path.write_text(json.dumps(vertices).replace("NaN", "1e999"))
    reader = FreiHANDReader(broken)
    bad = np.flatnonzero(reader.ids == 1)
    for row in (*bad, *bad):
        with pytest.raises(ValueError, match=r"training_verts\.json: entry 1 holds"):
            reader[row]
    assert np.isfinite(reader[0].vertices).all()


def test_damaged_images_are_named(broken):
    reader = FreiHANDReader(broken)
    (broken / "training/rgb/00000001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"00000001\.jpg is missing"):
        reader[1]
    for contents in (b"", b"no picture"):
        (broken / "training/rgb/00000001.jpg").write_bytes(contents)
        with pytest.raises(ValueError, match=r"00000001\.jpg is not a readable image"):
            reader[1]
    (broken / "training/rgb/00000003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"00000003\.jpg is missing.*4 poses"):
        FreiHANDReader(broken)


@pytest.mark.parametrize("ending", [".png", ".JPG"])
@pytest.mark.parametrize("kind", ["rgb", "mask"])
def test_images_of_another_ending_are_told(broken, kind, ending):
    for path in (broken / "training" / kind).iterdir():
        path.rename(path.with_suffix(ending))
    told = rf"00000000\.jpg is missing: .*{kind} holds 00000000\{ending}: save .*ending in \.jpg"
    with pytest.raises(FileNotFoundError, match=told):
        FreiHANDReader(broken)


def test_masks_of_0_and_1_are_read_as_those_of_0_and_255(broken):
    before = FreiHANDReader(broken)[0].mask
    path = broken / "training/mask/00000000.jpg"
    ones = cv2.imencode(".png", before.astype(np.uint8))[1]  # a JPEG would blur so small a step
    path.write_bytes(ones.tobytes())
    assert before.any()
    np.testing.assert_array_equal(FreiHANDReader(broken)[0].mask, before)
    cv2.imwrite(str(path), np.zeros_like(before, np.uint8))
    assert not FreiHANDReader(broken)[0].mask.any()


def test_what_a_jpeg_leaves_about_a_hand_is_not_on_its_mask(broken):
    mask = np.full((32, 32), 40, np.uint8)
    mask[8:20] = 200
    written = cv2.imencode(".png", mask)[1]  # a JPEG would change the values
    (broken / "training/mask/00000000.jpg").write_bytes(written.tobytes())
    np.testing.assert_array_equal(FreiHANDReader(broken)[0].mask, mask == 200)


def test_a_sample_that_is_changed_does_not_change_the_dataset(public):
    reader = FreiHANDReader(public[0])
    sample = reader[0]
    kept = {name: getattr(sample, name).copy() for name in ("K", "joints", "vertices", "pose")}
    for name in kept:
        getattr(sample, name)[:] = 0
    for name, value in kept.items():
        np.testing.assert_array_equal(getattr(reader[0], name), value)


def test_large_annotations_are_cached_and_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "SMALL", 0)
    monkeypatch.setattr(annotations, "BLOCK", 1000)  # entries are cut at block borders
    monkeypatch.setenv("HANDLIB_CACHE", str(tmp_path / "cache"))
    values = np.random.default_rng(0).normal(size=(50, 21, 3))
    path = tmp_path / "training_xyz.json"
    path.write_text(json.dumps(values.tolist(), indent=1))
    np.testing.assert_array_equal(annotations.load_annotation(path, (21, 3)), values)
    monkeypatch.setattr(annotations, "_parse", None)  # a second parse would fail
    again = annotations.load_annotation(path, (21, 3))
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(again, values)


def test_a_byte_order_mark_is_read_past(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[[1, 2], [3, 4]]", encoding="utf-8-sig")
    np.testing.assert_array_equal(annotations.load_annotation(path, (2,)), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "shape", "place"),
    [
        ("[[1, 2], [3, null]]", (2,), 1),
        ("[[1, 2], [3, 4], null, [5, 6]]", (2,), 2),
        ("[null, [1, 2]]", (2,), 0),
        ("[1, 2, 3, null]", (), 3),
    ],
)
@pytest.mark.parametrize("block", [5, 1000])  # entries are cut at block borders
def test_a_null_is_told_with_its_entry(tmp_path, monkeypatch, text, shape, place, block):
    monkeypatch.setattr(annotations, "BLOCK", block)
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json: entry {place} holds null"):
        annotations.load_annotation(path, shape)


def test_a_changed_file_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "SMALL", 0)
    path = tmp_path / "a.json"
    for values in ([[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]):
        path.write_text(json.dumps(values))
        np.testing.assert_array_equal(annotations.load_annotation(path, (2,)), values)


def test_workers_open_the_files_themselves(public):
    reader = FreiHANDReader(public[0])
    expected = reader[5]
    copy = pickle.loads(pickle.dumps(reader))
    assert not copy._opened
    np.testing.assert_array_equal(copy[5].vertices, expected.vertices)
