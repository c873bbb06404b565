"""Faults planted in a dataset are found, each by its own check, and nothing in a sound one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from fake_data import write_mp, write_rhd

from handlib.augment import Flip
from handlib.data import checks, open_dataset
from handlib.tables import results_table

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "debugging.md").read_text()


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_debugging = _load(DOCS / "make_debugging.py")


class Changed:
    """A reader whose joints are others."""

    def __init__(self, reader, joints):
        self.reader, self.joints = reader, joints

    def __getattr__(self, name):
        return getattr(self.reader, name)

    def __getitem__(self, index):
        sample = self.reader[index]
        return sample.replace(joints=self.joints[index % len(self.joints)], joints_2d=None)

    def annotation(self, name):
        return self.joints if name == "xyz" else self.reader.annotation(name)


@pytest.fixture(scope="module")
def sound(synthetic):
    return open_dataset(synthetic, "train")


def fired(found, share=0.0):
    return {check.name for check in found if check.beyond.mean() > share}


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_nothing_is_wrong_with_sound_data(synthetic, hand, split):
    found = checks.check_annotations(open_dataset(synthetic, split), hand)
    assert len(found) == 10 and not fired(found)
    assert not [reason for _, reason in checks.suspects(found) if reason.startswith("!")]


@pytest.mark.parametrize("fault", make_debugging.FAULTS)
def test_a_planted_fault_is_found_by_its_check(fault, synthetic, hand, tmp_path):
    broken = make_debugging.break_dataset(synthetic, tmp_path / "broken", fault)
    found = checks.check_annotations(broken, hand)
    _, _, check, also = make_debugging.FAULTS[fault]
    assert check in fired(found, 0.6)
    assert fired(found, 0.3) <= {check} | also
    reasons = [reason for _, reason in checks.suspects(found)]
    assert all(reason.startswith("! ") for reason in reasons)
    assert any(reason.startswith(f"! {check} ") for reason in reasons)
    assert f"](debug_{fault}.jpg)" in PAGE and f"`{check}`" in PAGE
    assert (DOCS / f"debug_{fault}.jpg").stat().st_size <= 60_000


def test_labels_of_the_next_sample_are_found_of_left_hands_too(sound, hand):
    """As of RHD: samples are left hands, and what is listed of all is mirrored."""

    class Left(Changed):
        def __getitem__(self, index):
            flipped = Flip(1.0)(super().__getitem__(index), np.random.default_rng(0))
            return flipped.replace(vertices=None, joints_2d=None)

    joints = np.roll(sound.annotation("xyz"), 1, 0)
    shares = []
    for kind in (Changed, Left):
        found = {c.name: c for c in checks.check_annotations(kind(sound, joints), hand)}
        shares.append(found["neighbour fits"].beyond.mean())
    assert min(shares) > 0.4 and shares[1] == pytest.approx(shares[0], abs=0.1)


def test_single_broken_hands_are_found_and_lead_the_suspects(sound, hand):
    joints = sound.annotation("xyz")
    joints[1, 7] = joints[1, 6] + 3 * (joints[1, 7] - joints[1, 6])  # one bone three times as long
    joints[3] = joints[2]
    joints[4, 20] = np.nan
    joints[5] *= -1  # behind the camera
    found = {c.name: c for c in checks.check_annotations(Changed(sound, joints), hand)}
    rows = {name: set(check.rows[check.beyond]) for name, check in found.items()}
    assert rows["bone ratio"] == {1}
    assert rows["same joints as"] == {2, 3}
    assert rows["lost joints"] == {4, 5}
    assert rows["off the mesh"] == {1, 3, 5}
    assert np.isnan(found["median bone"].values[4])
    reasons = dict(checks.suspects(list(found.values()), n=6))
    assert set(reasons) >= {1, 2, 5} and len(reasons) == 6
    assert reasons[5].startswith("! lost joints 21 of 21")


def test_the_summary_is_a_table_with_units(sound, hand):
    joints = sound.annotation("xyz")
    joints[0] *= 1000
    found = checks.check_annotations(Changed(sound, joints), hand)
    line = checks.summary(found)["median bone"]
    assert line["worst"].endswith(" mm") and line["limit"] == "8 to 80 mm"
    assert line["beyond"] == f"1 of {len(joints)}"
    assert "millimetres" in str(results_table(checks.summary(found)))


def test_what_a_dataset_lacks_is_not_checked(tmp_path, hand):
    write_rhd(tmp_path / "rhd")
    names = [c.name for c in checks.check_annotations(open_dataset(tmp_path / "rhd"), hand)]
    assert "off the mask" in names and "off the mesh" not in names
    write_mp(tmp_path / "mp")
    names = [c.name for c in checks.check_annotations(open_dataset(tmp_path / "mp"), hand)]
    assert names[-1] == "off the image"
    assert checks.check_annotations(open_dataset(tmp_path / "mp", "test"), hand) == []


def test_points_beside_a_mask_are_told_by_their_pixel():
    mask = np.zeros((4, 6), bool)
    mask[1, 5] = True
    points = np.array([[5.4, 0.6], [5.6, 1], [4.4, 1], [np.nan, 1], [5, np.inf], [-1, -3]])
    assert checks.outside(points, mask).tolist() == [False, True, True, True, True, True]
