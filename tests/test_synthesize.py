import hashlib
import json
import os
import shutil
import signal
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import psutil
import pytest
import torch
from launched import handlib, wait_until

from handlib import geometry
from handlib.data import composite as module_composite
from handlib.data import kept, scene, stream
from handlib.data import synthesize as module
from handlib.data.backgrounds import Backgrounds
from handlib.data.composite import composite
from handlib.data.forearm import ArmShape, Forearm, border_loop, random_arm
from handlib.data.freihand import SHARES, FreiHANDReader
from handlib.data.look import random_look
from handlib.data.poses import sample_articulations
from handlib.data.raster import vertex_normals
from handlib.data.relief import relief_of
from handlib.data.scene import Generator, Pose, place
from handlib.data.shading import NAIL, PALM
from handlib.data.skin import make_skin
from handlib.data.synthesize import synthesize
from handlib.joints import MANO_JOINT_NAMES, ROOT, TIP_VERTICES
from handlib.mano import HandLayer

SAMPLES, EVALUATION, SIZE = 8, 3, 64


@pytest.fixture(scope="module")
def settings(hand):
    return {
        "samples": SAMPLES, "evaluation": EVALUATION, "size": SIZE, "hand": hand, "seed": 4,
        "workers": 1, "progress": False,
    }  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, settings):
    # Small chunks, so that a few samples make several.
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "_CHUNK", 3)
    yield synthesize(tmp_path_factory.mktemp("synthesize") / "whole", **settings)
    patch.undo()


@pytest.fixture(scope="module")
def generator(hand):
    return Generator(hand, 96)


def render_one(generator, rng):
    pose = generator.draw_pose(rng, sample_articulations(rng, 1)[0])
    return generator.render(rng, pose, *(x[0] for x in generator.posed([pose])))


def annotation(dataset, split, name):
    return np.array(json.loads((dataset / f"{split}_{name}.json").read_text()))


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_folder_is_laid_out_as_freihand(dataset):
    names = sorted(p.name for p in (dataset / "training" / "rgb").iterdir())
    assert names == [f"{i:08d}.jpg" for i in range(4 * SAMPLES)]
    assert len(list((dataset / "training" / "mask").iterdir())) == SAMPLES
    assert len(list((dataset / "evaluation" / "rgb").iterdir())) == EVALUATION
    assert len(list((dataset / "evaluation" / "mask").iterdir())) == EVALUATION
    shapes = {"K": (3, 3), "xyz": (21, 3), "verts": (778, 3), "mano": (1, 61), "scale": ()}
    for split, count in (("training", SAMPLES), ("evaluation", EVALUATION)):
        for name, shape in shapes.items():
            assert annotation(dataset, split, name).shape == (count, *shape)
    about = json.loads((dataset / "synthetic.json").read_text())
    assert about["hand_model"] == "stand-in hand" and about["backgrounds"] == "procedural"
    assert not (dataset / ".parts").exists()


def test_masks_cover_the_projected_hand_but_for_what_is_before_it(dataset):
    covered = []
    for split in ("training", "evaluation"):
        K = annotation(dataset, split, "K")
        joints = geometry.project(annotation(dataset, split, "xyz"), K)
        vertices = geometry.project(annotation(dataset, split, "verts"), K)
        for n in range(len(K)):
            path = dataset / split / "mask" / f"{n:08d}.jpg"
            mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
            assert mask.shape == (SIZE, SIZE)
            assert (joints[n] > 0).all() and (joints[n] < SIZE - 1).all()
            wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)))
            u, v = vertices[n].round().astype(int).clip(0, SIZE - 1).T
            ju, jv = joints[n].round().astype(int).T
            covered.append((wide[v, u].mean(), wide[jv, ju].mean()))
    assert np.min(covered) > 0.2
    assert np.mean(np.array(covered) > 0.99) > 0.6


def test_versions_show_one_hand_before_different_backgrounds(dataset):
    read = [
        cv2.imread(str(dataset / "training" / "rgb" / f"{2 + SAMPLES * k:08d}.jpg"))
        for k in range(4)
    ]
    mask = cv2.imread(str(dataset / "training" / "mask" / "00000002.jpg"), 0) > 127
    behind = [picture[~mask].astype(float) for picture in read]
    blue, green, red = behind[0].mean(0)
    assert green > 1.3 * max(blue, red)
    for a in range(4):
        for b in range(a):
            assert np.abs(behind[a] - behind[b]).mean() > 10
    # The hand has the same pattern of light and dark in all of them.
    grey = [
        picture.mean(2)[cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0] for picture in read
    ]
    assert min(np.corrcoef(grey)[0]) > 0.5


def test_hand_vectors_decode_to_the_annotations(dataset, hand):
    """FreiHAND's own decoding: f = (fx + fy) / 2, root = joint 9."""
    vector = annotation(dataset, "training", "mano")[:, 0]
    K, xyz = annotation(dataset, "training", "K"), annotation(dataset, "training", "xyz")
    layer = HandLayer(hand, dtype=torch.float64)
    decoded = layer(layer.rotations(torch.tensor(vector[:, :48])), torch.tensor(vector[:, 48:58]))
    joints, vertices = (x.numpy() for x in (decoded.joints, decoded.vertices))
    f, (u, v, s) = (K[:, 0, 0] + K[:, 1, 1]) / 2, vector[:, 58:].T
    root = np.stack([(u - K[:, 0, 2]) / s, (v - K[:, 1, 2]) / s, f / s], -1)
    shift = (root - joints[:, ROOT])[:, None]
    np.testing.assert_allclose(joints + shift, xyz, atol=2e-6)
    np.testing.assert_allclose(
        vertices + shift, annotation(dataset, "training", "verts"), atol=2e-6
    )
    scale = np.linalg.norm(xyz[:, 9] - xyz[:, 10], axis=-1)
    np.testing.assert_allclose(annotation(dataset, "training", "scale"), scale, atol=3e-6)


def test_an_interrupted_run_goes_on_to_the_same_bytes(dataset, settings, tmp_path, monkeypatch):
    render, done = module._render_chunk, []

    def fails_at_the_third(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(args[2:])
        return render(*args)

    monkeypatch.setattr(module, "_render_chunk", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "set", **settings)
    assert not (tmp_path / "set" / "synthetic.json").exists()
    done.clear()
    monkeypatch.setattr(
        module, "_render_chunk", lambda *args: done.append(args[2:]) or render(*args)
    )
    synthesize(tmp_path / "set", **settings)
    assert done == [("training", 6, 8), ("evaluation", 0, 3)]
    assert digest(tmp_path / "set") == digest(dataset)


def test_a_part_that_was_cut_short_is_made_anew(dataset, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_write_annotations", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        synthesize(tmp_path / "set", **settings)
    monkeypatch.undo()
    part = next((tmp_path / "set" / ".parts").glob("training_*.npz"))
    part.write_bytes(part.read_bytes()[:40])
    synthesize(tmp_path / "set", **settings)
    assert digest(tmp_path / "set") == digest(dataset)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_processes_that_render_end_with_the_command(tmp_path, how):
    words = ("synthesize", "--samples", 5000, "--size", 64, "--workers", 2, "--out")
    command = handlib(*words, tmp_path / "set")
    wait_until(lambda: [*(tmp_path / "set/training/mask").glob("*.jpg")])
    workers = psutil.Process(command.pid).children(recursive=True)
    assert len(workers) >= 2
    command.send_signal(how)
    code = command.wait(30)
    left = psutil.wait_procs(workers, 5)[1]
    for process in left:  # they would hold this test's pipes
        process.kill()
    assert not left
    if how == signal.SIGTERM:
        errors = command.communicate()[1]
        assert code == os.EX_TEMPFAIL and "Traceback" not in errors
        assert errors.endswith("\nhandlib: stopped, all saved; the same command goes on\n")


def test_the_number_of_workers_changes_nothing(dataset, settings, tmp_path):
    synthesize(tmp_path / "set", **settings | {"workers": 2})
    assert digest(tmp_path / "set") == digest(dataset)


def test_what_cannot_be_drawn_is_refused_at_once(settings, tmp_path, monkeypatch):
    """Not by each worker, after the folder was made."""
    monkeypatch.setattr(module, "ProcessPoolExecutor", None)
    left = {"hand": replace(settings["hand"], is_right=False)}
    for wrong, message in ((left, "stand-in hand is a left hand model"), ({"size": 31}, "31 px")):
        with pytest.raises(ValueError, match=message):
            synthesize(tmp_path / "new", **settings | {"workers": 2} | wrong)
        assert not (tmp_path / "new").exists()


def test_a_negative_seed_is_refused_before_anything_is_written(settings, tmp_path):
    with pytest.raises(ValueError, match="seed must be 0 or more"):
        synthesize(tmp_path / "out", **settings | {"seed": -1})
    assert not (tmp_path / "out").exists()


def test_a_finished_dataset_is_left_alone_and_another_is_refused(dataset, settings, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in dataset.rglob("*")}
    assert synthesize(dataset, **settings) == dataset
    assert before == {p: p.stat().st_mtime_ns for p in dataset.rglob("*")}
    with pytest.raises(ValueError, match=r"seed 4 \(asked: 5\).*another folder"):
        synthesize(dataset, **settings | {"seed": 5})
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match="new folder"):
        synthesize(tmp_path, **settings)
    with pytest.raises(FileNotFoundError, match="MP_BACKGROUNDS"):
        synthesize(tmp_path / "new", **settings, backgrounds=tmp_path / "nowhere")
    assert not (tmp_path / "new").exists()


def test_a_run_that_stopped_while_tidying_up_is_finished_by_the_next(dataset, settings, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "set")
    (copy / ".parts").mkdir()
    synthesize(copy, **settings)
    assert not (copy / ".parts").exists()


def test_no_larger_dataset_trains_on_hands_that_a_smaller_one_tests_with(
    dataset, settings, tmp_path
):
    larger = synthesize(tmp_path / "larger", **settings | {"samples": 2 * SAMPLES})

    def poses(folder, *splits):
        readers = [FreiHANDReader(folder, split) for split in splits]
        return {pose.tobytes() for r in readers for pose in r.annotation("mano", whole=False)}

    small, large = ({s: poses(folder, s) for s in SHARES} for folder in (dataset, larger))
    everything = poses(larger, *SHARES, "evaluation")
    assert len(everything) == 2 * SAMPLES + EVALUATION
    for split in SHARES:
        assert small[split] < large[split]


def test_articulations_share_no_random_stream_with_an_id(monkeypatch):
    """numpy pads seeds with zeros: [seed, split, n] and [seed, split, n, 0] are one stream."""
    drawn = []
    monkeypatch.setattr(
        module,
        "sample_articulations",
        lambda rng, n: drawn.append(rng.random()) or np.zeros((n, 45)),
    )
    module._articulations.cache_clear()
    module._articulations(4, 0, 3)
    module._articulations.cache_clear()
    assert drawn != [np.random.default_rng([4, 0, 3]).random()]
    streams = [*module._STREAMS.values(), stream._STREAM, kept._AGAIN]
    assert len({*streams}) == len(streams)


def test_forearm_continues_the_wrist_without_gap_or_fold(hand):
    forearm = Forearm(hand)
    assert len(forearm.border) == 16
    ring = hand.v_template[forearm.border]
    bent = ArmShape(flexion=0.8, deviation=0.35)
    for shape in (ArmShape(), bent, random_arm(np.random.default_rng(0))):
        arm = forearm.vertices(ring, np.eye(3), shape, np.array([0, 1.0, 0]))
        rings = np.concatenate([ring, arm]).reshape(-1, 16, 3)
        gaps = np.linalg.norm(np.diff(rings, axis=0), axis=-1)
        assert gaps[0].max() < 0.02
        # The hand's and the arm's triangles use each border edge in opposite directions.
        edges = {
            (a, b)
            for f in np.vstack([hand.faces, forearm.faces])
            for a, b in zip(f, np.roll(f, -1))
        }
        open_ends = {e for e in edges if e[::-1] not in edges}
        assert len(open_ends) == 16 and not open_ends & {
            (a, b) for a in forearm.border for b in forearm.border
        }
    with pytest.raises(ValueError, match="closed"):
        border_loop(np.array([[0, 1, 2], [2, 1, 0]]))


def test_a_band_is_worn_on_the_arm(generator):
    skin, n = generator.skin, len(generator.hand.faces)
    assert skin.band(ArmShape())[0] == skin.band(ArmShape())[1]
    first, last = skin.band(ArmShape(band=(1, 3)))
    corners = np.unique(skin.faces[first:last])
    assert first > n and last - first == 64 and corners.min() >= len(generator.hand.v_template)
    rng = np.random.default_rng(0)
    arms = [random_arm(rng) for _ in range(300)]
    assert 0.06 < np.mean([a.band[1] > a.band[0] for a in arms]) < 0.2
    assert max(skin.band(a)[1] for a in arms) <= skin.cloth_start


def test_nails_are_on_the_back_of_the_last_segments(hand):
    skin = make_skin(hand)
    faces = skin.faces[: len(hand.faces)]
    covered = (skin.texels[: len(faces), :, NAIL] > 0) & (skin.texels[: len(faces), :, NAIL] < 110)
    nails = hand.v_template[faces[covered.sum(1) > 20]].mean(1)
    tips = hand.v_template[list(TIP_VERTICES["freihand"])]
    distance = np.linalg.norm(nails[:, None] - tips, axis=-1)
    assert (distance.min(1) < 0.025).all()
    assert set(distance.argmin(1)) == set(range(5))
    # The four fingers' nails lie above their tips' height in MANO's axes: the back is +y.
    fingers = nails[distance.argmin(1) > 0]
    palm_side = hand.v_template[faces][:, :, 1].mean(1) < np.median(hand.v_template[:, 1]) - 0.008
    assert skin.texels[: len(faces)][palm_side][..., PALM].max(1).mean() > 150
    assert fingers[:, 1].min() > tips[1:, 1].min() - 0.004


def test_views_articulations_and_cameras_vary_within_their_limits(generator):
    rng = np.random.default_rng(0)
    focal, fill, arms = [], [], []
    for articulation in sample_articulations(rng, 60):
        pose = generator.draw_pose(rng, articulation)
        vertices, joints = (x[0] for x in generator.posed([pose]))
        K, shift = place(rng, vertices, joints, 96)
        box = geometry.project(vertices + shift, K)
        fill.append(np.ptp(box, axis=0).max() / 96)
        focal.append(K[0, 0] * 224 / 96)
        joints_2d = geometry.project(joints + shift, K)
        assert (joints_2d > 0).all() and (joints_2d < 95).all()
        assert (vertices + shift)[:, 2].min() > 0.08
        root = geometry.axis_angle_to_matrix(torch.tensor(pose.pose[:3])).numpy()
        arms.append(root @ generator.skin.forearm.frame[0])
        assert np.abs(pose.betas).max() <= 2.5
    assert min(fill) > 0.3 and max(fill) < 0.95 and np.ptp(fill) > 0.25
    assert min(focal) < 400 and max(focal) > 700
    arms = np.array(arms)
    assert arms[:, 2].min() > -0.71 and arms[:, 2].max() > 0.8
    assert (arms[:, :2].min(0) < -0.7).all() and (arms[:, :2].max(0) > 0.7).all()


def test_green_screen_and_pictures_leave_the_hand_where_it_is(generator):
    rng = np.random.default_rng(1)
    render = render_one(generator, rng)
    # Colours are multiplied by coverage: no sample of a pixel counts twice.
    assert np.isfinite(render.rgb).all() and render.rgb.min() >= 0
    assert (render.rgb <= render.alpha[..., None] + 1e-6).all()
    images = [composite(np.random.default_rng(k), render, k, Backgrounds()) for k in range(4)]
    # Well inside of the hand: those that are cut out lose their rim and what they hold.
    inside = cv2.erode(np.uint8(render.hand == 1), np.ones((5, 5))) > 0
    grey = [image.mean(2)[inside] for image in images]
    assert np.corrcoef(grey).min() > 0.5


class Grey:
    """Backgrounds of one grey, without noise."""

    def draw(self, rng, size):
        return np.full((size[1], size[0], 3), 128, np.uint8)


def test_cut_out_hands_have_soft_rims_and_lose_what_they_hold(generator, monkeypatch):
    monkeypatch.setattr(module_composite, "_RECOLORED", 0)
    square = np.zeros((96, 96), np.float32)
    square[30:70, 30:70] = 1
    held = square.copy()
    held[30:70, 70:90] = 1
    rgb = held[..., None] * np.float32([0.8, 0.1, 0.1])
    render = render_one(generator, np.random.default_rng(1))
    render = render._replace(rgb=rgb, alpha=held, hand=square)

    def shown(share, seed):
        monkeypatch.setattr(module_composite, "_CUT_OUT", share)
        return composite(np.random.default_rng(seed), render, 1, Grey()).astype(float)

    whole, cut = ([shown(share, k) for k in range(10)] for share in (0.0, 1.0))
    # Redness, of which the background has none.
    red = [np.mean(images, 0)[..., 0] - np.mean(images, 0)[..., 1] for images in (whole, cut)]
    assert red[1][45:55, 45:55].mean() > 0.6 * red[0][45:55, 45:55].mean()
    assert red[0][40:60, 80:88].mean() > 50 > 10 > np.abs(red[1][40:60, 80:88]).mean()
    rows = [np.stack(images)[:, 45:55, 20:40, 2].mean(1) for images in (whole, cut)]
    steps = [np.median(np.abs(np.diff(r)).max(1) / np.ptp(r, axis=1)) for r in rows]
    assert steps[1] < 0.8 * steps[0]


def test_recoloured_pictures_keep_their_light_and_lose_colour_borders():
    picture = np.full((64, 64, 3), (200, 60, 60), np.uint8)
    picture[:, 32:] = (60, 130, 60)
    step = []
    for seed in range(20):
        out = module_composite._recolored(np.random.default_rng(seed), picture)
        luma = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(float) for x in (picture, out)]
        assert np.abs(luma[0] - luma[1]).mean() < 8
        redness = out[..., 0].astype(float) - out[..., 1]
        step.append(np.abs(np.diff(redness, axis=1)).max() / 210)
    assert max(step) < 0.95 and min(step) < 0.3


def test_hair_darkens_the_back_and_not_the_palm(generator, monkeypatch):
    pictures = {}
    for side, turn in (("back", -0.5), ("palm", 0.5)):
        pose = Pose(np.array([turn * np.pi, *np.zeros(47)]), np.zeros(10))
        posed = [x[0] for x in generator.posed([pose])]
        for hair in (0.0, 0.8):
            monkeypatch.setattr(scene, "hold", lambda *_: None)
            monkeypatch.setattr(scene, "add_other_hand", lambda rng, render, others: render)
            monkeypatch.setattr(
                scene, "random_look", lambda r, h=hair: random_look(r)._replace(hair=h)
            )
            render = generator.render(np.random.default_rng(0), pose, *posed)
            pictures[side, hair] = render.rgb[render.mask].mean()
    darker = {side: pictures[side, 0.8] / pictures[side, 0.0] for side in ("back", "palm")}
    assert darker["back"] < 0.975 and darker["palm"] > 0.985


def test_clefts_open_up_to_between_the_knuckles_and_only_once(hand):
    rest = hand.v_template
    normals = vertex_normals(rest, hand.faces)
    clefts, *knuckles, flesh, stout = relief_of(hand, normals).T
    assert clefts.max() == 0 and -0.02 < clefts.min() < -0.006
    assert 0.0008 < flesh.max() <= 0.001
    assert 0.0003 < stout.min() < 0.0004 and 0.0009 < stout.max() <= 0.001
    assert len(knuckles) == 8 and all(0.001 < bump.max() <= 0.004 for bump in knuckles)
    joints, deep = hand.J_regressor @ rest, rest[clefts < -0.002]
    assert 8 < len(deep) < 60 and normals[clefts < -0.002, 1].min() > -0.5 * np.abs(normals).max()
    places = [joints[MANO_JOINT_NAMES.index(f"{f}_mcp")] for f in ("index", "middle", "ring")]
    for a, b in pairwise(places):
        apart = np.linalg.norm((deep - (a + b) / 2)[:, [0, 2]], axis=1)
        assert apart.min() < 0.01
    open_ = replace(hand, v_template=rest + normals * clefts[:, None])
    again = relief_of(open_, vertex_normals(open_.v_template, hand.faces))[:, 0]
    assert np.abs(again).sum() < 0.6 * np.abs(clefts).sum()


def test_an_arm_is_as_stout_as_its_hand(generator):
    skin, n = generator.skin, len(generator.hand.v_template)
    border = skin.relief[skin.forearm.border, -1]
    np.testing.assert_allclose(skin.relief[n:, -1], border.mean(), rtol=0.02)
    assert not skin.relief[n:, :-1].any()


def test_relief_is_drawn_and_not_annotated(generator, monkeypatch):
    pose = generator.draw_pose(np.random.default_rng(0), np.zeros(45))
    (vertices,), (joints,) = generator.posed([pose])
    rough = generator.render(np.random.default_rng(1), pose, vertices, joints)
    flat = generator.skin._replace(relief=np.zeros_like(generator.skin.relief))
    monkeypatch.setattr(generator, "skin", flat)
    smooth = generator.render(np.random.default_rng(1), pose, vertices, joints)
    for name in ("joints", "vertices", "K"):
        np.testing.assert_array_equal(getattr(rough, name), getattr(smooth, name))
    assert np.abs(rough.rgb - smooth.rgb).max() > 0.05
    np.testing.assert_allclose(np.ptp(smooth.vertices - vertices, axis=0), 0, atol=1e-12)


def test_something_outside_of_the_picture_casts_a_shadow_on_one_side(generator, monkeypatch):
    pose = generator.draw_pose(np.random.default_rng(0), np.zeros(45))
    (vertices,), (joints,) = generator.posed([pose])
    renders = {}
    for dark in (0.0, 0.6):
        # To the right of the joints' middle, and everywhere.
        changes = {"outside": np.array([[200.0, 0, 0, 0], [0, 0, 0, 1]]), "outside_dark": dark}
        changes |= {"falloff": np.zeros(3)}
        monkeypatch.setattr(
            scene, "random_look", lambda r, changes=changes: random_look(r)._replace(**changes)
        )
        renders[dark] = generator._alone(np.random.default_rng(1), pose, vertices, joints)
    light, shaded = (renders[dark].rgb for dark in (0.0, 0.6))
    middle = renders[0.0].joints.mean(0)
    x = geometry.project(middle, renders[0.0].K)[0]
    columns = np.arange(light.shape[1])
    inside = renders[0.0].alpha == 1
    left, right = inside & (columns < x - 12), inside & (columns > x + 12)
    assert np.abs(light[left] - shaded[left]).max() < 0.02
    assert np.median(shaded[right].mean(-1) / light[right].mean(-1)) < 0.85


def test_a_mesh_without_one_wrist_border_is_drawn_without_a_forearm(hand):
    torn = replace(hand, faces=np.delete(hand.faces, [10, 700], axis=0))
    with pytest.warns(UserWarning, match="without a forearm"):
        generator = Generator(torn, 48)
    assert 0.02 < render_one(generator, np.random.default_rng(0)).mask.mean() < 0.9
