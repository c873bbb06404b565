"""What hides light from a hand: its own parts, all around or towards one light."""

import numpy as np
from numba import njit

from handlib.data.raster import NEAR, fill

_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "arcp"})
# Half thickness (metres) of what casts occlusion around each bone, in the order of joints.BONES.
_BONE_RADIUS = np.array([0.013, 0.011, 0.010, 0.009] + [0.012, 0.009, 0.0085, 0.0075] * 4)
_SIZE = 192


def ambient_occlusion(vertices, normals, joints, bones):
    """Share of the surroundings that each vertex sees, (V,) in [0.15, 1].

    The hand is taken as two balls per bone; each hides its solid angle times the cosine.

    Args:
        vertices, normals: (V, 3) camera frame.
        joints: (21, 3).
        bones: (20, 2) int.
    """
    a, b = joints[bones[:, 0]], joints[bones[:, 1]]
    balls = np.concatenate([(a + b) / 2, b])
    return _occlusion(vertices, normals, balls, np.concatenate([_BONE_RADIUS, _BONE_RADIUS]))


@_jit
def _occlusion(vertices, normals, balls, radius):
    out = np.ones(len(vertices))
    for v in range(len(vertices)):
        hidden = 0.0
        for s in range(len(balls)):
            dx, dy, dz = (
                balls[s, 0] - vertices[v, 0],
                balls[s, 1] - vertices[v, 1],
                balls[s, 2] - vertices[v, 2],
            )
            cosine = dx * normals[v, 0] + dy * normals[v, 1] + dz * normals[v, 2]
            if cosine > 0:
                square = max(dx * dx + dy * dy + dz * dz, radius[s] ** 2)
                hidden += cosine / np.sqrt(square) * radius[s] ** 2 / square
        out[v] = max(0.15, 1 - 0.85 * hidden)
    return out


def shadow_map(vertices, faces, light, center, radius):
    """Depth of what the light sees, and the affine map that leads into it.

    Returns:
        (depth, matrix): (S, S) float32, 0 where empty; (3, 4) camera frame to (u, v, z).
    """
    # A right-handed frame around a direction: Duff et al., 2017.
    x, y, z = -light
    sign = 1.0 if z >= 0 else -1.0
    a = -1 / (sign + z)
    b = a * x * y
    rows = np.array(
        [[1 + sign * a * x * x, sign * b, -sign * x], [b, sign + a * y * y, -y], -light]
    )
    # A far-off eye: 1/z is linear enough there for a parallel projection.
    rows[:2] *= _SIZE / 2 / radius
    matrix = np.empty((3, 4))
    matrix[:, :3] = rows
    matrix[:, 3] = np.array([_SIZE / 2, _SIZE / 2, 10]) - matrix[:, :3] @ center
    points = vertices @ matrix[:, :3].T + matrix[:, 3]
    face = np.full((_SIZE, _SIZE), -1, np.int32)
    depth = np.zeros(face.shape, np.float32)
    fill(points, faces, NEAR, True, face, np.empty((*face.shape, 2), np.float32), depth)
    return depth, matrix
