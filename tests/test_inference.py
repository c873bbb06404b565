"""Hands in photos: what a network says of them, in the photo's own pixels."""

import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from handlib import evaluation, geometry
from handlib.augment import Compose, CropToBox, ToRight
from handlib.data import HandDataset, Sample
from handlib.data.usable import HOW
from handlib.inference.look import EXPAND, VIEWS, _view, assumed_camera, cut, look
from handlib.inference.scores import errors_table, photo_errors
from handlib.mano import pose_hand
from handlib.model import make_model
from handlib.pooling import sharpness
from handlib.predictions import mirror_back

RNG = np.random.default_rng(0)
K = np.array([[300.0, 0, 90], [0, 310, 70], [0, 0, 1]])
BOX = np.array([60.0, 40, 120, 130])


@pytest.fixture(scope="module")
def model(hand):
    made = make_model("small", hand, handedness=True, camera="perspective").eval()
    torch.nn.init.normal_(
        made.head[-1].weight, std=0.02, generator=torch.Generator().manual_seed(1)
    )
    return made


@pytest.fixture(scope="module")
def photo():
    coarse = RNG.integers(0, 255, (14, 18, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((11, 11, 1), np.uint8))


@pytest.mark.parametrize("is_right", [True, False])
def test_a_hand_is_seen_as_in_an_evaluation(model, photo, is_right):
    """The same numbers as by the transforms that mirror, crop and mirror back."""
    sample = Sample(photo, 0, is_right=is_right, K=K, box=BOX)
    shown = Compose([ToRight(), CropToBox(model.config.input_size, EXPAND)])
    expected = evaluation.predict(model, HandDataset([sample], shown))
    expected = mirror_back(expected)
    seen = look(model, [photo], [BOX], [K], [is_right])
    assert seen["is_right"].tolist() == [is_right]
    for name, close in (("joints", 3e-4), ("vertices", 3e-4), ("pose", 0.01), ("root", 0.01)):
        # The crop's pixels are rounded in another order.
        np.testing.assert_allclose(seen[name], expected[f"pred_{name}"], atol=close, err_msg=name)
    # The projection by K is in the photo's pixels.
    placed = seen["joints"] + seen["root"][:, None]
    np.testing.assert_allclose(geometry.project(placed, K), seen["joints_2d"], atol=1e-2)
    assert np.ptp(seen["joints_2d"][0], 0).max() < 200


def test_a_photo_and_its_mirror_image_get_the_same_answer(model, photo):
    width = photo.shape[1]
    there = np.array([60.5, 40.5, 108.5, 88.5])  # whose crop has the photo's own pixels
    box = np.array([width - 1 - there[2], there[1], width - 1 - there[0], there[3]])
    camera = K.copy()
    camera[0, 2] = width - 1 - K[0, 2]
    images = [photo, np.ascontiguousarray(photo[:, ::-1])]
    seen = look(model, images, [there, box], [K, camera], expand=2.0)
    first, second = seen["is_right"]
    assert first != second and (seen["right"][0] > 0) == first
    np.testing.assert_allclose(seen["right"].sum(), 0, atol=1e-4)
    np.testing.assert_allclose(
        geometry.mirror_points(seen["joints"][0]), seen["joints"][1], atol=3e-4
    )
    mirrored = geometry.transform_points(geometry.mirror_affine(width), seen["keypoints_2d"][0])
    np.testing.assert_allclose(mirrored, seen["keypoints_2d"][1], atol=0.1)


def test_hands_of_one_batch_do_not_meet(model, photo):
    boxes = np.array([BOX, BOX + 20, BOX - 10])
    sides = [True, None, False]
    together = look(model, [photo] * 3, boxes, [K] * 3, sides)
    for n in range(3):
        alone = look(model, [photo], boxes[n : n + 1], [K], sides[n : n + 1])
        assert alone["is_right"][0] == together["is_right"][n]
        np.testing.assert_allclose(alone["joints_2d"][0], together["joints_2d"][n], atol=1e-2)
        assert alone["right"][0] == pytest.approx(together["right"][n], abs=1e-4)


def test_hands_of_undecided_side_are_looked_at_again_turned(model, photo, monkeypatch):
    """Rows: likely right, and by the turned crops; by a hair, and left by these; sure; known;
    no hand at all."""
    told = {0: [1.5, 0.1, 3.0, -3.0, 0.1], 12: [4.0, -2.0, 0, 0, 0]}
    sides, looks = [None, None, None, False, None], []

    def view(model, images, boxes, K, sides, expand, degrees, refine):
        rows = boxes[:, 0].astype(int)
        looks.append((degrees, rows.tolist(), sides, refine))
        right = np.array(told[abs(degrees) and 12])[rows]
        is_right = np.array([r > 0 if side is None else side for r, side in zip(right, sides)])
        present = np.array([5.0, 5, 5, 5, -5])[rows]
        return {"right": right, "is_right": is_right, "present": present, "pose": is_right * 1.0}

    monkeypatch.setattr("handlib.inference.look._view", view)
    boxes = np.array([[n, 0, n + 50, 50] for n in range(5)])
    seen = look(model, [photo] * 5, boxes, [K] * 5, sides, refine=7)
    assert seen["is_right"].tolist() == [True, False, True, False, True]
    assert seen["pose"].tolist() == seen["is_right"].tolist()  # of the same look
    np.testing.assert_allclose(seen["right"], [3.5, -1.58, 3, -3, 0.1])
    first, *asked, again = looks
    assert first == (0, [0, 1, 2, 3, 4], sides, 7) and again == (0, [1], [False], 7)
    assert sum(degrees for degrees, *_ in asked) == 0 and len(asked) == 4
    assert all(rest == [[0, 1], [None, None], 0] for _, *rest in asked)


def test_several_views_say_the_mean_of_what_each_says(model, photo):
    each = [
        _view(model, [photo], BOX[None], K[None], [True], EXPAND / zoom, degrees, 0)
        for degrees, zoom in VIEWS[:5]
    ]
    seen = look(model, [photo], [BOX], [K], [True], views=5, refine=0)
    for name in ("root", "betas", "keypoints_2d"):
        values = [view[name] for view in each]
        assert np.ptp(values, 0).max() > 1e-3
        np.testing.assert_allclose(seen[name], np.mean(values, 0), rtol=1e-5, err_msg=name)


def test_a_side_that_nobody_knows_needs_a_model_that_tells_it(hand, photo):
    model = make_model("small", hand).eval()
    with pytest.raises(ValueError, match="say which it is"):
        look(model, [photo], [BOX], [K])
    assert "right" not in look(model, [photo], [BOX], [K], [True])


def test_a_crop_of_a_large_photo_is_that_of_the_whole(photo):
    from handlib.augment.base import warp_image
    from handlib.augment.geometric import crop_affine

    large = np.kron(photo, np.ones((4, 4, 1), np.uint8))
    for box in (BOX * 4, BOX * 4 + [-300, -200, 0, 0], np.array([600.0, 400, 1400, 1200])):
        affine = crop_affine(box, 96, 1.5)
        whole = warp_image(large, affine, (96, 96)).astype(int)
        part = cut(large, affine, 96).astype(int)
        # Shrunk first, by another whole number of pixels: edges differ a little.
        assert np.abs(whole - part).mean() < 3.5
    assert not cut(photo, crop_affine([900, 900, 950, 950], 32), 32).any()


def test_sharp_heatmaps_are_sure_and_flat_ones_are_not():
    flat = torch.full((1, 21, 24, 24), -np.log(576.0))
    sharp = torch.full((1, 21, 24, 24), -50.0)
    sharp[..., 7, 9] = 0
    told = [float(sharpness(maps)) for maps in (flat, sharp)]
    assert told[0] < 0.03 and told[1] == pytest.approx(1)


def test_an_unknown_camera_is_an_ordinary_lens_unless_the_hand_fills_the_photo():
    far = assumed_camera((400, 300), [10, 10, 40, 50], 2.0)
    near = assumed_camera((400, 300), [0, 0, 200, 150], 2.0)
    upright = assumed_camera((300, 400), [10, 10, 40, 50], 2.0)
    assert upright[0, 0] == upright[1, 1] == 400
    assert far[0, 0] == far[1, 1] == 400 and near[0, 0] == pytest.approx(2.1 * 400)
    np.testing.assert_array_equal(far[:2, 2], [199.5, 149.5])


# -- scores on photos --------------------------------------------------------------------------
def photo_samples(hand, n=3):
    """Photos of nothing whose annotated hand is the mean pose, seen from somewhere."""
    samples = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        turn = geometry.axis_angle_to_matrix(torch.tensor(rng.normal(size=3))).numpy()
        joints_2d = 400 * (pose_hand(hand).joints @ turn.T)[:, :2] + 100
        joints_2d[rng.integers(1, 21)] = np.nan
        image = rng.integers(0, 255, (200, 200, 3)).astype(np.uint8)
        box, path = geometry.tight_box(joints_2d), SimpleNamespace(name=f"{seed}.jpg")
        samples.append(Sample(image, seed, path=path, is_right=True, joints_2d=joints_2d, box=box))
    return samples


def test_errors_are_in_sides_of_the_box_and_the_mean_pose_fits_itself(hand, model, monkeypatch):
    samples = photo_samples(hand)
    shift = np.array([3.0, 4.0])
    # One hand is known in 3D, but for a joint: the mean pose in centimetres, turned and moved.
    mean = pose_hand(hand).joints
    truth = 100 * mean[:, [1, 2, 0]] + [1, 2, 40]
    truth[7] = np.nan
    samples[1] = samples[1].replace(joints=truth, unit=0.01)
    bent = np.tile(mean, (3, 1, 1))
    bent[1, 20] += 0.02

    def seen_shifted(model, images, boxes, K, sides, expand, *views, refine=None):
        joints_2d = np.array([np.nan_to_num(s.joints_2d) for s in samples]) + shift
        right = {"right": np.array([2.0, -1.0, 0.5]), "is_right": np.ones(3, bool)}
        return {"joints_2d": joints_2d, "keypoints_2d": joints_2d - shift, "joints": bent} | right

    monkeypatch.setattr("handlib.inference.scores.look", seen_shifted)
    errors = photo_errors(model, samples)
    sides = [np.nanmax(np.ptp(s.box.reshape(2, 2), 0)) for s in samples]
    assert [e["error"] for e in errors["each"]] == pytest.approx([5 / side for side in sides])
    assert errors["error"] == pytest.approx(np.mean([5 / side for side in sides]))
    assert errors["keypoint_error"] == pytest.approx(0, abs=1e-9)
    assert errors["mean_pose"] < 1e-3
    assert errors["handedness"] == pytest.approx(2 / 3)
    assert errors["each"][1]["right_probability"] == pytest.approx(1 / (1 + np.e))
    text = str(errors_table(errors))
    assert "1 0.jpg, right" in text and "mean pose" in text and "PA-MPJPE (mm)" in text
    assert [e["pa_mpjpe_mm"] for e in errors["each"][::2]] == [None, None]
    known = np.delete(np.arange(21), 7)
    aligned, _ = geometry.similarity_align(bent[1, known], 0.01 * truth[known])
    expected = 1000 * np.linalg.norm(aligned - 0.01 * truth[known], axis=-1).mean()
    assert expected > 1
    assert errors["pa_mpjpe_mm"] == errors["each"][1]["pa_mpjpe_mm"] == pytest.approx(expected)
    assert errors["mean_pose_pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_scores_are_of_the_views_and_the_refinement_that_were_asked_for(hand, model):
    samples = photo_samples(hand)
    images, boxes = [s.image for s in samples], np.array([s.box for s in samples])
    K = [assumed_camera(s.size, s.box) for s in samples]
    for how in ({"views": 3}, {"refine": 3}):
        seen = look(model, images, boxes, K, [True] * 3, **how)["joints_2d"]
        apart = np.linalg.norm(seen - [s.joints_2d for s in samples], axis=-1)
        sides = [max(s.box[2:] - s.box[:2]) for s in samples]
        errors = photo_errors(model, samples, **how)
        assert [e["error"] for e in errors["each"]] == pytest.approx(
            np.nanmean(apart, 1) / sides, rel=1e-4
        )
        assert errors["error"] != pytest.approx(photo_errors(model, samples)["error"], rel=1e-4)


def test_photos_that_are_not_there_are_counted_out(hand, model):
    class Reader(list):
        def __getitem__(self, index):
            if super().__getitem__(index) is None:
                raise FileNotFoundError(f"b.jpg is missing: copy it, {HOW}")
            return super().__getitem__(index)

    first, second = photo_samples(hand, 2)
    errors = photo_errors(model.train(), Reader([first, None, second]))
    assert model.training and not model.eval().training
    assert (errors["n"], errors["left_out"]) == (2, ["b.jpg is missing: copy it"])
    with pytest.raises(ValueError, match=r"none of the hands is there: b\.jpg"):
        photo_errors(model, Reader([None]))


def test_few_large_photos_are_held_at_a_time(hand, model, monkeypatch):
    samples, there, most = photo_samples(hand, 6), weakref.WeakSet(), []

    class Image(np.ndarray):
        """An array that a ``WeakSet`` can count."""

        __hash__ = object.__hash__

    class Reader(list):
        def __getitem__(self, index):
            image = samples[index].image.copy().view(Image)
            there.add(image)
            most.append(len(there))
            return samples[index].replace(image=image)

    together = photo_errors(model, samples)
    monkeypatch.setattr("handlib.inference.scores.HELD", 200 * 200 * 3 + 1)  # two at a time
    few = photo_errors(model, Reader(range(6)))
    assert len(most) == 6 and max(most) <= 4  # those of the batch before go when one is complete
    for name, value in together.items():
        if isinstance(value, float):
            assert few[name] == pytest.approx(value, rel=1e-3)


def test_a_hand_without_annotated_joints_is_left_out_of_the_means(hand, model):
    samples = photo_samples(hand, 3)
    unknown = samples[1].replace(joints_2d=np.full((21, 2), np.nan), path=Path("b.jpg"))
    errors = photo_errors(model, [samples[0], unknown, samples[2]])
    assert errors["n"] == 2 and np.isfinite(errors["error"])
    assert errors["left_out"] == [f"b.jpg: no joint of hand {unknown.id} is annotated"]
    assert "1 hands left out" in str(errors_table(errors))
    assert "mm" not in str(errors_table(errors))  # none is known in 3D


def test_the_best_view_of_a_bent_hand_leaves_its_bend(hand):
    flat, bent = (pose_hand(hand, fingers).joints for fingers in (np.zeros(45), None))
    assert np.abs(geometry.best_view(flat, 2 * flat[:, :2] + 7) - 2 * flat[:, :2] - 7).max() < 1e-3
    seen = geometry.best_view(flat, bent[:, :2])
    error = np.linalg.norm(seen - bent[:, :2], axis=1).mean()
    assert 0.001 < error < 0.02


def test_the_model_on_real_photos(model, real_photos):
    from handlib.data import InterHandReader, read_coco_hands

    frames = photo_errors(model, read_coco_hands(real_photos / "freihand"))
    assert frames["n"] == 8 and 0.03 < frames["mean_pose"] < 0.15 < frames["error"]
    camera = photo_errors(model, InterHandReader(real_photos / "interhand", "test"))
    assert {e["is_right"] for e in camera["each"]} == {True, False} and camera["left_out"]
