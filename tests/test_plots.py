"""Figures show what they say they show: where, in which orientation, with which units."""

import base64
import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from posed_hands import to_camera

from handlib import anatomy, metrics, plots
from handlib.augment import Flip, ToRight
from handlib.data.checks import bone_lengths
from handlib.data.sample import Sample
from handlib.geometry import project, similarity_align
from handlib.joints import FINGER_COLORS, FINGER_JOINTS, JOINT_NAMES, ROOT, TIP_VERTICES
from handlib.model import make_model
from handlib.plots import images, render, style
from handlib.plots.distributions import HUMAN

SIZE = 96
K = np.array([[150.0, 0, 47.5], [0, 150, 47.5], [0, 0, 1]])


@pytest.fixture
def sample(rest):
    vertices, joints = (to_camera(p, origin=rest[1][ROOT]) for p in rest)
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    u, v = project(vertices, K).round().astype(int).T
    mask[v, u] = True
    return Sample(image, id=7, version=1, source="synthetic (test)", K=K, joints=joints,
                  vertices=vertices, mask=mask)  # fmt: skip


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB")).astype(int)


def full_axes():
    figure = style.StillFigure(figsize=(4, 4))
    return figure, figure.add_axes((0, 0, 1, 1))


# -- pictures --------------------------------------------------------------------------------
def test_skeleton_is_drawn_on_the_joints_and_nowhere_else(sample):
    pictures = []
    for joints in (None, sample.joints_2d):
        figure, ax = full_axes()
        plots.draw_hand(ax, sample.image, joints)
        pictures.append(pixels(figure))
    changed = (pictures[0] != pictures[1]).any(-1)
    scale = 400 / SIZE
    u, v = ((sample.joints_2d + 0.5) * scale).astype(int).T
    assert changed[v, u].all()
    rows, columns = np.nonzero(changed)
    assert rows.min() > v.min() - 8 and rows.max() < v.max() + 8
    assert columns.min() > u.min() - 8 and columns.max() < u.max() + 8


def test_each_finger_has_its_colour(sample):
    figure, ax = full_axes()
    plots.draw_hand(ax, sample.image, sample.joints_2d)
    picture = pixels(figure)
    for finger, chain in FINGER_JOINTS.items():
        u, v = ((sample.joints_2d[chain[-1]] + 0.5) * 400 / SIZE).astype(int)
        expected = 255 * np.array(matplotlib.colors.to_rgb(FINGER_COLORS[finger]))
        assert np.abs(picture[v, u] - expected).max() < 12, finger


def test_mesh_overlay_covers_the_mesh_and_nothing_else(sample, hand):
    picture = render.overlay_mesh(sample.image, sample.vertices, hand.faces, K)
    changed = (picture != sample.image).any(-1)
    u, v = project(sample.vertices, K).round().astype(int).T
    assert changed[v, u].mean() > 0.95
    rows, columns = np.nonzero(changed)
    assert rows.min() >= v.min() - 1 and rows.max() <= v.max() + 1
    assert columns.min() >= u.min() - 1 and columns.max() <= u.max() + 1


def test_weak_perspective_camera_projects_as_scale_and_translation(rest):
    vertices = rest[0] - rest[1][ROOT]
    placed, camera = render.weak_perspective_camera(vertices, 600.0, (40, 50))
    expected = np.array([40, 50]) + 600 * vertices[:, :2]
    assert np.abs(project(placed, camera) - expected).max() < 0.1


@pytest.mark.parametrize("preset", ["small", "modern"])
def test_a_mesh_is_drawn_where_the_network_says_that_it_is_seen(sample, hand, preset):
    torch.manual_seed(0)
    model = make_model(preset, hand, input_size=64).eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.head[-1].bias, std=0.2)
        for K in (None, torch.tensor([[[150.0, 0, 20], [0, 140, 40], [0, 0, 1]]])):
            said = model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), K)
            row = {
                f"pred_{name}": getattr(said, name)[0].numpy()
                for name in ("joints", "vertices", "joints_2d", "scale", "trans")
            }
            placed, camera = render.camera_of(row, None if K is None else K[0].numpy(), 64)
            seen = said.vertices_2d[0].numpy()
            # The weak camera stands 100 m away.
            np.testing.assert_allclose(project(placed, camera), seen, atol=0.05)
            assert (placed[:, 2].mean() > 50) == (model.config.camera == "weak")


def test_grid_has_a_row_for_each_overlay_and_names_its_source(sample, hand):
    figure = plots.show_samples([sample, sample], images.OVERLAYS, hand.faces)
    assert len(figure.axes) == 2 * len(images.OVERLAYS) + 1  # and the bar of depth
    assert figure.get_suptitle() == "synthetic (test)"
    assert [ax.get_title("left") for ax in figure.axes[:3]] == ["7 v1", "7 v1", ""]
    shown = dict(zip(images.OVERLAYS, figure.axes[:-1:2], strict=True))
    pictures = {name: ax.images[0].get_array() for name, ax in shown.items()}
    changed = {name for name, picture in pictures.items() if (picture != sample.image).any()}
    assert changed == {"mask", "mesh", "depth"}
    assert {name for name, ax in shown.items() if ax.lines} == {"joints", "camera"}
    rings, cross = shown["camera"].lines[-2:]
    assert cross.get_xydata().tolist() == [[47.5, 47.5]]
    np.testing.assert_allclose(rings.get_xydata(), sample.joints_2d)


def test_a_camera_of_another_image_is_seen_beside_the_skeleton(sample):
    """Rings stand where K says, the skeleton where the image says."""
    stale = sample.replace(K=np.diag([0.5, 0.5, 1]) @ K)
    _, ax = full_axes()
    plots.draw_sample(ax, stale, "camera")
    rings = ax.lines[-2].get_xydata()
    np.testing.assert_allclose(rings, 0.5 * sample.joints_2d)
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), sample.joints_2d)


def test_depth_is_brighter_where_nearer(rest, hand):
    """A hand that points at the camera: its fingertips are near, its wrist is far."""
    vertices, joints = (to_camera(p, "fingertips", origin=rest[1][ROOT]) for p in rest)
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    sample = Sample(image, id=1, K=K, joints=joints, vertices=vertices)
    figure = plots.show_samples([sample], "depth", hand.faces)
    picture = figure.axes[0].images[0].get_array() @ np.array([0.2126, 0.7152, 0.0722])
    u, v = sample.joints_2d[JOINT_NAMES.index("middle_tip")].round().astype(int)
    expected = render.DEPTH.to_rgba(1000 * (vertices[:, 2].min() - joints[ROOT, 2]))[:3]
    assert picture[v, u] == pytest.approx(255 * np.dot(expected, [0.2126, 0.7152, 0.0722]), abs=12)
    near, far = (255 * np.array(render.DEPTH.to_rgba(z)) for z in (-80, 80))
    assert near[:3].sum() > 2 * far[:3].sum()
    assert "(mm)" in figure.axes[-1].get_xlabel()
    assert len(plots.show_samples([Sample(image, id=1)], "depth", hand.faces).axes) == 1


def test_a_reason_of_two_lines_gets_room(sample):
    one, two = (
        plots.show_samples([sample], names=[name]).get_figheight() for name in ("7", "7\nbroken")
    )
    assert two == pytest.approx(one + images.TITLE)


def test_what_is_missing_is_left_out(sample, hand):
    bare = Sample(sample.image, id=1)
    for overlay in images.OVERLAYS:
        _, ax = full_axes()
        plots.draw_sample(ax, bare, overlay, hand.faces)
        assert (ax.images[0].get_array() == bare.image).all() and not ax.lines


def test_no_samples_are_no_figure():
    with pytest.raises(ValueError, match="no samples to show"):
        plots.show_samples([])


def test_errors_of_overlays_say_what_to_do(sample):
    with pytest.raises(ValueError, match="known: none, joints"):
        plots.show_samples([sample], "skeleton")
    for overlay in ("mesh", "depth"):
        with pytest.raises(ValueError, match=rf"the {overlay} overlay needs faces=hand\.faces"):
            plots.show_samples([sample], overlay)


def test_versions_and_augmentations_have_all_pictures(sample):
    versions = plots.show_versions([sample, sample.replace(version=2)])
    assert [ax.get_title("left") for ax in versions.axes[:2]] == ["7 v1", "7 v2"]
    left = sample.replace(is_right=False)
    figure = plots.show_augmentations(sample, {"Flip": left, "Shift": sample}, columns=2)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["original", "Flip, left", "Shift", ""]
    assert [bool(ax.images) for ax in figure.axes] == [True, True, True, False]
    figure = plots.show_augmentations(sample, [sample])
    assert [ax.get_title("left") for ax in figure.axes] == ["original", "draw 1"]


def as_rows(prediction, mirrored=False):
    """A prediction of one sample as ``evaluation.predict`` returns it."""
    rows = {f"pred_{name}": value[None] for name, value in prediction.items()}
    labels = {"mirrored": mirrored, "is_right": True, "width": SIZE}
    return rows | {name: np.array([value]) for name, value in labels.items()}


def test_predictions_of_left_hands_are_shown_as_photographed(sample, hand):
    """A left hand is shown on the photo, not on its mirror image, with skeleton and mesh there."""
    image = np.zeros_like(sample.image)
    image[:, : SIZE // 2] = 200  # light on the left
    photo = Flip(1.0)(sample, np.random.default_rng(0)).replace(image=image)
    seen = ToRight()(photo, None)
    assert seen.image[0, 0, 0] == 0
    prediction = {
        "joints": sample.joints - sample.joints[ROOT],
        "vertices": sample.vertices - sample.joints[ROOT],
        "joints_2d": sample.joints_2d,
        "scale": np.array(375.0),
        "trans": sample.joints_2d[ROOT],
    }
    figure = plots.show_predictions([seen], as_rows(prediction, mirrored=True), hand.faces)
    pictures = [ax.images[0].get_array() for ax in figure.axes]
    for picture in pictures[:3]:
        np.testing.assert_array_equal(picture, photo.image)
    assert figure.axes[0].get_title("left") == "7 v1, left"
    assert figure.axes[3].get_title("left") == "PA-MPJPE 0.0 mm"
    for ax in figure.axes[1:3]:
        places = ax.collections[0].get_offsets()
        np.testing.assert_allclose(places, photo.joints_2d, atol=1e-6)
    u, v = project(photo.vertices, photo.K).round().astype(int).T
    changed = (pictures[3] != photo.image).any(-1)
    # The weak camera puts not all where the true one does.
    assert changed[v, u].mean() > 0.8 > changed[v, SIZE - 1 - u].mean() + 0.1


def test_predictions_show_their_aligned_error(sample, hand):
    truth = sample.joints - sample.joints[ROOT]
    bent = truth.copy()
    bent[4] += [0.05, 0, 0]
    for joints in (1.3 * truth, bent):
        prediction = {
            "joints": joints,
            "vertices": sample.vertices - sample.joints[ROOT],
            "joints_2d": sample.joints_2d,
            "scale": np.array(300.0),
            "trans": np.array([48.0, 48]),
        }
        batch = as_rows(prediction)
        figure = plots.show_predictions([sample], batch, hand.faces)
        aligned, _ = similarity_align(joints, truth)
        error = 1000 * np.linalg.norm(aligned - truth, axis=-1).mean()
        assert figure.axes[3].get_title("left") == f"PA-MPJPE {error:.1f} mm"
    assert error > 1 and len(figure.axes) == 5
    figure = plots.show_predictions([sample], batch, hand.faces, views=("front", "top"))
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles[4:] == ["from the front", "from above"]


# -- orientation -----------------------------------------------------------------------------
def blob(center):
    """A small tetrahedron."""
    return np.array(center) + 0.01 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


FACES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def test_up_in_the_image_is_up_in_every_upright_view():
    up, down = blob((0, -0.1, 1)), blob((0, 0.1, 1))
    for view in set(render.VIEWS) - {"top"}:
        meshes = [(up, FACES, "#ff0000", 1), (down, FACES, "#0000ff", 1)]
        picture, _ = render.render_view(meshes, view, (60, 60))
        red = np.nonzero(picture[..., 0] > picture[..., 2].astype(int) + 30)[0].mean()
        blue = np.nonzero(picture[..., 2] > picture[..., 0].astype(int) + 30)[0].mean()
        assert red < 25 and blue > 35, view


def test_from_above_the_camera_is_below_the_picture_and_right_stays_right():
    _, to_pixels = render.render_view([(blob((0, 0, 1)), FACES, "#ff0000", 1)], "top", (80, 80))
    middle, near, right = to_pixels(np.array([[0, 0, 1], [0, 0, 0.9], [0.1, 0, 1]]))
    assert near[1] > middle[1] + 10 and right[0] > middle[0] + 10


def test_the_nearer_mesh_hides_the_farther():
    meshes = [(blob((0, 0, 1)), FACES, "#ff0000", 1), (blob((0, 0, 1.2)), FACES, "#0000ff", 1)]
    for order in (meshes, meshes[::-1]):
        picture, to_pixels = render.render_view(order, "front", (80, 80))
        u, v = to_pixels(np.array([0, 0, 1.0])).round().astype(int)
        assert picture[v, u, 0] > picture[v, u, 2]


def test_palm_view_shows_the_fingers_up_and_the_thumb_where_it_is(rest, hand):
    tips = rest[0][list(TIP_VERTICES["freihand"])]
    for name, thumb_right in (("palm", True), ("back", False)):
        meshes = [(rest[0], hand.faces, style.SKIN, 1)]
        _, to_pixels = render.render_view(meshes, render.HAND_VIEWS[name], (100, 100))
        thumb, *fingers = to_pixels(tips)
        assert (thumb[0] > 50) == thumb_right, name
        assert all(finger[1] < 50 for finger in fingers), name


def test_poses_share_one_scale_and_six_sides_are_named(rest, hand):
    figure = plots.show_poses({"small": 0.5 * rest[0], "large": rest[0]}, hand.faces)
    small, large = ((ax.images[0].get_array() < 240).any(-1).sum() for ax in figure.axes)
    assert small / large == pytest.approx(0.25, abs=0.05)
    sides = plots.show_views(rest[0], hand.faces)
    assert len({ax.get_title("left") for ax in sides.axes}) == 6


# -- distributions ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("view", "longitude"), [("palm", 0), ("thumb side", 90), ("back", 180), ("pinky side", -90)]
)
def test_view_directions_name_the_side_that_the_camera_sees(rest, view, longitude):
    joints = to_camera(rest[1], view, origin=rest[1][ROOT])
    found = np.degrees(anatomy.view_directions(joints[None])[0])
    assert abs((found[0] - longitude + 180) % 360 - 180) < 25 and abs(found[1]) < 25


def test_bends_are_signed_and_reveal_a_left_hand(rest):
    joints = to_camera(rest[1])
    start = JOINT_NAMES.index("index_mcp")
    fingers = joints[ROOT] - joints[0]
    straight, down = fingers / np.linalg.norm(fingers), np.array([0, 0, -1.0])
    joints[start + 1] = joints[start] + 0.04 * straight
    angle = np.radians(30)
    joints[start + 2] = joints[start + 1] + 0.02 * (np.cos(angle) * straight + np.sin(angle) * down)
    right, left = anatomy.bend_angles(np.stack([joints, joints * [-1, 1, 1]]))
    middle_of_index = 4
    assert np.degrees(right[middle_of_index]) == pytest.approx(30, abs=2)
    assert left[middle_of_index] == pytest.approx(-right[middle_of_index])


def test_distributions_have_units_on_every_axis(rest):
    joints = np.stack([to_camera(rest[1])] * 12)
    figure = plots.show_distributions(joints, K, "synthetic (test)")
    assert figure.get_suptitle() == "synthetic (test): 12 hands"
    labels = [f"{ax.get_xlabel()} {ax.get_ylabel()}" for ax in figure.axes]
    for unit in ("(°)", "(mm)", "focal length (px)", "(m)", "box (px)"):
        assert any(unit in label for label in labels), unit
    focal = next(ax for ax in figure.axes if "focal" in ax.get_xlabel())
    assert sum(patch.get_height() for patch in focal.patches) == 12


def test_distributions_show_what_is_human_and_the_image_and_survive_missing_numbers(rest):
    joints = np.stack([to_camera(rest[1])] * 12)
    joints[3, 5], joints[4] = np.nan, 0
    figure = plots.show_distributions(joints, K, "synthetic (test)", image_side=SIZE)
    assert figure.get_suptitle() == "synthetic (test): 10 hands, 2 more with numbers missing"
    with pytest.raises(ValueError, match="none of 2 hands has all its joints"):
        plots.show_distributions(joints[3:5], K)
    size = next(ax for ax in figure.axes if "box" in ax.get_xlabel())
    assert size.lines[-1].get_xdata()[0] == SIZE and "image" in size.get_title("left")
    bones = next(ax for ax in figure.axes if "bone" in ax.get_ylabel())
    medians = [1000 * length for length in np.median(bone_lengths(joints[:3]), 0)]
    grey = [p for p in bones.patches if p.get_facecolor()[:3] == matplotlib.colors.to_rgb(HUMAN)]
    assert len(grey) == 20
    for patch, median in zip(grey, medians, strict=True):
        assert patch.get_y() < median < patch.get_y() + patch.get_height()


# -- curves ----------------------------------------------------------------------------------
RECORDS = [
    {"step": 20, "loss": 2.0, "loss_joints": 1.5, "lr": 1e-3, "s_data": 0.05, "s_forward": 0.1},
    {"step": 40, "loss": 1.0, "loss_joints": 0.5, "lr": 5e-4, "s_data": 0.05, "s_forward": 0.2},
    {"step": 40, "val_pa_mpjpe_mm": 14.5},
]


def test_training_curves_have_units_and_the_baselines():
    losses, error, rate, times = plots.show_training(RECORDS, {"mean pose": 19.3}).axes
    assert [line.get_label() for line in losses.lines] == ["loss", "joints"]
    np.testing.assert_array_equal(losses.lines[1].get_xydata(), [[20, 1.5], [40, 0.5]])
    assert error.get_ylabel() == "PA-MPJPE (mm)"
    assert error.lines[0].get_xydata().tolist() == [[40, 14.5]]
    assert error.lines[1].get_label() == "mean pose"
    assert rate.lines[0].get_ydata().tolist() == [1e-3, 5e-4]
    top = times.collections[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(250) and "ms" in times.get_ylabel()


def test_the_highest_validation_error_has_room_above_it():
    records = [{"step": n, "val_pa_mpjpe_mm": 19.3 - 0.1 * n} for n in range(3)]
    for figure in (plots.show_training(records), plots.show_histories({"a": records})):
        (error,) = (ax for ax in figure.axes if "PA-MPJPE" in ax.get_ylabel())
        assert error.get_ylim() == pytest.approx((0, 1.05 * 19.3))
    above = plots.show_training(records, {"mean pose": 40.0}).axes[1]
    assert above.get_ylim()[1] == pytest.approx(42)


def test_a_slow_first_step_leaves_room_to_see_the_others_in():
    records = [{"step": n, "loss": 1.0, "s_forward": 0.1, "s_data": 0.05} for n in range(1, 101)]
    times = plots.show_training([records[0] | {"s_forward": 3.0}, *records[1:]]).axes[3]
    assert 150 < times.get_ylim()[1] < 200


def test_noisy_losses_are_drawn_as_running_means_before_themselves_and_named_as_they_lie():
    rng = np.random.default_rng(0)
    records = [{"step": n, "loss_a": 1 + rng.random(), "loss_b": 9.0} for n in range(200)]
    losses = plots.show_training(records).axes[0]
    names = [text.get_text() for text in losses.get_legend().get_texts()]
    assert names == ["b", "a"] and len(losses.lines) == 4
    mean, itself = (line.get_ydata() for line in losses.lines[2:])
    np.testing.assert_array_equal(itself, [r["loss_a"] for r in records])
    assert mean.std() < 0.5 * itself.std() and mean[0] == pytest.approx(itself[:4].mean())
    np.testing.assert_allclose(losses.lines[0].get_ydata(), 9)


@pytest.mark.filterwarnings("error")
def test_curves_of_an_evaluation_before_the_first_step():
    figure = plots.show_training([{"step": 0, "val_pa_mpjpe_mm": 7.0}], {"mean pose": 19.3})
    losses, error, *_ = figure.axes
    figure.canvas.draw()
    assert losses.get_legend() is None and error.lines[0].get_xydata().tolist() == [[0, 7.0]]


def test_powers_are_plain_numbers_and_dollars_in_names_no_formula():
    """Whatever a run or a photo is called, its figure is drawn."""
    records = [{"step": n, "loss": 10.0**-n, "val_pa_mpjpe_mm": 9.0} for n in range(4)]
    figures = [
        plots.show_training(records, title="lr$^$"),
        plots.show_histories({"lr$^$": records, "_hidden": records}),
    ]
    for figure in figures:
        figure.canvas.draw()
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert {"0.01", "0.1", "1"} <= set(labels) and "$" not in "".join(labels)
    names = [text.get_text() for text in figures[1].legends[0].get_texts()]
    assert names == ["lr$^$", "\u200b_hidden"]


SWEPT = "02_train-evaluations=2-lr={}-preset=small-samples=60-seed={}-size=64-steps=40-{}"


def test_what_differs_between_long_names_stays_to_be_seen():
    names = [SWEPT.format("1e-05", n, digest) for n, digest in enumerate(("363607e9", "b5d01f2c"))]
    short = style.shortened_together(names)
    assert short == ["…seed=0…363607e9", "…seed=1…b5d01f2c"]
    rates = [SWEPT.format(lr, 0, "363607e9") for lr in ("1e-05", "1e-04")]
    assert style.shortened_together(rates) == ["…lr=1e-05…", "…lr=1e-04…"]
    assert style.shortened_together(names[:1]) == [style.shortened(names[0])]
    assert style.shortened_together(["mine", *names])[0] == "mine"
    assert style.shortened_together([]) == []
    middle = [f"{'a' * 30}{letter}{'a' * 30}" for letter in "bc"]  # of one part
    same = ["a-b" * 20, "-".join(["a-b" * 20] * 2)]
    for given in (middle, same, [f"{names[0]}-more", names[0]]):
        assert len(set(style.shortened_together(given, 18))) == 2
    legend = plots.show_histories(dict.fromkeys(names, RECORDS)).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == short
    intervals = dict.fromkeys(names, metrics.Interval(2.0, 1.0, 3.0))
    rows = plots.show_intervals(intervals).axes[0].get_yticklabels()
    assert [text.get_text() for text in rows] == short


def test_errors_say_which_they_are():
    one = {"a": metrics.Interval(2.0, 1.0, 3.0)}, {"a": [2.0]}
    for show, errors in zip((plots.show_intervals, plots.show_settings), one, strict=True):
        assert show(errors, xlabel="PA-MPJPE (mm)").axes[0].get_xlabel() == "PA-MPJPE (mm)"


def test_a_step_is_a_whole_number():
    records = [{"step": n, "loss": 1.0, "val_pa_mpjpe_mm": 9.0} for n in (1, 2)]
    for ax in plots.show_histories({"a": records}).axes:
        assert all(tick == round(tick) for tick in ax.get_xticks())


@pytest.mark.parametrize(("last", "labels"), [(4.5, {"2"}), (1.6, {"1.2", "1.4"}), (900, set())])
def test_a_log_axis_within_one_power_has_numbers_too(last, labels):
    records = [{"step": 1, "loss": 1.1}, {"step": 2, "loss": last}]
    figure = plots.show_histories({"a": records})
    figure.canvas.draw()
    losses = figure.axes[0]
    shown = {t.get_text() for t in losses.get_yticklabels(minor=True)}
    assert shown >= labels and bool(shown - {""}) == bool(labels)


def test_many_loss_terms_are_told_apart_and_the_smallest_do_not_squeeze_the_others():
    record = {"step": 1, "loss": 1.0} | {f"loss_{n}": 10.0**-n for n in range(9)}
    losses = plots.show_training([record, record | {"step": 2}]).axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in losses.lines}) == 10
    assert losses.get_ylim()[0] > 1e-5


def test_error_figures_show_the_given_numbers():
    thresholds = np.linspace(0, 50, 11)
    ax = plots.show_pck({"network": (thresholds, thresholds / 50)}).axes[0]
    assert ax.get_legend_handles_labels()[1] == ["network (AUC 0.500)"]
    assert ax.lines[0].get_ydata()[-1] == 100
    band = metrics.Interval(thresholds / 50, thresholds / 60, thresholds / 40)
    ax = plots.show_pck({"network": (thresholds, band)}).axes[0]
    assert ax.get_legend_handles_labels()[1] == ["network (AUC 0.500)"]
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(125)
    errors = np.arange(42.0).reshape(2, 21)
    ax = plots.show_errors_per_joint({"network": errors, "mean pose": errors[1:]}).axes[0]
    assert [bar.get_height() for bar in ax.patches] == errors.mean(0).tolist()
    assert [t.get_text().replace(" ", "_") for t in ax.get_xticklabels()] == list(JOINT_NAMES)
    ax = plots.show_error_histogram({"a": np.array([1.0, 2, np.nan, 3, 90]), "b": np.ones(3)}).axes[
        0
    ]
    assert ax.get_legend_handles_labels()[1] == ["a (median 2.5)", "b (median 1.0)"]


# -- notebooks -------------------------------------------------------------------------------
def test_a_figure_shows_itself_once_photos_as_jpeg(sample, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda bundle, raw: shown.append(bundle))
    plots.show_samples([sample])._ipython_display_()
    plots.show_pck({"a": (np.arange(3.0), np.arange(3) / 2)})._ipython_display_()
    assert [set(b) for b in shown] == [{"image/jpeg", "text/plain"}, {"image/png", "text/plain"}]
    for bundle, kind in zip(shown, ("jpeg", "png"), strict=True):
        assert Image.open(io.BytesIO(base64.b64decode(bundle[f"image/{kind}"]))).width > 100


def test_the_global_style_stays_and_pyplot_knows_no_figure(sample):
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    figure = plots.show_samples([sample])
    pixels(figure)
    assert dict(matplotlib.rcParams) == before
    assert isinstance(figure, Figure) and not plt.get_fignums()
