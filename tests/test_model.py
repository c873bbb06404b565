from dataclasses import fields, replace

import pytest
import torch

from handlib.backbones import make_backbone
from handlib.geometry import axis_angle_to_matrix, matrix_to_rotation_6d, project
from handlib.joints import ROOT
from handlib.mano import HandLayer
from handlib.model import make_model
from handlib.pooling import NEAR, AveragePooling, KeypointPooling, sharpness
from handlib.presets import CAMERAS, MODEL_PRESETS

SHAPES = {
    "joints": (21, 3),
    "vertices": (778, 3),
    "joints_2d": (21, 2),
    "vertices_2d": (778, 2),
    "pose": (48,),
    "betas": (10,),
    "rotations": (16, 3, 3),
    "scale": (),
    "trans": (2,),
    "root": (3,),
    "keypoints_2d": (21, 2),
    "heatmaps": (21, 16, 16),
    "depths": (21,),
    "right": (),
    "present": (),
}
# What a preset's predictions do not have.
UNTOLD = {
    "small": ("depths", "right", "present"),
    "modern": (),
    "freihand": ("present",),
    "boukhayma2019": ("keypoints_2d", "heatmaps", "depths", "right", "present"),
}


@pytest.fixture(scope="module")
def small(hand):
    return make_model("small", hand).eval()


def images(batch=2, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)


def shaken(model, seed=0):
    """The model with a last layer that says something: random numbers, not nearly zeros."""
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.head[-1].bias, std=0.5)
    return model


@pytest.mark.parametrize("preset", MODEL_PRESETS)
@pytest.mark.parametrize("batch", [1, 3])
def test_prediction_has_the_promised_shapes(hand, preset, batch):
    prediction = make_model(preset, hand).eval()(images(batch))
    for field in fields(prediction):
        value = getattr(prediction, field.name)
        if field.name in UNTOLD[preset]:
            assert value is None
        elif field.name == "mean_pose":
            assert value.shape == (45,)
        else:
            # The finest maps of an encoder as published have an eighth of the input's side.
            large = field.name == "heatmaps" and preset == "freihand"
            shape = (21, 8, 8) if large else SHAPES[field.name]
            assert value.shape == (batch, *shape), field.name
            assert value.dtype == torch.float32


def test_the_side_is_one_more_number(hand):
    prediction = make_model("boukhayma2019", hand, handedness=True).eval()(images(3))
    assert prediction.right.shape == (3,)
    model = make_model("small", hand, handedness=True)
    assert model.sizes[-1] == 1
    numbers = torch.randn(2, sum(model.sizes))
    numbers[:, -1] = torch.tensor([4.0, -5.0])
    assert model.decode(numbers, None, 96).right.tolist() == [4.0, -5.0]
    both = make_model("small", hand, handedness=True, presence=True)
    numbers = torch.cat([numbers, torch.tensor([[7.0], [-1]])], 1)
    told = both.decode(numbers, None, 96)
    assert (told.right.tolist(), told.present.tolist()) == ([4.0, -5.0], [7.0, -1.0])


def test_rotations_of_the_fingers_start_at_the_mean_pose(hand):
    model = make_model("modern", hand).eval()
    told = model.decode(torch.zeros(2, sum(model.sizes)), torch.zeros(2, 21, 2), 128)
    assert told.pose.abs().max() < 1e-5
    mean = HandLayer(hand)(told.rotations, told.betas)
    assert torch.allclose(told.joints, mean.joints - mean.joints[:, ROOT : ROOT + 1], atol=1e-6)
    # A number of the middle finger's last joint bends that joint alone.
    numbers = torch.zeros(2, sum(model.sizes))
    numbers[:, 9 + 5 * 6 + 2] = 0.5
    bent = model.decode(numbers, torch.zeros(2, 21, 2), 128)
    changed = (bent.rotations - told.rotations).abs().amax((0, 2, 3)) > 1e-6
    assert changed.nonzero().flatten().tolist() == [6]
    assert (bent.pose[:, 3:].abs() > 1e-4).nonzero()[:, 1].unique().tolist() == [15, 16, 17]


def test_boukhayma_regresses_22_numbers_with_a_resnet_34(hand):
    model = make_model("boukhayma2019", hand)
    assert model.sizes == [1, 2, 3, 6, 10]
    assert model.head[-1].out_features == 22
    assert model.backbone.config.depths == [3, 4, 6, 3]
    assert model.backbone.config.layer_type == "basic"


@pytest.mark.parametrize("preset", ["small", "boukhayma2019"])
def test_joints_2d_are_the_weak_perspective_projection_of_the_root_relative_joints(hand, preset):
    p = shaken(make_model(preset, hand)).eval()(images())
    expected = p.trans[:, None] + p.scale[:, None, None] * p.joints[..., :2]
    assert torch.allclose(p.joints_2d, expected)
    expected = p.trans[:, None] + p.scale[:, None, None] * p.vertices[..., :2]
    assert torch.allclose(p.vertices_2d, expected)
    assert torch.all(p.joints[:, ROOT] == 0)
    assert torch.allclose(p.joints_2d[:, ROOT], p.trans)


def test_a_perspective_camera_sees_each_joint_at_its_own_depth(hand):
    model = shaken(make_model("small", hand, camera="perspective")).eval()
    K = torch.tensor([[130.0, 0, 30], [0, 140, 33], [0, 0, 1]]).expand(2, 3, 3)
    p = model(images(), K)
    assert torch.allclose(p.joints_2d, project(p.joints + p.root[:, None], K), atol=1e-3)
    assert torch.allclose(p.vertices_2d, project(p.vertices + p.root[:, None], K), atol=1e-3)
    # FreiHAND's "mano" vector: xyz_root = ((u - cx) / s, (v - cy) / s, f / s) where fx = fy.
    K = torch.tensor([[130.0, 0, 30], [0, 130, 33], [0, 0, 1]]).expand(2, 3, 3)
    p = model(images(), K)
    xy = (p.trans - K[:, :2, 2]) / p.scale[:, None]
    expected = torch.cat([xy, 130 / p.scale[:, None]], 1)
    assert torch.allclose(p.root, expected, atol=1e-6)
    weak = make_model("small", hand).eval()
    weak.load_state_dict(model.state_dict())
    assert torch.allclose(weak(images(), K).root, expected, atol=1e-6)


@pytest.mark.parametrize("camera", CAMERAS)
def test_without_a_known_camera_there_is_a_hand_but_no_place_for_it(hand, camera):
    model = shaken(make_model("small", hand, camera=camera)).train()
    K = torch.tensor([[130.0, 0, 30], [0, 130, 33], [0, 0, 1]]).repeat(2, 1, 1)
    K[1] = torch.nan
    p = model(images(), K)
    assert p.root[0].isfinite().all() and p.root[1].isnan().all()
    assert p.joints_2d.isfinite().all()
    p.joints_2d.sum().backward()
    assert all(q.grad.isfinite().all() for q in model.parameters() if q.grad is not None)
    assert model.eval()(images()).root.isnan().all()


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_pose_and_betas_give_the_vertices_by_the_hand_layer(hand, preset):
    """What is written as FreiHAND's hand vector is the hand that was predicted."""
    p = shaken(make_model(preset, hand)).eval()(images())
    layer = HandLayer(hand)
    rotations = layer.rotations(p.pose)
    assert torch.allclose(rotations, p.rotations, atol=1e-5)
    out = layer(rotations, p.betas)
    vertices = out.vertices - out.joints[:, ROOT : ROOT + 1]
    assert torch.allclose(vertices, p.vertices, atol=1e-6)


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_training_starts_at_the_mean_hand_in_the_middle_of_any_crop(hand, preset):
    model = make_model(preset, hand).train()  # the statistics of an untrained network are empty
    for size in (64, 128):
        p = model(images(size=size))
        assert p.pose.abs().max() < 0.2
        assert (p.trans - (size - 1) / 2).abs().max() < 0.1 * size
        assert torch.allclose(p.scale, torch.tensor(545 * size / 256), rtol=0.1)


def test_average_pooling_sees_every_cell_of_the_map():
    """A fixed window of 7 x 7 saw 49 of the 100 cells of a 320 px input."""
    maps = torch.zeros(1, 4, 10, 10, requires_grad=True)
    AveragePooling([4])([maps])[0].sum().backward()
    assert torch.all(maps.grad == 0.01)


def test_keypoints_are_where_the_attention_is():
    pooling = KeypointPooling([8, 8], width=4).eval()
    maps = [torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 4, 4)]
    assert pooling(maps)[1].abs().max() < 0.02  # nothing to see: the centre
    pooling.logits = torch.nn.Identity()
    pooling.merge = torch.nn.Identity()
    torch.nn.init.zeros_(pooling.lateral[1].weight)
    torch.nn.init.ones_(pooling.lateral[0].weight)
    maps[0][0, :, 2, 5] = 100.0  # row 2, column 5 of 8
    places = pooling(maps)[1]
    heatmap = pooling(maps)[2].exp()
    assert heatmap.shape == (1, 4, 8, 8)  # one per channel here
    assert torch.allclose(heatmap.sum((-2, -1)), torch.ones(1, 4))
    assert heatmap[0, 0].argmax() == 2 * 8 + 5
    assert torch.allclose(places[0, 0], torch.tensor([(5 + 0.5) / 4 - 1, (2 + 0.5) / 4 - 1]))


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_gradients_reach_every_trained_parameter_and_are_finite(hand, preset):
    model = shaken(make_model(preset, hand)).train()
    model.head[-1].bias.data.zero_()  # zero rotation, where a careless Rodrigues formula is NaN
    p = model(images(4))
    (p.joints.abs().sum() + p.vertices.square().sum() + p.joints_2d.abs().sum()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_prediction_does_not_depend_on_the_batch_in_evaluation_mode(small):
    both = small(images(3))
    alone = small(images(3)[:1])
    assert torch.allclose(both.joints[:1], alone.joints, atol=1e-6)


def test_rotation_of_the_hand_turns_the_joints(small):
    """Root rotation acts in the camera frame: about the root joint after centring."""
    numbers = torch.zeros(2, sum(small.sizes))
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.8]))
    numbers[1, 3:9] = matrix_to_rotation_6d(turn) - torch.tensor([1.0, 0, 0, 0, 1, 0])
    p = small.decode(numbers, None, 128)
    assert torch.allclose(p.joints[1], p.joints[0] @ turn.T, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone(hand):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, third = (make_model("small", hand, seed=s) for s in (1, 1, 2))
    assert torch.rand(1) == expected
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    other = [torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True)]
    assert all(same)
    assert not all(other)


@pytest.mark.parametrize("name", ["convnextv2-atto", "dinov2-small", "resnet-50"])
def test_other_backbones_serve_the_same_head(hand, name):
    model = make_model("small", hand, backbone=name, hidden=32, input_size=70).eval()
    assert model(images(1, size=70)).joints.shape == (1, 21, 3)


def test_wrong_requests_say_what_is_right(hand, small):
    with pytest.raises(ValueError, match=r"unknown preset 'smal'; did you mean 'small'"):
        make_model("smal", hand)
    with pytest.raises(ValueError, match="ModelConfig has no n_poses"):
        make_model("small", hand, n_poses=3)
    for wrong in ({"n_pose": 60}, {"n_pose": 0}, {"width": 0}, {"input_size": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make_model("small", hand, **wrong)
    with pytest.raises(ValueError, match="sees patches of 14 px"):
        make_model("small", hand, backbone="dinov2-small", input_size=96)
    with pytest.raises(ValueError, match="unknown pooling 'mean'"):
        make_model("small", hand, pooling="mean")
    with pytest.raises(ValueError, match="unknown backbone 'resnet-33'"):
        make_model("small", hand, backbone="resnet-33")
    with pytest.raises(ValueError, match="left hand model"):
        make_model("small", replace(hand, is_right=False))
    with pytest.raises(ValueError, match="square"):
        small(torch.zeros(1, 3, 64, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="no pretrained weights exist for 'resnet-tiny'"):
        make_backbone("resnet-tiny", "pretrained")


def test_pretrained_weights_out_of_reach_say_what_to_do(tmp_path):
    with pytest.raises(OSError, match="use init='random'"):
        make_backbone(str(tmp_path / "nothing"), "pretrained")


def test_places_are_the_means_of_their_heatmaps_in_half_precision_too():
    pooling = KeypointPooling([8, 8], width=16)
    maps = [torch.randn(2, 8, 24, 24), torch.randn(2, 8, 12, 12)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        pooled = pooling(maps)
        sure = sharpness(pooled.heatmaps)
    shares = pooled.heatmaps.double().exp()
    cells = (torch.arange(24) + 0.5) / 12 - 1
    x, y = (shares.sum(-2) * cells).sum(-1), (shares.sum(-1) * cells).sum(-1)
    assert torch.allclose(pooled.places.double(), torch.stack([x, y], -1), atol=1e-5)
    apart = torch.maximum((cells - x[..., None]).abs()[..., None, :] / 2,
                          (cells - y[..., None]).abs()[..., None] / 2)  # fmt: skip
    expected = (shares * (apart < NEAR)).sum((-2, -1)).mean(1)
    assert torch.allclose(sure.double(), expected, atol=1e-5)
