"""A hand is moved onto the joints that were found, by how sure their places are."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from posed_hands import PosedHands

from handlib.data import collate
from handlib.geometry import axis_angle_to_matrix, focal_length
from handlib.joints import ROOT
from handlib.metrics import per_sample
from handlib.model import inputs, make_model
from handlib.pooling import HEATMAP_SIGMA
from handlib.refine import PLACE, place_error, refined

N, CELLS = 8, 32


def gaussians(places, sigma, size):
    """Log-probabilities (B, 21, CELLS, CELLS) about places (B, 21, 2) px; sigma (21,) of sides."""
    cells = (torch.arange(CELLS) + 0.5) * (size / CELLS) - 0.5
    x, y = (
        -0.5 * ((cells - p[..., None]) / (sigma[:, None] * size)) ** 2 for p in places.unbind(-1)
    )
    return (y[..., None] + x[..., None, :]).flatten(2).log_softmax(-1).unflatten(2, (CELLS, CELLS))


def test_the_error_of_a_place_is_the_spread_of_its_heatmap():
    sigma = torch.linspace(HEATMAP_SIGMA, 0.1, 21)
    found = place_error(gaussians(torch.full((1, 21, 2), 63.5), sigma, 128))[0]
    expected = (PLACE**2 + sigma**2 - HEATMAP_SIGMA**2).sqrt()
    assert torch.allclose(found, expected, rtol=0.1)


@pytest.fixture(scope="module")
def guess(hand):
    """(model, what it says, K, true joints (N, 21, 3)): every hand beside the truth."""
    hands = PosedHands(hand, N)
    batch = collate([hands[i] for i in range(N)])
    model = make_model("modern", hand, input_size=64).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        said = model.look(batch["image"], batch["K"])
        pose = batch["pose"].unflatten(1, (16, 3)).clone()
        pose[:, 1:] += model.layer.hands_mean.unflatten(0, (15, 3))
        pose += 0.15 * torch.randn(pose.shape, generator=generator)
        scale = focal_length(batch["K"]) / batch["joints"][:, ROOT, 2]
        trans = batch["joints_2d"][:, ROOT] + torch.randn(N, 2, generator=generator)
        made = model.place(axis_angle_to_matrix(pose), batch["betas"], scale, trans, batch["K"])
    vars(said).update(made, keypoints_2d=batch["joints_2d"])
    return SimpleNamespace(model=model, said=said, batch=batch)


def after(guess, sigma, steps=30, **changes):
    """(PA-MPJPE mm, distance px from the true places) of refined hands; sigma (21,) of sides."""
    said = SimpleNamespace(**vars(guess.said) | changes)
    said = type(guess.said)(**vars(said))
    said.heatmaps = gaussians(said.keypoints_2d, sigma, 64)
    made = refined(guess.model, said, guess.batch["K"], steps)
    errors = per_sample(made.joints.numpy(), guess.batch["joints"].numpy(), *[None] * 5)
    apart = (made.joints_2d - guess.batch["joints_2d"]).norm(dim=-1).mean().item()
    return errors["pa_mpjpe_mm"].mean(), apart


def test_a_hand_comes_nearer_in_the_image_and_in_space(guess):
    sharp, wide = torch.full((21,), HEATMAP_SIGMA), torch.full((21,), 0.3)
    (before, far), (better, near), (unsure, between) = (
        after(guess, sharp, steps=0), after(guess, sharp), after(guess, wide)
    )  # fmt: skip
    assert near < 0.4 * far and better < 0.85 * before
    assert near < between < far and better < unsure


def test_it_never_ends_farther_off_than_it_began(guess):
    """Places on the head's own joints: every step leads away from them, so none is taken."""
    said = guess.said
    there = replace(said, keypoints_2d=said.joints_2d.detach().clone())
    for steps in (1, 5, 10):
        made = refined(guess.model, there, guess.batch["K"], steps)
        torch.testing.assert_close(made.joints, there.joints, atol=1e-5, rtol=0)


def test_it_refines_in_inference_mode_too(guess):
    with torch.no_grad():
        expected = refined(guess.model, guess.said, guess.batch["K"], 3).joints
    with torch.inference_mode():
        said = replace(guess.said, **{
            name: value.clone() for name, value in vars(guess.said).items()
            if torch.is_tensor(value)
        })  # fmt: skip
        made = refined(guess.model, said, guess.batch["K"].clone(), 3).joints
    torch.testing.assert_close(made, expected)


def test_a_joint_that_was_not_found_does_not_pull_the_others(guess):
    places = guess.batch["joints_2d"].clone()
    places[:, 8] += torch.tensor([25.0, -20.0])
    sigma = torch.full((21,), HEATMAP_SIGMA)
    sigma[8] = 0.25
    before, _ = after(guess, sigma, steps=0)
    better, _ = after(guess, sigma, keypoints_2d=places)
    assert better < 0.9 * before


def test_a_network_refines_where_it_does_not_learn(hand, guess):
    batch = guess.batch
    with torch.no_grad():
        plain, usual = guess.model(**inputs(batch), refine=0), guess.model(**inputs(batch))
        learning = guess.model.train()(**inputs(batch))
        guess.model.eval()
    assert guess.model.config.refine > 0
    apart = [(p.joints_2d - p.keypoints_2d).norm(dim=-1).mean().item() for p in (plain, usual)]
    assert apart[1] < apart[0]
    assert np.isfinite(usual.vertices.numpy()).all() and learning.joints.shape == (N, 21, 3)
    assert torch.equal(plain.keypoints_2d, usual.keypoints_2d)
    blind = make_model("boukhayma2019", hand, input_size=64, refine=10).eval()
    assert blind(batch["image"]).joints.shape == (N, 21, 3)
    with pytest.raises(ValueError, match="finds joints in the image"):
        blind(batch["image"], refine=5)
