"""Proportions of the stand-in hand: where its joints are and how thick it is where.

Millimetres here; the file that is built from it is in metres. Frame of MANO: a flat right hand,
fingers towards -x, thumb towards +z, palm towards -y.

Bone lengths, and soft tissue beyond the last bone: means of Buryanov & Kotiuk 2010, "Proportions of
Hand Segments", Int. J. Morphol. 28(3), 755-758. The palm is set so that the hand has the length
(187 mm) and breadth at the knuckles (85 mm) that are the means of both sexes in Greiner 1991, "Hand
Anthropometry of U.S. Army Personnel", NATICK/TR-92/011 (women 181 and 80 mm, men 194 and 90 mm).
Other breadths and all depths are approximate, shaped until the hand looked like one.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator

RAYS = ("index", "middle", "pinky", "ring", "thumb")  # MANO's order of the digits
PHALANGES = {  # proximal, middle, distal bone, soft tissue at the tip
    "index": (39.8, 22.4, 15.8, 3.8),
    "middle": (44.6, 26.3, 17.4, 4.0),
    "ring": (41.4, 25.7, 17.3, 4.0),
    "pinky": (32.7, 18.1, 16.0, 3.7),
    "thumb": (46.2, 31.6, 21.7, 5.7),  # metacarpal, proximal, distal
}
WRIST = np.array([96.0, 6.0, 6.0])
MCP = {
    "index": (7.0, 4.0, 27.0),
    "middle": (1.0, 6.5, 4.5),
    "ring": (9.0, 4.5, -16.5),
    "pinky": (22.5, -0.5, -35.0),
}
THUMB_CMC = (75.0, -5.0, 27.0)
CARPAL_END = {"index": 18.0, "middle": 6.0, "ring": -5.0, "pinky": -15.0}  # z of metacarpal bases
SPLAY = {"index": 4.0, "middle": -1.0, "ring": -6.0, "pinky": -12.0}  # degrees towards the thumb
ROLL = {"index": 4.0, "middle": 0.0, "ring": -5.0, "pinky": -12.0, "thumb": 55.0}  # about the axis
WEBS = (  # neighbours, and how far along their proximal phalanges the web reaches
    ("index", "middle", (0.38, 0.36)),
    ("middle", "ring", (0.36, 0.36)),
    ("ring", "pinky", (0.12, 0.42)),
)
RADIUS = {"index": 9.2, "middle": 9.5, "ring": 9.0, "pinky": 8.0, "thumb": 10.8}


@dataclass(frozen=True)
class Traits:
    """Relative deviations from the mean hand that change its proportions."""

    finger_length: float = 0.0
    palm_width: float = 0.0
    thumb_length: float = 0.0
    palm_length: float = 0.0
    finger_thickness: float = 0.0
    taper: float = 0.0  # of the fingertips against the fingers' bases
    ulnar_length: float = 0.0  # of ring and little finger
    fleshiness: float = 0.0  # of the eminences against the knuckles


# The ten shape directions: a trait, or a stretch of the whole hand, and one standard deviation of
# it. The order of size is that of adults (in Greiner 1991 hand length varies by 5 % within a sex
# and 6 % in all, breadth by 5 and 8 %); how it is shared out among the ten is a choice.
STRETCHES = {"size": np.array([1.0, 1.0, 1.0]), "thickness": np.array([0.0, 1.0, 0.0])}
SHAPES = {
    "size": 0.05,
    "finger_length": 0.04,
    "palm_width": 0.05,
    "thickness": 0.07,
    "thumb_length": 0.06,
    "palm_length": 0.04,
    "finger_thickness": 0.06,
    "taper": 0.06,
    "ulnar_length": 0.05,
    "fleshiness": 0.12,
}


@dataclass(frozen=True)
class Ray:
    """A tube of varying, flattened cross-section about a gently bent line.

    ``s`` runs along ``axis`` from ``origin``; ``side`` is towards the thumb, ``back`` dorsal.
    ``profile(s)`` gives half width, dorsal height, palmar depth, side offset, back offset.
    """

    origin: np.ndarray
    axis: np.ndarray
    back: np.ndarray
    start: float
    end: float
    caps: tuple  # length of the rounded start and end
    profile: PchipInterpolator
    joints: tuple  # s of the joints and of the tip
    digit: str = ""

    @cached_property
    def frame(self):
        """Rows: axis, side (towards the thumb), back."""
        return np.stack([self.axis, np.cross(self.back, self.axis), self.back])

    @property
    def side(self):
        return self.frame[1]

    def point(self, s, side=0.0, back=0.0):
        """World position(s) (..., 3) of ray coordinates; offsets from the tube's own centre."""
        centre = self.profile(np.clip(s, self.start, self.end))
        u, w = centre[..., 3] + side, centre[..., 4] + back
        s, u, w = np.broadcast_arrays(s, u, w)
        return self.origin + np.stack([s, u, w], -1) @ self.frame

    def distance(self, points):
        """Approximate signed distance (N,) to the tube, and ``s`` (N,) of each point."""
        local = (points - self.origin) @ self.frame.T
        s = local[:, 0]
        low, high = self.start + self.caps[0], self.end - self.caps[1]
        width, dorsal, palmar, u0, w0 = self.profile(np.clip(s, low, high)).T
        u, w = local[:, 1] - u0, local[:, 2] - w0
        height = np.where(w > 0, dorsal, palmar)
        beyond = np.maximum(s - high, 0) / self.caps[1] + np.maximum(low - s, 0) / self.caps[0]
        rho = np.sqrt((u / width) ** 2 + (w / height) ** 2 + beyond**2 + 1e-9)
        grow = np.sqrt((u / width**2) ** 2 + (w / height**2) ** 2 + 1e-9) / rho
        radius = 1 / np.maximum(grow, 0.5 / np.maximum(width, height))
        return (rho - 1) * np.where(beyond > 0, np.minimum(width, height), radius), s


@dataclass(frozen=True)
class Hand:
    """Everything the surface needs, in millimetres."""

    joints: np.ndarray  # (16, 3) in MANO's order
    rays: dict  # digit -> Ray
    carpus: Ray
    blobs: tuple  # (centre, axes (3, 3) rows, radii (3,)) ellipsoids of flesh
    webs: tuple  # (start, end, radius at start, radius at end)


def _unit(v):
    v = np.asarray(v, float)
    return v / np.linalg.norm(v)


def _placed(point, traits):
    """A point of the palm where this hand's palm has it."""
    stretch = np.array([1 + traits.palm_length, 1.0, 1 + traits.palm_width])
    return WRIST + (np.array(point) - WRIST) * stretch


def _back(axis, roll):
    """Dorsal direction at right angles to ``axis``: up, rolled about the axis by degrees."""
    up, roll = _unit(np.array([0, 1.0, 0]) - axis[1] * axis), np.deg2rad(roll)
    return np.cos(roll) * up + np.sin(roll) * np.cross(up, axis)


def finger_ray(digit, traits):
    """The tube of a finger with its metacarpal."""
    longer = 1 + traits.finger_length + traits.ulnar_length * (digit in ("ring", "pinky"))
    proximal, middle, distal, pulp = (x * longer for x in PHALANGES[digit])
    pip, dip, tip = np.cumsum([proximal, middle, distal + pulp])
    mcp, base = _placed(MCP[digit], traits), _placed((70.0, 4.0, CARPAL_END[digit]), traits)
    splay = np.deg2rad(SPLAY[digit])
    axis = np.array([-np.cos(splay), 0.0, np.sin(splay)])
    back = _back(axis, ROLL[digit])
    s_base = (base - mcp) @ axis
    u_base, w_base = (base - mcp) @ np.cross(back, axis), (base - mcp) @ back
    r = RADIUS[digit] * (1 + traits.finger_thickness)
    k = 1 - 0.3 * traits.fleshiness
    t = 1 - traits.taper
    keys = np.array([
        # s, half width, dorsal, palmar, side offset, back offset
        [s_base, 1.00, 1.00, 1.15, u_base, w_base],
        [s_base * 0.45, 1.15, 0.95, 1.15, u_base * 0.45, w_base * 0.45],
        [0.0, 1.22, 1.36 * k, 1.40, 0.0, 0.0],
        [0.42 * pip, 1.07, 0.93, 1.24, 0.0, 0.0],
        [0.72 * pip, 0.97, 0.84, 1.03, 0.0, 0.0],
        [pip, 1.04, 0.95 * k, 0.86, 0.0, 0.0],
        [0.5 * pip + 0.5 * dip, 0.92, 0.78, 0.93, 0.0, 0.0],
        [dip, 0.92 * t, 0.78 * k, 0.76, 0.0, 0.0],
        [0.5 * dip + 0.5 * tip, 0.88 * t, 0.64 * t, 0.90 * t, 0.0, -0.2],
        [tip, 0.82 * t, 0.52 * t, 0.80 * t, 0.0, -0.6],
    ])  # fmt: skip
    keys[:, 1:4] *= r
    return Ray(
        mcp, axis, back, s_base, tip, (12.0, 1.05 * r),
        PchipInterpolator(keys[:, 0], keys[:, 1:]), (0.0, pip, dip, tip), digit,
    )  # fmt: skip


def thumb_ray(traits):
    """The tube of the thumb from its carpometacarpal joint; rolled so that it opposes."""
    bones = np.array(PHALANGES["thumb"]) * (1 + traits.thumb_length)
    mcp, ip, tip = np.cumsum([bones[0], bones[1], bones[2] + bones[3]])
    axis = _unit([-0.74, -0.20, 0.64])
    r = RADIUS["thumb"] * (1 + 0.7 * traits.finger_thickness)
    flesh, k = 1 + traits.fleshiness, 1 - 0.3 * traits.fleshiness
    keys = np.array([
        [-8.0, 1.10, 0.95, 1.15, 0.0, 0.0],
        [0.50 * mcp, 1.15 * flesh, 0.92, 1.40 * flesh, 0.0, 1.0],
        [mcp, 1.08, 1.05 * k, 1.08, 0.0, 2.5],
        [0.5 * (mcp + ip), 0.92, 0.82, 0.98, 0.0, 1.2],
        [ip, 1.05, 0.90 * k, 0.84, 0.0, 0.0],
        [0.5 * (ip + tip), 1.04, 0.72, 1.00, 0.0, -0.3],
        [tip, 0.86, 0.50, 0.80, 0.0, -0.8],
    ])  # fmt: skip
    keys[:, 1:4] *= r
    return Ray(
        _placed(THUMB_CMC, traits), axis, _back(axis, ROLL["thumb"]), -8.0, tip, (10.0, 1.15 * r),
        PchipInterpolator(keys[:, 0], keys[:, 1:]), (0.0, mcp, ip, tip), "thumb",
    )  # fmt: skip


def carpus_tube(traits):
    """Wrist and carpus: a flat tube along x that runs out of the wrist's end."""
    keys = np.array([
        [-40.0, 27.0, 19.0, 19.0, -2.0, -2.5],
        [-12.0, 27.5, 18.5, 19.0, -2.0, -2.5],
        [5.0, 28.5, 18.0, 19.5, -1.5, -3.5],
        [30.0, 30.0, 16.0, 18.0, -4.0, -4.0],
        [50.0, 30.0, 13.0, 15.0, -6.0, -4.0],
    ])  # fmt: skip
    keys[:, 1] *= 1 + 0.8 * traits.palm_width
    return Ray(
        WRIST, np.array([-1.0, 0, 0]), np.array([0, 1.0, 0]), -40.0, 50.0, (5.0, 25.0),
        PchipInterpolator(keys[:, 0], keys[:, 1:]), (0.0,),
    )  # fmt: skip


def _web(a, b, at_a, at_b):
    """Flesh between two fingers: from between the knuckles to the web's edge."""
    near = 0.5 * (a.point(0.0) + b.point(0.0)) - np.array([0, 5.0, 0])
    far = 0.5 * (a.point(at_a * a.joints[1]) + b.point(at_b * b.joints[1]))
    return near, far - np.array([0, 3.0, 0]), 9.0, 5.5


def _blobs(rays, traits):
    """Ellipsoids of flesh: the thumb's and the little finger's eminence, the palm's middle."""
    flesh = 1 + traits.fleshiness
    thumb, middle, pinky = rays["thumb"], rays["middle"], rays["pinky"]
    thenar = thumb.point(0.42 * thumb.joints[1], -3.0, -7.0)
    along = _unit(pinky.point(pinky.start) - pinky.origin)
    across = np.stack([along, np.cross(along, [0, 1.0, 0]), [0, 1.0, 0]])
    hypothenar = pinky.point(0.62 * pinky.start) + np.array([6.0, -7.0, -2.0])
    centre = 0.5 * (middle.origin + WRIST) + np.array([-6.0, -4.0, -5.0])
    wide = 34.0 * (1 + traits.palm_width)
    return (
        (thenar, thumb.frame, np.array([27.0, 15.0 * flesh, 13.0 * flesh])),
        (hypothenar, across, np.array([33.0, 13.0 * flesh, 13.0 * flesh])),
        (centre, np.eye(3), np.array([44.0, 11.0, wide])),
    )


def hand(traits=None):
    """All parts of the hand for the given ``Traits``."""
    traits = traits or Traits()
    rays = {d: thumb_ray(traits) if d == "thumb" else finger_ray(d, traits) for d in RAYS}
    joints = np.vstack([WRIST, *(r.point(np.array(r.joints[:3])) for r in rays.values())])
    blobs = _blobs(rays, traits)
    webs = [_web(rays[a], rays[b], *at) for a, b, at in WEBS]
    thumb, index = rays["thumb"], rays["index"]
    webs.append((thumb.point(0.66 * thumb.joints[1]), index.point(0.36 * index.start), 6.5, 8.0))
    return Hand(joints, rays, carpus_tube(traits), blobs, tuple(webs))
