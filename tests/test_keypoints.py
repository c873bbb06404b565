import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from fake_data import fake_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from posed_hands import PosedHands

from handlib import augment, geometry, keypoints
from handlib.augment import Compose, Flip, GivenKeypoints, NoisyKeypoints, Rotate
from handlib.backbones import make_backbone
from handlib.checkpoints import export
from handlib.data import HandDataset, KeypointFiles, collate
from handlib.evaluation import predict
from handlib.joints import convert
from handlib.keypoints import add_keypoints, in_validation
from handlib.model import MAP_SIGMA, inputs, keypoint_maps, make_model
from handlib.presets import MODEL_PRESETS
from handlib.recipe import TrainConfig
from handlib.training import train

RNG = np.random.default_rng


def keypoints_of(sample, confidence=1.0):
    return np.column_stack([sample.joints_2d, np.full(21, confidence)])


def peaks(maps):
    """(B, 21, 2) x, y of the largest cell of each map."""
    y, x = np.divmod(maps.flatten(2).argmax(-1).numpy(), maps.shape[-1])
    return np.stack([x, y], -1)


# -- the maps ----------------------------------------------------------------------------------
def test_a_map_is_a_gaussian_of_the_confidence_about_the_keypoint():
    found = torch.zeros(2, 21, 3)
    found[1, 4] = torch.tensor([20.25, 11.5, 0.8])
    maps = keypoint_maps(found, 50)
    assert maps.shape == (2, 21, 50, 50)
    y, x = torch.meshgrid(torch.arange(50), torch.arange(50), indexing="ij")
    squared = (x - 20.25) ** 2 + (y - 11.5) ** 2
    expected = 0.8 * torch.exp(-squared / (2 * (MAP_SIGMA * 50) ** 2))
    assert torch.allclose(maps[1, 4], expected, atol=1e-6)
    maps[1, 4] = 0
    assert maps.abs().max() == 0  # what was not found leaves its map empty


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([(224, 224), (320, 240), (150, 200)]),
    chain=st.sampled_from(["full", "light", "course", "none"]),
    is_right=st.booleans(),
)
def test_maps_follow_any_transforms(seed, size, chain, is_right):
    sample = fake_sample(seed, size=size, is_right=is_right)
    first = GivenKeypoints(lambda s: keypoints_of(s, 0.9))
    moves = [first, augment.named_transforms(chain, 96), Flip(0.5)]
    moved = Compose(moves)(sample, RNG(seed))
    maps = keypoint_maps(torch.tensor(moved.keypoints)[None], 96)
    truth = geometry.project(moved.joints, moved.K)
    inside = ((truth > -0.5) & (truth < 95.5)).all(1)
    assert np.abs(peaks(maps)[0] - truth)[inside].max(initial=0) <= 0.5 + 1e-6
    assert (moved.keypoints[:, 2] == 0.9).all()


def test_a_batch_carries_keypoints_to_the_network():
    found = fake_sample(1, size=(64, 64))
    found = found.replace(keypoints=keypoints_of(found))
    batch = collate([found, fake_sample(2, size=(64, 64))])
    assert batch["has_keypoints"].tolist() == [True, False]
    assert batch["keypoints"][1].isnan().all()
    assert inputs(batch)["keypoints"] is batch["keypoints"]
    with pytest.raises(ValueError, match="keypoints of shape"):
        found.replace(keypoints=np.zeros((21, 2)))


# -- the network -------------------------------------------------------------------------------
@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_at_first_the_network_does_not_see_its_new_channels_and_can_learn_to(hand, preset):
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    found = torch.rand(2, 21, 3) * 60
    plain, wide = (make_model(preset, hand, keypoint_maps=on) for on in (False, True))
    first = next(m for m in wide.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.weight.shape[1] == first.in_channels == 24
    a, b = plain.eval()(image), wide.eval()(image, keypoints=found)
    assert torch.allclose(a.joints, b.joints, atol=1e-6)
    wide.train()(image, keypoints=found).joints_2d.square().sum().backward()
    assert first.weight.grad[:, 3:].flatten(2).abs().amax((0, 2)).min() > 0


@pytest.mark.parametrize("name", ["resnet-18", "convnextv2-atto", "dinov2-small"])
def test_any_encoder_takes_more_channels(name):
    torch.manual_seed(0)
    plain = make_backbone(name).eval()
    torch.manual_seed(0)
    wide = make_backbone(name, channels=24).eval()
    image = torch.randn(1, 24, 56, 56)
    with torch.no_grad():
        a, b = plain(image[:, :3]).feature_maps, wide(image).feature_maps
    assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_a_network_with_maps_refuses_images_nobody_looked_at(hand):
    model = make_model("small", hand, keypoint_maps=True).eval()
    image = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    found = torch.zeros(2, 21, 3)  # looked, and found nothing
    assert model(image, keypoints=found).joints.isfinite().all()
    found[1] = torch.nan
    for missing in (None, found):
        with pytest.raises(ValueError, match="add_keypoints"):
            model(image, keypoints=missing)


# -- where keypoints come from -----------------------------------------------------------------
def test_noisy_truth_is_as_noisy_as_it_says():
    sample = fake_sample(3)
    x0, y0, x1, y1 = geometry.tight_box(sample.joints_2d)
    drawn = np.stack([NoisyKeypoints(0.05, 0.2)(sample, RNG(s)).keypoints for s in range(300)])
    found = drawn[..., 2] == 1
    assert found.mean() == pytest.approx(0.8, abs=0.02)
    assert np.all(drawn[~found] == 0)
    offsets = (drawn[..., :2] - sample.joints_2d)[found] / max(x1 - x0, y1 - y0)
    assert offsets.std() == pytest.approx(0.05, rel=0.05)
    again = NoisyKeypoints(0.05, 0.2)(sample, RNG(7)).keypoints
    np.testing.assert_array_equal(again, drawn[7])


def test_noisy_truth_finds_nothing_outside_of_the_image_or_without_truth():
    sample = fake_sample(4)
    sample.joints_2d[3] = (-5, 20)
    sample.joints_2d[5] = np.nan
    found = NoisyKeypoints(missed=0)(sample, RNG(0)).keypoints
    assert np.flatnonzero(found[:, 2] == 0).tolist() == [3, 5]
    nobody = sample.replace(joints=None, joints_2d=None)
    assert not NoisyKeypoints()(nobody, RNG(0)).keypoints.any()


def test_noisy_truth_never_enters_an_evaluation(hand):
    data = HandDataset(PosedHands(hand, 2))
    with pytest.raises(ValueError, match="are for training"):
        add_keypoints(data, "noisy truth")
    shown = add_keypoints(data, "noisy truth", training=True)[1]
    assert shown.has("keypoints")
    assert add_keypoints(data, "") is data
    with pytest.raises(ValueError, match="unknown keypoints 'truth'; did you mean 'noisy truth'"):
        add_keypoints(data, "truth")
    with pytest.raises(ValueError, match="need keypoints_from"):
        add_keypoints(data, "file")


def test_noisy_truth_is_drawn_by_the_seed_of_its_dataset():
    first, again, other = (
        add_keypoints(HandDataset([fake_sample(0)], None, seed), "noisy truth", training=True)[0]
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    assert (first.keypoints != other.keypoints).any()


def test_noisy_truth_gives_way_in_validation(hand, tmp_path):
    (tmp_path / "found.json").write_text("{}")
    export(make_model("small", hand), tmp_path / "run/checkpoints/best")
    given = [tmp_path / "found.json", tmp_path, tmp_path / "run", "shipped"]
    seen = ["file", "file", "predicted", "predicted"]
    assert [in_validation("noisy truth", each) for each in given] == seen
    assert in_validation("noisy truth", "") == "noisy truth"  # for want of another: it is named
    assert in_validation("predicted", tmp_path) == "predicted" and in_validation("", tmp_path) == ""


class FindsTheDot(torch.nn.Module):
    """A first stage of 80 px that sees every joint at the middle of what is bright."""

    config = SimpleNamespace(input_size=80)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image, K=None, keypoints=None):
        bright = image.float().sum(1)
        y, x = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
        middle = [(bright * axis).sum((1, 2)) / bright.sum((1, 2)) for axis in (x, y)]
        place = torch.stack(middle, -1)[:, None].repeat(1, 21, 1)
        return SimpleNamespace(keypoints_2d=place)


def dotted(seed, is_right):
    """A dark image with a dot amid the joints."""
    size = (200, 120)
    place = RNG(seed).uniform(30, 90, 2)
    image = np.zeros((120, 200, 3), np.uint8)
    centre, radius = tuple((place * 16).round().astype(int).tolist()), 10 * 16
    cv2.circle(image, centre, radius, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    sample = fake_sample(seed, size=size, is_right=is_right, version=None)
    joints_2d = place + np.linspace(-20, 20, 21)[:, None] * (1, 0.8)
    box = None if seed < 4 else np.array([*place - 30, *place + 25])  # one is cropped to it
    return sample.replace(image=image, joints_2d=joints_2d, box=box)


def test_a_first_stage_finds_keypoints_in_the_image_as_read(hand, monkeypatch, tmp_path):
    """Whatever the sizes of image and network, and where the network sees it mirrored."""
    monkeypatch.setattr(keypoints, "weights_folder", lambda given: given)
    monkeypatch.setattr(keypoints, "load_checkpoint", lambda path, hand: FindsTheDot())
    samples = [dotted(seed, is_right=seed % 2 == 0) for seed in range(6)]
    seen = add_keypoints(HandDataset(samples, Rotate()), "predicted", tmp_path, hand)
    for i in range(6):
        dot = seen[i].joints_2d.mean(0)
        assert np.abs(seen[i].keypoints[:, :2] - dot).max() < 0.2
        assert (seen[i].keypoints[:, 2] == 1).all()
    with pytest.raises(ValueError, match="share id, version and side"):
        add_keypoints(HandDataset(samples[:1] * 2), "predicted", tmp_path, hand)


# -- a detector's files ------------------------------------------------------------------------
@pytest.fixture
def sample(tmp_path):
    return fake_sample(5, size=(200, 100)).replace(path=tmp_path / "data/train/00000012.jpg")


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_openpose_files(tmp_path, sample):
    hand = np.column_stack([RNG(0).uniform(2, 90, (21, 2)), RNG(1).uniform(0.1, 1, 21)])
    hand[6] = 0
    other = hand * (1, 1, 0.5) + (3, 0, 0)
    people = [
        {"hand_right_keypoints_2d": other.ravel().tolist(), "hand_left_keypoints_2d": []},
        {
            "hand_right_keypoints_2d": hand.ravel().tolist(),
            "hand_left_keypoints_2d": (hand + (50, 0, 0)).ravel().tolist(),
        },
    ]
    path = write(tmp_path / "found/00000012_keypoints.json", {"version": 1.3, "people": people})
    find = KeypointFiles(tmp_path / "found")
    np.testing.assert_allclose(find(sample), hand)
    left = find(sample.replace(is_right=False))
    np.testing.assert_allclose(left[7], hand[7] + (50, 0, 0))
    people[0]["hand_left_keypoints_2d"] = (hand * (1, 1, 0) + (0, 0, 1)).ravel().tolist()
    write(path, {"people": people})
    assert find(sample.replace(is_right=None))[:, 2].sum() == 21
    write(path, {"people": []})
    assert not find(sample).any()
    people[1]["hand_right_keypoints_2d"] = (hand / (200, 100, 1)).ravel().tolist()
    write(path, {"people": people[1:]})
    with pytest.raises(ValueError, match=r"00000012_keypoints\.json: x and y are not px"):
        find(sample)


def test_mediapipe_files(tmp_path, sample):
    places = RNG(0).uniform(0, 1, (21, 2))
    hand = [{"x": x, "y": y, "z": 0.1} for x, y in places]
    for landmarks in ("hand_landmarks", "landmarks"):
        content = {
            "handedness": [[{"score": 0.6}], [{"score": 0.9}]],
            landmarks: [[{"x": 0.5, "y": 0.5}] * 21, hand],
        }
        write(tmp_path / "found/00000012.json", content)
        found = KeypointFiles(tmp_path / "found")(sample)
        np.testing.assert_allclose(found[:, :2], places * (200, 100) - 0.5)
        assert (found[:, 2] == 0.9).all()
    write(tmp_path / "found/00000012.json", {"hand_landmarks": [], "handedness": []})
    assert not KeypointFiles(tmp_path / "found")(sample).any()


def test_coco_files(tmp_path, sample):
    hand = np.column_stack([RNG(0).uniform(2, 90, (21, 2)), np.full(21, 2)])
    hand[9] = 0
    names = ["val/00000012.jpg", "train/00000012.jpg", "train/00000013.jpg"]
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 1, "keypoints": hand.ravel().tolist()}],
    }
    path = write(tmp_path / "found.json", content)
    expected = convert(hand.clip(max=[np.inf, np.inf, 1]), "rhd")
    np.testing.assert_allclose(KeypointFiles(path, "rhd")(sample), expected)
    assert not KeypointFiles(path)(sample.replace(path=tmp_path / "train/00000013.jpg")).any()


def spot(x, y, confidence=0.9):
    """A hand of 20 px at a place, as a list of 63 numbers."""
    places = np.linspace(0, 20, 21)
    return np.column_stack([x + places, y + places, np.full(21, confidence)]).ravel().tolist()


def landmarks(numbers, size=(200, 100)):
    places = (np.reshape(numbers, (21, 3))[:, :2] + 0.5) / size
    return [{"x": x, "y": y} for x, y in places]


@pytest.mark.parametrize("form", ["coco", "openpose", "mediapipe"])
def test_of_several_hands_the_one_in_the_box_is_taken(tmp_path, sample, form):
    """Not the most confident one; a side that the detector says counts less than the place."""
    left, right = spot(20, 30), spot(120, 40, 0.8)
    if form == "coco":
        hands = [
            {"image_id": 1, "keypoints": left, "hand_type": "Left"},
            {"image_id": 1, "keypoints": right, "hand_type": "right"},
        ]
        images = [{"id": 1, "file_name": str(sample.path), "width": 200, "height": 100}]
        path = tmp_path / "found.json"
        write(path, {"images": images, "annotations": hands})
    elif form == "openpose":
        path = tmp_path / "found"
        people = [{"hand_left_keypoints_2d": left}, {"hand_right_keypoints_2d": right}]
        write(path / "00000012_keypoints.json", {"people": people})
    else:
        path = tmp_path / "found"
        content = {
            "handedness": [[{"score": 0.9}], [{"score": 0.8}]],
            "hand_landmarks": [landmarks(left), landmarks(right)],
        }
        write(path / "00000012.json", content)
    find = KeypointFiles(path)

    def found_at(**known):
        return find(sample.replace(**known))[0, :2].round(6).tolist()

    at_left, at_right = np.array([18.0, 28, 42, 52]), np.array([118.0, 38, 142, 62])
    for is_right in (True, False, None):
        assert found_at(box=at_left, is_right=is_right) == [20, 30]
        assert found_at(box=at_right, is_right=is_right) == [120, 40]
    assert not find(sample.replace(box=np.array([60.0, 60, 80, 80]))).any()  # not this hand
    if form != "mediapipe":  # which says no side that could be relied on
        assert found_at(is_right=True) == [120, 40]
    assert found_at(is_right=None) == [20, 30]


def test_of_two_hands_in_one_box_the_one_of_its_side_is_taken(tmp_path, sample):
    people = [
        {"hand_left_keypoints_2d": spot(20, 30), "hand_right_keypoints_2d": spot(24, 30, 0.5)}
    ]
    write(tmp_path / "found/00000012_keypoints.json", {"people": people})
    find = KeypointFiles(tmp_path / "found")
    box = np.array([20.0, 30, 42, 52])
    assert find(sample.replace(box=box, is_right=True))[0, 0] == 24
    assert find(sample.replace(box=box, is_right=False))[0, 0] == 20


def test_images_of_a_coco_file_are_told_by_suffix_and_size(tmp_path, sample):
    images = [{"id": n, "file_name": f"train/00000012.{k}"} for n, k in enumerate(("png", "jpg"))]
    hands = [{"image_id": n, "keypoints": spot(10 * n + 10, 5)} for n in range(2)]
    path = write(tmp_path / "found.json", {"images": images, "annotations": hands})
    assert KeypointFiles(path)(sample)[0, 0] == 20
    assert KeypointFiles(path)(sample.replace(path=sample.path.with_suffix(".png")))[0, 0] == 10
    with pytest.raises(FileNotFoundError, match=r"no keypoints for the image .*00000012\.bmp"):
        KeypointFiles(path)(sample.replace(path=sample.path.with_suffix(".bmp")))
    images[1] |= {"width": 400, "height": 200}
    write(path, {"images": images, "annotations": hands})
    with pytest.raises(ValueError, match=r"for 400 x 200 px and .*00000012\.jpg has 200 x 100"):
        KeypointFiles(path)(sample)


def test_faults_of_files_are_named(tmp_path, sample):
    with pytest.raises(FileNotFoundError, match="no such file or folder of keypoints"):
        KeypointFiles(tmp_path / "nothing")
    path = write(tmp_path / "found/00000012.json", {"hands": []})
    with pytest.raises(ValueError, match=r"00000012\.json is neither OpenPose's"):
        KeypointFiles(tmp_path / "found")(sample)
    with pytest.raises(ValueError, match="is not a COCO file"):
        KeypointFiles(path)
    with pytest.raises(FileNotFoundError, match=r"no keypoints for the image .*00000099\.jpg"):
        KeypointFiles(tmp_path / "found")(sample.replace(path=tmp_path / "00000099.jpg"))
    path.write_text('{"people": [')
    with pytest.raises(ValueError, match="truncated or not the JSON"):
        KeypointFiles(tmp_path / "found")(sample)
    write(path, {"people": [{"hand_right_keypoints_2d": [1, 2, 3]}]})
    with pytest.raises(ValueError, match="3 numbers in a hand"):
        KeypointFiles(tmp_path / "found")(sample)


def test_a_model_with_maps_trains_and_is_evaluated_as_any_other(hand, tmp_path):
    data = add_keypoints(HandDataset(PosedHands(hand, 6)), "noisy truth", training=True)
    model = make_model("small", hand, keypoint_maps=True, hidden=32)
    config = TrainConfig(steps=2, batch_size=4, log_with=None, workers=1)
    assert train(model, data, data, config, tmp_path).finished
    assert np.isfinite(predict(model, data)["pred_joints"]).all()
