"""The weights that come with handlib: what every copy of them must do."""

import numpy as np
import pytest

import handlib
from handlib.geometry import tight_box
from handlib.inference import made_up_photos, noise_photos
from handlib.paths import SHIPPED


@pytest.fixture(scope="module")
def predictor():
    return handlib.Predictor()


@pytest.fixture(scope="module")
def made_up(hand):
    return made_up_photos(hand, 12, seed=5)


def test_they_are_small(predictor):
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 12e6
    assert predictor.model.config.handedness and predictor.model.config.presence


def test_hands_of_both_sides_are_told_and_found(predictor, made_up):
    pictures = [sample.image for sample in made_up]
    boxes = [tight_box(sample.joints_2d) for sample in made_up]
    hands = predictor(pictures, boxes)
    told = [hand.is_right == sample.is_right for hand, sample in zip(hands, made_up)]
    assert np.mean(told) > 0.8
    errors = [
        np.linalg.norm(hand.joints_2d - sample.joints_2d, axis=1).mean() / np.ptp(box[[0, 2]])
        for hand, sample, box in zip(hands, made_up, boxes, strict=True)
    ]
    assert np.median(errors) < 0.13
    assert np.mean([bool(predictor.find(picture)) for picture in pictures]) > 0.7


def test_noise_is_less_sure_than_hands(predictor, made_up):
    boxes = [tight_box(sample.joints_2d) for sample in made_up]
    hands = [h.confidence for h in predictor([s.image for s in made_up], boxes)]
    photos = noise_photos(10)
    noise = [h.confidence for h in predictor(photos, [(64, 64, 256, 256)] * 10)]
    assert np.median(hands) > 2 * max(noise)
    assert sum(len(predictor.find(photo)) for photo in photos) == 0
