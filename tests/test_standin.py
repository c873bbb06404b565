"""The stand-in hand: MANO's format, a closed and oriented mesh, and a plausible hand."""

import pickle

import numpy as np
import pytest
import smplx
import torch
from scipy.sparse import issparse
from scipy.spatial.transform import Rotation

from handlib.geometry import mirror_axis_angle, mirror_points
from handlib.joints import FINGER_JOINTS, FINGERS, MANO_JOINT_NAMES, TIP_VERTICES, WRIST
from handlib.mano import POSES, HandLayer, articulation, load_hand_model
from handlib.mano.standin import (
    SHIPPED,
    build,
    build_standin,
    shipped_path,
    source_hash,
    standin_path,
)

# What a MANO file holds: type or dtype, shape.
FORMAT = {
    "v_template": (np.float64, (778, 3)),
    "shapedirs": (np.float64, (778, 3, 10)),
    "posedirs": (np.float64, (778, 3, 135)),
    "J_regressor": (np.float64, (16, 778)),
    "weights": (np.float64, (778, 16)),
    "kintree_table": (np.uint32, (2, 16)),
    "f": (np.uint32, (1538, 3)),
    "hands_components": (np.float64, (45, 45)),
    "hands_mean": (np.float64, (45,)),
    "hands_coeffs": (np.float64, (None, 45)),
    "J": (np.float64, (16, 3)),
    "handlib_standin": (int, 1),
    "bs_style": (str, "lbs"),
    "bs_type": (str, "lrotmin"),
}
WRIST_LOOP = (108, 79, 78, 121, 214, 215, 279, 239, 234, 92, 38, 122, 118, 117, 119, 120)
TIPS = {
    "thumb": (734, 743, 744, 745),
    "index": (317, 320, 333),
    "middle": (443, 444, 445),
    "ring": (554, 555, 556),
    "pinky": (671, 672, 673, 678),
}


@pytest.fixture(scope="module")
def model():
    return pickle.loads(standin_path().read_bytes(), encoding="latin1")


@pytest.fixture(scope="module")
def posed(model):
    """Function from (45,) axis-angle and (10,) betas to smplx's vertices (778, 3)."""
    layer = smplx.MANO(
        str(standin_path()), is_rhand=True, use_pca=False, flat_hand_mean=True, dtype=torch.float64
    )

    def pose(hand_pose, betas=None):
        betas = np.zeros(10) if betas is None else betas
        with torch.no_grad():
            out = layer(
                hand_pose=torch.as_tensor(hand_pose)[None],
                betas=torch.as_tensor(betas)[None],
                global_orient=torch.zeros(1, 3, dtype=torch.float64),
            )
        return out.vertices[0].numpy()

    return pose


def directed_edges(faces):
    return np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(int)


def joint(model, name):
    return model["J"][MANO_JOINT_NAMES.index(name)]


def test_has_the_keys_types_and_shapes_of_a_mano_file(model):
    assert set(model) == set(FORMAT)
    for key, (kind, shape) in FORMAT.items():
        value = model[key]
        if kind in (str, int):
            assert value == shape
            continue
        assert value.dtype == kind, key
        assert all(a == b for a, b in zip(value.shape, shape) if b is not None), key
        assert len(value.shape) == len(shape)
    assert issparse(model["J_regressor"])
    assert model["J_regressor"].format == "csc"
    assert model["kintree_table"][0].tolist() == [2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11,
                                                  0, 13, 14]  # fmt: skip


def test_mesh_is_one_oriented_disc_open_at_the_wrist(model):
    faces = model["f"]
    edges = directed_edges(faces)
    assert len(np.unique(edges, axis=0)) == len(edges)  # consistent winding
    undirected, count = np.unique(np.sort(edges, 1), axis=0, return_counts=True)
    assert 778 - len(undirected) + len(faces) == 1  # Euler characteristic of a disc
    assert np.array_equal(np.unique(faces), np.arange(778))
    rim = {tuple(e) for e in undirected[count == 1]}
    loop = {tuple(sorted(e)) for e in zip(WRIST_LOOP, (*WRIST_LOOP[1:], WRIST_LOOP[0]))}
    assert rim == loop
    assert count.max() == 2


def test_faces_look_outwards_and_none_is_degenerate(model):
    v, f = model["v_template"], model["f"].astype(int)
    a, b, c = (v[f[:, k]] - joint(model, "wrist") for k in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert 200e-6 < volume < 500e-6  # m^3; a hand displaces about a third of a litre
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1) / 2
    assert area.min() > 0.3e-6
    smooth = np.zeros_like(v)
    for k in range(3):
        np.add.at(smooth, f[:, k], normals)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    unit = normals / (2 * area[:, None])
    assert (unit * smooth[f].mean(1)).sum(1).min() > 0.1  # no face turns against its surroundings


def test_lies_in_manos_frame_with_human_size(model):
    v = model["v_template"]
    np.testing.assert_allclose(joint(model, "wrist"), [0.096, 0.006, 0.006], atol=1e-3)
    tip = v[TIP_VERTICES["freihand"][2]]
    assert 0.175 < np.linalg.norm(tip - joint(model, "wrist")) < 0.2
    assert v[TIP_VERTICES["freihand"][0], 2] > 0.08  # thumb towards +z
    knuckles = [joint(model, f"{f}_mcp") for f in ("index", "middle", "ring", "pinky")]
    assert np.all(np.diff([k[2] for k in knuckles]) < -0.015)
    assert knuckles[1][1] == max(k[1] for k in knuckles)  # the arch of the knuckles
    palm = (v[95] + v[22]) / 2
    middle = (joint(model, "wrist") + joint(model, "middle_mcp")) / 2
    assert np.linalg.norm(palm - middle) < 0.015
    assert v[22, 1] < palm[1] < v[95, 1]


@pytest.mark.parametrize("finger", TIPS)
def test_known_tip_vertices_lie_on_the_fingertip(model, finger):
    v = model["v_template"]
    first, end = ("mcp", "ip") if finger == "thumb" else ("pip", "dip")
    root, last = joint(model, f"{finger}_{first}"), joint(model, f"{finger}_{end}")
    along = (last - root) / np.linalg.norm(last - root)
    own = np.flatnonzero(model["weights"][:, MANO_JOINT_NAMES.index(f"{finger}_{end}")] > 0.9)
    pole = v[own[np.argmax(v[own] @ along)]]
    assert np.linalg.norm(v[list(TIPS[finger])] - pole, axis=1).max() < 0.006


def test_weights_are_a_partition_of_unity_with_few_joints(model):
    w = model["weights"]
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-12)
    assert w.min() >= 0
    assert (w > 0).sum(1).max() <= 4
    assert (w[list(WRIST_LOOP), 0] > 0.99).all()
    assert w[TIP_VERTICES["freihand"], [15, 3, 6, 12, 9]].min() > 0.99


def test_regressor_finds_the_joints_for_every_shape(model):
    regressor = model["J_regressor"]
    assert regressor.min() >= 0
    np.testing.assert_allclose(np.asarray(regressor.sum(1)).ravel(), 1, atol=1e-12)
    np.testing.assert_allclose(regressor @ model["v_template"], model["J"], atol=1e-12)
    # Size about the wrist: every joint must move as the vertices do; finger length moves tips.
    wrist = joint(model, "wrist")
    size = regressor @ model["shapedirs"][:, :, 0]
    np.testing.assert_allclose(size, 0.05 * (model["J"] - wrist), atol=2e-4)
    knuckles = [1, 4, 7, 10]
    unmoved = regressor @ model["shapedirs"][:, :, 1]
    assert np.abs(unmoved[knuckles]).max() < 2e-4  # finger length leaves the knuckles in place
    longer = regressor @ (model["v_template"] + 2 * model["shapedirs"][:, :, 1])
    bone = [MANO_JOINT_NAMES.index(f"middle_{k}") for k in ("mcp", "pip")]
    before, after = (np.linalg.norm(np.subtract(*j[bone])) for j in (model["J"], longer))
    assert after / before == pytest.approx(1.08, abs=0.005)


def test_shapes_move_millimetres_and_keep_the_mesh_whole(model):
    v, dirs, f = model["v_template"], model["shapedirs"], model["f"].astype(int)
    size = np.sqrt((dirs**2).sum(1).mean(0))
    assert size.min() > 0.3e-3
    assert size.max() < 8e-3

    def normals(x):
        n = np.cross(x[f[:, 1]] - x[f[:, 0]], x[f[:, 2]] - x[f[:, 0]])
        return n / np.linalg.norm(n, axis=1, keepdims=True)

    for k in range(10):
        for beta in (-2, 2):
            turned = (normals(v + beta * dirs[:, :, k]) * normals(v)).sum(1)
            assert turned.min() > 0, f"beta {k} = {beta} flips a face"


def test_smplx_poses_it_and_the_rest_pose_is_the_template(model, posed):
    np.testing.assert_allclose(posed(np.zeros(45)), model["v_template"], atol=1e-9)
    tips = np.array(TIP_VERTICES["freihand"])
    bent = posed(articulation.POSES["fist"])
    assert (model["v_template"][tips[1:], 1] - bent[tips[1:], 1] > 0.005).all()  # towards the palm


def test_left_is_the_mirror_image(model, posed):
    left = build_standin("left")
    np.testing.assert_array_equal(left["v_template"], mirror_points(model["v_template"]))
    np.testing.assert_array_equal(left["f"], model["f"][:, ::-1])
    np.testing.assert_array_equal(
        left["hands_mean"].reshape(15, 3), mirror_axis_angle(model["hands_mean"].reshape(15, 3))
    )
    layer = smplx.MANO(str(standin_path("left")), is_rhand=False, use_pca=False,
                       flat_hand_mean=True, dtype=torch.float64)  # fmt: skip
    pose, betas = articulation.POSES["point"], np.linspace(-1.5, 1.5, 10)
    mirrored_pose = mirror_axis_angle(pose.reshape(15, 3)).ravel()
    with torch.no_grad():
        out = layer(hand_pose=torch.as_tensor(mirrored_pose)[None],
                    betas=torch.as_tensor(betas)[None],
                    global_orient=torch.zeros(1, 3, dtype=torch.float64))  # fmt: skip
    np.testing.assert_allclose(
        out.vertices[0].numpy(), mirror_points(posed(pose, betas)), atol=1e-9
    )


def test_build_is_deterministic_and_the_file_is_kept(model):
    again = build_standin()
    for key in ("v_template", "shapedirs", "posedirs", "weights", "hands_components"):
        np.testing.assert_array_equal(again[key], model[key])
    written = standin_path().stat().st_mtime_ns
    assert standin_path().stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="side must be"):
        build_standin("both")


def test_correctives_vanish_at_rest_and_stay_small(model, posed):
    pose = articulation.POSES["fist"]
    turns = Rotation.from_rotvec(pose.reshape(15, 3)).as_matrix() - np.eye(3)
    offset = np.linalg.norm(model["posedirs"] @ turns.ravel(), axis=1)
    assert 1e-3 < offset.max() < 8e-3


def test_pose_components_reconstruct_articulations(model):
    components, mean = model["hands_components"], model["hands_mean"]
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-10)
    spread = model["hands_coeffs"].std(0)
    assert np.all(np.diff(spread) <= 1e-12)  # sorted by variance
    samples = articulation.sample_articulations(np.random.default_rng(5), 300)
    some = (samples - mean) @ components[:12].T @ components[:12] + mean
    error = np.sqrt(((some - samples) ** 2).mean())
    assert error < 0.4 * np.sqrt(((samples - mean) ** 2).mean())
    bends = mean.reshape(15, 3)[[1, 4, 7, 10], 2]  # PIPs of a half-open hand
    assert np.all((np.deg2rad(20) < bends) & (bends < np.deg2rad(75)))


def test_regressed_joints_stay_at_the_joints_when_fingers_bend(hand):
    """Both joint definitions agree: to 0.5 mm at the fingers' bends, 8 mm in the palm."""
    pose = torch.zeros(len(POSES), 48, dtype=torch.float64)
    pose[:, 3:] = torch.tensor(np.stack(list(POSES.values())) - hand.hands_mean)
    betas = torch.zeros(len(POSES), 10, dtype=torch.float64)
    regressed, chained = (
        layer(layer.rotations(pose), betas).joints
        for layer in (HandLayer(hand, kind, torch.float64) for kind in ("freihand", "manopth"))
    )
    apart_mm = 1000 * (regressed - chained).norm(dim=-1).amax(0)
    bases, *bends = ([FINGER_JOINTS[f][k] for f in FINGERS] for k in range(3))
    assert apart_mm[torch.tensor(bends)].max() < 0.5
    assert apart_mm[[WRIST, *bases]].max() < 8


@pytest.mark.parametrize("moved_m, kept", [(1e-13, True), (1e-6, False)])
def test_shipping_again_keeps_the_bits_that_weights_are_trained_for(
    tmp_path, monkeypatch, moved_m, kept
):
    with np.load(SHIPPED, allow_pickle=False) as arrays:
        arrays = dict(arrays) | {"source_hash": "of an earlier builder"}
    arrays["v_template"] = arrays["v_template"] + moved_m
    monkeypatch.setattr(build, "SHIPPED", tmp_path / "right.npz")
    np.savez(build.SHIPPED, **arrays)
    build.ship()
    with np.load(build.SHIPPED, allow_pickle=False) as shipped:
        assert str(shipped["source_hash"]) == source_hash()
        assert np.array_equal(shipped["v_template"], arrays["v_template"]) == kept


def test_a_copied_standin_still_says_what_it_is(tmp_path):
    copy = tmp_path / "MANO_RIGHT.pkl"
    copy.write_bytes(standin_path().read_bytes())
    assert load_hand_model(copy).name == "stand-in hand"


def test_the_shipped_arrays_are_what_the_builder_makes(model):
    """Where they are not: python -c "from handlib.mano.standin.build import ship; ship()"."""
    assert shipped_path() is not None, "the builder has changed: ship its arrays again"
    shipped, built = load_hand_model(), load_hand_model(standin_path())
    for name, array in vars(built).items():
        if isinstance(array, np.ndarray) and name != "hands_components":
            np.testing.assert_allclose(getattr(shipped, name), array, atol=1e-9, err_msg=name)
    # Fingers bend in some of the 45 directions only. Of the others any basis will do, and another
    # processor finds another one.
    samples = articulation.sample_articulations(np.random.default_rng(0), 500)
    bends = np.linalg.matrix_rank(samples)
    ours, theirs = shipped.hands_components, built.hands_components
    assert 20 <= bends < 45
    np.testing.assert_allclose(ours[:bends], theirs[:bends], atol=1e-9)
    ours, theirs = (each[bends:].T @ each[bends:] for each in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert shipped.is_standin and shipped.is_right
    left, built = load_hand_model(side="left"), load_hand_model(standin_path("left"), side="left")
    np.testing.assert_allclose(left.posedirs, built.posedirs, atol=1e-9)
    np.testing.assert_array_equal(left.faces, built.faces)
    assert not left.is_right


def test_a_changed_builder_is_not_served_by_the_shipped_arrays(monkeypatch):
    monkeypatch.setattr("handlib.mano.standin.source_hash", lambda: "another")
    assert shipped_path() is None
