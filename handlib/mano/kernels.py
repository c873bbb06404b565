"""The hand's kinematic chain and skinning, forward and backward, compiled for one CPU core.

One pass over each hand's vertices, in place of a dozen over arrays of the whole batch. The
formulas are those of ``skinning.hand_forward``, which stays what runs everywhere else. Joint j has
global rotation G, rest position r and posed position t, and moves a vertex x to G x + (t - G r).
"""

import numpy as np
import torch

from handlib.compiled import njit
from handlib.joints import MANO_PARENTS
from handlib.mano.skinning import AT_REST, features, hand_forward

_PARENTS = np.array(MANO_PARENTS)
# Numbers that are not finite must stay so: training watches for them.
_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


class CompiledHand(torch.autograd.Function):
    """``skinning.hand_forward`` on a CPU; derivatives beyond the first take the plain formula."""

    @staticmethod
    def forward(ctx, rotations, betas, layer):
        """Rotations (B, 16, 3, 3), betas (B, 10) and a HandLayer to vertices and joints."""
        B, V = len(betas), layer.weights.shape[1]
        template, directions = layer.template[:AT_REST], layer.directions[:, :AT_REST]
        shaped = torch.addmm(template, features(rotations, betas), directions)
        rest = torch.addmm(layer.rest_template, betas, layer.rest)
        moves, vertices, joints = (betas.new_empty(B, *s) for s in ((3, 4, 16), (V, 3), (21, 3)))
        ctx.layer, ctx.between = layer, (rest.view(B, 16, 3), shaped.view(B, 3, V), moves)
        ctx.save_for_backward(rotations, betas)
        pose_and_skin(*_given(ctx, rotations), vertices.numpy(), joints.numpy())
        return vertices, joints

    @staticmethod
    def backward(ctx, g_vertices, g_joints):
        rotations, betas = ctx.saved_tensors
        layer = ctx.layer
        if torch.is_grad_enabled():  # a derivative of this derivative is wanted
            made, given = hand_forward(layer, rotations, betas), (rotations, betas)
            wanted = [value for value in given if value.requires_grad]
            found = torch.autograd.grad(made, wanted, (g_vertices, g_joints), create_graph=True)
            found = iter(found)
            return *(next(found) if value.requires_grad else None for value in given), None
        rest, shaped, _ = ctx.between
        g_rotations = torch.empty_like(rotations, memory_format=torch.contiguous_format)
        g_rest, g_shaped = torch.empty_like(rest), torch.empty_like(shaped)
        pulls = (g_vertices.contiguous().numpy(), g_joints.contiguous().numpy())
        out = (g_rotations.numpy(), g_rest.numpy(), g_shaped.numpy())
        gradients(*_given(ctx, rotations), *pulls, *out)
        g_features = g_shaped.flatten(1) @ layer.directions[:, :AT_REST].T
        g_rotations += g_features[:, 10:].view(-1, 16, 3, 3)
        g_betas = torch.addmm(g_features[:, :10], g_rest.flatten(1), layer.rest.T)
        return g_rotations, g_betas, None


def _given(ctx, rotations):
    """The arrays that both loops take."""
    rest, shaped, moves = (values.numpy() for values in ctx.between)
    rotations, weights = rotations.detach().contiguous().numpy(), ctx.layer.weights.numpy()
    return rotations, rest, _PARENTS, shaped, weights, *ctx.layer.shares, moves


@_jit
def pose_and_skin(
    rotations, rest, parents, shaped, weights, rows, points, shares, moves, vertices, joints
):
    """Pose a hand's chain, skin its vertices, and take its joints from both.

    Args:
        rotations: (B, 16, 3, 3) relative to the parent. rest: (B, 16, 3) joints at rest.
        parents: (16,); each comes before its children, the root's is not read.
        shaped: (B, 3, V) vertices at rest. weights: (16, V).
        rows, points, shares: (N,) each: output joint, which is the sum of these shares of points;
            points from V on are the chain's joints.
        moves: (B, 3, 4, 16) output: rotation and translation of what follows each joint.
        vertices: (B, V, 3) output. joints: (B, 21, 3) output.
    """
    B, V = len(shaped), shaped.shape[2]
    turned = np.empty((16, 3, 3), shaped.dtype)
    place = np.empty((V + 16, 3), shaped.dtype)
    across = np.empty((3, V), shaped.dtype)
    for b in range(B):
        posed = place[V:]
        _pose(rotations[b], rest[b], parents, turned, posed)
        for j in range(16):
            for c in range(3):
                shift = posed[j, c]
                for k in range(3):
                    moves[b, c, k, j] = turned[j, c, k]
                    shift -= turned[j, c, k] * rest[b, j, k]
                moves[b, c, 3, j] = shift
        _skin(shaped[b], weights, moves[b], across)
        for v in range(V):
            for c in range(3):
                place[v, c] = across[c, v]
        vertices[b] = place[:V]
        joints[b] = 0
        for n in range(len(rows)):
            for c in range(3):
                joints[b, rows[n], c] += shares[n] * place[points[n], c]


@_jit
def _skin(shaped, weights, moves, points):
    """Vertices at rest (3, V) to where they are, (3, V), of one hand."""
    for c in range(3):
        m = moves[c]
        for v in range(shaped.shape[1]):
            w = weights[0, v]
            x, y, z, one = m[0, 0] * w, m[1, 0] * w, m[2, 0] * w, m[3, 0] * w
            for j in range(1, 16):
                w = weights[j, v]
                x += m[0, j] * w
                y += m[1, j] * w
                z += m[2, j] * w
                one += m[3, j] * w
            points[c, v] = x * shaped[0, v] + y * shaped[1, v] + z * shaped[2, v] + one


@_jit
def _pose(rotations, rest, parents, turned, posed):
    """Global rotations (16, 3, 3) and joints (16, 3) of one hand."""
    for j in range(16):
        p = parents[j]
        for c in range(3):
            if j == 0:
                posed[j, c] = rest[j, c]
                for k in range(3):
                    turned[j, c, k] = rotations[j, c, k]
                continue
            place = posed[p, c]
            for k in range(3):
                place += turned[p, c, k] * (rest[j, k] - rest[p, k])
            posed[j, c] = place
            for k in range(3):
                total = turned[p, c, 0] * rotations[j, 0, k]
                total += turned[p, c, 1] * rotations[j, 1, k]
                turned[j, c, k] = total + turned[p, c, 2] * rotations[j, 2, k]


@_jit
def gradients(
    rotations, rest, parents, shaped, weights, rows, points, shares, moves, g_vertices, g_joints,
    g_rotations, g_rest, g_shaped,
):  # fmt: skip
    """Gradients of what ``pose_and_skin`` was given, from those of what it made.

    Args:
        g_vertices: (B, V, 3). g_joints: (B, 21, 3). The others as above.
        g_rotations: (B, 16, 3, 3) output. g_rest: (B, 16, 3) output. g_shaped: (B, 3, V) output.
    """
    B, V = len(shaped), shaped.shape[2]
    pulls = np.empty((12, V), shaped.dtype)
    g = np.empty((3, V + 16), shaped.dtype)
    g_moves = np.empty((16, 12), shaped.dtype)
    g_turned = np.empty((16, 3, 3), shaped.dtype)
    g_joint = np.empty((16, 3), shaped.dtype)
    for b in range(B):
        for v in range(V):
            for c in range(3):
                g[c, v] = g_vertices[b, v, c]
        g[:, V:] = 0
        for n in range(len(rows)):
            for c in range(3):
                g[c, points[n]] += shares[n] * g_joints[b, rows[n], c]
        _unskin(shaped[b], weights, moves[b], g, g_shaped[b], pulls)
        _products(weights, pulls, g_moves)
        for j in range(16):
            for c in range(3):
                shift = g_moves[j, 4 * c + 3]
                g_joint[j, c] = g[c, V + j] + shift
                for k in range(3):
                    g_turned[j, c, k] = g_moves[j, 4 * c + k] - shift * rest[b, j, k]
            for k in range(3):
                total = g_moves[j, 3] * moves[b, 0, k, j] + g_moves[j, 7] * moves[b, 1, k, j]
                g_rest[b, j, k] = -total - g_moves[j, 11] * moves[b, 2, k, j]
        _unpose(
            rotations[b], rest[b], parents, moves[b], g_turned, g_joint, g_rotations[b], g_rest[b]
        )


@_jit
def _unskin(shaped, weights, moves, g, g_shaped, pulls):
    """What the gradient g (3, V or more) of a hand's vertices says of ``shaped``, and its products
    with (shaped, 1): pulls (12, V)."""
    V = shaped.shape[1]
    for k in range(3):
        m, n, o = moves[0, k], moves[1, k], moves[2, k]
        for v in range(V):
            w = weights[0, v]
            x, y, z = m[0] * w, n[0] * w, o[0] * w
            for j in range(1, 16):
                w = weights[j, v]
                x += m[j] * w
                y += n[j] * w
                z += o[j] * w
            g_shaped[k, v] = x * g[0, v] + y * g[1, v] + z * g[2, v]
    for c in range(3):
        for k in range(3):
            for v in range(V):
                pulls[4 * c + k, v] = g[c, v] * shaped[k, v]
        for v in range(V):
            pulls[4 * c + 3, v] = g[c, v]


@_jit
def _products(weights, pulls, out):
    """out (16, 12) = weights (16, V) times pulls (12, V) transposed."""
    for j in range(16):
        w = weights[j]
        for n in range(0, 12, 4):  # four sums at once hide the time of one
            p, q, r, s = pulls[n], pulls[n + 1], pulls[n + 2], pulls[n + 3]
            a = b = c = d = w.dtype.type(0)
            for v in range(len(w)):
                a += w[v] * p[v]
                b += w[v] * q[v]
                c += w[v] * r[v]
                d += w[v] * s[v]
            out[j, n], out[j, n + 1], out[j, n + 2], out[j, n + 3] = a, b, c, d


@_jit
def _unpose(rotations, rest, parents, moves, g_turned, g_joint, g_rotations, g_rest):
    """Gradients of ``_pose``, from the fingertips to the root; ``moves`` holds the rotations."""
    for j in range(15, 0, -1):
        p = parents[j]
        for k in range(3):
            bone = moves[0, k, p] * g_joint[j, 0] + moves[1, k, p] * g_joint[j, 1]
            bone += moves[2, k, p] * g_joint[j, 2]
            g_rest[j, k] += bone
            g_rest[p, k] -= bone
            for i in range(3):
                total = moves[0, k, p] * g_turned[j, 0, i] + moves[1, k, p] * g_turned[j, 1, i]
                g_rotations[j, k, i] = total + moves[2, k, p] * g_turned[j, 2, i]
        for c in range(3):
            g_joint[p, c] += g_joint[j, c]
            for k in range(3):
                total = g_joint[j, c] * (rest[j, k] - rest[p, k])
                for i in range(3):
                    total += g_turned[j, c, i] * rotations[j, k, i]
                g_turned[p, c, k] += total
    for c in range(3):
        g_rest[0, c] += g_joint[0, c]
        for k in range(3):
            g_rotations[0, c, k] = g_turned[0, c, k]
