import numpy as np
import pytest
import smplx
import torch
from mano_files import manopth_case, write_plain

from handlib.geometry import (
    axis_angle_to_matrix,
    matrix_to_rotation_6d,
    mirror_axis_angle,
    mirror_points,
)
from handlib.joints import JOINT_NAMES, TIP_VERTICES, TIPS
from handlib.mano import HandLayer, HandOutput, ManoLayer, load_hand_model
from handlib.mano.kernels import CompiledHand
from handlib.mano.skinning import hand_forward

MEAN = {"flat_hand_mean": False}
CASES = {  # constructor and forward arguments that the stored outputs of manopth were made with
    "pca6_mean": (MEAN, {}),
    "pca45_flat": ({"ncomps": 45}, {}),
    "axisang_mean": (MEAN | {"use_pca": False}, {}),
    "rot6d_pca15": ({"root_rot_mode": "rot6d", "ncomps": 15}, {}),
    "center0": (MEAN | {"center_idx": 0}, {}),
    "center9": (MEAN | {"center_idx": 9}, {}),
    "trans": (MEAN | {"center_idx": 9}, {}),
    "zero_betas": (MEAN, {"th_betas": None}),
    "root_palm": (MEAN, {"root_palm": True}),
    "share_betas": (MEAN, {"share_betas": True}),
    "left_pca6": (MEAN | {"side": "left"}, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the random hands that the stored outputs of manopth were made with."""
    path = tmp_path_factory.mktemp("mano")
    for side in ("right", "left"):
        write_plain(path, side)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return load_hand_model(folder)


def random_hands(seed=0, batch=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    pose = torch.randn(batch, 48, generator=generator, dtype=dtype) * 0.5
    return pose, torch.randn(batch, 10, generator=generator, dtype=dtype)


# -- ManoLayer against manopth ---------------------------------------------------------------
@pytest.mark.parametrize("case", CASES)
def test_manopth_gives_the_same_within_a_micrometre(folder, case):
    settings, arguments = CASES[case]
    stored = {name: torch.as_tensor(value) for name, value in manopth_case(case).items()}
    layer = ManoLayer(mano_root=str(folder), **settings)
    arguments = {"th_betas": stored["betas"], "th_trans": stored.get("trans")} | arguments
    vertices, joints = layer(stored["pose"], **arguments)
    assert (vertices - stored["verts_mm"]).abs().max() < 0.001
    assert (joints - stored["joints_mm"]).abs().max() < 0.001


def test_the_mirrored_model_is_a_left_hand(model):
    """With the mirrored pose and the same betas it makes the mirror image, inside out nowhere."""
    left = model.mirrored()
    assert (left.side, left.mirrored().fingerprint) == ("left", model.fingerprint)
    pose, betas = (t.float() for t in random_hands())
    turned = mirror_axis_angle(pose.reshape(-1, 16, 3)).reshape(-1, 48)
    settings = {"use_pca": False, "flat_hand_mean": False}
    vertices, joints = ManoLayer(mano_root=model, **settings)(pose, betas)
    layer = ManoLayer(mano_root=left, side="left", **settings)
    made, made_joints = layer(turned, betas)
    torch.testing.assert_close(made, mirror_points(vertices), rtol=0, atol=1e-3)
    chain = [i for i in range(21) if i not in TIPS]  # manopth takes other tips for a left hand
    same = {"rtol": 0, "atol": 1e-3}
    torch.testing.assert_close(made_joints[:, chain], mirror_points(joints[:, chain]), **same)
    # The coefficients of the components are the same too.
    settings = {"ncomps": 6, "flat_hand_mean": False}
    pose = pose[:, :9]
    vertices, _ = ManoLayer(mano_root=model, **settings)(pose, betas)
    turned = torch.cat([mirror_axis_angle(pose[:, :3]), pose[:, 3:]], 1)
    made, _ = ManoLayer(mano_root=left, side="left", **settings)(turned, betas)
    torch.testing.assert_close(made, mirror_points(vertices), **same)


def test_faces_of_either_side_point_outwards(hand):
    for side in (hand, hand.mirrored()):
        a, b, c = np.moveaxis(side.v_template[side.faces], 1, 0)
        assert np.einsum("fi,fi->f", a, np.cross(b, c)).sum() > 0  # six times the volume


def test_root_6d_and_rotation_matrices_mean_what_axis_angle_means(folder):
    pose, betas = (t.float() for t in random_hands())
    root = axis_angle_to_matrix(pose[:, :3])
    expected = ManoLayer(mano_root=folder, use_pca=False)(pose, betas)
    for robust in (False, True):
        layer = ManoLayer(mano_root=folder, use_pca=False, root_rot_mode="rot6d", robust_rot=robust)
        made = layer(torch.cat([matrix_to_rotation_6d(root), pose[:, 3:]], 1), betas)
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)
    layer = ManoLayer(mano_root=folder, use_pca=False, joint_rot_mode="rotmat")
    made = layer(axis_angle_to_matrix(pose.reshape(-1, 16, 3)), betas)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)


def test_the_robust_6d_root_treats_its_two_vectors_alike(folder):
    layer = ManoLayer(mano_root=folder, root_rot_mode="rot6d", robust_rot=True)
    a, b = np.radians(10), np.radians(70)  # 60 degrees apart: 15 off on either side
    skewed = torch.tensor([[np.cos(a), np.sin(a), 0, np.cos(b), np.sin(b), 0]]).float()
    turned = torch.tensor([np.radians(-5)]).float()
    evened = torch.tensor([[torch.cos(turned), torch.sin(turned), 0, 0, 1, 0]])
    evened[0, 3:5] = torch.cat([-torch.sin(turned), torch.cos(turned)])
    made, expected = (layer(torch.cat([r, torch.zeros(1, 6)], 1))[1] for r in (skewed, evened))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)


def test_zero_translation_counts_as_none(folder):
    pose, layer = torch.zeros(2, 9), ManoLayer(mano_root=folder, center_idx=9)
    for trans in (None, torch.zeros(1), torch.zeros(2, 3)):
        joints = layer(pose, th_trans=trans)[1]
        assert joints[:, 9].abs().max() == 0
    joints = layer(pose, th_trans=torch.ones(2, 3))[1]
    assert joints[:, 9].abs().min() > 900


def test_mano_layer_shapes_and_finite_gradients_at_zero(folder):
    with pytest.raises(ValueError, match=r"expected \(B, 9\)"):
        ManoLayer(mano_root=folder)(torch.zeros(2, 48))
    pose = torch.zeros(2, 48, requires_grad=True)
    vertices, joints = ManoLayer(mano_root=folder, use_pca=False)(pose)
    (vertices.square().sum() + joints.square().sum()).backward()
    assert torch.isfinite(pose.grad).all()
    assert pose.grad.abs().sum() > 0


# -- HandLayer -------------------------------------------------------------------------------
@pytest.mark.parametrize("source", ["random", "stand-in"])
@pytest.mark.parametrize("is_flat", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
def test_smplx_agrees(folder, source, is_flat, side):
    if source == "stand-in":
        from handlib.mano.standin import standin_path

        folder = standin_path(side).parent
    hand = load_hand_model(folder, side)
    pose, betas = random_hands(seed=1)
    peer = smplx.MANO(
        str(folder), is_rhand=side == "right", use_pca=False, flat_hand_mean=is_flat,
        batch_size=4, dtype=torch.float64,
    )  # fmt: skip
    expected = peer(betas=betas, global_orient=pose[:, :3], hand_pose=pose[:, 3:])
    layer = HandLayer(hand, "manopth", dtype=torch.float64)
    absolute = pose.reshape(4, 16, 3)
    rotations = axis_angle_to_matrix(absolute) if is_flat else layer.rotations(pose)
    made = layer(rotations, betas)
    assert (made.vertices - expected.vertices).abs().max() < 1e-6
    chain = [i for i in range(21) if i not in TIPS]
    to_mano = [0, 4, 5, 6, 7, 8, 9, 13, 14, 15, 10, 11, 12, 1, 2, 3]  # as indices into ``chain``
    own = made.joints[:, chain][:, to_mano]
    assert (own - expected.joints[:, :16]).abs().max() < 1e-6


def test_joint_definitions(model):
    pose, betas = random_hands()
    layers = {name: HandLayer(model, name, dtype=torch.float64) for name in ("freihand", "manopth")}
    made = {name: layer(layer.rotations(pose), betas) for name, layer in layers.items()}
    vertices = made["freihand"].vertices
    torch.testing.assert_close(vertices, made["manopth"].vertices)
    regressed = torch.as_tensor(model.J_regressor) @ vertices
    joints = made["freihand"].joints
    torch.testing.assert_close(joints[:, 0], regressed[:, 0])
    torch.testing.assert_close(joints[:, JOINT_NAMES.index("pinky_pip")], regressed[:, 8])
    torch.testing.assert_close(joints[:, JOINT_NAMES.index("thumb_cmc")], regressed[:, 13])
    for name, output in made.items():
        tips = output.vertices[:, list(TIP_VERTICES[name])]
        torch.testing.assert_close(output.joints[:, list(TIPS)], tips)
    assert (joints - made["manopth"].joints).abs().max() > 1e-4
    with pytest.raises(ValueError, match="joints is one of"):
        HandLayer(model, "smplx")


def test_definitions_agree_at_rest(model):
    rest = torch.eye(3).expand(1, 16, 3, 3)
    chain = [i for i in range(21) if i not in TIPS]
    a, b = (HandLayer(model, j)(rest, torch.zeros(1, 10)).joints for j in ("freihand", "manopth"))
    torch.testing.assert_close(a[:, chain], b[:, chain])


def test_the_root_turns_about_the_rest_wrist(model):
    layer = HandLayer(model, "manopth", dtype=torch.float64)
    pose, betas = random_hands()
    still = pose.clone()
    still[:, :3] = 0
    turned, unturned = (layer(layer.rotations(p), betas) for p in (pose, still))
    wrist = unturned.joints[:, :1]
    torch.testing.assert_close(turned.joints[:, :1], wrist)
    R = axis_angle_to_matrix(pose[:, :3])
    expected = (unturned.vertices - wrist) @ R.transpose(1, 2) + wrist
    torch.testing.assert_close(turned.vertices, expected)


def compiled(layer, rotations, betas):
    return HandOutput(*CompiledHand.apply(rotations, betas, layer))


@pytest.mark.parametrize("formula", [hand_forward, compiled])
@pytest.mark.parametrize("is_zero", [True, False])
def test_gradcheck(model, is_zero, formula):
    layer = HandLayer(model, dtype=torch.float64)
    pose, betas = random_hands(batch=1)
    if is_zero:
        pose, betas = -torch.nn.functional.pad(layer.hands_mean, (3, 0))[None], betas * 0
    vertices = torch.arange(0, 778, 41)

    def hand(pose, betas):
        output = formula(layer, layer.rotations(pose), betas)
        return output.vertices[:, vertices], output.joints

    inputs = (pose.clone().requires_grad_(), betas.clone().requires_grad_())
    assert torch.autograd.gradcheck(hand, inputs, atol=1e-7)


@pytest.mark.parametrize("definition", ["freihand", "manopth"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_hand_is_the_plain_one(model, definition, dtype):
    """Outputs, gradients and second derivatives, also of hands that lie oddly in memory."""
    layer = HandLayer(model, definition, dtype)
    pose, betas = random_hands(batch=3, dtype=dtype)
    rotations = layer.rotations(pose).mT.contiguous().mT.requires_grad_()
    betas = betas.T.contiguous().T.requires_grad_()
    made = {}
    for formula in (hand_forward, compiled):
        output = formula(layer, rotations, betas)
        weights = [torch.linspace(-1, 1, value.numel(), dtype=dtype) for value in output]
        total = sum((w * v.reshape(-1) ** 2).sum() for w, v in zip(weights, output))
        first = torch.autograd.grad(total, (rotations, betas), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (rotations, betas))
        once = torch.autograd.grad(
            sum(
                (w * v.reshape(-1)).sum() for w, v in zip(weights, formula(layer, rotations, betas))
            ),
            (rotations, betas),
        )
        made[formula] = (*output, *first, *second, *once)
    exact = dtype == torch.float64
    for expected, got in zip(made[hand_forward], made[compiled], strict=True):
        atol = (1e-12 if exact else 1e-5) * expected.detach().abs().max().item()
        torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def test_second_derivatives_of_the_pose_alone(model):
    layer = HandLayer(model)
    pose, betas = (t.float() for t in random_hands(batch=1))
    pose.requires_grad_()
    joints = layer(layer.rotations(pose), betas).joints
    (first,) = torch.autograd.grad(joints.square().sum(), pose, create_graph=True)
    first.square().sum().backward()
    assert pose.grad.isfinite().all() and pose.grad.abs().max() > 0


def test_what_trains_on_a_cpu_is_compiled_and_sees_numbers_that_are_not_finite(model):
    layer = HandLayer(model)
    pose, betas = (t.float() for t in random_hands(batch=2))
    pose[1, 5] = torch.nan
    vertices, joints = layer(layer.rotations(pose.requires_grad_()), betas)
    assert "CompiledHand" in vertices.grad_fn.name()
    assert vertices[0].isfinite().all() and vertices[1].isnan().any()
    joints[1].sum().backward()
    assert pose.grad[0].isfinite().all() and pose.grad[1].isnan().any()


def test_function_transforms_take_the_plain_formula(model):
    layer = HandLayer(model)
    pose, betas = (t.float() for t in random_hands(batch=3))

    def vertices(pose, betas):
        return layer(layer.rotations(pose[None]), betas[None]).vertices[0]

    made = torch.func.vmap(vertices)(pose, betas)
    torch.testing.assert_close(made, layer(layer.rotations(pose), betas).vertices)
    slope = torch.func.jacrev(vertices)(pose[0], betas[0])
    assert slope.shape == (778, 3, 48)


def test_finite_gradients_at_zero_in_single_precision(model):
    layer = HandLayer(model)
    pose = torch.zeros(2, 16, 3, requires_grad=True)
    output = layer(axis_angle_to_matrix(pose), torch.zeros(2, 10))
    (output.vertices.square().sum() + output.joints.square().sum()).backward()
    assert torch.isfinite(pose.grad).all()
    assert pose.grad.abs().amax((0, 2)).min() > 0


@pytest.mark.parametrize(
    ("rotations", "betas", "message"),
    [
        ((2, 48), (2, 10), "rotations"),
        ((2, 15, 3, 3), (2, 10), "rotations"),
        ((2, 16, 3, 3), (2, 9), "betas"),
        ((2, 16, 3, 3), (10,), "betas"),
        ((2, 16, 3, 3), (1, 10), "2 hands of rotations but 1 of betas"),
    ],
)
def test_wrong_shapes_are_refused(model, rotations, betas, message):
    with pytest.raises(ValueError, match=message):
        HandLayer(model)(torch.zeros(rotations), torch.zeros(betas))


def test_half_precision_around_it_does_not_reach_it(model):
    layer = HandLayer(model)
    pose, betas = (t.float() for t in random_hands())
    expected = layer(layer.rotations(pose), betas).vertices
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(layer.rotations(pose), betas).vertices
        manopth = ManoLayer(mano_root=model, use_pca=False, flat_hand_mean=False)(pose, betas)[0]
    assert made.dtype == torch.float32
    assert (made - expected).abs().max() < 1e-6
    assert (manopth / 1000 - expected).abs().max() < 1e-6


def test_the_models_arrays_stay_out_of_checkpoints(model):
    assert HandLayer(model).state_dict() == {}
    assert ManoLayer(mano_root=model).state_dict() == {}
