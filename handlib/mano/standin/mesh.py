"""The stand-in's triangles: 778 vertices in rings, 1538 faces, one opening at the wrist.

Fingers are tubes of ten-sided rings. Their first rings share the web vertices and together
border the palm, a tube of rows that narrows to the 16 vertices of the wrist. A hole of ten edges
in the palm's thumb side is where the thumb's tube begins.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix

from .surface import cast, project

FINGERS = ("index", "middle", "ring", "pinky")  # from the thumb's side
PALM_ROWS = (28, 28, 28, 28, 28, 26, 20, 17)  # from the knuckles to the wrist
HOLE_ROWS, HOLE_COLUMNS = (1, 4), (27, 0, 1)
HOLE_ROLL = 7  # brings the hole's first vertex to the thumb's side
N_WRIST = 16
# Where the fingers' first rings lie, as fractions of the proximal phalanx (angles as below).
LOOP_AT = np.array([0.30, 0.27, 0.2, 0.2, 0.27, 0.30, 0.40, 0.45, 0.45, 0.40])
# Around a ring from the thumb's side over the back: side, 4 dorsal, other side, 4 palmar.
ANGLES = np.deg2rad([90, 54, 18, -18, -54, -90, -126, -162, 162, 126])


@dataclass
class Mesh:
    """Vertices (778, 3) mm, faces (1538, 3), and what each vertex is."""

    vertices: np.ndarray
    faces: np.ndarray
    digits: dict  # digit -> vertex ids beyond its base, the fingertip's pole last
    palm: list  # rows of vertex ids, the knuckle loop first, the wrist last


class _Builder:
    def __init__(self, hand):
        self.hand, self.points, self.faces, self.fixed = hand, [], [], []

    def add(self, points, fixed=False):
        points = np.atleast_2d(points)
        first = len(self.fixed)
        self.points.append(points)
        self.fixed += [fixed] * len(points)
        return np.arange(first, len(self.fixed))

    def zip(self, a, b):
        """Triangles between two closed rings of ids, starting side by side, any counts."""
        i = j = 0
        n, m = len(a), len(b)
        while i < n or j < m:
            if j == m or (i < n and (i + 0.5) * m <= (j + 0.5) * n):
                self.faces.append((a[i], a[(i + 1) % n], b[j % m]))
                i += 1
            else:
                self.faces.append((a[i % n], b[(j + 1) % m], b[j]))
                j += 1

    def rings(self, digit, s):
        """Ten points (N, 10, 3) on the skin around a digit at each ring's ``s`` (N, 10)."""
        ray = self.hand.rays[digit]
        outward = np.cos(ANGLES)[:, None] * ray.back + np.sin(ANGLES)[:, None] * ray.side
        outward = np.tile(outward, (len(s), 1))
        s = s.ravel()
        on_skin = cast(self.hand, ray.point(s), outward, ray.profile(s)[:, :3].mean(1))
        return on_skin.reshape(-1, 10, 3)


def ring_positions(ray):
    """``s`` (N, 10) of a digit's rings between its base and its tip: three at every joint.

    The thumb's first rings reach further on the side of its web.
    """
    _, j2, j3, tip = ray.joints
    r = 0.62 * ray.profile(j3)[0]
    cap = ray.caps[1]
    last = [0.5 * (j2 + j3), j3 - r, j3, j3 + r, tip - cap, tip - 0.4 * cap]
    if ray.digit != "thumb":
        return np.tile(np.array([0.68 * j2, j2 - 1.1 * r, j2, j2 + 1.1 * r, *last])[:, None], 10)
    s = np.tile(np.array([0.68 * j2, j2 - r - 1, j2, j2 + r, *last])[:, None], 10)
    s[:2] += np.array([[5.0], [2.5]]) * _towards_web(ray)
    return s


def _towards_web(ray):
    """1 where a ring of the thumb faces the fingers, -1 where it faces the wrist (10,)."""
    facing = -(np.cos(ANGLES) * ray.back[0] + np.sin(ANGLES) * ray.side[0])
    return facing / np.abs(facing).max()


def _around_fingers(b, fractions):
    """Points (10, 3) around each finger at fractions (10,) of its proximal phalanx."""
    around = {}
    for finger in FINGERS:
        ray = b.hand.rays[finger]
        s = fractions * ray.joints[1]
        shape = ray.profile(s)
        height = np.where(np.cos(ANGLES) > 0, shape[:, 1], shape[:, 2])
        around[finger] = ray.point(s, shape[:, 0] * np.sin(ANGLES), height * np.cos(ANGLES))
    return around


def _border(rings):
    """The 28 of the fingers' rings that border the palm: thumb's side, back, other side, palm."""
    dorsal = [rings[f][k] for f in FINGERS for k in (1, 2, 3)] + [rings["pinky"][4]]
    palmar = [rings[f][k] for f in FINGERS[::-1] for k in (6, 7, 8)] + [rings["index"][9]]
    return np.array([rings["index"][0], *dorsal, rings["pinky"][5], *palmar])


def _knuckle_loop(b):
    """The first rings of the four fingers, neighbours sharing three vertices each.

    Returns dict finger -> (10,) ids, and the (28,) loop that borders the palm.
    """
    guesses = _around_fingers(b, LOOP_AT)
    rings = {}
    for i, finger in enumerate(FINGERS):
        points, ids, own = guesses[finger], np.empty(10, int), np.ones(10, bool)
        if i:
            ids[[0, 1, 9]] = rings[FINGERS[i - 1]][[5, 4, 6]]
            own[[0, 1, 9]] = False
        if i < 3:
            _, edge, _, r = b.hand.webs[i]
            out, up = r * b.hand.rays[finger].axis, np.array([0, r, 0])
            points[[4, 5, 6]] = edge + up - 0.3 * out, edge + out, edge - up
        ids[own] = b.add(points[own])
        rings[finger] = ids
    return rings, _border(rings)


def _knuckle_row(b):
    """The palm's first row (28, 3), at the MCP joints, so that they bend about it."""
    around = _around_fingers(b, np.where(np.cos(ANGLES) < -0.1, 0.12, 0.0))
    for a, c in pairwise(FINGERS):
        for mine, theirs in ((4, 1), (6, 9)):
            between = 0.5 * (around[a][mine] + around[c][theirs])
            around[a][mine] = around[c][theirs] = between
    return project(b.hand, _border(around), 6)


def _wrist_ring(b):
    tube = b.hand.carpus
    angle = np.pi / 2 - np.arange(N_WRIST) * 2 * np.pi / N_WRIST
    s = -12.0
    width, dorsal = tube.profile(s)[:2]
    outward = np.stack([0 * angle, dorsal * np.cos(angle), width * np.sin(angle)], 1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    origin = np.repeat(tube.point(np.array([s])), N_WRIST, 0)
    return b.add(cast(b.hand, origin, outward, np.full(N_WRIST, 24.0)), fixed=True)


def _resample(points, n):
    """n points at equal parameter steps around a closed ring of points, same start."""
    t, steps = np.arange(n) * len(points) / n, np.arange(len(points))
    return np.stack([np.interp(t, steps, x, period=len(points)) for x in points.T], 1)


def _palm(b, loop):
    """Rows from the knuckles to the wrist, and the loop of ten ids the thumb starts from."""
    wrist_points = _wrist_ring(b)
    points = np.vstack(b.points)
    ends = points[loop], _resample(points[wrist_points], 28)
    rows = [loop]
    inside = [(r, c) for r in range(HOLE_ROWS[0] + 1, HOLE_ROWS[1]) for c in HOLE_COLUMNS[1:-1]]
    for r, n in enumerate(PALM_ROWS):
        t = (r + 1) / (len(PALM_ROWS) + 1)
        guess = _resample((1 - t) * ends[0] + t * ends[1], n) if r else _knuckle_row(b)
        ids = np.full(n, -1)
        keep = [c for c in range(n) if (r, c) not in inside]
        ids[keep] = b.add(guess[keep], fixed=r == 0)
        rows.append(ids)
    rows.append(wrist_points)
    for r in range(len(rows) - 1):
        first = len(b.faces)
        b.zip(rows[r], rows[r + 1])
        if HOLE_ROWS[0] + 1 <= r < HOLE_ROWS[1] + 1:
            _drop_columns(b, first, rows[r], rows[r + 1])
    return rows, _hole_loop(rows)


def _drop_columns(b, first, above, below):
    """Remove the faces of one strip that lie between the hole's columns."""
    inner = {(above[i], below[i]) for i in HOLE_COLUMNS}
    columns = {v for pair in inner for v in pair}
    b.faces[first:] = [f for f in b.faces[first:] if not set(f) <= columns]


def _hole_loop(rows):
    top, bottom = rows[HOLE_ROWS[0] + 1], rows[HOLE_ROWS[1] + 1]
    sides = range(HOLE_ROWS[0] + 2, HOLE_ROWS[1] + 1)
    left, _, right = HOLE_COLUMNS
    clockwise = [
        *(top[c] for c in HOLE_COLUMNS),
        *(rows[r][right] for r in sides),
        *(bottom[c] for c in HOLE_COLUMNS[::-1]),
        *(rows[r][left] for r in list(sides)[::-1]),
    ]
    return clockwise[::-1]


def _tube(b, digit, base):
    """A digit that starts at the ten ids ``base``: ids of its rings, of its cap, and the pole."""
    ray = b.hand.rays[digit]
    ids, ring = [], base
    for k, points in enumerate(b.rings(digit, ring_positions(ray))):
        below, ring = ring, b.add(points, fixed=k > 0 or digit != "thumb")
        b.zip(ring, below)
        ids.append(ring)
    top = ray.point(np.array([ray.joints[3]]))
    inner = 0.5 * (np.vstack(b.points)[ring[::2]] + top)
    *cap, pole = b.add(project(b.hand, np.vstack([inner, top])), fixed=True)
    b.zip(cap, ring)
    b.faces += [(cap[(i + 1) % 5], cap[i], pole) for i in range(5)]
    return np.concatenate([*ids, cap, [pole]])


def _thumb_base(b, hole):
    """Pull the hole's ten vertices out to where the thumb leaves the palm."""
    ray = b.hand.rays["thumb"]
    shape = ray.profile(0.4 * ray.joints[1])
    height = np.where(np.cos(ANGLES) > 0, shape[1], shape[2])
    s = ray.joints[1] * (0.40 + 0.15 * _towards_web(ray))
    target = ray.point(s, shape[0] * np.sin(ANGLES), height * np.cos(ANGLES))
    target = project(b.hand, target, 12)
    ids = np.roll(hole, HOLE_ROLL)
    points = np.vstack(b.points)
    points[ids] = target
    b.points = [points]
    return ids


def neighbour_mean(faces):
    """Sparse (V, V) matrix that takes values to the mean of each vertex's neighbours."""
    edges = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    i, j = np.unique(np.vstack([edges, edges[:, ::-1]]), axis=0).T
    return csr_matrix((1 / np.bincount(i)[i], (i, j)))


def _relax(hand, points, mean, free, rounds):
    """Even out the free vertices along the skin: steps to the neighbours' mean, then back on it."""
    points = points.copy()
    points[free] = project(hand, points[free], 6)
    for _ in range(rounds):
        points[free] += 0.5 * (mean @ points - points)[free]
        points[free] = project(hand, points[free], 1)
    points[free] = project(hand, points[free], 3)
    return points


def _follow(points, template, mean, free, rounds=60):
    """First guess for another shape: the template's free vertices moved as the rings around."""
    moved = np.where(free[:, None], 0, points - template)
    for _ in range(rounds):
        moved[free] = (mean @ moved)[free]
    return template + moved


def build(hand, template=None):
    """The stand-in's mesh for a ``Hand`` of anatomy.py.

    template: vertices (778, 3) of another shape's mesh, which these should correspond to.
    """
    b = _Builder(hand)
    bases, loop = _knuckle_loop(b)
    rows, hole = _palm(b, loop)
    bases["thumb"] = _thumb_base(b, hole)
    digits = {digit: _tube(b, digit, bases[digit]) for digit in (*FINGERS, "thumb")}
    faces, free = np.array(b.faces)[:, ::-1], ~np.array(b.fixed)
    mean = neighbour_mean(faces)
    points = np.vstack(b.points)
    if template is not None:
        points = _follow(points, template, mean, free)
    points = _relax(hand, points, mean, free, rounds=40 if template is None else 8)
    return Mesh(points, faces, digits, rows)
