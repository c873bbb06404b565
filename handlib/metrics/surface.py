"""F-scores of surfaces: which points of one have a point of the other nearby.

No distance is searched for further than the question needs: a point's partner of the same index
often answers it, and otherwise the few points in neighbouring cells of a grid do.
"""

import numpy as np
from numba import njit

F_THRESHOLDS_MM = (5, 15)
_jit = njit(cache=True, nogil=True, error_model="numpy")
# A grid has at most this many cells along its longest side: outliers must not fill the memory.
_MOST_CELLS = 64


def f_scores(pred, gt):
    """F-scores of nearest-neighbour distances between point sets (Knapitsch et al. 2017).

    Args:
        pred, gt: (N, V, 3) and (N, W, 3) metres.

    Returns:
        (N, 2) harmonic means of the shares of predicted and of true points that have one of the
        other kind nearer than ``F_THRESHOLDS_MM``.

    Raises:
        ValueError: a coordinate that is not finite.
    """
    pred, gt = np.ascontiguousarray(pred, np.float64), np.ascontiguousarray(gt, np.float64)
    if not (np.isfinite(pred).all() and np.isfinite(gt).all()):
        raise ValueError("a surface has points that are not finite, so there is no F-score")
    near, far = np.array(F_THRESHOLDS_MM) / 1000
    shares = np.empty((len(gt), 2, 2))
    _shares_within(pred, gt, near, far, shares)
    total = shares.sum(1)
    return 2 * shares.prod(1) / np.where(total > 0, total, 1)


@_jit
def _shares_within(pred, gt, near, far, shares):
    for n in range(len(gt)):
        _share_within(pred[n], gt[n], near, far, shares[n, 0])
        _share_within(gt[n], pred[n], near, far, shares[n, 1])


@_jit
def _share_within(points, targets, near, far, share):
    """Write the shares of ``points`` that have a target nearer than ``near`` and ``far``."""
    grid = _grid(targets, far / 2)
    n_near = n_far = 0
    for i in range(len(points)):
        point, partner = points[i], targets[min(i, len(targets) - 1)]
        distance = np.sqrt(_squared(point, partner))
        if distance < far or _has_within(point, grid, far):
            n_far += 1
            n_near += distance < near or _has_within(point, grid, near)
    share[0], share[1] = n_near / len(points), n_far / len(points)


@_jit
def _squared(a, b):
    x, y, z = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return x * x + y * y + z * z


@_jit
def _grid(points, cell):
    """Points sorted by the cell of a 3D grid that they lie in.

    Returns:
        (sorted points (V, 3), starts (cells + 1,): the first point of each cell, counts (3,) of
        cells along the axes, corner (3,), size of a cell).
    """
    low, high = points[0].copy(), points[0].copy()
    for i in range(len(points)):
        for axis in range(3):
            low[axis] = min(low[axis], points[i, axis])
            high[axis] = max(high[axis], points[i, axis])
    cell = max(cell, (high - low).max() / (_MOST_CELLS - 1))
    counts = ((high - low) / cell).astype(np.int64) + 1
    starts = np.zeros(counts.prod() + 1, np.int32)
    cells = np.empty(len(points), np.int32)
    for i in range(len(points)):
        x = int((points[i, 0] - low[0]) / cell)
        y = int((points[i, 1] - low[1]) / cell)
        z = int((points[i, 2] - low[2]) / cell)
        cells[i] = (x * counts[1] + y) * counts[2] + z
        starts[cells[i]] += 1
    starts[:] = np.cumsum(starts)  # ends, for now; each point moves its cell's one place down
    ordered = np.empty_like(points)
    for i in range(len(points)):
        starts[cells[i]] -= 1
        for axis in range(3):
            ordered[starts[cells[i]], axis] = points[i, axis]
    return ordered, starts, counts, low, cell


@_jit
def _has_within(point, grid, distance):
    """Whether a point of the grid is nearer to ``point`` than ``distance``."""
    ordered, starts, counts, low, cell = grid
    reach = int(np.ceil(distance / cell))
    x = int(np.floor((point[0] - low[0]) / cell))
    y = int(np.floor((point[1] - low[1]) / cell))
    z = int(np.floor((point[2] - low[2]) / cell))
    first, last = max(z - reach, 0), min(z + reach, counts[2] - 1)
    if first > last:
        return False
    for i in range(max(x - reach, 0), min(x + reach, counts[0] - 1) + 1):
        for j in range(max(y - reach, 0), min(y + reach, counts[1] - 1) + 1):
            row = (i * counts[1] + j) * counts[2]
            for k in range(starts[row + first], starts[row + last + 1]):
                if _squared(point, ordered[k]) < distance * distance:
                    return True
    return False
