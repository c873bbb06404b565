"""The stand-in's skin as the zero level of a smooth function, and ways to put points on it."""

import numpy as np

from handlib.geometry import smoothstep

BLEND = (1.0, 4.0)  # mm of rounding where parts meet: between fingers, inside the palm


def _ellipsoid(points, blob):
    centre, axes, radii = blob
    local = (points - centre) @ axes.T / radii
    rho = np.sqrt((local**2).sum(1) + 1e-9)
    return (rho - 1) * rho / np.sqrt(((local / radii) ** 2).sum(1) + 1e-9)


def _round_cone(points, web):
    start, end, r0, r1 = web
    line = end - start
    t = np.clip((points - start) @ line / (line @ line), 0, 1)
    gap = np.linalg.norm(points - start - t[:, None] * line, axis=1)
    return gap - (r0 + (r1 - r0) * t)


def level(hand, points):
    """Approximate signed distance (N,) in mm of points (N, 3) to the skin; negative inside.

    The parts are joined by a log-sum-exp minimum whose rounding is wide in the palm and narrow
    between the fingers, so that webs are soft and fingers stay apart.
    """
    parts, freedom = [], []
    for digit, ray in hand.rays.items():
        distance, s = ray.distance(points)
        first = ray.joints[1]
        low, high = (0.75 * first, 1.15 * first) if digit == "thumb" else (0, 0.55 * first)
        parts.append(distance)
        freedom.append(smoothstep(s, low, high))
    parts.append(hand.carpus.distance(points)[0])
    parts += [_ellipsoid(points, b) for b in hand.blobs]
    parts += [_round_cone(points, w) for w in hand.webs]
    parts = np.stack(parts)
    nearest = np.exp(-(parts - parts.min(0)) / 2.0)
    free = (nearest[: len(freedom)] * np.stack(freedom)).sum(0) / nearest.sum(0)
    k = BLEND[1] + (BLEND[0] - BLEND[1]) * free
    low = parts.min(0)
    return low - k * np.log(np.exp(-(parts - low) / k).sum(0))


def level_and_gradient(hand, points, step=0.1):
    """``level`` (N,) and its gradient (N, 3) from the four corners of small tetrahedra."""
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1.0]])
    shifted = (points[None] + step * corners[:, None]).reshape(-1, 3)
    values = level(hand, shifted).reshape(4, -1)
    return values.mean(0), (values[:, :, None] * corners[:, None]).sum(0) / (4 * step)


def project(hand, points, steps=4):
    """Points (N, 3) moved along the gradient onto the skin."""
    for _ in range(steps):
        value, g = level_and_gradient(hand, points)
        size = np.maximum((g * g).sum(1, keepdims=True), 0.1)
        points = points - np.clip(value[:, None] * g / size, -6, 6)
    return points


def cast(hand, origins, directions, expected, steps=14):
    """Points on the skin along rays from inside, near the expected distance.

    Args:
        origins, directions: (N, 3), unit directions.
        expected: (N,) mm; a point stays within 0.5 to 1.4 times that, on the skin or not.
    """
    t = expected.copy()
    for _ in range(steps):
        step = 0.9 * level(hand, origins + t[:, None] * directions)
        t = np.clip(t - step, 0.5 * expected, 1.4 * expected)
    return origins + t[:, None] * directions
