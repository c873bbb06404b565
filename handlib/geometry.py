"""Cameras, image affines, rotations and alignment.

Conventions: metres, pixels, radians. Camera frame: x right, y down, z forward (OpenCV). Pixel
centres are at integer coordinates. A 2D affine is a (3, 3) matrix that acts on column vectors
(u, v, 1). Functions on torch tensors keep gradients; ``project``, ``transform_points`` and
``transform_intrinsics`` take numpy arrays or torch tensors alike.
"""

from functools import lru_cache
from itertools import permutations, product

import numpy as np
import torch

# The focal length assumed where K is not known, in sides of the crop: FreiHAND's images have 2.1.
ASSUMED_FOCAL = 2.1


# -- cameras and image affines ---------------------------------------------------------------
def project(points, K):
    """Perspective projection of camera-frame points.

    Args:
        points: (..., N, 3), metres.
        K: (..., 3, 3) intrinsics of the image as it is now.

    Returns:
        (..., N, 2) pixels.
    """
    homogeneous = points @ K.swapaxes(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def back_project(points_2d, depth, K):
    """Camera-frame points (..., 3), metres, that are seen at (..., 2) px in depth (...)."""
    homogeneous = torch.cat([points_2d, torch.ones_like(points_2d[..., :1])], -1)
    ray = (inverse(K) * homogeneous[..., None, :]).sum(-1)
    return depth[..., None] * ray


def inverse(matrix):
    """Inverse of matrices (..., 3, 3) by their rows' cross products, which every exporter knows and
    no batch waits for; of numpy arrays, numpy's."""
    if isinstance(matrix, np.ndarray):
        return np.linalg.inv(matrix)
    a, b, c = matrix.unbind(-2)
    columns = [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)]
    determinant = (a * columns[0]).sum(-1)
    return torch.stack(columns, -1) / determinant[..., None, None]


def focal_length(K):
    """Focal length (...) in px of intrinsics (..., 3, 3): geometric mean of the two axes'."""
    return abs(K[..., 0, 0] * K[..., 1, 1] - K[..., 0, 1] * K[..., 1, 0]) ** 0.5


def known_camera(K, like, size):
    """Intrinsics (B, 3, 3) of crops of ``size`` px without a gap, and which (B,) were known.

    Args:
        K: (B, 3, 3), NaN where not known, or None. like: a tensor of B rows.
    """
    centre, focal = (size - 1) / 2, ASSUMED_FOCAL * size
    assumed = like.new_tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    if K is None:
        K = like.new_full((len(like), 3, 3), torch.nan)
    known = K.isfinite().all((-2, -1))
    return torch.where(known[:, None, None], K.float(), assumed), known


def transform_points(affine, points_2d):
    """Apply a (3, 3) image affine to points (..., N, 2)."""
    return points_2d @ affine[..., :2, :2].swapaxes(-1, -2) + affine[..., None, :2, 2]


def transform_intrinsics(affine, K):
    """Intrinsics (..., 3, 3) of an image that was warped by ``affine`` (3, 3): u' = A K X / z.

    A rotation or shear leaves K no longer upper triangular: users of K take the full matrix.
    """
    return affine @ K


def resize_affine(from_size, to_size):
    """(3, 3) affine that resizes an image (width, height) with pixel centres at integers."""
    sx, sy = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])


def tight_box(points_2d):
    """(4,) x0, y0, x1, y1 around those of the points (N, 2) that are known (not NaN)."""
    return np.concatenate([np.nanmin(points_2d, 0), np.nanmax(points_2d, 0)])


def box_overlap(a, b):
    """Intersection over union of two boxes (4,); or over twice the smaller, where that is more:
    one box holds the other."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
    return max(shared / (sum(areas) - shared), 0.5 * shared / min(areas))


# -- rotations (torch) -----------------------------------------------------------------------
def axis_angle_to_matrix(axis_angle):
    """Rodrigues' formula, smooth at zero.

    By half angles, as the product of two matrices that are linear in the quaternion. The value and
    the first two derivatives are finite everywhere, and those of the formula.

    Args:
        axis_angle: (..., 3) radians.

    Returns:
        (..., 3, 3).
    """
    # What vanishes beside the square of any angle that rounding leaves, and is smooth at zero.
    tiny = (8 * torch.finfo(axis_angle.dtype).eps) ** 2
    angle = (axis_angle.square().sum(-1, keepdim=True) + tiny).sqrt()
    half = angle / 2
    quaternion = torch.cat([half.cos(), half.sin() / angle * axis_angle], -1)
    # Matrix products are a third of the operations that the formula has, written out; under
    # autocast they would run in half precision.
    with torch.autocast(axis_angle.device.type, enabled=False):
        factors = quaternion @ _quaternion_to_factors(axis_angle.dtype, axis_angle.device)
        left, right = factors.split(12, -1)
        return left.unflatten(-1, (3, 4)) @ right.unflatten(-1, (4, 3))


def _quaternion_to_factors(dtype, device):
    """(4, 24): the entries of a rotation's two factors, (3, 4) and (4, 3), by w, x, y, z."""
    if torch.compiler.is_compiling():  # this is then no tensor to keep
        return torch.as_tensor(_FACTORS, dtype=dtype, device=device)
    return _kept_quaternion_to_factors(dtype, device)


@lru_cache
def _kept_quaternion_to_factors(dtype, device):
    # On a GPU it would be a copy to wait for. Made for who only predicts it would be of no use to
    # who trains.
    with torch.inference_mode(False):
        return torch.as_tensor(_FACTORS, dtype=dtype, device=device)


def _factors():
    """R = [-v, w + [v]] [-v, w - [v]]^T of a unit quaternion (w, v) (Nikravesh 1988)."""
    left, right = np.zeros((2, 4, 3, 4))
    left[0, :, 1:] = right[0, :, 1:] = eye = np.eye(3)
    for i, axis in enumerate(eye):
        left[1 + i, i, 0] = right[1 + i, i, 0] = -1
        left[1 + i, :, 1:] = np.cross(axis, eye).T
        right[1 + i, :, 1:] = -left[1 + i, :, 1:]
    return np.hstack([left.reshape(4, 12), right.swapaxes(1, 2).reshape(4, 12)])


_FACTORS = _factors()


def skew_matrix(vector):
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    vector = vector[..., None, :]
    return torch.linalg.cross(eye.expand(*vector.shape[:-2], 3, 3), vector)  # a row for each axis


def rotation_6d_to_matrix(rotation_6d):
    """Two 3-vectors (..., 6) to a rotation (..., 3, 3): manopth's 6D mode.

    x = norm(a), z = norm(x cross b), y = z cross x; x, y, z are the columns (after Zhou et al.
    2019, "On the Continuity of Rotation Representations").
    """
    a, b = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = torch.nn.functional.normalize(a, dim=-1)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, b), dim=-1)
    y = torch.linalg.cross(z, x)
    return torch.stack([x, y, z], -1)


def matrix_to_rotation_6d(matrix):
    """First two columns (..., 6) of rotations (..., 3, 3): inverse of the function above."""
    return torch.cat([matrix[..., 0], matrix[..., 1]], -1)


def matrix_to_axis_angle(matrix):
    """Axis-angle vectors (..., 3), of length at most pi, of rotations (..., 3, 3).

    By way of the quaternion, each component from the largest of its four expressions (Shepperd
    1978), so that no angle loses precision.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    xx, yy, zz = m[0][0], m[1][1], m[2][2]
    # Rows: 4 w (w, x, y, z), 4 x (...), 4 y (...), 4 z (...); each is the quaternion, scaled.
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    rows = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            torch.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            torch.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            torch.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand_as(rows[..., :1, :])
    quaternion = torch.nn.functional.normalize(rows.gather(-2, best)[..., 0, :], dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    squared = (xyz * xyz).sum(-1, keepdim=True)
    small = squared < 1e-12
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    # Where it is not taken, the division is of 1, or half a turn (w = 0) has no gradient.
    near_zero = 2 / torch.where(small, w, torch.ones_like(w))
    return xyz * torch.where(small, near_zero, 2 * torch.atan2(sine, w) / sine)


def nearest_rotation(matrix):
    """The rotations nearest to matrices (..., 3, 3), with their exact first derivative.

    torch's derivative of an SVD is infinite where singular values are equal, as a rotation's are.
    The polar factor's is not: with M = Q S, dQ = Q W where W S + S W = Q^T dM - dM^T Q.
    """
    u, s, vt = torch.linalg.svd(matrix.detach())
    sign = torch.linalg.det(u @ vt).sign()
    s = torch.cat([s[..., :2], s[..., 2:] * sign[..., None]], -1)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1)
    nearest = u @ vt
    sums = (s[..., :, None] + s[..., None, :]).clamp(min=1e-6)
    change = nearest.transpose(-1, -2) @ matrix
    change = vt @ (change - change.transpose(-1, -2)) @ vt.transpose(-1, -2)
    return nearest + nearest @ vt.transpose(-1, -2) @ (change / sums) @ vt


# -- mirroring and blending ------------------------------------------------------------------
def mirror_points(points):
    """Mirror 3D points (..., 3) at the plane x = 0: a left hand becomes a right hand."""
    return points * _like([-1.0, 1.0, 1.0], points)


def mirror_axis_angle(axis_angle):
    """Axis-angle vectors (..., 3) of the motion seen in the mirror x = 0."""
    return axis_angle * _like([1.0, -1.0, -1.0], axis_angle)


def mirror_faces(faces):
    """Faces (F, 3) of a mirrored mesh, turned round so that normals point outwards again."""
    return faces[:, ::-1].copy()


def mirror_affine(width):
    """(..., 3, 3) affines that mirror images of ``width`` (a number or an array) px."""
    affine = np.zeros((*np.shape(width), 3, 3))
    affine[..., 0, 0], affine[..., 1, 1], affine[..., 2, 2] = -1, 1, 1
    affine[..., 0, 2] = np.asarray(width) - 1
    return affine


def _like(values, reference):
    if isinstance(reference, torch.Tensor):
        return torch.tensor(values, dtype=reference.dtype, device=reference.device)
    return np.array(values, dtype=reference.dtype)


def smoothstep(x, low=0.0, high=1.0):
    """0 at ``low`` and before, 1 at ``high`` and beyond, smooth between; ``low`` may be larger."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


# -- alignment (numpy) -----------------------------------------------------------------------
def bump(x, width):
    """exp(-(x / width)^2)."""
    return np.exp(-((x / width) ** 2))


def centroid(points):
    """Means (..., 1, D) of points (..., N, D); numpy's own is slow where the last axis is short."""
    return np.einsum("...nd->...d", points)[..., None, :] / points.shape[-2]


def similarity_align(source, target, allow_reflection=False, with_scale=True):
    """Best similarity transform of ``source`` onto ``target`` in the least-squares sense.

    Closed form of Umeyama 1991 (doi:10.1109/34.88573). With ``allow_reflection`` the determinant
    is not constrained: that is what FreiHAND's official evaluation does.

    Args:
        source, target: (..., N, 3), any unit.
        allow_reflection: let the rotation be a reflection where that fits better.
        with_scale: estimate a scale too.

    Returns:
        (aligned, determinant): (..., N, 3) float64 and (...) +1 or -1, the sign of the
        determinant of the best unconstrained orthogonal matrix (-1: a mirrored hand). NaN where
        a point of either is NaN.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape:
        raise ValueError(f"shapes differ: {source.shape} and {target.shape}")
    mu_s, mu_t = centroid(source), centroid(target)
    s, t = source - mu_s, target - mu_t
    covariance = t.swapaxes(-1, -2) @ s
    known = np.isfinite(covariance).all((-2, -1))
    u, d, vt = np.linalg.svd(np.where(known[..., None, None], covariance, 0))
    determinant = np.sign(np.linalg.det(u @ vt))
    if not allow_reflection:
        u[..., :, -1] *= determinant[..., None]
        d[..., -1] *= determinant
    rotation = u @ vt
    variance = np.einsum("...nd,...nd->...", s, s)
    scale = d.sum(-1) / np.where(variance > 0, variance, 1) if with_scale else np.ones(d.shape[:-1])
    aligned = scale[..., None, None] * (s @ rotation.swapaxes(-1, -2)) + mu_t
    return aligned, np.where(known, determinant, np.nan)


def best_view(points, points_2d, rounds=100):
    """Points in space, turned, scaled and moved so that they are seen nearest to given places.

    The least-squares fit of a scaled orthographic camera. Depths are first those of a start, then
    the fitted ones, and so on, which lowers the error each round; the best of 24 starts is kept:
    the rotations that take a cube onto itself.

    Args:
        points: (N, 3); points_2d: (N, 2), any unit.

    Returns:
        (N, 2): where the points are seen then.
    """
    starts = np.array([r for r in _signed_permutations() if np.linalg.det(r) > 0])  # (24, 3, 3)
    source = np.broadcast_to(points, (len(starts), *points.shape))
    spread = [np.sqrt(((p - p.mean(0)) ** 2).sum() / p.shape[1]) for p in (points, points_2d)]
    depth = spread[1] / spread[0] * ((points - points.mean(0)) @ starts.swapaxes(-1, -2))[..., 2]
    flat = np.broadcast_to(points_2d, (len(starts), *points_2d.shape))
    for _ in range(rounds):
        aligned, _ = similarity_align(source, np.concatenate([flat, depth[..., None]], -1))
        depth = aligned[..., 2]
    errors = ((aligned[..., :2] - points_2d) ** 2).sum((-2, -1))
    return aligned[errors.argmin(), :, :2]


def _signed_permutations():
    """The 48 matrices (3, 3) that take the axes to axes."""
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            yield np.diag(signs)[list(order)]
