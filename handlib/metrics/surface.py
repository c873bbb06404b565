"""F-scores of surfaces: which points of one have a point of the other nearby.

No distance is searched for further than the question needs: a point's partner of the same index
often answers it, and otherwise the few points in neighbouring cells of a grid do.
"""

import numpy as np
from numba import njit

F_THRESHOLDS_MM = (5, 15)
_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
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
    grid = _grid(targets, far)
    ordered = grid[0]
    n_near = n_far = k = 0
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        # Good guesses: the partner, and what was near the point before.
        squared = _squared(targets[min(i, len(targets) - 1)], x, y, z)
        squared = min(squared, _squared(ordered[k], x, y, z))
        found = k if squared < far * far else _find_within(x, y, z, grid, far)
        if found < 0:
            continue
        n_far += 1
        k = found
        found = k if squared < near * near else _find_within(x, y, z, grid, near)
        if found >= 0:
            n_near += 1
            k = found
    share[0], share[1] = n_near / len(points), n_far / len(points)


@_jit
def _squared(point, x, y, z):
    dx, dy, dz = point[0] - x, point[1] - y, point[2] - z
    return dx * dx + dy * dy + dz * dz


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
    starts = np.zeros(counts.prod() + 1, np.uint32)
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
def _find_within(x, y, z, grid, distance):
    """Index of a point of the grid that is nearer to (x, y, z) than ``distance``, or -1."""
    ordered, starts, counts, low, cell = grid
    first_x, last_x = _cells(x - low[0], distance, cell, counts[0])
    first_y, last_y = _cells(y - low[1], distance, cell, counts[1])
    first_z, last_z = _cells(z - low[2], distance, cell, counts[2])
    if first_z > last_z:
        return -1
    for i in range(first_x, last_x + 1):
        for j in range(first_y, last_y + 1):
            row = (i * counts[1] + j) * counts[2]
            for k in range(starts[row + first_z], starts[row + last_z + 1]):
                if _squared(ordered[k], x, y, z) < distance * distance:
                    return np.int64(k)
    return -1


@_jit
def _cells(place, distance, cell, count):
    """First and last cell along an axis within ``distance`` of ``place``."""
    return max(int((place - distance) / cell), 0), min(int((place + distance) / cell), count - 1)
