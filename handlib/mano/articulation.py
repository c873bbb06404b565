"""Anatomically plausible hand poses: 21 joint angles, their limits, samples and named poses.

Angles are in degrees about a flat right hand. Each finger has four (flexion and abduction of the
MCP, flexion of PIP and DIP) and the thumb five (flexion, abduction and roll of the CMC, flexion
of MCP and IP), in MANO's order: index, middle, pinky, ring, thumb. Positive flexion bends towards
the palm, positive abduction moves a digit's tip towards the thumb's side, positive roll turns the
thumb's pulp towards the fingers. Limits approximate the ranges of healthy hands, after handbooks of
goniometry (Norkin & White, "Measurement of Joint Motion"); the thumb's CMC is the least certain.
"""

import numpy as np

from handlib.compiled import njit
from handlib.mano.standin.anatomy import RAYS, hand

N_ANGLES = 21
_FINGER_LIMITS = ((-20, 90), (-18, 18), (0, 110), (-5, 80))
_THUMB_LIMITS = ((-25, 50), (-35, 45), (-30, 60), (-10, 60), (-15, 85))
LIMITS = np.array([*_FINGER_LIMITS * 4, *_THUMB_LIMITS], float)
MAX_OVERLAP = 3.0  # mm by which the capsules of two soft digits may overlap
_PALM_RADIUS = 9.0  # mm, about the points inside of it
_NEAR_PALM = 5  # points of a digit from its root on that always lie at the palm
# A bent finger turns towards the scaphoid: degrees about its back at a fully bent MCP.
CONVERGENCE = {"index": -3.0, "middle": 0.0, "ring": 5.0, "pinky": 10.0}

_FLAT = (0, 0, 0, 0)
_CURLED, _CURLED_PINKY = (88, 0, 108, 76), (86, 0, 90, 55)
_OVER_FIST, _OVER_MIDDLE, _BESIDE = (27, 19, 28, 31, 49), (39, 14, 29, 27, 34), (8, -4, 3, 28, 32)
_OUT, _AHEAD = (-15, 15, 0, -5, -8), (0, 0, 0, 0, 0)
# name -> index, middle, ring, pinky, thumb. Thumbs that touch a finger were fitted so that the
# two pulps (or the pulp and the bent finger's back) meet.
_NAMED = {
    "flat": (_FLAT, _FLAT, _FLAT, _FLAT, _AHEAD),
    "relaxed": ((22, 1, 30, 16), (28, 0, 36, 20), (32, -1, 40, 22), (32, -2, 38, 22),
                (12, 4, 8, 8, 14)),
    "fist": (_CURLED, _CURLED, _CURLED, _CURLED_PINKY, _OVER_FIST),
    "point": ((2, 0, 4, 3), _CURLED, _CURLED, _CURLED_PINKY, _OVER_MIDDLE),
    "ok": ((44, 2, 54, 35), (25, 0, 22, 12), (14, -2, 14, 8), (6, -6, 8, 4), (27, 5, 25, 12, 17)),
    "spread": ((-6, 14, 0, 0), (-6, 2, 0, 0), (-6, -8, 0, 0), (-8, -16, 0, 0), (-10, 10, 0, 0, -5)),
    "thumbs_up": (_CURLED, _CURLED, _CURLED, _CURLED_PINKY, _OUT),
    "pinch": ((66, 2, 30, 0), (62, 0, 40, 20), (64, 0, 60, 40), (62, 0, 70, 45),
              (41, 20, 48, 11, -15)),
    "v_sign": ((0, 10, 3, 2), (0, -8, 3, 2), _CURLED, _CURLED_PINKY, (50, 14, 27, 30, 29)),
    "three": ((0, 8, 3, 2), (0, 0, 3, 2), (2, -8, 5, 3), _CURLED_PINKY, (50, -1, 21, 44, 15)),
    "four": ((0, 4, 2, 2), (0, 0, 2, 2), (0, -3, 2, 2), (0, -8, 2, 2), (41, -24, 55, 32, 23)),
    "gun": ((2, 0, 4, 3), _CURLED, _CURLED, _CURLED_PINKY, _OUT),
    "horns": ((0, 4, 3, 2), _CURLED, _CURLED, (0, -8, 3, 2), _OVER_MIDDLE),
    "shaka": (_CURLED, _CURLED, _CURLED, (0, -12, 3, 2), _OUT),
    "hook": ((5, 0, 95, 55), (5, 0, 100, 60), (5, 0, 100, 60), (5, 0, 95, 55), (8, 0, 5, 5, 10)),
    "claw": ((-10, 10, 60, 40), (-10, 2, 62, 40), (-10, -6, 60, 40), (-10, -14, 58, 38),
             (0, 20, 15, 25, 40)),
    "grasp": ((45, 3, 45, 28), (48, 0, 48, 30), (50, -2, 50, 32), (52, -5, 50, 32),
              (15, 30, 35, 15, 25)),
    "ball": ((25, 12, 38, 25), (25, 2, 40, 25), (25, -6, 40, 25), (25, -14, 38, 25),
             (5, 35, 30, 10, 25)),
    "table": ((80, 2, 5, 3), (82, 0, 5, 3), (82, 0, 5, 3), (80, -2, 5, 3), (20, 15, 25, 10, 10)),
    "tripod": ((74, 2, 22, -5), (68, 0, 43, -5), (62, 0, 65, 40), (60, 0, 70, 45),
               (50, 21, 60, 6, -15)),
    "key": (_CURLED, _CURLED, _CURLED, _CURLED_PINKY, _BESIDE),
    "middle_touch": ((11, 0, 15, 8), (51, 0, 60, 39), (16, 0, 20, 11), (16, -1, 19, 11),
                     (41, 2, 25, 10, 10)),
    "pinky_touch": ((11, 0, 15, 8), (14, 0, 18, 10), (20, 0, 25, 13), (56, 2, 62, 42),
                    (50, -5, 24, 31, 13)),
}  # fmt: skip


def _angles(index, middle, ring, pinky, thumb):
    return np.array([*index, *middle, *pinky, *ring, *thumb], float)


NAMED_ANGLES = {name: _angles(*digits) for name, digits in _NAMED.items()}
_HAND = hand()


def _turn(axis, degrees):
    from scipy.spatial.transform import Rotation  # slow to import, and needed for few things

    return Rotation.from_rotvec(np.deg2rad(np.asarray(degrees))[:, None] * axis)


def _rotations(flat):
    """Local rotations of the 15 joints, a list of five lists, for angles (n, 21)."""
    digits = []
    for i, digit in enumerate(RAYS):
        ray, a = _HAND.rays[digit], flat[:, 4 * i :].T
        if digit == "thumb":
            first = _turn(ray.back, a[1]) * _turn(ray.side, a[0]) * _turn(ray.axis, -a[2])
            bends = a[3:5]
        else:
            turn = a[1] + CONVERGENCE[digit] * np.clip(a[0] / 90, 0, 1)
            first = _turn(np.array([0, 1.0, 0]), turn) * _turn(ray.side, a[0])
            bends = a[2:4]
        digits.append([first, *(_turn(ray.side, b) for b in bends)])
    return digits


def articulate(angles):
    """Joint angles (..., 21) in degrees to axis-angle vectors (..., 45) about the flat hand."""
    angles = np.asarray(angles, float)
    digits = _rotations(angles.reshape(-1, N_ANGLES))
    turns = np.stack([r.as_rotvec() for digit in digits for r in digit], 1)
    return turns.reshape(*angles.shape[:-1], 45)


POSES = {name: articulate(angles) for name, angles in NAMED_ANGLES.items()}


def _capsules(angles, per_bone=5):
    """Points along the bones of posed digits (n, 5, 3 * per_bone, 3) and their radii, mm."""
    t = (np.arange(per_bone) + 0.5) / per_bone
    points, radii = [], []
    for digit, turns in zip(RAYS, _rotations(np.atleast_2d(angles))):
        ray = _HAND.rays[digit]
        s = np.array(ray.joints)
        s[3] -= ray.profile(s[3])[0]
        joints = ray.point(s)
        at, turn, chain = joints[0][None], None, []
        for k in range(3):
            turn = turns[k] if turn is None else turn * turns[k]
            bone = turn.apply(joints[k + 1] - joints[k])[:, None]
            chain.append(at[:, None] + t[:, None] * bone)
            at = at + bone[:, 0]
        points.append(np.concatenate(chain, 1))
        along = (s[:3, None] + t * np.diff(s)[:, None]).ravel()
        radii.append(ray.profile(along)[:, :3].mean(1))
    return np.stack(points, 1), np.stack(radii)


def clearance(angles):
    """Smallest gap (n,) in mm between digits, and of digits to the palm; negative: overlap.

    angles: (n, 21). Digits are capsules; a soft fingertip that presses lightly on another reaches
    about -2 mm.
    """
    return _smallest_gaps(*_capsules(angles), _PALM)


@njit(cache=True, nogil=True, error_model="numpy")
def _smallest_gaps(points, radii, palm):
    """Of ``_capsules`` and points (P, 3) inside the palm, all pairs that count, hand by hand."""
    worst = np.full(len(points), np.inf)
    for n in range(len(points)):
        for a in range(5):
            for i in range(points.shape[2]):
                for b in range(a):
                    for k in range(points.shape[2]):
                        gap = _distance(points[n, a, i], points[n, b, k]) - radii[a, i]
                        worst[n] = min(worst[n], gap - radii[b, k])
                for point in palm if i >= _NEAR_PALM else palm[:0]:
                    gap = _distance(points[n, a, i], point) - radii[a, i]
                    worst[n] = min(worst[n], gap - _PALM_RADIUS)
    return worst


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _distance(a, b):
    x, y, z = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return np.sqrt(x * x + y * y + z * z)


def _palm_points():
    flesh = {"index": 2.0, "middle": 3.0, "pinky": 9.0, "ring": 4.0}  # mm that it lies lower
    rays = ((_HAND.rays[d], low) for d, low in flesh.items())
    return np.concatenate([r.point(np.linspace(0.1, 0.9, 6) * r.start, 0, -low) for r, low in rays])


_PALM = _palm_points()


def sample_articulations(rng, n):
    """n plausible articulations (n, 45), axis-angle about the flat pose, drawn from ``rng``."""
    return articulate(sample_angles(rng, n))


def sample_angles(rng, n):
    """n sets of joint angles (n, 21), degrees: within ``LIMITS`` and without crossing digits.

    Blends of two named poses in which some digits move on their own, with noise of all fingers
    together and of each joint; those whose digits overlap by more than a soft touch are dropped.
    """
    kept, count = [], 0
    while count < n:
        angles = _proposals(rng, 1024)
        kept.append(angles[clearance(angles) > -MAX_OVERLAP])
        count += len(kept[-1])
    return np.concatenate(kept)[:n]


def _proposals(rng, n):
    named = np.stack(list(NAMED_ANGLES.values()))
    first, second = rng.integers(len(named), size=(2, n))
    blend = rng.beta(0.4, 0.8, size=(n, 1))
    angles = (1 - blend) * named[first] + blend * named[second]
    fingers = angles[:, :16].reshape(n, 4, 4)  # a view: writing to it changes the angles
    alone = rng.uniform(size=(n, 4)) < 0.15
    fingers[alone] = _single_finger(rng, alone.sum())
    thumb = rng.uniform(size=n) < 0.2
    angles[thumb, 16:] = named[rng.integers(len(named), size=thumb.sum()), 16:]
    fingers[:, :, [0, 2]] += rng.normal(0, 7, (n, 1, 2))
    fingers += rng.normal(0, 1, fingers.shape) * [5, 3, 6, 4]
    fingers[:, :, 1] *= 1 - 0.8 * np.clip(fingers[:, :, 0] / 90, 0, 1)  # bent MCPs do not splay
    angles[:, 16:] += rng.normal(0, 5, (n, 5))
    return np.clip(angles, *LIMITS.T)


def _single_finger(rng, n):
    """A finger's four angles (n, 4): any bend, DIP following two thirds of the PIP."""
    mcp, pip = rng.uniform(-10, 88, n), 105 * rng.beta(0.8, 1.0, n)
    return np.stack([mcp, rng.normal(0, 5, n), pip, 0.67 * pip], 1)
