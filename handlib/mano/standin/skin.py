"""How the stand-in's skin follows its skeleton: weights, joint regressor, pose correctives."""

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csc_matrix
from scipy.spatial.transform import Rotation

from handlib.geometry import smoothstep

from .anatomy import RAYS
from .mesh import neighbour_mean


def _ramps(ray, s, dorsal):
    """Share (N,) of each of a digit's three joints in moving points at ``s``.

    dorsal (N,): 1 on the back, -1 on the palm side. The palm's crease of a knuckle lies nearer to
    the fingertip than its joint.
    """
    _, j2, j3, _ = ray.joints
    h = 0.62 * ray.profile(j3)[0] * 1.25
    if ray.digit == "thumb":
        centres, halves = (12.0, j2, j3), (24.0, 1.5 * h, h)
    else:
        centres, halves = (3.0 - 4.0 * dorsal, j2, j3), (10.0, 1.1 * h, h)
    moved = [smoothstep(s, c - r, c + r) for c, r in zip(centres, halves)]
    return moved[0] - moved[1], moved[1] - moved[2], moved[2]


def weights(hand, mesh):
    """Skinning weights (778, 16): rows sum to 1, at most four joints each."""
    v = mesh.vertices
    owner = np.full(len(v), -1)
    for i, digit in enumerate(RAYS):
        owner[mesh.digits[digit]] = i
    gaps = np.stack([hand.rays[d].distance(v)[0] for d in RAYS], 1)
    share = np.exp(-np.maximum(gaps, 0) / 2.0)
    share[:, 4] = 0
    share /= share.sum(1, keepdims=True)
    thumb = np.exp(-((np.maximum(gaps[:, 4], 0) / 21.0) ** 2))
    thumb *= 1 - smoothstep(v[:, 0], 72.0, 92.0)
    share = np.column_stack([share[:, :4] * (1 - thumb[:, None]), thumb])
    share[owner >= 0] = np.eye(5)[owner[owner >= 0]]
    w = np.zeros((len(v), 16))
    for i, digit in enumerate(RAYS):
        ray = hand.rays[digit]
        _, s = ray.distance(v)
        local = v - ray.point(s)
        dorsal = (local @ ray.back) / np.linalg.norm(local, axis=1)
        for k, ramp in enumerate(_ramps(ray, s, dorsal)):
            w[:, 1 + 3 * i + k] = share[:, i] * ramp
    w[:, :13] = _smooth(w[:, :13], mesh.faces, owner < 0, 2)
    w[:, 13:] = _smooth(w[:, 13:], mesh.faces, owner < 0, 10)
    w[mesh.palm[-1]] = 0  # the wrist's rim stays where a forearm joins it
    w[:, 0] = np.maximum(1 - w.sum(1), 0)
    w[w < np.sort(w, 1)[:, -4:-3]] = 0
    w[w < 1e-3] = 0
    return w / w.sum(1, keepdims=True)


def _smooth(values, faces, where, rounds):
    mean = neighbour_mean(faces)
    for _ in range(rounds):
        values = np.where(where[:, None], 0.5 * (values + mean @ values), values)
    return values


def joint_regressor(vertices, shapedirs, weights, joints, joint_dirs, reach=0.055):
    """Sparse (16, 778) non-negative regressor that finds the joints for every shape and pose.

    Non-negative least squares over the vertices within ``reach`` metres of a joint. A row must
    give the joint for the template and all shape directions at once, and for bent joints too:
    the part of the row that follows any one bone must have its centre at the joint, so that
    turning that bone about the joint moves nothing.

    Args:
        vertices (778, 3), shapedirs (778, 3, 10): the template and its shapes, metres.
        weights (778, 16): skinning weights.
        joints (16, 3), joint_dirs (16, 3, 10): where the joints are and how shapes move them.
    """
    rows = np.zeros((len(joints), len(vertices)))
    for k, (joint, dirs) in enumerate(zip(joints, joint_dirs)):
        near = np.flatnonzero(np.linalg.norm(vertices - joint, axis=1) < reach)
        arms = (vertices[near] - joint)[..., None]
        # At rest first, by the factor: some joints cannot have all three exactly.
        system = np.concatenate([10 * arms, weights[near, None, :] * arms, shapedirs[near]], 2)
        system = system.transpose(1, 2, 0).reshape(-1, len(near))
        target = np.concatenate([np.zeros((3, 1 + weights.shape[1])), dirs], 1).ravel()
        even = 3e-5 * np.eye(len(near))  # spreads the weights over many vertices
        left = np.vstack([system, 0.1 * np.ones(len(near)), even])
        right = np.concatenate([target, [0.1], np.zeros(len(near))])
        rows[k, near] = nnls(left, right)[0]
    rows[rows < 1e-6] = 0
    return csc_matrix(rows / rows.sum(1, keepdims=True))


def pose_correctives(hand, vertices, w, angle=80.0):
    """Offsets (778, 3, 135) that keep bent knuckles full.

    Linear blending pulls the back of a bent joint inwards. The offset is the difference to
    turning each vertex by its share of the angle, at ``angle`` degrees, in proportion to
    1 - cos(angle) = -trace(R - I) / 2: zero at rest. Units of ``vertices``, which are (778, 3).
    """
    directions = np.zeros((len(vertices), 3, 15, 3, 3))
    for i, digit in enumerate(RAYS):
        ray = hand.rays[digit]
        for k in range(3):
            j = 1 + 3 * i + k
            share = w[:, j : 4 + 3 * i].sum(1)
            moved = np.flatnonzero((share > 0.01) & (share < 0.99))
            full = Rotation.from_rotvec(np.deg2rad(angle) * ray.side)
            part = Rotation.from_rotvec(share[moved, None] * np.deg2rad(angle) * ray.side)
            arm = vertices[moved] - hand.joints[j]
            blend = np.eye(3) + share[moved, None, None] * (full.as_matrix() - np.eye(3))
            offset = np.linalg.solve(blend, part.apply(arm)[..., None])[..., 0] - arm
            back = smoothstep(arm @ ray.back / np.linalg.norm(arm, axis=1), -0.2, 0.7)
            offset *= back[:, None] / (1 - np.cos(np.deg2rad(angle)))
            for d in range(3):
                directions[moved, :, j - 1, d, d] = -0.5 * offset
    return directions.reshape(len(vertices), 3, 135)
