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
from handlib.upright import FILL, cut_out, upright_view

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


def test_only_a_network_that_does_not_learn_looks_twice(hand, batch, monkeypatch):
    model, calls = make_model("modern", hand), []
    look = model.look
    monkeypatch.setattr(model, "look", lambda *args: calls.append(1) or look(*args))
    model.train()(**inputs(batch))
    assert len(calls) == 1
    with torch.no_grad():
        said = model.eval()(**inputs(batch))
    assert len(calls) == 3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = model(**inputs(batch))
    for name, value in vars(said).items():
        assert value.isfinite().all(), name
        if name != "mean_pose":
            assert getattr(half, name).dtype == torch.float32, name
    assert make_model("small", hand).config.looks == 1
