import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handlib import geometry

RNG = np.random.default_rng(7)


def random_rotations(n):
    return Rotation.random(n, rng=np.random.default_rng(0)).as_matrix()


def test_projection_against_the_textbook():
    K = np.array([[480.0, 0, 112], [0, 470, 110], [0, 0, 1]])
    points = RNG.uniform(-0.1, 0.1, (5, 21, 3)) + [0, 0, 0.6]
    x, y, z = np.moveaxis(points, -1, 0)
    expected = np.stack([480 * x / z + 112, 470 * y / z + 110], -1)
    pixels = geometry.project(points, K)
    np.testing.assert_allclose(pixels, expected, atol=1e-10)
    batched = geometry.project(torch.tensor(points), torch.tensor(K).expand(5, 3, 3))
    np.testing.assert_allclose(batched.numpy(), expected, atol=1e-10)


def test_intrinsics_follow_any_affine():
    K = np.array([[480.0, 3, 112], [0, 470, 110], [0, 0, 1]])
    affine = np.eye(3)
    affine[:2] += RNG.normal(size=(2, 3))
    points = RNG.uniform(-0.1, 0.1, (21, 3)) + [0, 0, 0.6]
    moved = geometry.transform_points(affine, geometry.project(points, K))
    again = geometry.project(points, geometry.transform_intrinsics(affine, K))
    np.testing.assert_allclose(moved, again, atol=1e-9)


def test_resize_keeps_the_image_borders():
    affine = geometry.resize_affine((224, 224), (320, 160))
    corners = np.array([[-0.5, -0.5], [223.5, 223.5]])
    np.testing.assert_allclose(
        geometry.transform_points(affine, corners), [[-0.5, -0.5], [319.5, 159.5]], atol=1e-9
    )


@pytest.mark.parametrize("scale", [0, 1e-12, 1e-5, 9e-3, 1.1e-2, 1, 3.1, 6.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_axis_angle_against_scipy(scale, dtype):
    vectors = RNG.normal(size=(50, 3))
    vectors *= scale / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(vectors).as_matrix()
    got = geometry.axis_angle_to_matrix(torch.tensor(vectors, dtype=dtype)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-14 if dtype == torch.float64 else 2e-6)


@pytest.mark.parametrize("scale", [0, 1e-8, 0.5])
def test_axis_angle_gradients(scale):
    vectors = (scale * torch.randn(4, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(geometry.axis_angle_to_matrix, vectors)
    assert torch.autograd.gradgradcheck(geometry.axis_angle_to_matrix, vectors)


def test_rotations_are_learnt_from_after_they_were_predicted_or_traced():
    vectors, turns = torch.randn(4, 3), geometry.axis_angle_to_matrix
    expected = torch.tensor(Rotation.from_rotvec(vectors.numpy()).as_matrix()).float()

    def predicted(values):
        with torch.inference_mode():
            return turns(values).clone()

    for first in (predicted, torch.func.vmap(turns), torch.compile(turns, backend="eager")):
        geometry._kept_quaternion_to_factors.cache_clear()
        assert torch.allclose(first(vectors), expected, atol=1e-5)
        learnt = vectors.clone().requires_grad_()
        turns(learnt).sum().backward()
        assert learnt.grad.isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(turns(vectors), expected, atol=1e-5)


def test_rotation_6d():
    matrices = torch.tensor(random_rotations(20))
    six = geometry.matrix_to_rotation_6d(matrices)
    torch.testing.assert_close(geometry.rotation_6d_to_matrix(six), matrices)
    free = geometry.rotation_6d_to_matrix(torch.randn(20, 6, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(free @ free.mT, eye)
    torch.testing.assert_close(torch.linalg.det(free), torch.ones(20, dtype=torch.float64))


def test_mirrored_axis_angle_turns_mirrored_points():
    vectors, points = RNG.normal(size=(10, 3)), RNG.normal(size=(10, 3))
    turned = Rotation.from_rotvec(vectors).apply(points)
    mirrored = Rotation.from_rotvec(geometry.mirror_axis_angle(vectors)).apply(
        geometry.mirror_points(points)
    )
    np.testing.assert_allclose(mirrored, geometry.mirror_points(turned), atol=1e-12)


def test_alignment_recovers_a_similarity():
    source = RNG.normal(size=(8, 21, 3))
    target = 2.5 * source @ random_rotations(8).swapaxes(1, 2) + RNG.normal(size=(8, 1, 3))
    aligned, determinant = geometry.similarity_align(source, target)
    np.testing.assert_allclose(aligned, target, atol=1e-10)
    np.testing.assert_array_equal(determinant, 1)


def test_alignment_against_scipy_on_noisy_points():
    source, target = RNG.normal(size=(2, 21, 3))
    rotation, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    aligned, _ = geometry.similarity_align(source, target, with_scale=False)
    expected = rotation.apply(source - source.mean(0)) + target.mean(0)
    np.testing.assert_allclose(aligned, expected, atol=1e-9)


def test_a_mirrored_hand_aligns_only_where_reflections_are_allowed():
    source = RNG.normal(size=(21, 3))
    target = geometry.mirror_points(source)
    mirrored, determinant = geometry.similarity_align(source, target, allow_reflection=True)
    assert determinant == -1
    np.testing.assert_allclose(mirrored, target, atol=1e-10)
    proper, determinant = geometry.similarity_align(source, target)
    assert determinant == -1
    assert np.abs(proper - target).max() > 0.1


def test_alignment_of_a_single_point_is_finite():
    aligned, _ = geometry.similarity_align(np.zeros((21, 3)), RNG.normal(size=(21, 3)))
    assert np.isfinite(aligned).all()


def test_nearest_rotation_and_its_gradient():
    generator = torch.Generator().manual_seed(0)
    axis_angle = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    rotations = geometry.axis_angle_to_matrix(axis_angle)
    torch.testing.assert_close(geometry.nearest_rotation(rotations), rotations)
    torch.testing.assert_close(geometry.nearest_rotation(3 * rotations), rotations)
    noisy = rotations + 0.2 * torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    mirrored = noisy * torch.tensor([1.0, 1, -1])
    for matrices in (rotations, noisy, mirrored):
        made = geometry.nearest_rotation(matrices)
        torch.testing.assert_close(torch.linalg.det(made), torch.ones(5).double())
        torch.testing.assert_close(made @ made.mT, torch.eye(3).double().expand(5, 3, 3))
    for matrices in (rotations, noisy):
        assert torch.autograd.gradcheck(
            geometry.nearest_rotation, matrices.clone().requires_grad_()
        )


def test_a_hand_with_an_unknown_joint_is_not_aligned_and_harms_no_other():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 3, 21, 3))
    expected, signs = geometry.similarity_align(source, target)
    target[1, 4] = np.nan
    aligned, determinant = geometry.similarity_align(source, target)
    assert np.isnan(aligned[1]).all() and np.isnan(determinant[1])
    np.testing.assert_allclose(aligned[[0, 2]], expected[[0, 2]])
    np.testing.assert_array_equal(determinant[[0, 2]], signs[[0, 2]])


def test_half_a_turn_has_no_gradient_that_is_not_a_number():
    matrix = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)).requires_grad_()
    axis_angle = geometry.matrix_to_axis_angle(matrix)
    assert axis_angle.norm().item() == pytest.approx(np.pi)
    axis_angle.sum().backward()
    assert matrix.grad.isfinite().all()


@pytest.mark.parametrize("angle", [0, 1e-7, 1e-3, 0.15, 1, 3, np.pi - 1e-4])
def test_rotations_as_axis_angles_against_scipy(angle):
    axes = np.concatenate([np.eye(3), -np.eye(3), RNG.normal(size=(50, 3))])
    expected = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    matrices = Rotation.from_rotvec(expected).as_matrix()
    got = geometry.matrix_to_axis_angle(torch.tensor(matrices)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-11)


def test_an_unknown_camera_looks_at_the_middle_of_the_crop():
    own = torch.tensor([[90.0, 1, 30], [0, 91, 33], [0, 0, 1]])
    K, known = geometry.known_camera(torch.stack([own, own * torch.nan]), torch.zeros(2), 64)
    assumed = torch.tensor([[2.1 * 64, 0, 31.5], [0, 2.1 * 64, 31.5], [0, 0, 1]])
    assert known.tolist() == [True, False]
    torch.testing.assert_close(K, torch.stack([own, assumed]))
    K, known = geometry.known_camera(None, torch.zeros(1), 64)
    assert not known.any() and torch.equal(K[0], assumed)
