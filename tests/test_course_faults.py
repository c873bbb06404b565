from itertools import pairwise

import numpy as np
import pytest
import torch

from handlib.course_faults import (
    FAULTS,
    FaultyTransforms,
    WindowPooling,
    faulty_dataset,
    faulty_model,
    ladder,
)
from handlib.data import open_dataset
from handlib.geometry import project
from handlib.notebooks import notebook_path
from handlib.recipe import StepBatches


@pytest.fixture(scope="module")
def reader(synthetic):
    return open_dataset(synthetic, "train")


def test_each_setting_mends_one_fault_more():
    settings = list(ladder().values())
    assert settings[0] == set(FAULTS)
    assert settings[-1] == set()
    assert [len(a - b) for a, b in pairwise(settings)] == [1] * len(FAULTS)


def test_the_notebook_says_how_many_things_are_mended():
    first = ladder()["course project"]
    old = {fault for fault in first if fault.startswith("old ")}
    assert (len(first), len(first - old)) == (9, 7)
    text = notebook_path("07_ablation").read_text()
    assert "seven of them are put back" in text and "these nine things are mended" in text
    assert "still to mend: {len(what)}" in text


def test_a_stale_camera_is_that_of_the_file_and_misses_the_image(reader):
    sample = reader[0]
    given = [{"old recipe", "stale K"}, {"old recipe"}]
    stale, mended = (FaultyTransforms(f, 64, None)(sample, np.random.default_rng(0)) for f in given)
    np.testing.assert_array_equal(stale.K, sample.K)
    np.testing.assert_allclose(project(mended.joints, mended.K), mended.joints_2d, atol=1e-6)
    np.testing.assert_array_equal(stale.image, mended.image)
    assert np.abs(stale.joints_2d - mended.joints_2d).max() > 10


def test_left_hands_are_taken_for_right_ones(reader):
    """The sign of the palm's turn: of wrist, index and pinky, mirrored or not."""

    def turn(joints):
        a, b, c = joints[5] - joints[0], joints[17] - joints[0], joints[1] - joints[0]
        return np.sign(np.dot(np.cross(a, b), c))

    for faults, sides in ({"old recipe", "left hands"}, {-1, 1}), ({"old recipe"}, {1}):
        transforms = FaultyTransforms(faults, 32, None)
        made = [transforms(reader[0], np.random.default_rng(n)) for n in range(12)]
        assert all(sample.is_right for sample in made)
        assert {turn(s.joints) * turn(reader[0].joints) for s in made} == sides


def test_every_epoch_is_the_first_one_in_the_order_of_the_files(reader):
    data = faulty_dataset({"same each epoch"}, reader, 32, None, seed=3)
    n = len(data)
    keys = [key for key, _ in zip(iter(StepBatches(n, 1, 3)), range(2 * n))]
    first, second = keys[:n], keys[n:]
    for place in (0, n // 2, n - 1):
        one, again = (data[epoch[place][0]] for epoch in (first, second))
        assert one.path == again.path == reader[place].path
        np.testing.assert_array_equal(one.image, again.image)


def test_the_window_leaves_cells_out_and_the_old_head_gives_22_numbers(hand):
    maps = torch.zeros(1, 4, 10, 10, requires_grad=True)
    WindowPooling([4])([maps])[0].sum().backward()
    assert (maps.grad > 0).sum() == 4 * 49
    assert faulty_model(set(FAULTS), hand, 64, 0).head[-1].out_features == 22
    assert faulty_model(set(), hand, 64, 0).config.pooling == "keypoints"
