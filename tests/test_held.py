"""Things in hands: closed meshes, in touch with the hand but not in it, and no part of its mask."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from handlib.data import held, raster, scene
from handlib.data.poses import sample_articulations
from handlib.data.things import KINDS, PEN, SMALL, loft, random_thing, with_head, with_ring
from handlib.mano.articulation import POSES


@pytest.fixture(scope="module")
def generator(hand):
    return scene.Generator(hand, 64)


@pytest.fixture(scope="module")
def hands(generator):
    """Posed hands: vertices, joints, and the direction of their backs."""
    rng = np.random.default_rng(0)
    poses = [generator.draw_pose(rng, a) for a in sample_articulations(rng, 120)]
    backs = [Rotation.from_rotvec(p.pose[:3]).as_matrix()[:, 1] for p in poses]
    return list(zip(*generator.posed(poses), backs))


def grip(generator, name):
    """Joints (21, 3) of a named pose."""
    rng = np.random.default_rng(0)
    return generator.posed([generator.draw_pose(rng, POSES[name])])[1][0]


def volume(vertices, faces):
    a, b, c = vertices[faces].swapaxes(0, 1)
    return (a * np.cross(b, c)).sum() / 6


def test_surfaces_are_closed_and_face_outwards():
    """A closed surface's volume does not depend on the origin; it is positive seen from outside."""
    cylinder = loft(KINDS["rod"].profile, [0.02, 0.02, 0.1])
    assert volume(*cylinder) == pytest.approx(np.pi * 0.02**2 * 0.2, rel=0.03)
    box = loft(KINDS["rod"].profile, [0.02, 0.03, 0.1], power=0.01)
    assert volume(*box) == pytest.approx(8 * 0.02 * 0.03 * 0.1, rel=0.03)
    rng = np.random.default_rng(0)
    rod = random_thing(rng, KINDS["rod"])
    things = [random_thing(rng, k) for k in (*KINDS.values(), *SMALL.values(), PEN)]
    for thing in (*things, with_head(rng, rod), with_ring(rng, rod)):
        inside = volume(thing.vertices, thing.faces)
        assert inside > 0
        assert volume(thing.vertices + 0.1, thing.faces) == pytest.approx(inside, abs=1e-12)


def test_a_third_of_the_hands_hold_something_and_open_ones_less_often(hands, generator):
    rng = np.random.default_rng(1)
    assert 0.25 < np.mean([held.hold(rng, *hand) is not None for hand in hands * 3]) < 0.45
    share = {}
    for names in (("flat", "spread"), ("ball", "grasp", "tripod", "ok")):
        made = [generator.draw_pose(rng, POSES[name]) for name in names for _ in range(120)]
        turns = [Rotation.from_rotvec(p.pose[:3]).as_matrix()[:, 1] for p in made]
        holds = [held.hold(rng, *hand) is not None for hand in zip(*generator.posed(made), turns)]
        share[names[0]] = np.mean(holds)
    assert share["ball"] > share["flat"] + 0.1


def test_things_touch_the_hand_and_do_not_swallow_it(hands):
    rng = np.random.default_rng(2)
    gaps, depths = [], []
    for vertices, joints, back in hands:
        thing = held.hold(rng, vertices, joints, back)
        if thing is None:
            continue
        points = thing.vertices[thing.faces].reshape(-1, 3)
        middles = thing.vertices[thing.faces].mean(1)
        near, _ = cKDTree(np.vstack([points, middles])).query(vertices)
        gaps.append(near.min())
        normals = raster.vertex_normals(thing.vertices, thing.faces)
        _, which = cKDTree(thing.vertices).query(vertices)
        depths.append(((vertices - thing.vertices[which]) * normals[which]).sum(1).min())
    assert len(gaps) > 25
    assert np.quantile(gaps, 0.95) < 0.012  # metres
    assert np.median(depths) > -0.008


def test_a_pen_does_not_run_through_the_palm(generator):
    """Nothing between the fingertips reaches to where there is flesh."""
    joints, back = grip(generator, "pinch"), np.array([0, 1.0, 0])
    tips = (joints[4] + joints[8]) / 2
    around = np.random.default_rng(0).normal(size=(100_000, 3))
    around *= np.random.default_rng(1).uniform(0.03, 0.05, (100_000, 1)) / np.linalg.norm(
        around, axis=1, keepdims=True
    )
    longest = []
    for flesh in (tips + around, tips + 9 + around):
        things = [
            held._between_fingertips(np.random.default_rng(k), flesh, joints, back)
            for k in range(40)
        ]
        longest.append(max(np.ptp(t.rest[:, 2]) for t in things if t is not None))
    assert longest[0] < 0.1 < longest[1]


def drawn(generator, monkeypatch, hand, hold):
    """A render of a hand that holds what ``hold`` says."""
    monkeypatch.setattr(scene, "hold", hold)
    monkeypatch.setattr(scene, "add_other_hand", lambda rng, render, others: render)
    vertices, joints, _ = hand
    pose = scene.Pose(np.zeros(48), np.zeros(10))
    return generator.render(np.random.default_rng(3), pose, vertices, joints)


def ball(center, radius):
    vertices, faces = loft(KINDS["ball"].profile, np.full(3, radius))
    return held.Held(vertices + center, faces, vertices, np.zeros((0, 4)))


def test_what_is_held_hides_the_hand_and_is_no_part_of_its_mask(generator, hands, monkeypatch):
    empty = drawn(generator, monkeypatch, hands[0], lambda *_: None)
    assert (empty.alpha == empty.hand).all()

    def before_a_fingertip(rng, vertices, joints, back):
        return ball(joints[12] - [0, 0, 0.05], 0.02)

    full = drawn(generator, monkeypatch, hands[0], before_a_fingertip)
    assert (full.hand <= full.alpha).all() and (full.hand <= empty.hand + 1e-6).all()
    u, v = (full.K @ (full.joints[12] / full.joints[12, 2]))[:2].round().astype(int)
    assert full.alpha[v, u] == 1 and not full.mask[v, u] and empty.mask[v, u]
    assert (full.rgb[v, u] != empty.rgb[v, u]).any()
    far = np.linalg.norm(np.indices(full.alpha.shape).T[..., ::-1] - [u, v], axis=-1).T > 45
    assert (full.hand[far] == empty.hand[far]).all()


def test_a_thing_that_hides_most_of_the_hand_is_not_held(generator, hands, monkeypatch):
    empty = drawn(generator, monkeypatch, hands[0], lambda *_: None)
    wall = drawn(
        generator, monkeypatch, hands[0], lambda r, v, j, b: ball(j[9] - [0, 0, 0.13], 0.11)
    )
    np.testing.assert_array_equal(wall.hand, empty.hand)
    np.testing.assert_array_equal(wall.alpha, empty.alpha)


def test_the_nearer_of_two_drawings_is_seen():
    rng = np.random.default_rng(0)
    vertices = rng.uniform([-0.4, -0.4, 0.5], [0.4, 0.4, 1.5], (60, 3))
    faces = np.arange(60).reshape(20, 3)
    K, size = np.array([[60.0, 0, 31.5], [0, 60, 31.5], [0, 0, 1]]), (64, 64)
    whole = raster.rasterize(vertices, faces, K, size)
    first, second = (
        raster.rasterize(vertices, faces[k], K, size) for k in (slice(8), slice(8, 20))
    )
    merged = raster.nearest(first, second, 8)
    np.testing.assert_array_equal(merged.face, whole.face)
    np.testing.assert_array_equal(merged.depth, whole.depth)
    seen = whole.face >= 0
    np.testing.assert_array_equal(merged.barycentric[seen], whole.barycentric[seen])
