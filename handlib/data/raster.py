"""A small z-buffer rasteriser: which triangle is seen in each pixel, where on it, and how far.

Plain loops compiled by numba: no window system, no graphics driver. Camera frame and pixels are
those of ``handlib.geometry``: x right, y down, z forward, pixel centres at integers.
"""

from typing import NamedTuple

import numpy as np

from handlib import geometry
from handlib.compiled import njit

# Triangles with a corner nearer than this (metres) are dropped, not clipped.
NEAR = 1e-3
# Corners are rounded to 1/1024 px. Sums and products of such numbers are exact in float64, so
# that two triangles agree to the last bit on which side of their common edge a pixel lies.
_GRID = 1024.0
_STEP = _GRID**-2  # of an edge function
_jit = njit(cache=True, nogil=True, error_model="numpy")


class Fragments(NamedTuple):
    """What is seen in each pixel of an image of (H, W)."""

    face: np.ndarray
    """(H, W) int32, index of the nearest triangle; -1 where there is none."""
    barycentric: np.ndarray
    """(H, W, 2) float32, perspective-correct weights of the triangle's first two corners; the
    third is 1 - their sum. Undefined where empty."""
    depth: np.ndarray
    """(H, W) float32, z in metres; 0 where empty."""


def rasterize(vertices, faces, K, size, cull=False):
    """Find the nearest triangle of each pixel.

    Args:
        vertices: (V, 3) camera frame, metres.
        faces: (F, 3) int.
        K: (3, 3) intrinsics.
        size: (width, height) px.
        cull: skip triangles seen from behind (for closed meshes: faster, same picture). The
            front is where the corners run counter-clockwise, as in MANO's files.

    Returns:
        ``Fragments``. A pixel belongs to a triangle when its centre does; a centre on the common
        edge of two triangles belongs to exactly one of them.

    Raises:
        ValueError: as ``checked_faces``.
    """
    width, height = size
    vertices = np.asarray(vertices, np.float64)
    faces = checked_faces(faces, len(vertices))
    points = np.empty_like(vertices)
    with np.errstate(divide="ignore", invalid="ignore"):
        points[:, :2] = np.round(geometry.project(vertices, np.asarray(K, np.float64)) * _GRID)
    points[:, :2] /= _GRID
    points[:, 2] = vertices[:, 2]
    face = np.full((height, width), -1, np.int32)
    barycentric = np.empty((height, width, 2), np.float32)
    depth = np.zeros((height, width), np.float32)
    fill(points, faces, NEAR, cull, face, barycentric, depth)
    return Fragments(face, barycentric, depth)


def checked_faces(faces, count):
    """Triangles as the compiled loops take them, which would not notice a vertex that is not there.

    Args:
        faces: (F, 3) int; count: number of vertices.

    Returns:
        (F, 3) int64.

    Raises:
        ValueError: another shape, or a face of a vertex that is not there.
    """
    faces = np.ascontiguousarray(faces, np.int64)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"expected faces (F, 3), got {faces.shape}")
    # In one pass, because it is done for each picture: what is negative is large without a sign.
    if len(faces) and faces.view(np.uint64).max() >= count:
        index = faces.min() if faces.max() < count else faces.max()
        raise ValueError(f"there are {count} vertices, and a face asks for vertex {index}")
    return faces


def nearest(first, second, start):
    """What is seen of two drawings of one size: the nearer of the two ``Fragments``.

    Triangle f of the second becomes number start + f.
    """
    out = Fragments(*(np.copy(field) for field in first))
    _put_before(*out, *second, start)
    return out


@_jit
def _put_before(face, barycentric, depth, other_face, other_barycentric, other_depth, start):
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if other_face[y, x] >= 0 and (face[y, x] < 0 or other_depth[y, x] < depth[y, x]):
                face[y, x] = start + other_face[y, x]
                barycentric[y, x, 0] = other_barycentric[y, x, 0]
                barycentric[y, x, 1] = other_barycentric[y, x, 1]
                depth[y, x] = other_depth[y, x]


@_jit
def fill(points, faces, near, cull, face, barycentric, depth):
    """Draw triangles whose corners are ``points`` (V, 3): pixels u, v and depth z.

    ``face`` (-1), ``barycentric`` and ``depth`` (0) are those of ``Fragments``, filled in place.
    """
    # Depth holds 1/z while filling: it is what varies linearly over the image.
    height, width = face.shape
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        az, bz, cz = points[a, 2], points[b, 2], points[c, 2]
        if not (az > near and bz > near and cz > near):
            continue
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if not abs(area) > 0 or (cull and area > 0):
            continue
        left, right = max(np.ceil(min(ax, bx, cx)), 0), min(np.floor(max(ax, bx, cx)), width - 1)
        top, bottom = max(np.ceil(min(ay, by, cy)), 0), min(np.floor(max(ay, by, cy)), height - 1)
        if left > right or top > bottom:
            continue
        # Edge functions: positive inside, zero on the edge opposite to a, b, c.
        sign = 1.0 if area > 0 else -1.0
        dxa, dya = sign * (cx - bx), sign * (cy - by)
        dxb, dyb = sign * (ax - cx), sign * (ay - cy)
        dxc, dyc = sign * (bx - ax), sign * (by - ay)
        least_a, least_b, least_c = _least(dxa, dya), _least(dxb, dyb), _least(dxc, dyc)
        scale = 1 / abs(area)
        iza, izb, izc = scale / az, scale / bz, scale / cz
        for y in range(int(top), int(bottom) + 1):
            wa = dxa * (y - by) - dya * (left - bx)
            wb = dxb * (y - cy) - dyb * (left - cx)
            wc = dxc * (y - ay) - dyc * (left - ax)
            # Where the row enters and leaves the triangle, not quite exactly.
            first, last = 0.0, right - left
            for w, dy in ((wa, dya), (wb, dyb), (wc, dyc)):
                if dy > 0:
                    last = min(last, w / dy + 0.01)
                elif dy < 0:
                    first = max(first, w / dy - 0.01)
            first, last = np.ceil(first), np.floor(last)
            wa, wb, wc = wa - dya * first, wb - dyb * first, wc - dyc * first
            for x in range(int(left + first), int(left + last) + 1):
                if wa >= least_a and wb >= least_b and wc >= least_c:
                    inverse = wa * iza + wb * izb + wc * izc
                    if inverse > depth[y, x]:
                        depth[y, x] = inverse
                        face[y, x] = f
                        z = 1 / inverse
                        barycentric[y, x, 0] = wa * iza * z
                        barycentric[y, x, 1] = wb * izb * z
                wa -= dya
                wb -= dyb
                wc -= dyc
    for y in range(height):
        for x in range(width):
            if face[y, x] >= 0:
                depth[y, x] = 1 / depth[y, x]


@_jit
def _least(dx, dy):
    """Edge function from which on points are inside: those on a left or a top edge are."""
    owns = dy < 0 or (dy == 0 and dx > 0)
    return 0.0 if owns else _STEP


def interpolate(fragments, faces, attributes):
    """Vertex attributes (V, C) at each pixel: (H, W, C) float32, 0 where empty."""
    attributes = np.ascontiguousarray(attributes, np.float32)
    out = np.zeros((*fragments.face.shape, attributes.shape[1]), np.float32)
    _interpolate(*fragments, checked_faces(faces, len(attributes)), attributes, out)
    return out


@_jit
def _interpolate(face, barycentric, depth, faces, attributes, out):
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if face[y, x] < 0:
                continue
            a, b, c = faces[face[y, x]]
            wa, wb = barycentric[y, x]
            wc = 1 - wa - wb
            for k in range(out.shape[2]):
                out[y, x, k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]


def vertex_normals(vertices, faces):
    """Unit normals (V, 3), the area-weighted mean of the triangles around each vertex.

    Args:
        vertices: (V, 3) float64.
        faces: (F, 3) int, counter-clockwise seen from outside.

    Raises:
        ValueError: as ``checked_faces``.
    """
    return _vertex_normals(vertices, checked_faces(faces, len(vertices)))


@_jit
def _vertex_normals(vertices, faces):
    # Number by number: a slice of an array would be a new array.
    normals = np.zeros_like(vertices)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(len(normals)):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2)
        if length > 0:
            for k in range(3):
                normals[i, k] /= length
    return normals


def supersampled(K, size, factor=2):
    """K and size (width, height) of the same view at ``factor`` times the resolution."""
    large = (size[0] * factor, size[1] * factor)
    return geometry.resize_affine(size, large) @ np.asarray(K, np.float64), large


def downsample(image, factor=2):
    """Mean over blocks: (H * factor, W * factor, ...) to (H, W, ...)."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return image.reshape(height, factor, width, factor, *image.shape[2:]).mean((1, 3))


def render_mesh(vertices, faces, K, size, color=(0.75, 0.6, 0.5), vertex_colors=None):
    """A lit, anti-aliased picture of a mesh, to be drawn over a photo.

    Light comes from the camera and from above it, both sides of a surface are lit.

    Args:
        vertices: (V, 3) camera frame, metres.
        faces: (F, 3) int.
        K: (3, 3) intrinsics.
        size: (width, height) px.
        color: (3,) RGB in [0, 1], used where there are no ``vertex_colors``.
        vertex_colors: (V, 3) RGB in [0, 1].

    Returns:
        (rgb, alpha, depth): (H, W, 3) float32 in [0, 1], (H, W) float32 coverage in [0, 1] and
        (H, W) float32 metres, 0 where empty. Over a photo: ``alpha * rgb + (1 - alpha) * photo``.

    Raises:
        ValueError: as ``checked_faces``.
    """
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    if vertex_colors is None:
        vertex_colors = np.broadcast_to(color, vertices.shape)
    normals = vertex_normals(vertices, faces)
    fragments = rasterize(vertices, faces, *supersampled(K, size))
    attributes = interpolate(fragments, faces, np.hstack([normals, vertex_colors]))
    normal, rgb = attributes[..., :3], attributes[..., 3:]
    length = np.linalg.norm(normal, axis=-1).clip(1e-6)
    key = np.abs(normal @ np.array([0.25, -0.45, -0.85], np.float32)) / length
    facing = np.abs(normal[..., 2]) / length
    rgb = rgb * (0.25 + 0.35 * facing + 0.4 * key)[..., None] + 0.1 * (key**30)[..., None]
    alpha = downsample((fragments.face >= 0).astype(np.float32))
    rgb = downsample(np.where(fragments.face[..., None] >= 0, rgb, 0)) / alpha.clip(0.25)[..., None]
    return rgb.clip(0, 1), alpha, rasterize(vertices, faces, K, size).depth
