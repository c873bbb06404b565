import numpy as np
import pytest

from handlib import joints


def test_every_order_is_a_permutation_of_the_same_joints():
    for name, order in joints.ORDERS.items():
        assert sorted(order) == sorted(joints.JOINT_NAMES), name


@pytest.mark.parametrize("name", joints.ORDERS)
def test_conversion_there_and_back_is_the_identity(name):
    points = np.random.default_rng(0).normal(size=(2, 21, 3))
    back = joints.convert(joints.convert(points, "freihand", name), name, "freihand")
    np.testing.assert_array_equal(back, points)


@pytest.mark.parametrize(
    ("order", "index", "name"),
    [
        ("mpii", 1, "thumb_cmc"),  # FACTS: mcp thumb..pinky 1-5, pip 6-10, dip 11-15, tip 16-20
        ("mpii", 5, "pinky_mcp"),
        ("mpii", 6, "thumb_mcp"),
        ("mpii", 16, "thumb_tip"),
        ("mpii", 20, "pinky_tip"),
        ("interhand", 0, "thumb_tip"),
        ("interhand", 20, "wrist"),
        ("interhand", 4, "index_tip"),
        ("rhd", 1, "thumb_tip"),
        ("rhd", 8, "index_mcp"),
        ("3dhand", 9, "pinky_mcp"),
        ("mano", 7, "pinky_mcp"),
        ("mano", 16, "thumb_tip"),
    ],
)
def test_known_positions(order, index, name):
    assert joints.ORDERS[order][index] == name


def test_manopths_literal_order_follows_from_the_names():
    expected = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    assert joints.order_indices("mano").tolist() == expected


def test_bones_start_at_the_wrist_and_run_along_each_finger():
    assert len(joints.BONES) == 20
    for parent, child in joints.BONES:
        a, b = joints.JOINT_NAMES[parent], joints.JOINT_NAMES[child]
        assert a == "wrist" or a.split("_")[0] == b.split("_")[0]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="unknown joint order 'openpose'"):
        joints.order_indices("openpose")
    with pytest.raises(ValueError, match="21"):
        joints.convert(np.zeros((16, 3)), "mano")
