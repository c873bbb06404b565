"""Planted failures are named, and nothing else is; groups, filters and neighbours."""

import re

import numpy as np
import pytest
from posed_hands import SIZE, PosedHands
from scipy.spatial.transform import Rotation

from handlib import analysis
from handlib.analysis import early
from handlib.analysis.attributes import _quarters
from handlib.analysis.failures import palm_turn_deg
from handlib.anatomy import hand_frames
from handlib.data import FreiHANDReader
from handlib.data.raster import rasterize
from handlib.evaluation import score_each
from handlib.geometry import mirror_points, project, similarity_align
from handlib.joints import FINGER_JOINTS, ROOT, convert
from handlib.metrics import errors_mm

N = 24


@pytest.fixture(scope="module")
def posed(hand):
    return PosedHands(hand, N, seed=1)


@pytest.fixture
def predictions(posed):
    """A prediction that is right up to 1 mm and 0.3 px, as ``evaluation.predict`` returns it."""
    rng = np.random.default_rng(0)
    K = posed[0].K
    turns = Rotation.random(N, random_state=2).as_matrix()
    root = posed.joints[:, [ROOT]]
    truth = (posed.joints - root) @ turns + root
    truth_2d = project(truth, K)
    return {
        "id": np.arange(N),
        "group": np.arange(N) // 2,
        "version": np.arange(N) % 2,
        "is_right": np.ones(N, bool),
        "has_is_right": np.ones(N, bool),
        "gt_unit": np.ones(N),
        "gt_joints": truth,
        "gt_joints_2d": truth_2d,
        "pred_joints": truth - truth[:, [ROOT]] + rng.normal(0, 0.001, truth.shape),
        "pred_joints_2d": truth_2d + rng.normal(0, 0.3, truth_2d.shape),
    }


def about_root(matrix):
    return lambda joints: (joints - joints[:, [ROOT]]) @ np.array(matrix, float).T


def swapped(one, other):
    """Joints with two fingers called by each other's names."""
    order = np.arange(21)
    a, b = FINGER_JOINTS[one], FINGER_JOINTS[other]
    order[[*a, *b]] = [*b, *a]
    return lambda joints: joints[:, order]


def shares(predictions):
    found = analysis.failures(predictions)
    return {name: float(rows.mean()) for name, rows in found.items()}


# -- failures --------------------------------------------------------------------------------
PLANTED = {
    "depth flip": about_root(np.diag([1, 1, -1])),
    "wrong handedness": mirror_points,
    "swapped fingers": swapped("index", "ring"),
    "swapped fingers 2": swapped("thumb", "pinky"),
    "swapped fingers 3": lambda joints: convert(joints, "3dhand"),  # labels in another order
    "wrong view": about_root([[-1, 0, 0], [0, -1, 0], [0, 0, 1]]),
    "wrong view 2": about_root([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "wrong view 3": about_root([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "bad scale": lambda joints: 1.5 * joints,
    "bad scale 2": lambda joints: 0.75 * joints,
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_failure_is_named_and_no_other(predictions, posed, planted):
    name = planted.rstrip(" 23")
    pred = PLANTED[planted](predictions["pred_joints"])
    placed = pred - pred[:, [ROOT]] + predictions["gt_joints"][:, [ROOT]]
    predictions |= {"pred_joints": pred, "pred_joints_2d": project(placed, posed[0].K)}
    found = shares(predictions)
    assert found.pop(name) > 0.9
    assert max(found.values()) < 0.1


def test_a_good_prediction_has_no_failure(predictions):
    assert shares(predictions) == dict.fromkeys(analysis.RULES, 0.0) | {"none": 1.0}


def test_a_hand_found_beside_the_hand_is_missed(predictions):
    size = np.ptp(predictions["gt_joints_2d"], axis=1).max(-1)
    for share, missed in ((0.4, 0), (0.7, 1)):
        moved = predictions["gt_joints_2d"] + share * size[:, None, None] * [0, 1]
        found = shares(predictions | {"pred_joints_2d": moved})
        assert (found["missed hand"], found["none"]) == (missed, 1 - missed)


def test_a_hand_of_the_wrong_size_in_the_image_has_a_bad_scale(predictions, posed):
    """However it is turned."""
    joints, K = predictions["gt_joints"], posed[0].K
    for scale, bad in ((1.1, 0), (1.4, 1), (0.7, 1)):
        predictions["pred_joints"] = PLANTED["wrong view 3"](joints)
        seen = project(predictions["pred_joints"] + joints[:, [ROOT]], K)
        centre = seen[:, [ROOT]]
        found = shares(predictions | {"pred_joints_2d": centre + scale * (seen - centre)})
        assert found["bad scale"] == bad


def test_a_model_that_calls_right_hands_left_has_the_wrong_handedness(predictions):
    right = np.where(np.arange(N) < 6, -1.0, 1.0)
    predictions["has_is_right"][0] = False
    found = analysis.failures(predictions | {"pred_right": right})
    assert np.flatnonzero(found["wrong handedness"]).tolist() == [1, 2, 3, 4, 5]
    beside = predictions | {"pred_right": right, "pred_right_mirrored": np.full(N, -2.0)}
    beside["pred_right_mirrored"][4] = 0.5
    assert np.flatnonzero(analysis.failures(beside)["wrong handedness"]).tolist() == [4]


def test_failures_come_together_and_are_named(predictions):
    predictions["pred_joints"] = 1.5 * PLANTED["depth flip"](predictions["pred_joints"])
    predictions["gt_joints"][0, 3] = np.nan
    found = analysis.failures(predictions)
    assert analysis.names_of(found, 1) == "depth flip, bad scale"
    assert analysis.names_of(found, 0) == "no failure" and not found["none"][0]


def test_palm_turn_is_the_angle(predictions):
    truth = predictions["gt_joints"]
    c, s = np.cos(0.8), np.sin(0.8)
    turned = truth @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    np.testing.assert_allclose(palm_turn_deg(turned, truth), np.degrees(0.8), atol=1e-4)


# -- attributes and groups -------------------------------------------------------------------
def test_hidden_joints_are_those_that_the_mesh_hides(hand, posed):
    """Where the mesh's surface is nearer by more than a finger's thickness."""
    hidden = analysis.hidden_joints(posed.joints)
    truth = np.zeros_like(hidden)
    size, K = 4 * SIZE, np.diag([4, 4, 1]) @ posed[0].K
    for n, (vertices, joints) in enumerate(zip(posed.vertices, posed.joints)):
        depth = rasterize(vertices, hand.faces, K, (size, size)).depth
        u, v = project(joints, K).round().astype(int).clip(0, size - 1).T
        truth[n] = (depth[v, u] > 0) & (depth[v, u] < joints[:, 2] - 0.018)
    assert (hidden == truth).mean() > 0.85
    assert 0.05 < truth.mean() < 0.6


def test_a_finger_towards_the_camera_hides_its_base(posed):
    joints = posed.joints[:1].copy()
    chain = list(FINGER_JOINTS["index"])
    along = np.arange(4)[:, None] * 0.04
    joints[0, chain] = np.array([0.1, 0, 0.6]) * (1 - along / 0.6)  # on one ray of the camera
    assert analysis.hidden_joints(joints)[0, chain].tolist() == [True, True, False, False]


def test_samples_are_told_apart_by_view_look_bend_and_size(predictions):
    about = analysis.attributes(predictions)
    assert about["look"].tolist() == ["green screen", "homogenised"] * (N // 2)
    np.testing.assert_allclose(
        about["size_px"], np.ptp(predictions["gt_joints_2d"], axis=1).max(-1)
    )
    predictions["gt_joints"] *= 1000  # the numbers are those of metres, whatever the unit
    predictions["gt_joints"][3, 5, 0] = np.nan
    predictions["gt_unit"] /= 1000
    changed = analysis.attributes(predictions)
    same = np.arange(N) != 3
    for name in ("bend_deg", "hidden_joints"):
        np.testing.assert_allclose(changed[name][same], about[name][same], err_msg=name)
        assert np.isnan(changed[name][3])
    assert changed["view"][same].tolist() == about["view"][same].tolist()
    assert changed["view"][3] == ""


def test_views_are_named_by_the_side_that_the_camera_sees(predictions):
    """Each side of the hand, turned towards the camera."""
    joints = predictions["gt_joints"][:1].copy()
    root = joints[:, [ROOT]]
    side, up, out = hand_frames(joints - root)[0]
    towards = {"palm": out, "back": -out, "thumb side": side, "pinky side": -side,
               "fingertips": up, "wrist": -up}  # fmt: skip
    for name, direction in towards.items():
        turn, _ = Rotation.align_vectors([-root[0, 0]], [direction])
        predictions["gt_joints"][0] = turn.apply((joints - root)[0]) + root[0]
        assert analysis.attributes(predictions)["view"][0] == name


def test_group_errors_are_means_with_intervals(predictions):
    errors = np.ones((N, 21))
    errors[:, list(FINGER_JOINTS["ring"])] = 5
    errors[::2] += 2
    errors[0] = np.nan
    found = analysis.group_errors(errors, analysis.groups(predictions), predictions["group"])
    assert found["finger"]["ring"]["n"] == N - 1
    assert found["look"]["homogenised"]["n"] == N // 2
    value, low, high = found["look"]["homogenised"]["error"]
    assert value == pytest.approx(1 + 4 * 4 / 21) == low == high
    thumb, ring = (found["finger"][name]["error"] for name in ("thumb", "ring"))
    assert ring.value == pytest.approx(thumb.value + 4)
    assert thumb.low < thumb.value < thumb.high
    assert sum(group["n"] for group in found["hand size (px)"].values()) == N - 1


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([5, 5, 6, 7, 10, 12, 14, 16], ["< 6", "6 to < 8", "8 to < 12", "≥ 12"]),
        ([70, 71, 73, 74, 75.9, 78, 78, 79, 80], ["< 73", "73 to < 78", "≥ 78"]),  # none from 76 on
        ([0, 0, 0, 0, 0, 1, 4, 6], ["< 2", "≥ 2"]),  # nothing is below the first quartile
        ([3, 3, 3], []),
    ],
)
def test_groups_of_numbers_touch_and_do_not_overlap(values, names):
    values = np.array([*values, np.nan])
    masks = _quarters(values)
    assert list(masks) == names
    if names:
        together = np.concatenate(list(masks.values()), 1)
        assert (together.sum(1) == np.isfinite(values)).all() and together.any(0).all()


def test_what_does_not_tell_samples_apart_makes_no_groups(predictions):
    predictions["version"][:] = -1
    predictions["gt_joints_2d"][:] = np.nan
    found = analysis.groups(predictions)
    assert "look" not in found and "hand size (px)" not in found and "finger" in found


def test_depth_is_split_from_the_image_plane(posed):
    truth = posed.joints
    pred = truth.copy()
    pred[:, 1:5] += [0.003, 0.004, 0.012]
    in_plane, depth = analysis.split_depth_mm(pred, truth)
    np.testing.assert_allclose(in_plane, 4 / 21 * 5)
    np.testing.assert_allclose(depth, 4 / 21 * 12)


# -- filter, rank, neighbours ----------------------------------------------------------------
COLUMNS = {
    "view": np.array(["palm", "back", "back", ""], object),
    "pa_mpjpe_mm": np.array([10.0, 20.0, 40.0, np.nan]),
    "id": np.array([0, 1, 2, 3]),
    "failure": {
        "depth flip": np.array([False, True, False, False]),
        "bad scale": np.array([True, True, False, False]),
        "none": np.array([False, False, True, False]),
    },
}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3]),
        ("view=back", [1, 2]),
        ("view != back", [0]),
        ("failure=depth flip", [1]),
        ("failure!=depth flip", [0, 2]),
        ("pa_mpjpe_mm>10", [1, 2]),
        ("pa_mpjpe_mm<=10.0", [0]),
        ("pa_mpjpe_mm!=10", [1, 2]),
        ("view = back, pa_mpjpe_mm>=4e1,", [2]),
        ("id=3", [3]),
    ],
)
def test_filters_select(text, rows):
    assert np.flatnonzero(analysis.select(COLUMNS, text)).tolist() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("veiw=back", "no 'veiw'; did you mean 'view'"),
        ("zzz=1", "no 'zzz'; known: view, pa_mpjpe_mm, id, failure"),
        ("view=bakc", "no 'bakc'; did you mean 'back'"),
        ("failure=flip", "did you mean 'depth flip'|known: depth flip, bad scale, none"),
        ("view>palm", "view is text: take = or !="),
        ("pa_mpjpe_mm>much", "pa_mpjpe_mm is a number, 'much' is not"),
        ("pa_mpjpe_mm", "not of the form name=value"),
        ("__import__('os').system('true')", "not of the form name=value"),
        ("1<pa_mpjpe_mm<2", "not of the form name=value"),
    ],
)
def test_filters_refuse_nonsense_and_say_what_is_known(text, message):
    with pytest.raises(ValueError, match=message):
        analysis.select(COLUMNS, text)


def test_best_median_and_worst_are_of_different_poses():
    errors = np.array([5.0, 1, 9, 4, np.nan, 8, 2, 7, 3, 6])
    columns = {"e": errors, "id": np.arange(10), "group": np.array([0, 1, 2, 3, 4, 2, 6, 7, 8, 9])}
    found = analysis.best_median_worst(columns, "e", 2)
    assert {n: errors[rows].tolist() for n, rows in found.items()} == {
        "best": [1, 2], "median": [4, 5], "worst": [7, 9],
    }  # fmt: skip
    among = analysis.best_median_worst(columns, "e", 2, errors < 3)
    assert among == {"best": [], "median": [], "worst": [1, 6]}
    with pytest.raises(ValueError, match="e is not known of any of these"):
        analysis.best_median_worst(columns, "e", 2, np.isnan(errors))
    with pytest.raises(ValueError, match="cannot be ranked by 'f'; known: e"):
        analysis.best_median_worst(columns, "f", 2)


def test_the_planted_pose_is_the_nearest_however_it_is_turned_moved_and_scaled(posed):
    target = posed.joints[5]
    near = 1.2 * Rotation.random(random_state=3).apply(target) + 0.3
    far = mirror_points(posed.joints[5])
    poses = np.concatenate([posed.joints[:5], [near], posed.joints[6:], [far]])
    poses[0, 3] = np.nan
    rows, mm = analysis.nearest_poses(target, poses, count=3)
    assert rows[0] == 5 and mm[0] < 1e-6
    assert len(set(rows)) == 3 and 0 not in rows and (np.diff(mm) >= 0).all()
    every = [
        errors_mm(similarity_align(pose, target)[0], target).mean()
        for pose in np.delete(poses, [0, 5], 0)
    ]
    assert mm[1] == pytest.approx(min(every))
    rows, _ = analysis.nearest_poses(target, poses[1:3], count=3)
    assert sorted(rows) == [0, 1]


def test_neighbours_of_a_hand_are_found_by_its_known_joints(posed):
    target = 1.2 * posed.joints[5] + 0.3
    target[[4, 9]] = np.nan
    rows, mm = analysis.nearest_poses(target, posed.joints, count=2)
    assert rows[0] == 5 and mm[0] < 1e-6 < mm[1]


def test_rows_of_annotations_belong_to_samples(synthetic):
    reader = FreiHANDReader(synthetic, "val")
    for pose in (0, -1):
        sample = reader[int(reader.annotated[pose])]
        np.testing.assert_array_equal(sample.joints, reader.annotation("xyz")[pose])


def test_a_large_auc_is_the_best():
    columns = {"auc_pa_50mm": np.array([0.9, 0.5, 0.1]), "group": np.arange(3)}
    found = analysis.best_median_worst(columns, "auc_pa_50mm", 1)
    assert found == {"best": [0], "median": [1], "worst": [2]}


@pytest.mark.parametrize(
    ("rank_by", "text", "message"),
    [
        ("pa_mpjpe_mn", "", "ranked by 'pa_mpjpe_mn'; did you mean 'pa_mpjpe_mm'?"),
        ("view", "", "samples cannot be ranked by 'view'"),
        ("pa_mpjpe_mm", "veiw=back", "no 'veiw'; did you mean 'view'?"),
        ("pa_mpjpe_mm", "view=bak", "no 'bak'; did you mean 'back'?"),
        ("pa_mpjpe_mm", "look=x, size_px>1", "no 'x'; known: "),
        ("pa_mpjpe_mm", "size_px>1, failure=depthflip", "did you mean 'depth flip'?"),
        ("pa_mpjpe_mm", "pa_mpjpe_mm>high", "is a number, 'high' is not"),
        ("pa_mpjpe_mm", "view", "not of the form"),
    ],
)
def test_a_wrong_ranking_or_filter_is_told_before_anything_is_predicted(rank_by, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        early.check_selection(rank_by, text)


def test_every_ranking_and_filter_of_an_evaluation_passes_the_early_check(predictions):
    meshes = dict.fromkeys(("pred_vertices", "gt_vertices"), predictions["gt_joints"])
    predictions |= meshes | {"pred_root": predictions["gt_joints"][:, ROOT]}
    columns = score_each(predictions) | analysis.attributes(predictions)
    columns |= {"failure": analysis.failures(predictions)}
    columns |= {name: predictions[name] for name in ("id", "group")}
    assert set(columns) == set(early._columns())
    for name, values in columns.items():
        if not isinstance(values, dict) and values.dtype.kind == "f":
            early.check_selection(name, f" {name} > 1e9, ")
    for text in ("", "failure=depth flip, failure!=none", "view=back, pa_mpjpe_mm>30", "id=3"):
        early.check_selection("pa_mpjpe_mm", text)
