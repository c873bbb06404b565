"""Hands in photos, found or given: ``handlib.predict`` and the command."""

import json
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from green_hands import green_photo, green_predictor, posed_as

import handlib
from handlib import cli, plots
from handlib.augment.geometric import crop_affine
from handlib.checkpoints import export
from handlib.geometry import (
    axis_angle_to_matrix,
    box_overlap,
    mirror_affine,
    mirror_faces,
    mirror_points,
    project,
)
from handlib.inference import find, list_photos, load_photo, load_photos, what_it_saw
from handlib.inference import look as look_module
from handlib.inference.command import read_camera
from handlib.inference.find import distinct, next_box
from handlib.inference.fold import fold_norms
from handlib.inference.look import look
from handlib.inference.paint import mesh, overlay, sheet
from handlib.inference.predictor import loaded
from handlib.mano import pose_hand
from handlib.model import make_model

HANDS = [(60, 80, 180, 240, True), (400, 60, 460, 160, False)]
K = np.array([[500.0, 0, 300], [0, 500, 200], [0, 0, 1]])


@pytest.fixture(scope="module")
def weights(hand, tmp_path_factory):
    """A folder of weights that nothing has trained, as they would be shipped: half precision."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)  # some other random weights see two of their looks as equally good
    model = make_model("small", hand, handedness=True, camera="perspective")
    torch.nn.init.normal_(model.head[-1].weight, std=0.02)
    export(model, folder)
    return folder


@pytest.fixture
def green(hand, monkeypatch):
    """``handlib.predict`` and the command with a network that knows green hands."""
    predictor = green_predictor(hand)
    monkeypatch.setattr("handlib.inference.predictor.loaded", lambda weights=None: predictor)
    monkeypatch.setattr("handlib.inference.command.Predictor", lambda *_, **__: predictor)
    return predictor


def write(path, image):
    cv2.imwrite(str(path), image[..., ::-1])
    return path


def near(box, hand, within=0.12):
    size = max(hand[2] - hand[0], hand[3] - hand[1])
    return np.abs(np.array(box) - hand[:4]).max() < within * size


# -- one hand ----------------------------------------------------------------------------------
def test_weights_in_half_precision_predict_a_hand_in_a_box(weights, monkeypatch):
    photo = green_photo((300, 260), [(60, 80, 180, 240, True)])
    hand = handlib.predict(photo, box=(60, 80, 180, 240), K=K, weights=weights)
    assert hand.joints.shape == (21, 3) and hand.vertices.shape == (778, 3)
    assert hand.joints_2d.shape == (21, 2) and hand.faces.shape == (1538, 3)
    assert 0 < hand.right_probability < 1 and 0 <= hand.confidence <= 1
    assert hand.K_known and hand.root[2] > 0
    np.testing.assert_allclose(project(hand.joints, hand.K), hand.joints_2d, atol=1e-2)
    assert hand.box.tolist() == [60, 80, 180, 240] and hand.size == (300, 260)
    given = handlib.predict(photo, (60, 80, 180, 240), is_right=False, weights=weights)
    assert not given.is_right and not given.K_known
    assert given.K[0, 0] == pytest.approx(2.1 * look_module.EXPAND * 160)
    faces = handlib.predict(photo, (60, 80, 180, 240), is_right=True, weights=weights).faces
    np.testing.assert_array_equal(given.faces, mirror_faces(faces))
    monkeypatch.setenv("MP_EXPERIMENTS", str(weights.parent))  # a run, by its name
    named = handlib.predict(photo, (60, 80, 180, 240), K=K, weights=weights.name)
    np.testing.assert_array_equal(named.joints, hand.joints)


def test_cameras_and_sides_are_taken_in_every_form(weights):
    predictor = handlib.Predictor(weights)
    photo = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    other = photo[::-1].copy()
    boxes, camera = [(50, 40, 150, 160)] * 2, (480.0, 500.0, 99, 101)
    matrix = np.array([[480, 0, 99], [0, 500, 101], [0, 0, 1.0]])

    def cameras(given, images=(photo, other)):
        return [(h.K_known, h.K.tolist()) for h in predictor(images, boxes, given, True)]

    known = (True, matrix.tolist())
    for one in (camera, list(camera), np.array(camera), matrix, matrix.tolist(), 2 * matrix):
        assert cameras(one) == [known] * 2
    for each in (
        [matrix] * 2,
        np.array([matrix] * 2),
        np.array([camera] * 2),
        [camera, matrix.tolist()],
    ):
        assert cameras(each) == [known] * 2
    half = cameras([matrix, None])
    assert half[0] == known and not half[1][0]
    assert handlib.predict(photo, boxes[0], camera, True, weights).K.tolist() == matrix.tolist()
    for sides in (np.False_, [np.False_] * 2, np.zeros(2, bool), np.array(False)):
        assert [h.is_right for h in predictor([photo, other], boxes, matrix, sides)] == [False] * 2
    assert len(predictor(iter([photo, other]), boxes)) == 2


def test_hands_of_one_photo_have_one_camera(weights):
    predictor = handlib.Predictor(weights)
    photo = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    boxes = [(50, 40, 150, 160), (20, 20, 60, 60), (5, 5, 45, 30)]
    hands = predictor([photo, photo, photo.copy()], boxes, is_right=True)
    focal = [hand.K[0, 0] for hand in hands]
    assert focal[0] == focal[1] > focal[2]
    # Arrays of the same memory show one photo, and those of other parts of it another one.
    wide = np.concatenate([photo, photo], 1)
    for views in ([photo[:], photo[:, :]], [wide[:, :200], wide[:, :200]]):
        focal = [hand.K[0, 0] for hand in predictor(views, boxes[:2], is_right=True)]
        assert focal[0] == focal[1]
    hands = predictor([wide[:, :200], wide[:, 200:]], boxes[:2], is_right=True)
    assert hands[0].K[0, 0] > hands[1].K[0, 0]


def test_a_mirrored_photo_gives_the_mirrored_hand(weights):
    """Boxes between pixels, a shrunk crop, a principal point beside the middle."""
    rng = np.random.default_rng(3)
    photo = cv2.resize(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8), (900, 600))
    box, camera = np.array([301.3, 88.2, 702.8, 480.9]), K + [[0, 0, 100], [0, 0, 50], [0, 0, 0]]
    predictor = handlib.Predictor(weights)
    predictor.model.float()
    (one,) = predictor([photo], [box], camera, True)
    width = photo.shape[1]
    there = np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])
    mirrored = mirror_points(mirror_affine(width) @ camera)
    (two,) = predictor([np.ascontiguousarray(photo[:, ::-1])], [there], mirrored, False)
    np.testing.assert_allclose(two.joints, mirror_points(one.joints), atol=2e-4)
    np.testing.assert_allclose(two.vertices, mirror_points(one.vertices), atol=2e-4)
    np.testing.assert_allclose(width - 1 - two.joints_2d[:, 0], one.joints_2d[:, 0], atol=0.2)
    affine = crop_affine(box, 128, 1.7)
    cut = look_module.cut(photo, affine, 128).astype(int)
    back = look_module.cut(photo[:, ::-1], crop_affine(there, 128, 1.7), 128)[:, ::-1]
    assert np.abs(cut - back).max() <= 1


def test_views_and_refinement_stay_near_the_first_look(weights):
    photo = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    plain, views, refined = (
        handlib.Predictor(weights, **more)([photo], [(50, 40, 150, 160)], K, True)[0]
        for more in ({}, {"views": 5}, {"refine": 10})
    )
    assert 0 < np.abs(plain.joints - views.joints).max() < 0.05
    np.testing.assert_allclose(project(views.joints, K), views.joints_2d, atol=1e-3)
    np.testing.assert_allclose(project(refined.joints, K), refined.joints_2d, atol=0.05)


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("views", [1, 7])
def test_pose_and_shape_give_the_mesh(weights, hand, is_right, views):
    photo = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    predictor = handlib.Predictor(weights, views=views)
    one, two = predictor([photo] * 2, [(50, 40, 150, 160), (20, 30, 90, 80)], K, is_right)
    for said in (one, two):
        vertices, joints = posed_as(hand, said)
        np.testing.assert_allclose(said.vertices - said.root, vertices, atol=1e-5)
        np.testing.assert_allclose(said.joints - said.root, joints, atol=1e-5)
        np.testing.assert_allclose(project(said.joints, K), said.joints_2d, atol=1e-2)
    seen = look(predictor.model, [photo], [one.box], K[None], [is_right], views=views)
    placed = project(seen["root"][:, None], K)[:, 0]
    np.testing.assert_allclose(seen["trans"], placed, atol=1e-2)
    np.testing.assert_allclose(seen["scale"], 500 / seen["root"][:, 2], rtol=1e-4)


@pytest.mark.parametrize(("doubt", "ways"), [(0.0, 1), (np.inf, 2)])
def test_only_hands_of_doubtful_side_are_looked_at_again_in_the_mirror_too(
    weights, monkeypatch, doubt, ways
):
    rng, counts = np.random.default_rng(0), {"look_once": 0, "look_again": 0, "look_around": 0}
    photos = [rng.integers(0, 255, (200, 200, 3), dtype=np.uint8) for _ in range(3)]
    model = handlib.Predictor(weights).model

    def counted(look, name, model, seen, *more):
        counts[name] += len(getattr(seen, "image", seen))
        return look(model, seen, *more)

    for name in counts:
        look = getattr(look_module, name)
        monkeypatch.setattr(look_module, name, partial(counted, look, name))
    monkeypatch.setattr(look_module, "DOUBT", doubt)
    monkeypatch.setattr(look_module, "UNSURE", 0)
    given = photos, [(50, 40, 150, 160)] * 3, [K] * 3
    seen = look_module.look(model, *given)
    assert counts == {"look_once": 6, "look_again": 3 * ways, "look_around": 3 * ways}
    assert ((seen["right"] > 0) == seen["is_right"]).all()
    known = look_module.look(model, *given, seen["is_right"].tolist())
    np.testing.assert_allclose(seen["joints"], known["joints"], atol=1e-6)


def test_what_it_saw_is_the_crop_and_the_heatmaps_of_what_it_said(weights, hand):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
    predictor = handlib.Predictor(weights)
    for is_right in (True, False):
        one = predictor([photo], [(50, 40, 150, 160)], K, is_right)[0]
        saw = what_it_saw(predictor, photo, one)
        affine = crop_affine(one.box, predictor.model.config.input_size, predictor.expand)
        crop = look_module.cut(photo, affine, len(saw.image))
        np.testing.assert_array_equal(saw.image, crop if is_right else crop[:, ::-1])
        np.testing.assert_allclose(saw.heatmaps.sum((1, 2)), 1, rtol=1e-3)
        said = look(predictor.model, [photo], [one.box], one.K[None], [is_right])
        assert saw.sharpness == pytest.approx(float(said["sharpness"][0]), abs=0.02)
    figure = plots.show_heatmaps([saw, saw], ["one", "another"], "of noise")
    assert len(figure.axes) == 14
    pixels = [np.asarray(ax.images[0].get_array()) for ax in figure.axes[:7]]
    assert np.array_equal(pixels[0], saw.image)
    y, x = np.unravel_index(saw.heatmaps[0].argmax(), saw.heatmaps[0].shape)
    glow = pixels[1].sum(-1) - 0.45 * saw.image.sum(-1)
    cell = len(saw.image) / len(saw.heatmaps[0])
    far = np.hypot(*(np.argwhere(glow > 0.9 * glow.max()) - (np.array([y, x]) + 0.5) * cell).T)
    assert far.min() < cell
    with_none = SimpleNamespace(model=make_model("boukhayma2019", hand, input_size=64).eval(),
                                expand=1.7, device=torch.device("cpu"))  # fmt: skip
    assert what_it_saw(with_none, photo, one) is None


@pytest.mark.parametrize("views", [1, 2])
def test_half_the_width_of_numbers_changes_little(weights, monkeypatch, views):
    photo = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    predictor, hands = handlib.Predictor(weights, views=views), []
    for fast in (False, True):
        monkeypatch.setattr("handlib.precision.fast_in_bf16", lambda device, fast=fast: fast)
        hands += predictor([photo], [(50, 40, 150, 160)], K, True)
    full, half = hands
    assert 0 < np.abs(full.joints_2d - half.joints_2d).max() < 1.5
    assert np.abs(full.joints - full.root - half.joints + half.root).max() < 3e-3


def test_refinement_moves_joints_to_where_they_were_found(weights):
    photo = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    model = handlib.Predictor(weights).model
    given = [photo], [(50, 40, 150, 160)], [K], [True]
    apart = []
    for steps in (0, 25):
        seen = look(model, *given, refine=steps)
        apart.append(np.linalg.norm(seen["joints_2d"] - seen["keypoints_2d"], axis=-1).mean())
    assert apart[1] < 0.9 * apart[0]


def test_turned_views_are_turned_back(weights):
    """All grey: the hand is the same in every crop, so a crop's turn is a turn of the photo's."""
    photo, box = np.full((500, 600, 3), 120, np.uint8), (250, 190, 350, 310)
    model = handlib.Predictor(weights).model
    one, turned = (
        look_module._view(model, [photo], [box], K[None], [True], 2.0, degrees, 0)
        for degrees in (0, 30)
    )
    c, s = np.cos(np.deg2rad(30)), np.sin(np.deg2rad(30))
    back = np.array([[c, s], [-s, c]])
    joints = one["joints"][0, :, :2] @ back.T
    np.testing.assert_allclose(joints, turned["joints"][0, :, :2], atol=1e-4)
    whole, seen = (
        axis_angle_to_matrix(torch.tensor(view["pose"][0, :3])) for view in (one, turned)
    )
    turn = torch.eye(3)
    turn[:2, :2] = torch.from_numpy(back)
    torch.testing.assert_close(turn @ whole, seen, atol=1e-4, rtol=0)
    places = (one["keypoints_2d"][0] - (300, 250)) @ back.T + (300, 250)
    np.testing.assert_allclose(places, turned["keypoints_2d"][0], atol=0.1)
    placed = turned["joints"][0] + turned["root"][0]
    np.testing.assert_allclose(project(placed, K), turned["joints_2d"][0], atol=0.05)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"box": (10, 10, 5, 40)}, "has no area"),
        ({"box": (10, 10, 50, 40), "K": np.eye(2)}, r"K is a \(3, 3\) matrix"),
        ({"box": (10, 10, 50, 40), "K": -np.eye(3)}, "positive focal"),
        ({"box": (10, 10, 50, 40), "weights": "/nowhere"}, "no checkpoint in /nowhere"),
        ({"box": (10, 10, 50)}, r"boxes are \(x0, y0, x1, y1\)"),
        ({"box": (70, 10, 90, 40)}, "lies outside of the photo of 60 x 60 px"),
        ({"box": (10, 10, 10.1, 10.1)}, "is of less than 2 px"),
        ({"box": (10, 10, 50, 40), "weights": ""}, "weights is an empty text"),
        ({"box": (10, 10, 50, 40), "is_right": "left"}, "is_right is True, False, or None"),
        ({"box": (10, np.nan, 50, 40)}, "numbers that are not finite"),
        ({"K": "camera"}, r"K is a \(3, 3\) matrix in px, .* got 'camera'"),
        ({"box": (10, 10, 50, 40), "K": 1000.0}, r"K is a \(3, 3\) matrix .* got 1000.0"),
        ({"K": (2.1, 2.1, 0.5, 0.5)}, "focal length of 2.1 px, for a photo of 60 px"),
        ({"box": (10, 10, 50, 40), "K": (2.1, 2.1, 0.5, 0.5)}, "focal length of 2.1 px"),
        ({"K": K.T}, "is it transposed"),
        ({"box": (10, 10, 50, 40), "K": K * [[1], [1], [0]]}, "is it transposed"),
    ],
)
def test_what_cannot_be_is_refused(weights, given, fault):
    photo = np.zeros((60, 60, 3), np.uint8)
    with pytest.raises((ValueError, FileNotFoundError), match=fault):
        handlib.predict(photo, **{"weights": weights} | given)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"refine": -1}, "refine is -1, not at least 0"),
        ({"refine": 1.5}, "refine is 1.5, not a whole number"),
        ({"views": 9}, "views is 9, not between 1 and 7"),
        ({"views": 2.5}, "views is 2.5, not a whole number"),
        ({"views": None}, "views is None, not a whole number"),
        ({"expand": 0}, "expand is 0, not between 0.1 and 100"),
        ({"expand": float("nan")}, "expand is nan, not between"),
        ({"expand": float("inf")}, "expand is inf, not between"),
        ({"expand": "2"}, "expand is '2', not a number"),
        ({"device": "tpu"}, "device='tpu': no GPU or other device of this name"),
        ({"device": 2.5}, "device=2.5: no GPU or other device of this name"),
        ({"device": "cuda:99"}, "device='cuda:99': no GPU"),
    ],
)
def test_what_a_predictor_does_not_take_is_refused_before_weights_are_read(given, fault):
    with pytest.raises(ValueError, match=fault):
        handlib.Predictor("/nowhere", **given)


def test_a_copy_without_weights_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("handlib.inference.predictor.SHIPPED", tmp_path)
    with pytest.raises(FileNotFoundError, match="give the folder of a trained run"):
        handlib.Predictor()


def test_folded_norms_change_no_number(hand):
    model = make_model("small", hand, handedness=True).train()
    images = torch.randint(0, 255, (4, 3, 96, 96), dtype=torch.uint8)
    model(images)  # statistics that are not the first ones
    with torch.no_grad():
        before = model.eval()(images)
        after = fold_norms(model)(images)
    assert not [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(after.vertices, before.vertices, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.keypoints_2d, before.keypoints_2d, atol=1e-2, rtol=1e-3)


# -- photos ------------------------------------------------------------------------------------
def test_what_is_no_photo_is_told_with_its_own_remedy(tmp_path):
    (tmp_path / "clip.mp4").touch()
    for given, remedy in (
        (np.zeros((8, 9, 3)), r"\(255 \* image\).astype"),
        (np.zeros((8, 9, 3), np.uint16), "image // 257"),
        (np.zeros((8, 9, 3), int), r"give image.astype\(np.uint8\)"),
        (None, "not NoneType$"),
        (b"jpeg", "not bytes$"),
        (np.zeros((1, 8, 9, 3), np.uint8), r"not uint8 \(1, 8, 9, 3\)$"),
        (tmp_path / "clip.mp4", r"clip.mp4 is a video: handlib predict .*clip.mp4 follows"),
    ):
        with pytest.raises(ValueError, match=remedy):
            load_photo(given)


def test_photos_of_all_kinds_are_rgb(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    grey = rgb[..., 0]
    for given in (grey, grey[..., None]):
        assert (load_photo(given) == grey[..., None]).all() and load_photo(given).shape == (8, 9, 3)
    np.testing.assert_array_equal(load_photo(np.dstack([rgb, grey])), rgb)
    np.testing.assert_array_equal(load_photo(write(tmp_path / "a.png", rgb)), rgb)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([rgb[..., ::-1], grey]))
    np.testing.assert_array_equal(load_photo(str(tmp_path / "alpha.png")), rgb)
    for wrong in (rgb / 255, rgb[..., :2], np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ValueError, match="a photo"):
            load_photo(wrong)
    with pytest.raises(FileNotFoundError, match=r"b\.png is missing"):
        load_photo(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"c\.jpg is not a readable image"):
        load_photo(tmp_path / "c.jpg")


def test_photos_that_cannot_be_read_are_named_and_the_others_read(tmp_path, capsys):
    good = write(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    (tmp_path / "b.png").write_text("no picture")
    paths, pictures = load_photos([tmp_path / "b.png", good])
    assert paths == [good] and pictures[0].shape == (4, 5, 3)
    assert "left out: " in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"^\S*b\.png is not a readable image"):
        load_photos([tmp_path / "b.png"])  # it is all there is: nothing to leave it out of
    assert load_photos([]) == ([], [])


def test_folders_within_a_folder_of_photos_are_named(tmp_path, capsys):
    (tmp_path / "2024").mkdir()
    with pytest.raises(ValueError, match=r"holds no photo \(.*\); not looked into: 2024$"):
        list_photos(tmp_path)
    good = write(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    (tmp_path / "b.png").mkdir()
    for hidden in (".DS_Store", "._a.png"):  # as macOS leaves them
        (tmp_path / hidden).touch()
    assert list_photos(tmp_path) == [good]
    assert capsys.readouterr().out == f"not looked into: folders in {tmp_path} (2024, b.png)\n"


def test_weights_that_changed_are_loaded_anew(hand, tmp_path):
    export(make_model("small", hand, handedness=True, seed=0), tmp_path)
    first = loaded(tmp_path)
    assert loaded(tmp_path) is first
    export(make_model("small", hand, handedness=True, seed=1), tmp_path)
    assert loaded(tmp_path) is not first


def test_a_strip_is_not_enlarged_to_gigabytes(weights):
    strip = np.zeros((10, 6000, 3), np.uint8)
    hand = handlib.Predictor(weights)([strip], [(0, 0, 12, 9)], is_right=True)
    assert sheet(strip, hand).shape[0] == 10


def test_a_hand_seen_through_its_wrist_is_not_hollow(hand):
    posed = pose_hand(hand)
    ahead = posed.joints[9] - posed.joints[0]
    down = np.cross(ahead, [1.0, 0.2, 0.3])
    turn = np.stack([v / np.linalg.norm(v) for v in (np.cross(down, ahead), down, ahead)])
    camera = np.array([[400.0, 0, 100], [0, 400, 100], [0, 0, 1]])
    vertices = (posed.vertices - posed.joints[0]) @ turn.T + [0, 0, 0.5]
    white = np.full((201, 201, 3), 255, np.uint8)
    seen = mesh(white, vertices, hand.faces, camera)
    assert (seen[95:106, 95:106] < 200).all()  # where the wrist is
    assert (seen[0] == 255).all() and (seen == 255).all(-1).mean() > 0.5


def test_photos_are_turned_as_their_exif_says(tmp_path):
    from PIL import Image

    rgb = np.zeros((20, 40, 3), np.uint8)
    rgb[:, :10] = 255
    image = Image.fromarray(rgb)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    image.save(tmp_path / "a.jpg", exif=exif)
    turned = load_photo(tmp_path / "a.jpg")
    assert turned.shape == (40, 20, 3) and turned[:8].min() > 200 and turned[14:].max() < 50


# -- finding -----------------------------------------------------------------------------------
def test_hands_are_found_where_they_are(green):
    photo = green_photo((600, 400), HANDS)
    hands = handlib.predict_all(photo)
    assert len(hands) == 2
    hands.sort(key=lambda hand: hand.box[0])
    for found, there in zip(hands, HANDS, strict=True):
        assert near(found.box, there) and found.is_right == there[4]
        assert found.confidence > 0.9
    alone = handlib.predict(photo)
    assert any(near(alone.box, there) for there in HANDS)


@pytest.mark.parametrize("scale", [0.25, 3.0])
def test_hands_are_found_in_small_and_large_photos(green, scale):
    there = [tuple(int(v * scale) for v in hand[:4]) + hand[4:] for hand in HANDS[:1]]
    photo = green_photo((int(600 * scale), int(400 * scale)), there)
    (found,) = handlib.predict_all(photo)
    assert near(found.box, there[0]) and found.is_right


def test_hands_that_are_found_in_one_photo_have_one_camera(green):
    hands = handlib.predict_all(green_photo((600, 400), [(60, 60, 320, 340, True), HANDS[1]]))
    assert len(hands) == 2 and not any(hand.K_known for hand in hands)
    assert hands[0].K.tolist() == hands[1].K.tolist()
    assert min(hand.confidence for hand in hands) > 0.9
    assert all(None is not hand.right_probability for hand in hands)


def test_a_network_that_does_not_tell_of_hands_finds_none(hand, tmp_path):
    export(make_model("boukhayma2019", hand, input_size=64), tmp_path)
    with pytest.raises(ValueError, match="does not tell whether there is a hand"):
        handlib.predict(green_photo((300, 200), []), is_right=True, weights=tmp_path)


def test_where_there_is_no_hand_none_is_found(green, tmp_path):
    assert handlib.predict_all(green_photo((300, 200), [])) == []
    path = write(tmp_path / "empty.png", green_photo((300, 200), []))
    with pytest.raises(ValueError, match=r"empty\.png: no hand found: give its box"):
        handlib.predict(path)
    strip = green_photo((900, 20), [])
    assert handlib.predict_all(strip) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        *[({"sure": n}, f"sure is {n}, not between 0 and 1") for n in (30, -0.1, float("nan"))],
        ({"most": -1}, "most is -1, not at least 1"),
        ({"most": 1.5}, "most is 1.5, not a whole number"),
    ],
)
def test_numbers_that_a_search_does_not_take_are_refused(green, given, fault):
    with pytest.raises(ValueError, match=fault):
        green.find(green_photo((300, 200), []), **given)


def test_a_hand_is_found_where_there_likely_is_one(green, monkeypatch):
    seen = [SimpleNamespace(confidence=confidence) for confidence in (0.5, 0.6)]
    monkeypatch.setattr(find, "scan", lambda *_: np.zeros((2, 4)))
    monkeypatch.setattr(find, "_closer", lambda *_: seen)
    photo = green_photo((300, 200), [])
    assert find.find_hands(green, photo, K) == green.find(photo, K) == seen[1:]


def test_small_hands_are_found_where_there_is_no_large_one(green):
    there = (300, 200, 358, 250, False)
    (found,) = handlib.predict_all(green_photo((900, 700), [there]))
    assert near(found.box, there) and not found.is_right


def test_a_bad_look_does_not_lose_the_hand():
    """A box changes by a factor of 1.6 at most, about the new joints' middle."""
    joints_2d = np.array([[10.0, 20], [12, 24]])
    hand = SimpleNamespace(box=np.array([0, 0, 100.0, 60]), joints_2d=joints_2d)
    x0, y0, x1, y1 = next_box(hand)
    assert max(x1 - x0, y1 - y0) == pytest.approx(100 / 1.6)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((11, 22))
    hand.joints_2d = 20 * joints_2d
    np.testing.assert_allclose(next_box(hand), [200, 400, 240, 480])


def test_what_leads_from_one_box_to_another_is_hardly_a_hand():
    """A box is that of the joints in the first case, and half beside it in the second."""
    joints_2d, far = np.array([[0.0, 0], [40, 20]]), np.array([[20.0, 0], [60, 20]])
    for joints, share in ((joints_2d, 1), (far, 1 / 3), (far + 100, 0)):
        hand = SimpleNamespace(box=np.array([0, 0, 40, 20.0]), joints_2d=joints, confidence=0.6)
        assert find._sure(hand) == pytest.approx(0.6 * share)


def test_boxes_of_one_hand_are_one():
    boxes = np.array([[0, 0, 100, 100], [5, 5, 100, 100], [30, 30, 60, 60], [200, 0, 260, 60]])
    boxes = np.concatenate([boxes, [[np.nan] * 4, [0, 0, 3, 3]]])
    assert distinct(boxes, [0.5, 0.9, 0.4, 0.6, 1, 1], (400, 400)) == [1, 3]
    # A finger is not a hand of its own; beside a hand there may be another.
    assert distinct(np.array([[0, 0, 100, 100], [80, 0, 180, 100.0]]), [1, 1], (400, 400)) == [1, 0]
    assert box_overlap(boxes[0], boxes[0]) == 1 and box_overlap(boxes[0], boxes[3]) == 0


# -- files and the command ---------------------------------------------------------------------
def test_a_prediction_is_saved_as_json_and_mesh(green, tmp_path):
    photo = green_photo((600, 400), HANDS[1:])
    hand = handlib.predict(photo, K=K)
    paths = hand.save(tmp_path / "new", "left")
    said = json.loads(paths[0].read_text())
    np.testing.assert_allclose(said["joints"], hand.joints)
    assert said["is_right"] is False and said["K_known"] is True and said["width"] == 600
    lines = paths[1].read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == 778
    first = np.array(next(line for line in lines if line.startswith("v ")).split()[1:4], float)
    np.testing.assert_allclose(first, hand.vertices[0], atol=1e-6)


def test_each_photo_without_a_place_for_the_box_is_named(green, tmp_path, capsys):
    for name in ("one.png", "two.png"):
        write(tmp_path / name, np.zeros((1, 1, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    photos = [str(tmp_path / name) for name in ("one.png", "two.png", "empty")]
    words = ["predict", *photos, "--box", "50", "50", "350", "350", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert "3 failed, 0 done" in said and "one.png: the box" in said and "two.png: the box" in said


def test_the_command_goes_on_past_a_broken_photo(green, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    write(folder / "a.jpg", green_photo((600, 400), HANDS))
    (folder / "b.jpg").write_text("broken")
    write(folder / "c.png", green_photo((300, 200), []))
    write(folder / "d.png", green_photo((600, 400), HANDS[:1]))
    out = tmp_path / "out"
    assert cli.main(["predict", str(folder), "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out.count("a.jpg: ") == 2 and "d.png: right hand (" in said.out
    assert "a guess: absolute depth needs --K" in said.out
    assert "2 failed, 2 done" in said.err
    assert "b.jpg is not a readable image" in said.err and "c.png: no hand found" in said.err
    names = {path.name for path in out.iterdir()}
    assert names == {f"{n}.{f}" for n in "ad" for f in ("png", "json", "obj", "html")} | {
        "plotly.min.js"
    }
    assert [hand["is_right"] for hand in json.loads((out / "a.json").read_text())].count(True) == 1
    picture = cv2.imread(str(out / "d.png"))
    assert picture.shape[0] >= 400 and picture.shape[1] > 1.9 * 600


def test_the_command_names_files_only_where_it_wrote_some_and_old_ones_that_stay(
    green, tmp_path, capsys
):
    words = ["--out", str(tmp_path / "out"), "--format", "json"]
    (tmp_path / "in/sub").mkdir(parents=True)
    path = write(tmp_path / "in/a.png", green_photo((300, 200), []))
    assert cli.main(["predict", str(path), *words]) == 1
    assert "files:" not in capsys.readouterr().out
    write(path, green_photo((600, 400), HANDS))
    assert cli.main(["predict", str(path.parent), *words]) == 0
    said = capsys.readouterr().out
    assert f"files: {tmp_path / 'out'}" in said and "earlier" not in said
    assert "a.png: 1: " in said and "a.png: 2: " in said  # as they are numbered in the picture
    assert f"not looked into: folders in {path.parent} (sub)" in said
    write(path, green_photo((300, 200), []))
    assert cli.main(["predict", str(path), *words]) == 1
    said = capsys.readouterr().out
    assert "of an earlier prediction, and not written now: a.json" in said and "files:" not in said


def test_a_place_that_cannot_be_written_is_told_before_the_work(green, tmp_path, capsys):
    path = write(tmp_path / "a.png", green_photo((600, 400), HANDS))
    for out in (path, path / "x"):
        assert cli.main(["predict", str(path), "--out", str(out)]) == 1
        said = capsys.readouterr()
        assert not said.out and "choose a folder that you may write to" in said.err
    with pytest.raises(OSError, match=r"a\.png is a file: choose a folder"):
        handlib.predict(path, HANDS[0][:4]).save(path)


def test_a_picture_numbers_several_hands(green):
    photo = green_photo((600, 400), HANDS)
    hands = handlib.predict_all(photo)
    plain, numbered = (overlay(photo, hands, numbered) for numbered in (False, True))
    rows, columns, _ = np.nonzero(plain != numbered)
    for hand in hands:
        x0, y0, x1, y1 = hand.box
        inside = (columns >= x0) & (columns <= x1) & (rows >= y0) & (rows <= y1)
        assert inside.sum() > 20


def test_the_command_writes_over_nothing_that_it_reads(green, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.png", green_photo((600, 400), HANDS))
    before = path.read_bytes()
    for out in (".", str(tmp_path)):
        assert cli.main(["predict", "a.png", "--out", out]) == 1
        assert "a.png would be written over: give another folder" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert cli.main(["predict", "a.png", "--out", ".", "--format", "json"]) == 0
    assert path.read_bytes() == before and (tmp_path / "a.json").is_file()


def test_the_command_goes_on_past_what_cannot_be_written(green, tmp_path, capsys):
    photos = [write(tmp_path / f"{n}.png", green_photo((600, 400), HANDS[:1])) for n in "ab"]
    (tmp_path / "out/a.json").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    given = [str(tmp_path / "empty"), *map(str, photos)]
    words = ["--format", "json", "--out", str(tmp_path / "out")]
    assert cli.main(["predict", *given, *words]) == 1
    said = capsys.readouterr().err
    assert "empty holds no photo" in said and "a.json" in said
    assert json.loads((tmp_path / "out/b.json").read_text())[0]["is_right"]


def test_the_command_takes_box_side_and_camera(green, tmp_path, capsys):
    path = write(tmp_path / "a.png", green_photo((600, 400), HANDS))
    camera = tmp_path / "K.json"
    camera.write_text(json.dumps({"K": K.tolist()}))
    words = [
        "predict",
        str(path),
        "--box",
        *["400", "60", "460", "160"],
        "--left",
        "--format",
        "json",
    ]
    for given in (["500", "500", "300", "200"], [str(camera)]):
        assert cli.main([*words, "--K", *given, "--out", str(tmp_path / "out")]) == 0
        (said,) = json.loads((tmp_path / "out/a.json").read_text())
        assert said["K"] == K.tolist() and said["is_right"] is False
        assert "a guess" not in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.json"]


def test_annotated_photos_get_scores(green, tmp_path, capsys):
    write(tmp_path / "a_r.png", green_photo((600, 400), HANDS[:1]))
    x0, y0, x1, y1, _ = HANDS[0]
    points = np.random.default_rng(0).uniform((x0, y0), (x1, y1), (21, 2))
    annotation = {"id": 1, "image_id": 7, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    annotation["keypoints"] = np.c_[points, np.ones(21)].ravel().tolist()
    content = {"images": [{"id": 7, "file_name": "a_r.png"}], "annotations": [annotation]}
    (tmp_path / "hands.json").write_text(json.dumps(content))
    words = ["predict", "--boxes", str(tmp_path / "hands.json"), "--format", "json"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "1 a_r.png, right" in said and "mean pose" in said
    assert (tmp_path / "out/a_r.json").exists()


def annotated(folder, names, bbox=None):
    """Photos in ``folder``, and a COCO file of their hands above it."""
    x0, y0, x1, y1, _ = HANDS[0]
    points = np.random.default_rng(0).uniform((x0, y0), (x1, y1), (21, 2))
    annotation = {"bbox": bbox or [x0, y0, x1 - x0, y1 - y0]}
    annotation["keypoints"] = np.c_[points, np.ones(21)].ravel().tolist()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, green_photo((600, 400), HANDS[:1]))
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [{"id": n, "image_id": n} | annotation for n in range(len(names))],
    }
    path = folder.parent / "hands.json"
    path.write_text(json.dumps(content))
    return path


def test_annotated_photos_in_another_folder_of_the_same_name_and_broken_ones(
    green, tmp_path, capsys
):
    names = ["s1/c.png", "s1/d.png", "s2/c.png", "s2/e.png"]
    path = annotated(tmp_path / "photos", names)
    (tmp_path / "photos/s1/d.png").write_text("broken")
    words = ["predict", str(tmp_path / "photos"), "--boxes", str(path), "--format", "json"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "d.png is not a readable image" in said.err and "3 e.png" in said.out
    assert "1 hands left out" in said.out
    written = {file.name: json.loads(file.read_text()) for file in (tmp_path / "out").iterdir()}
    assert set(written) == {"c.json", "c-2.json", "e.json"}
    assert written["c-2.json"][0]["photo"].endswith("s2/c.png")


def test_annotated_photos_take_the_camera_and_side_that_are_given(green, tmp_path, capsys):
    path = annotated(tmp_path / "photos", ["a.png"])
    words = ["predict", str(tmp_path / "photos"), "--boxes", str(path), "--format", "json"]
    words += ["--K", "500", "500", "300", "200", "--left", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    (said,) = json.loads((tmp_path / "out/a.json").read_text())
    assert said["K"] == K.tolist() and said["K_known"] and said["is_right"] is False
    assert "a guess" not in capsys.readouterr().out
    path.write_text('{"images": [], "annotations": []}')
    words[words.index("--out") + 1] = str(tmp_path / "none")
    assert cli.main(words) == 1
    assert "hands.json lists no hand" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    annotated(tmp_path / "photos", ["a.png"], bbox=[0, 0, 0, 0])
    assert cli.main(words) == 1
    assert "the box of annotation 0 has no area" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "nothing to predict"),
        (["a.png", "--most", "-1"], "most is -1, not at least 1"),
        (["a.png", "--sure", "nan"], "sure is nan, not between 0 and 1"),
        (["a", "b", "--boxes", "x.json"], "--boxes takes one folder"),
        (["a.png", "--boxes", "x.json"], "--boxes takes a folder of photos, or none: not a.png"),
        (["a.png", "--order", "rhd"], "--order is of the keypoints that --boxes gives"),
        (["missing.jpg"], "missing.jpg is missing: copy it again"),
        (["a.png", ""], "one of the photos is an empty text"),
        (["a.png", "--out", " "], "--out is an empty text: a shell variable that is not set?"),
        (["--boxes", ""], "--boxes is an empty text"),
        (
            ["--K", "9", "9", "4", "4", "a.png"],
            "nothing to predict: give photos, a folder of them, a video, or --boxes before --K",
        ),
        (["a.png", "--K", "."], ". is a folder, not a file: write [[fx, 0"),
        (["a.png", "--K", "1", "2"], "--K takes fx fy cx cy"),
        (["a.png", "--K", "none.json"], "none.json is missing: write [[fx, 0"),
        (["a.png", "--box", "1", "2", "3", "4", "--boxes", "x.json"], "give one of them"),
    ],
)
def test_faults_of_the_command_line_are_said_plainly(
    green, tmp_path, monkeypatch, capsys, words, fault
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", *words]) == 1
    assert fault in capsys.readouterr().err


def test_cameras_are_read_from_words():
    assert read_camera(["1", "2", "3", "4"]) == [1, 2, 3, 4]
