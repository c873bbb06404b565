"""F-scores of surfaces: which points of one have a point of the other nearby.

No distance is searched for further than the question needs: a point's partner of the same index
often answers it, and otherwise the points in the same slab of space do, several at a time.
"""

import numpy as np

from handlib.compiled import njit

F_THRESHOLDS_MM = (5, 15)
_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
_MOST_SLABS = 256  # outliers must not fill the memory


def f_scores(pred, gt):
    """F-scores of nearest-neighbour distances between point sets (Knapitsch et al. 2017).

    Args:
        pred, gt: (N, V, 3) and (N, W, 3) metres.

    Returns:
        (N, 2) harmonic means of the shares of predicted and of true points that have one of the
        other kind nearer than ``F_THRESHOLDS_MM``.

    Raises:
        ValueError: shapes that do not agree, no vertices, or a coordinate that is not finite.
    """
    pred, gt = np.ascontiguousarray(pred, np.float64), np.ascontiguousarray(gt, np.float64)
    # What the compiled loops would read outside of the arrays, they would not notice.
    shapes = [a.shape[:1] + a.shape[2:] for a in (pred, gt)]
    if shapes != [(len(gt), 3)] * 2 or not (pred.shape[1] and gt.shape[1]):
        raise ValueError(
            f"expected surfaces (N, V, 3) and (N, W, 3) with vertices, got {pred.shape} and "
            f"{gt.shape}"
        )
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
    ordered, starts, axis, low, width = _slabs(targets, near / 2)
    xs, ys, zs = ordered[0], ordered[1], ordered[2]
    last = len(starts) - 2
    n_near = n_far = 0
    for i in range(len(points)):  # as numbers: numba counts the users of every small array
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        k = min(i, len(targets) - 1)  # the partner is a good guess
        squared = _squared(targets[k, 0] - x, targets[k, 1] - y, targets[k, 2] - z)
        place = points[i, axis] - low
        if squared >= far * far:
            first, end = _touched(starts, place - far, place + far, width, last)
            if not _any_within(xs, ys, zs, first, end, x, y, z, far):
                continue
        n_far += 1
        if squared >= near * near:
            first, end = _touched(starts, place - near, place + near, width, last)
            if not _any_within(xs, ys, zs, first, end, x, y, z, near):
                continue
        n_near += 1
    share[0], share[1] = n_near / len(points), n_far / len(points)


@_jit
def _squared(dx, dy, dz):
    return dx * dx + dy * dy + dz * dz


@_jit
def _slabs(points, width):
    """Points sorted by the slab that they lie in, across the longest side of their box.

    Returns:
        (sorted points (3, V), starts (slabs + 1,): the first point of each slab, axis across
        them, where the first begins, width).
    """
    axis, low, length = 0, 0.0, -1.0
    for a in range(3):
        first = last = points[0, a]
        for i in range(len(points)):
            first, last = min(first, points[i, a]), max(last, points[i, a])
        if last - first > length:
            axis, low, length = a, first, last - first
    width = max(width, length / (_MOST_SLABS - 1))
    starts = np.zeros(int(length / width) + 2, np.int32)
    slabs = np.empty(len(points), np.int32)
    for i in range(len(points)):
        slabs[i] = int((points[i, axis] - low) / width)
        starts[slabs[i]] += 1
    starts[:] = np.cumsum(starts)  # ends, for now; each point moves its slab's one place down
    ordered = np.empty((3, len(points)))
    for i in range(len(points)):
        starts[slabs[i]] -= 1
        for a in range(3):
            ordered[a, starts[slabs[i]]] = points[i, a]
    return ordered, starts, axis, low, width


@_jit
def _touched(starts, place, end_place, width, last):
    """First and end of the points in those slabs that a stretch across them touches."""
    first = min(max(place / width, 0), last + 1)
    end = max(min(end_place / width + 1, last + 1), 0)
    return starts[int(first)], starts[int(end)]


@_jit
def _any_within(xs, ys, zs, first, end, x, y, z, distance):
    """Whether any of the points xs, ys, zs[first:end] is nearer to (x, y, z) than ``distance``."""
    count = 0
    # The compiler takes several points at a time, because no index can be negative, and because
    # they are counted: it does not do so for the first or the nearest.
    for k in range(np.uint64(first), np.uint64(end)):
        count += _squared(xs[k] - x, ys[k] - y, zs[k] - z) < distance * distance
    return count > 0
