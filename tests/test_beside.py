"""A second hand in the picture: at its border, and never part of the first one's mask."""

import numpy as np
import pytest
import torch

from handlib.data import beside, scene
from handlib.data.poses import sample_articulations


@pytest.fixture(scope="module")
def generator(hand):
    return scene.Generator(hand, 64)


@pytest.fixture(scope="module")
def renders(generator):
    rng = np.random.default_rng(5)
    poses = [generator.draw_pose(rng, a) for a in sample_articulations(rng, 12)]
    return [generator._alone(rng, *hand) for hand in zip(poses, *generator.posed(poses))]


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(beside, "_SHARE", 1.0)


def added(render, others, seed):
    return beside.add_other_hand(np.random.default_rng(seed), render, lambda: others)


def test_another_hand_behind_leaves_the_first_as_it_is(renders, always, monkeypatch):
    monkeypatch.setattr(beside, "_IN_FRONT", 0.0)
    covered = []
    for seed, render in enumerate(renders):
        both = added(render, renders, seed)
        np.testing.assert_array_equal(both.hand, render.hand)
        inside = render.alpha == 1
        np.testing.assert_array_equal(both.rgb[inside], render.rgb[inside])
        assert (both.alpha >= render.alpha).all() and both.alpha.max() <= 1 + 1e-6
        assert (both.rgb <= both.alpha[..., None] + 1e-5).all()
        covered.append((both.alpha - render.alpha).mean())
    assert np.median(covered) > 0.03


def test_another_hand_in_front_hides_a_part_but_never_most(renders, always, monkeypatch):
    monkeypatch.setattr(beside, "_IN_FRONT", 1.0)
    share = []
    for seed in range(40):
        render = renders[seed % len(renders)]
        both = added(render, renders, seed)
        assert (both.hand <= render.hand + 1e-6).all() and (both.alpha <= 1 + 1e-6).all()
        assert (both.rgb <= both.alpha[..., None] + 1e-5).all()
        share.append(both.hand.sum() / render.hand.sum())
    assert min(share) >= 0.5 and np.mean(np.array(share) < 0.98) > 0.2


def test_the_middle_of_the_other_hand_is_at_the_border(renders):
    for seed, other in enumerate(renders * 3):
        affine = beside._reaching_in(np.random.default_rng(seed), other, 64)
        points = other.joints @ other.K.T
        middle = (points[:, :2] / points[:, 2:]).mean(0)
        place = affine[:, :2] @ middle + affine[:, 2]
        assert 0.39 * 64 < np.abs(place - 32).max() < 0.61 * 64


def test_a_picture_depends_on_its_seed_and_not_on_those_before(hand, renders):
    """The other hands are the same whenever they are first asked for."""
    pictures = []
    for warm in (0, 7):
        generator = scene.Generator(hand, 48)
        rng = np.random.default_rng(1)
        poses = [generator.draw_pose(rng, a) for a in sample_articulations(rng, 8)]
        hands = list(zip(poses, *generator.posed(poses)))
        for k in range(warm):
            generator.render(np.random.default_rng(100 + k), *hands[k])
        torch.manual_seed(warm)
        pictures.append(np.stack([
            generator.render(np.random.default_rng(k), *h).rgb for k, h in enumerate(hands)
        ]))  # fmt: skip
    np.testing.assert_array_equal(*pictures)
