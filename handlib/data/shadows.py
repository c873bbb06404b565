"""What hides light from a hand: its own parts, all around or towards one light."""

import numpy as np

from handlib.compiled import njit
from handlib.data.raster import NEAR, fill

_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "arcp"})
# Half thickness (metres) of what casts occlusion around each bone, in the order of joints.BONES.
_BONE_RADIUS = np.array([0.013, 0.011, 0.010, 0.009] + [0.012, 0.009, 0.0085, 0.0075] * 4)
_SIZE = 192


def ambient_occlusion(vertices, normals, joints, bones, others):
    """Share of the surroundings that each vertex sees, (V,) in [0.15, 1].

    The hand is taken as two balls per bone; each hides its solid angle times the cosine.

    Args:
        vertices, normals: (V, 3) camera frame.
        joints: (21, 3).
        bones: (20, 2) int.
        others: (N, 4) centres and radii of further balls.
    """
    a, b = joints[bones[:, 0]], joints[bones[:, 1]]
    centers = np.concatenate([(a + b) / 2, b, others[:, :3]])
    balls = np.ascontiguousarray(centers.T, np.float32)
    area = np.concatenate([_BONE_RADIUS, _BONE_RADIUS, others[:, 3]]).astype(np.float32) ** 2
    return _occlusion(np.float32(vertices), np.float32(normals), balls, area)


@_jit
def _occlusion(vertices, normals, balls, area):
    # All in single precision, balls (3, S): several are then worked out at once.
    out = np.ones(len(vertices), np.float32)
    for v in range(len(vertices)):
        hidden = np.float32(0)
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        for s in range(len(area)):
            dx, dy, dz = balls[0, s] - x, balls[1, s] - y, balls[2, s] - z
            cosine = max(dx * nx + dy * ny + dz * nz, np.float32(0))
            square = max(dx * dx + dy * dy + dz * dz, area[s])
            hidden += cosine * area[s] / (square * np.sqrt(square))
        out[v] = max(np.float32(0.15), np.float32(1) - np.float32(0.85) * hidden)
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
