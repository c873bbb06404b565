from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from fake_data import fake_sample
from posed_hands import SIZE, PosedHands

from handlib import geometry
from handlib.augment import Upright
from handlib.data import collate
from handlib.geometry import axis_angle_to_matrix, transform_points
from handlib.joints import KNUCKLES, ROOT, WRIST
from handlib.model import Prediction, inputs, make_model
from handlib.upright import FILL, cut_out, quarter_turn, upright_view

EYE = torch.eye(3)


@pytest.fixture(scope="module")
def batch(hand):
    """Three right hands."""
    hands = PosedHands(hand, 3)
    return collate([hands[i] for i in range(3)])


def up(joints_2d):
    return joints_2d[..., KNUCKLES, :].mean(-2) - joints_2d[..., WRIST, :]


def test_knuckles_stand_above_the_wrist_in_the_middle(batch):
    affine, _ = upright_view(batch["joints_2d"], batch["K"], 100)
    seen = transform_points(affine, batch["joints_2d"])
    assert up(seen)[:, 0].abs().max() < 1e-3
    assert (up(seen)[:, 1] < 0).all()  # y points down
    low, high = seen.amin(1), seen.amax(1)
    assert torch.allclose((low + high) / 2, torch.tensor(49.5), atol=1e-3)
    assert torch.allclose((high - low).amax(1), torch.tensor(100 * FILL), atol=1e-3)


def test_places_that_are_all_one_are_not_magnified_without_end():
    affine, _ = upright_view(torch.full((1, 21, 2), 30.0), EYE[None], 100)
    assert affine.isfinite().all()
    assert affine.abs().max() < 1e4


def test_pixels_go_where_the_affine_says(batch):
    affine, _ = upright_view(batch["joints_2d"], batch["K"], SIZE)
    crops = cut_out(batch["image"], affine)
    for image, crop, A in zip(batch["image"], crops, affine, strict=True):
        pixels = np.float32(image.permute(1, 2, 0))
        theirs = cv2.warpAffine(
            pixels, A[:2].double().numpy(), (SIZE, SIZE), flags=cv2.INTER_LINEAR
        )
        # OpenCV rounds places to 1/32 px, which noise shows at its largest.
        assert np.abs(theirs - crop.permute(1, 2, 0).numpy()).mean() < 3


@pytest.mark.parametrize("seed", range(3))
def test_the_transform_shows_a_hand_about_upright(seed):
    sample = fake_sample(seed)
    out = Upright(96, 1.0)(sample, np.random.default_rng(seed))
    x, y = up(out.joints_2d)
    assert out.size == (96, 96)
    assert abs(np.degrees(np.arctan2(x, -y))) < 60
    assert 0.4 < np.ptp(out.joints_2d, 0).max() / 96 < 0.9
    assert Upright(96, 0.0)(sample, np.random.default_rng(seed)) is sample
    unknown = sample.replace(joints=None, joints_2d=None, vertices=None, pose=None, K=None)
    assert Upright(96, 1.0)(unknown, np.random.default_rng(seed)).size == sample.size


def truth(batch, affine=EYE, motion=EYE):
    """What a perfect network says of the hands as they look after an affine and a motion."""
    K = affine @ batch["K"] @ motion.mT
    root = (batch["joints"][:, ROOT : ROOT + 1] @ motion.mT)[:, 0]
    points = {
        name: (batch[name] - batch["joints"][:, ROOT : ROOT + 1]) @ motion.mT
        for name in ("joints", "vertices")
    }
    seen = {f"{n}_2d": geometry.project(p + root[:, None], K) for n, p in points.items()}
    turns = axis_angle_to_matrix(batch["pose"].reshape(-1, 16, 3))
    turns = torch.cat([(motion @ turns[:, 0])[:, None], turns[:, 1:]], 1)
    whole = geometry.matrix_to_axis_angle(turns[:, 0])
    return Prediction(
        **points,
        **seen,
        pose=torch.cat([whole, batch["pose"][:, 3:]], 1),
        betas=batch["betas"],
        rotations=turns,
        scale=geometry.focal_length(K) / root[:, 2],
        trans=seen["joints_2d"][:, ROOT],
        root=root,
        mean_pose=torch.zeros(45),
        keypoints_2d=seen["joints_2d"],
        depths=points["joints"][..., 2],
        right=batch["betas"][:, 0],
        present=batch["betas"][:, 1],
    )


def test_what_the_second_look_says_is_turned_back(hand, batch, monkeypatch):
    model, calls = make_model("modern", hand).eval(), []
    affine, motion = upright_view(batch["joints_2d"], batch["K"], SIZE)

    def perfect(image, K=None, keypoints=None):
        calls.append(image)
        if len(calls) == 1:
            return replace(truth(batch), right=-batch["betas"][:, 0])
        assert torch.allclose(K, affine @ batch["K"] @ motion.mT, atol=1e-3)
        return replace(truth(batch, affine, motion), present=-batch["betas"][:, 1])

    monkeypatch.setattr(model, "look", perfect)
    said, expected = model(**inputs(batch), refine=0), truth(batch)
    assert len(calls) == 2
    assert not torch.equal(calls[0].float(), calls[1])
    for name, value in vars(expected).items():
        if value is not None:
            assert torch.allclose(getattr(said, name), value, atol=2e-3, rtol=1e-4), name
    K = batch["K"].clone()
    K[1] = torch.nan
    monkeypatch.setattr(model, "look", lambda image, K=None, keypoints=None: truth(batch))
    assert model(batch["image"], K, refine=0).root.isnan().any(1).tolist() == [False, True, False]


def test_arrays_stand_upright_as_tensors_do(batch):
    given = batch["joints_2d"].double(), batch["K"].double()
    turn, fill = torch.linspace(-1, 1, len(given[0])).double(), torch.tensor(0.5).double()
    expected = upright_view(*given, SIZE, turn, fill, torch.tensor([3.0, -2.0]))
    found = upright_view(
        *(v.numpy() for v in given), SIZE, turn.numpy(), fill.numpy(), np.array([3.0, -2.0])
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_only_a_network_that_does_not_learn_looks_twice(hand, batch, monkeypatch):
    model, calls = make_model("modern", hand), []
    look = model.look
    monkeypatch.setattr(model, "look", lambda *args: calls.append(1) or look(*args))
    model.train()(**inputs(batch))
    assert len(calls) == 1
    with torch.no_grad():
        said = model.eval()(**inputs(batch), turns=1)
    assert len(calls) == 3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = model(**inputs(batch))
    for name, value in vars(said).items():
        assert value.isfinite().all(), name
        if name != "mean_pose":
            assert getattr(half, name).dtype == torch.float32, name
    assert make_model("small", hand).config.looks == 1


@pytest.mark.parametrize("times", range(5))
def test_a_quarter_turn_moves_whole_pixels(times):
    image = torch.randint(0, 256, (1, 3, 7, 7))
    turned = cut_out(image, quarter_turn(times, 7)[None])
    assert torch.allclose(turned, torch.rot90(image, -times, (2, 3)).float(), atol=1e-2)


def test_where_it_is_not_sure_it_looks_from_all_sides_and_again_where_that_was_sharpest(
    hand, batch, monkeypatch
):
    """The first hand is seen sharply at once, the second after a half turn, the third never."""
    model, calls = make_model("modern", hand).eval(), []
    second = {1: [0.03, 0.3, 0.2], 5: [0.1, 0.25]}
    turned_by = {2: [0.3, 0.28], 3: [0.05, 0.3], 4: [0.25, 0.1]}  # first looks from other sides

    def heatmaps(sigmas):
        cells = (torch.arange(32) + 0.5) / 32 - 0.5
        maps = torch.stack([-(cells**2 + cells[:, None] ** 2) / (2 * s * s) for s in sigmas])
        maps = maps[:, None].expand(-1, 21, -1, -1)
        return maps.flatten(2).log_softmax(-1).unflatten(2, (32, 32))

    def look(image, K=None, keypoints=None):
        n = len(calls)
        calls.append(image)
        part = {name: v[3 - len(image) :] for name, v in batch.items() if torch.is_tensor(v)}
        if n == 0:
            return truth(part)
        if n in turned_by:
            turned = torch.rot90(part["image"], -(n - 1), (2, 3)).float()
            assert torch.allclose(image, turned, atol=0.1)
            wrong = 20.0 * torch.tensor([[n != 3], [n != 4]])[..., None]  # not the sharpest one
            places = transform_points(quarter_turn(n - 1, SIZE), part["joints_2d"]) + wrong
            return replace(truth(part), keypoints_2d=places, heatmaps=heatmaps(turned_by[n]))
        affine, motion = upright_view(part["joints_2d"], part["K"], SIZE)
        assert torch.allclose(image.float(), cut_out(part["image"], affine).float(), atol=1.5)
        marked = {"right": torch.full((len(image),), float(n)), "heatmaps": heatmaps(second[n])}
        return replace(truth(part, affine, motion), **marked)

    monkeypatch.setattr(model, "look", look)
    said, expected = model(**inputs(batch), refine=0), truth(batch)
    assert [len(image) for image in calls] == [3, 3, 2, 2, 2, 2]
    assert said.right.tolist() == [1, 5, 1]
    for name in ("joints", "vertices", "joints_2d", "pose", "scale", "trans", "root"):
        assert torch.allclose(getattr(said, name), getattr(expected, name), atol=3e-3, rtol=1e-4), (
            name
        )
    calls.clear()
    assert model(**inputs(batch), refine=0, turns=1).right.tolist() == [1, 1, 1]
    assert len(calls) == 2
