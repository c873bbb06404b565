from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from fake_data import fake_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from handlib import augment, geometry
from handlib.augment import (
    AddClutter,
    ChangeBackground,
    ColorJitter,
    Compose,
    CropToBox,
    CropToHand,
    Degrade,
    Flip,
    MirrorBack,
    MoveHand,
    Resize,
    Rotate,
    Scale,
    ScaleNormalize,
    Shift,
    ToRight,
    Upright,
)
from handlib.augment.base import move_pose, warp_image
from handlib.augment.pixels import green_screen_alpha
from handlib.data.sample import Sample


class Plain:
    """Backgrounds of one colour."""

    def __init__(self, color=(10, 20, 250)):
        self.color = color

    def draw(self, rng, size):
        return np.full((size[1], size[0], 3), self.color, np.uint8)


MOVES = [
    Rotate(180),
    Flip(1.0),
    Scale(),
    Shift(),
    Resize(160),
    Resize((300, 200)),
    ToRight(),
    ScaleNormalize(),
    CropToBox(128, 2.0),
    CropToHand(100),
    Upright(112, 1.0),
]
PAINTS = [MoveHand(1.0), AddClutter(1.0), ColorJitter(), Degrade(1.0), ChangeBackground(Plain())]
TRANSFORMS = st.lists(st.sampled_from(MOVES + PAINTS), min_size=1, max_size=6)
# As in training: one warp, and what changes pixels before or after it.
ONE_WARP = st.builds(
    lambda first, moves, last: first + moves + last,
    st.lists(st.sampled_from(PAINTS), max_size=1),
    st.lists(st.sampled_from(MOVES), min_size=1, max_size=5),
    st.lists(st.sampled_from(PAINTS), max_size=2),
)
SAMPLES = st.builds(
    fake_sample,
    seed=st.integers(0, 10**6),
    size=st.sampled_from([(224, 224), (320, 240), (150, 200)]),
    version=st.sampled_from([0, 1, None]),
    is_right=st.booleans(),
    skew=st.sampled_from([0.0, 0.1]),
)


def assert_consistent(sample):
    projected = geometry.project(sample.joints, sample.K)
    np.testing.assert_allclose(projected, sample.joints_2d, atol=0.01)


def assert_mask_covers_vertices(sample, margin):
    """The mask, widened by ``margin``, covers all projected vertices that are in the image."""
    points = geometry.project(sample.vertices, sample.K).round().astype(int)
    x, y = points[((points >= 0) & (points < sample.size)).all(1)].T
    wide = cv2.dilate(sample.mask.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8))
    assert wide[y, x].all()


@settings(max_examples=100, deadline=None)
@given(sample=SAMPLES, transforms=TRANSFORMS, seed=st.integers(0, 10**6))
def test_camera_and_hand_follow_any_transforms(sample, transforms, seed):
    moved = Compose(transforms)(sample, np.random.default_rng(seed))
    assert_consistent(moved)
    assert moved.mask.shape == moved.image.shape[:2]
    assert moved.image.flags.c_contiguous


@settings(max_examples=100, deadline=None)
@given(sample=SAMPLES, transforms=ONE_WARP, seed=st.integers(0, 10**6))
def test_the_mask_follows(sample, transforms, seed):
    moved = Compose(transforms)(sample, np.random.default_rng(seed))
    zoom = abs(np.linalg.det(moved.K) / np.linalg.det(sample.K)) ** 0.5
    # The drawn mask ends at whole pixels, and a resampled corner is rounder by about one more.
    assert_mask_covers_vertices(moved, 1 + int(np.ceil(zoom)))


@settings(max_examples=30, deadline=None)
@given(sample=SAMPLES, transforms=TRANSFORMS, seed=st.integers(0, 10**6))
def test_one_warp_gives_the_annotations_of_many(sample, transforms, seed):
    chain = Compose(transforms)
    params = chain.draw(np.random.default_rng(seed), sample)
    one = chain.apply(sample, params)
    many = sample
    for transform, drawn in zip(transforms, params):
        many = transform.apply(many, drawn)
    for name in ("K", "joints", "joints_2d", "vertices", "pose"):
        np.testing.assert_allclose(getattr(one, name), getattr(many, name), atol=1e-8)
    assert (one.is_right, one.mirrored) == (many.is_right, many.mirrored)
    assert one.unit == pytest.approx(many.unit)


@settings(max_examples=20, deadline=None)
@given(sample=SAMPLES)
def test_two_flips_are_the_identity(sample):
    rng = np.random.default_rng(0)
    once = Flip(1.0)(sample, rng)
    assert once.is_right != sample.is_right
    np.testing.assert_array_equal(once.image, sample.image[:, ::-1])
    for twice in (Flip(1.0)(once, rng), Compose([Flip(1.0), Flip(1.0)])(sample, rng)):
        np.testing.assert_array_equal(twice.image, sample.image)
        np.testing.assert_array_equal(twice.mask, sample.mask)
        assert twice.is_right == sample.is_right
        for name in ("K", "joints", "joints_2d", "vertices", "pose"):
            np.testing.assert_allclose(getattr(twice, name), getattr(sample, name), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    missing=st.sets(st.sampled_from(["K", "joints", "vertices", "mask", "pose", "scale"])),
    transforms=TRANSFORMS,
)
def test_missing_annotations_stay_missing(missing, transforms):
    sample = fake_sample(3).replace(**dict.fromkeys(missing))
    moved = Compose(transforms)(sample, np.random.default_rng(0))
    assert moved.annotations() == sample.annotations()
    assert all(np.isfinite(getattr(moved, n)).all() for n in moved.annotations())


def test_a_chain_within_a_chain_is_the_chain():
    inner, sample = Compose([Rotate(), Resize(96)]), fake_sample(1)
    within = Compose([ColorJitter(0), inner])(sample, np.random.default_rng(0))
    alone = Compose([ColorJitter(0), *inner.transforms])(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(within.image, alone.image)
    np.testing.assert_array_equal(within.K, alone.K)


def test_a_dot_in_the_image_goes_where_the_joint_goes():
    sample = fake_sample(1)
    image = np.zeros((224, 224, 3), np.uint8)
    u, v = sample.joints_2d[9].round().astype(int)
    cv2.circle(image, (int(u), int(v)), 5, (255, 255, 255), -1)
    offset = sample.joints_2d[9] - (u, v)
    chain = Compose([Rotate(), Scale(), Flip(1.0), Resize(320)])
    for seed in range(10):
        moved = chain(sample.replace(image=image), np.random.default_rng(seed))
        ys, xs = np.nonzero(moved.image[..., 0] > 127)
        seen = np.array([xs.mean(), ys.mean()])
        assert np.abs(seen - moved.joints_2d[9]).max() < 0.3 + 2 * np.abs(offset).max()


def test_shrinking_averages_pixels():
    image = (np.indices((240, 240)).sum(0) % 2 * 255).astype(np.uint8)
    sample = fake_sample(2, size=(240, 240)).replace(image=np.repeat(image[..., None], 3, 2))
    for transforms in ([Resize(60)], [Rotate(30), Resize(60)]):
        small = Compose(transforms)(sample, np.random.default_rng(0)).image[15:45, 15:45]
        assert small.min() > 110 and small.max() < 145


def test_rotation_is_about_the_principal_point():
    sample = fake_sample(4)
    moved = Rotate().apply(sample, {"degrees": 90.0})
    np.testing.assert_allclose(moved.K, sample.K, atol=1e-9)
    centre, before, after = sample.K[:2, 2], sample.joints_2d, moved.joints_2d
    focal = np.diag(sample.K)[:2]
    turned = ((before - centre) / focal)[:, ::-1] * (-1, 1)
    np.testing.assert_allclose((after - centre) / focal, turned, atol=1e-9)


def test_left_hands_become_right_and_say_so():
    left = fake_sample(5, is_right=False)
    seen = ToRight()(left, np.random.default_rng(0))
    assert (seen.is_right, seen.mirrored) == (True, True)
    np.testing.assert_allclose(geometry.mirror_points(seen.joints), left.joints)
    right = fake_sample(5)
    assert ToRight()(right, np.random.default_rng(0)) is right
    again = MirrorBack()(seen, None)
    assert (again.is_right, again.mirrored) == (False, False)
    np.testing.assert_array_equal(again.image, left.image)
    np.testing.assert_allclose(again.joints_2d, left.joints_2d)
    assert MirrorBack()(right, None) is right


def test_a_hand_of_unknown_side_is_not_mirrored_and_stays_unknown():
    unknown = fake_sample(5, is_right=None)
    assert ToRight()(unknown, None) is unknown
    assert Flip(1.0)(unknown, np.random.default_rng(0)).is_right is None


def test_the_course_recipe_never_shows_a_left_hand():
    """Its Flip once made left hands for a model of right ones."""
    sample = fake_sample(6)
    chain = augment.course_transforms(64, Plain())
    shown = [chain(sample, np.random.default_rng(s)) for s in range(20)]
    assert all(s.is_right for s in shown) and {s.mirrored for s in shown} == {True, False}
    free = augment.course_transforms(64, Plain(), to_right=False)
    assert {free(sample, np.random.default_rng(s)).is_right for s in range(20)} == {True, False}


def test_scale_normalize_keeps_the_projection_and_remembers_metres():
    sample = fake_sample(7)
    moved = ScaleNormalize()(sample, None)
    assert np.linalg.norm(moved.joints[9] - moved.joints[10]) == pytest.approx(1)
    assert moved.scale == pytest.approx(1)
    assert_consistent(moved)
    for name in ("joints", "vertices"):
        np.testing.assert_allclose(getattr(moved, name) * moved.unit, getattr(sample, name))


def test_scale_normalize_never_divides_by_nothing():
    for joints in (None, np.zeros((21, 3)), np.full((21, 3), np.nan)):
        sample = fake_sample(8).replace(joints=joints)
        moved = ScaleNormalize()(sample, None)
        assert moved.unit == 1 and np.isfinite(moved.vertices).all()


def green_sample(hand=(200, 120, 100)):
    """A hand of one colour, with a bright and a saturated part, before a green screen."""
    sample = fake_sample(9)
    image = np.full((224, 224, 3), (70, 105, 45), np.uint8)
    image[sample.mask] = hand
    return sample.replace(image=image)


@pytest.mark.parametrize("hand", [(200, 120, 100), (255, 90, 30), (90, 50, 40), (250, 235, 230)])
@pytest.mark.parametrize("with_mask", [True, False])
def test_background_goes_and_skin_of_any_saturation_stays(hand, with_mask):
    sample = green_sample(hand)
    shown = sample if with_mask else sample.replace(mask=None)
    image = ChangeBackground(Plain(), p=1.0)(shown, np.random.default_rng(0)).image
    inner = cv2.erode(sample.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    outer = cv2.dilate(sample.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    assert np.abs(image[inner].astype(int) - hand).max() <= 1
    assert np.abs(image[outer].astype(int) - (10, 20, 250)).max() <= 1


def test_green_light_on_the_hand_is_removed():
    image = ChangeBackground(Plain(), p=1.0)(
        green_sample((100, 130, 90)), np.random.default_rng(0)
    ).image
    assert (image[..., 1] <= image.astype(int)[..., [0, 2]].max(-1)).all()


def test_what_cannot_be_keyed_is_left_alone():
    for version in (1, 2, 3, None):
        sample = green_sample().replace(mask=None, version=version)
        assert ChangeBackground(Plain(), p=1.0)(sample, np.random.default_rng(0)) is sample


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (np.zeros((224, 224), np.uint8), r"\(224, 224\) uint8"),
        (np.zeros((200, 224, 3), np.uint8), r"\(200, 224, 3\) uint8"),
        (np.zeros((224, 224, 4), np.uint8), r"\(224, 224, 4\) uint8"),
        (np.zeros((224, 224, 3)), r"\(224, 224, 3\) float64"),
    ],
)
def test_backgrounds_of_another_form_are_refused(picture, kind):
    backgrounds = SimpleNamespace(draw=lambda rng, size: picture)
    with pytest.raises(ValueError, match=rf"is to give \(224, 224, 3\) uint8, and gave {kind}"):
        ChangeBackground(backgrounds, 1.0)(green_sample(), np.random.default_rng(0))


@pytest.mark.parametrize("joints_2d", [None, np.full((21, 2), np.nan), np.full((21, 2), 1e12)])
def test_without_a_joint_in_the_image_its_centre_is_the_hand(joints_2d):
    sample = green_sample()
    mask = green_screen_alpha(sample.image, joints_2d) > 0
    inner = cv2.erode(sample.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert mask[inner].all() and mask.mean() < 0.9


@pytest.mark.parametrize("far", [1.4e5, 1e10])
def test_clutter_goes_behind_a_hand_whose_joint_is_far_off(far):
    sample = fake_sample(10)
    joints_2d = sample.joints_2d.copy()
    joints_2d[8] = far
    sample = Sample(image=sample.image, id=0, joints_2d=joints_2d)
    shown = [AddClutter(1.0, 0.0)(sample, np.random.default_rng(s)).image for s in range(20)]
    inside = cv2.fillConvexPoly(
        np.zeros((224, 224), np.uint8), cv2.convexHull(np.int32(np.delete(joints_2d, 8, 0))), 1
    ).astype(bool)
    assert all((image[inside] == sample.image[inside]).all() for image in shown)


def test_clean_images_are_seen_too():
    """Half of the backgrounds and of the clutter are left out."""
    sample = green_sample()
    for transform in (ChangeBackground(Plain(), 0.5), AddClutter(0.5), ColorJitter(p=0.5)):
        seen = [transform(sample, np.random.default_rng(s)) is sample for s in range(200)]
        assert 60 < sum(seen) < 140


def test_clutter_behind_the_hand_leaves_it_untouched():
    sample = fake_sample(10)
    for seed in range(20):
        shown = AddClutter(1.0, in_front=0.0)(sample, np.random.default_rng(seed))
        np.testing.assert_array_equal(shown.image[sample.mask], sample.image[sample.mask])
    hidden = [AddClutter(1.0, 1.0)(sample, np.random.default_rng(s)).image for s in range(20)]
    assert any((h[sample.mask] != sample.image[sample.mask]).any() for h in hidden)


def test_no_colour_strength_changes_no_colour():
    sample = fake_sample(11)
    still = ColorJitter(0, grey=0, blur=0, noise=0, p=1)(sample, np.random.default_rng(0))
    np.testing.assert_allclose(still.image, sample.image, atol=1)
    grey = ColorJitter(0, grey=1, blur=0, noise=0, p=1)(sample, np.random.default_rng(0)).image
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1


def only(name, **more):
    """A ``Degrade`` with one change, always."""
    shares = dict.fromkeys(("pixels", "motion", "lens", "exposure", "noise", "sharpen", "jpeg"), 0)
    return Degrade(1.0, **shares | {name: 1.0} | more)


def roughness(image):
    """Mean step (2,) between neighbours across and down."""
    image = image.astype(float)
    return np.array([np.abs(np.diff(image, axis=k)).mean() for k in (1, 0)])


def test_a_degraded_picture_is_rougher_softer_or_darker_as_its_parameters_say():
    noise = np.random.default_rng(0).integers(40, 200, (96, 96, 1), dtype=np.uint8)
    sharp = fake_sample(11, size=(96, 96)).replace(image=np.repeat(noise, 3, 2))
    flat = sharp.replace(image=np.full_like(sharp.image, 90))
    before = roughness(sharp.image)

    def shown(name, sample, seed=0):
        image = only(name)(sample, np.random.default_rng(seed)).image
        assert image.shape == sample.image.shape and image.dtype == np.uint8
        return image

    for name in ("pixels", "lens"):
        assert (roughness(shown(name, sharp)) < 0.8 * before).all()
    assert (roughness(shown("sharpen", sharp)) > 1.05 * before).all()
    for name in ("pixels", "motion", "lens", "sharpen", "jpeg"):
        np.testing.assert_allclose(shown(name, flat), 90, atol=2)
    assert 1 < shown("noise", flat).std() < 25
    assert shown("jpeg", sharp).std() > 10 and (shown("jpeg", sharp) != sharp.image).any()
    levels = [shown("exposure", flat, seed).mean() for seed in range(40)]
    assert min(levels) < 40 and max(levels) > 105


def test_motion_blurs_along_its_own_direction():
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 1), dtype=np.uint8)
    sample = fake_sample(11, size=(96, 96)).replace(image=np.repeat(noise, 3, 2))
    degrade = only("motion")
    params = degrade.draw(np.random.default_rng(0), sample) | {"motion": 0.06}
    for angle, along in ((0.0, 0), (np.pi / 2, 1)):
        soft = roughness(degrade.apply(sample, params | {"angle": angle}).image)
        assert soft[along] < 0.5 * soft[1 - along]


def bright_hand():
    """A white bar (the hand) before an even grey, with its mask."""
    image, bar = np.full((96, 96, 3), 60, np.uint8), np.zeros((96, 96), bool)
    bar[30:66, 45:51] = True
    image[bar] = 240
    joints_2d = np.array([[48.0, 30], [48, 66]] + [[48, 48]] * 19)
    return fake_sample(11, size=(96, 96)).replace(image=image, mask=bar, joints_2d=joints_2d)


def test_a_moving_hand_is_the_mean_of_where_it_was():
    sample, move = bright_hand(), MoveHand(1.0)
    # A radius of 36 joints' boxes to the left: all but straight up and down, a quarter of the box.
    params = {"turn": 0.25 / 36, "reach": 36.0, "from": np.pi}
    moved = move.apply(sample, params).image[:, 48, 0].astype(float)
    offsets = np.linspace(-4.5, 4.5, 181)
    rows = np.arange(96)[:, None] - offsets
    share = ((rows > 29.5) & (rows < 65.5)).mean(1)
    np.testing.assert_allclose(moved, 60 + 180 * share, atol=25)
    assert moved.sum() == pytest.approx(sample.image[:, 48, 0].sum(), rel=0.02)
    # Turned about its own middle, it stays in the middle and fans out at the ends.
    turned = move.apply(sample, {"turn": 1.0, "reach": 1e-6, "from": 0.0}).image[..., 0]
    assert turned[48, 48] > 230 and turned[33, 48] < 150 and turned[33, 41] > 65
    for other in (sample, sample.replace(image=sample.image[:, ::-1].copy())):
        still = move.apply(other, {"turn": 1e-9, "reach": 1.0, "from": 0.0}).image
        np.testing.assert_allclose(still, other.image, atol=1)


def test_a_moving_hand_leaves_no_copy_of_itself_behind():
    sample = bright_hand()
    away = MoveHand(1.0).apply(sample, {"turn": 0.5 / 36, "reach": 36.0, "from": np.pi / 2}).image
    assert away[48, 48].max() < 0.6 * 240  # what stood there for a part of the time
    assert (away[48, :30] == 60).all() and away[48, 56, 0] > 70


def test_the_bases_of_a_transform_of_ones_own_are_exported():
    assert {"Transform", "Geometric"} <= set(augment.__all__)

    class Invert(augment.Transform):
        def apply(self, sample, params):
            return sample.replace(image=255 - sample.image)

    sample, twice = fake_sample(11), Compose([Invert(), Invert()])
    np.testing.assert_array_equal(twice(sample, np.random.default_rng(0)).image, sample.image)


def test_only_a_hand_that_is_known_moves():
    rng, sample = np.random.default_rng(0), bright_hand()
    unknown = np.full((21, 2), np.nan)
    for other in (sample.replace(mask=None), sample.replace(joints=None, joints_2d=None),
                  sample.replace(joints_2d=unknown)):  # fmt: skip
        assert MoveHand(1.0)(other, rng).image is other.image
    drawn = [MoveHand(0.2).draw(rng, sample) is not None for _ in range(500)]
    assert 0.14 < np.mean(drawn) < 0.26
    params = [MoveHand(1.0).draw(rng, sample) for _ in range(200)]
    assert max(p["turn"] * p["reach"] for p in params) <= 0.35


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1)])
def test_in_a_picture_without_room_no_hand_moves(size):
    sample = fake_sample(11, size=size).replace(mask=np.ones(size[::-1], bool))
    moved = MoveHand(1.0).apply(sample, {"turn": 0.1, "reach": 1.0, "from": 0.0})
    assert moved.image is sample.image


def test_a_camera_without_faults_changes_nothing():
    sample = fake_sample(11)
    assert only("jpeg", jpeg=0.0)(sample, np.random.default_rng(0)) is sample
    assert Degrade(0.0)(sample, np.random.default_rng(0)) is sample


def test_drawn_parameters_can_be_replayed():
    sample = green_sample()
    chain = augment.train_transforms(96, Plain())
    params = chain.draw(np.random.default_rng(1), sample)
    first, again = chain.apply(sample, params), chain.apply(sample, params)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.size == (96, 96)
    other = chain(sample, np.random.default_rng(2))
    assert (other.image != first.image).any()


def test_evaluation_draws_nothing():
    sample = fake_sample(12, size=(320, 240), is_right=False)
    first, second = (
        augment.eval_transforms(64, 1.25)(sample, np.random.default_rng(s)) for s in (0, 1)
    )
    np.testing.assert_array_equal(first.image, second.image)
    width = np.ptp(first.joints_2d, axis=0).max()
    assert first.is_right and width == pytest.approx(64 / 1.25)
    np.testing.assert_allclose(
        (first.joints_2d.min(0) + first.joints_2d.max(0)) / 2, 31.5, atol=1e-9
    )


def test_a_crop_needs_something_to_crop_to():
    sample = fake_sample(13).replace(joints_2d=None, K=None)
    with pytest.raises(ValueError, match="box or 2D joints"):
        CropToBox(64)(sample, None)
    boxed = sample.replace(box=np.array([20.0, 30, 60, 90]))
    np.testing.assert_allclose(CropToBox(64, 1.0)(boxed, None).box[[1, 3]], [-0.5, 63.5])


@pytest.mark.parametrize("name", augment.CHAINS)
def test_every_chain_finds_the_hand_in_a_larger_picture(name):
    """A sample with a box: far from the centre, the hand would leave the picture or stay tiny."""
    for seed in range(8):
        sample = fake_sample(seed, size=(640, 480), is_right=seed % 2 == 0)
        moved = sample.joints + [0.16, 0.1, 0]
        sample = sample.replace(joints=moved, joints_2d=None, vertices=None, box=np.zeros(4))
        sample = sample.replace(box=geometry.tight_box(sample.joints_2d))
        out = augment.named_transforms(name, 96)(sample, np.random.default_rng(seed))
        assert out.size == (96, 96) and out.is_right
        assert ((out.joints_2d > 0) & (out.joints_2d < 95)).all()
        assert 0.35 < np.ptp(out.joints_2d, axis=0).max() / 96 < 0.65
        np.testing.assert_allclose(geometry.project(out.joints, out.K), out.joints_2d, atol=1e-6)


@pytest.mark.parametrize("name", augment.CHAINS)
def test_no_chain_squashes_a_picture_that_is_not_square(name):
    for size in ((640, 300), (300, 640)):
        sample = fake_sample(3, size=size).replace(vertices=None)
        sample = sample.replace(box=geometry.tight_box(sample.joints_2d))
        out = augment.named_transforms(name, 96)(sample, np.random.default_rng(0))
        low, high = np.linalg.svd(out.K[:2, :2])[1]
        before, after = np.linalg.svd(sample.K[:2, :2])[1]
        assert low / high == pytest.approx(before / after, rel=1e-6)


def test_a_picture_of_a_hand_is_not_cropped_and_unknown_joints_leave_the_box():
    sample = fake_sample(3)
    assert CropToHand(96)(sample, None) is sample
    joints_2d = sample.joints_2d.copy()
    joints_2d[5] = np.nan
    boxed = sample.replace(joints_2d=joints_2d, box=np.array([20.0, 30, 60, 70]))
    np.testing.assert_allclose(CropToHand(80)(boxed, None).box, [19.5, 19.5, 59.5, 59.5])


def posed(hand, pose, betas):
    from handlib.mano import HandLayer

    layer = HandLayer(hand, dtype=torch.float64)
    full = torch.tensor(pose).reshape(16, 3).clone()
    full[1:] += torch.tensor(hand.hands_mean).reshape(15, 3)
    output = layer(geometry.axis_angle_to_matrix(full)[None], torch.tensor(betas)[None])
    return output.vertices[0].numpy(), output.joints[0].numpy()


@pytest.mark.parametrize(
    "transform", [Rotate(170), Flip(1.0), Compose([Flip(1.0), Rotate(170)]), Upright(96, 1.0)]
)
def test_hand_parameters_pose_the_moved_hand(transform, hand):
    """The pose vector after a transform makes the vertices after it, but for their place."""
    sample = fake_sample(14)
    vertices, joints = posed(hand, sample.pose, sample.betas)
    shift = np.array([0.02, -0.01, 0.6])
    sample = sample.replace(vertices=vertices + shift, joints=joints + shift)
    moved = transform(sample, np.random.default_rng(3))
    model = hand if moved.is_right else hand.mirrored()
    again, again_joints = posed(model, moved.pose, moved.betas)
    for ours, theirs in ((moved.vertices, again), (moved.joints, again_joints)):
        np.testing.assert_allclose(ours - moved.joints[9], theirs - again_joints[9], atol=1e-9)


@pytest.mark.parametrize("length", [0, 1e-12, 1.0, np.pi, 4.0, 2 * np.pi])
@pytest.mark.parametrize("degrees", [0, 1e-9, 77.0, -180.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_moved_root_is_the_product_of_rotations(length, degrees, mirrored):
    rng = np.random.default_rng(5)
    axis = rng.normal(size=3)
    pose = np.concatenate([length * axis / np.linalg.norm(axis), rng.normal(size=45)])
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    motion = turn @ np.diag([-1 if mirrored else 1, 1, 1])
    moved, matrix = move_pose(pose, motion), Rotation.from_rotvec(pose[:3]).as_matrix()
    mirror = np.diag([-1, 1, 1]) if mirrored else np.eye(3)
    expected = motion @ matrix @ mirror
    np.testing.assert_allclose(Rotation.from_rotvec(moved[:3]).as_matrix(), expected, atol=1e-12)
    sides = [1, -1, -1] * 15 if mirrored else [1] * 45
    np.testing.assert_array_equal(moved[3:], pose[3:] * sides)


@pytest.mark.parametrize("name", augment.CHAINS)
def test_every_named_chain_ends_in_a_right_hand_of_the_input_size(name):
    sample = fake_sample(is_right=False)
    out = augment.named_transforms(name, 96)(sample, np.random.default_rng(1))
    assert out.size == (96, 96)
    assert out.is_right
    assert name == "course" or out.mirrored  # its random flip may have done it already


@pytest.mark.parametrize("name", augment.CHAINS)
def test_a_share_of_left_hands_may_be_shown(name):
    chain = augment.named_transforms(name, 16, left_hands=True)
    sample = fake_sample(size=(32, 32))
    shown = [chain(sample, np.random.default_rng(seed)) for seed in range(200)]
    assert 20 < sum(s.is_left for s in shown) < 60
    assert_consistent(next(s for s in shown if s.is_left))


@pytest.mark.parametrize("name", augment.CHAINS)
def test_a_share_of_upright_hands_may_be_shown(name):
    chain = augment.named_transforms(name, 64, looks=2)
    sample, stand = fake_sample(size=(64, 64)), 0
    for seed in range(60):
        shown = chain(sample, np.random.default_rng(seed))
        up = shown.joints_2d[[5, 9, 13, 17]].mean(0) - shown.joints_2d[0]
        stand += abs(np.degrees(np.arctan2(up[0], -up[1]))) < 25
        assert shown.size == (64, 64)
        assert_consistent(shown)
    assert 30 < stand < 58


def test_an_unknown_chain_is_named():
    with pytest.raises(ValueError, match="unknown augmentation 'heavy'; known: full, light"):
        augment.named_transforms("heavy", 96)


@pytest.mark.parametrize("scale", [0.55, 0.43, 0.3, 0.17])
@pytest.mark.parametrize("sides", [(224, 224), (241, 199)])
def test_an_image_that_shrinks_shows_everything_where_the_affine_says(scale, sides):
    """A plane of grey values tells of each pixel where it comes from."""
    x, y = np.meshgrid(*(np.arange(side) for side in sides))
    image = np.repeat((0.4 * x + 0.5 * y).round().astype(np.uint8)[..., None], 3, 2)
    affine = np.array([[scale, -0.1 * scale, 9.3], [0.1 * scale, scale, -4.1], [0, 0, 1]])
    size = int(scale * sides[0]), int(scale * sides[1])
    shown = warp_image(image, affine, size)[..., 0]
    places = np.stack(np.meshgrid(*(np.arange(side) for side in size)), -1)
    from_x, from_y = np.moveaxis(geometry.transform_points(np.linalg.inv(affine), places), -1, 0)
    inner = np.minimum.reduce([from_x, from_y, sides[0] - from_x, sides[1] - from_y]) > 2 / scale
    assert inner.mean() > 0.3
    assert np.abs(shown - (0.4 * from_x + 0.5 * from_y))[inner].max() < 1.6
