"""Checks that tell broken annotations from sound ones, each a number in plain units and a limit.

A check scores hands one by one, so that the worst can be looked at; a fault of a whole dataset
shows in how many of them are beyond the limit.
"""

from dataclasses import dataclass

import numpy as np

from handlib.anatomy import bend_angles, hand_frames
from handlib.geometry import project
from handlib.joints import BONE_M, BONES, FINGERS, N_JOINTS, TIP_VERTICES, TIPS, WRIST, convert

PICTURES = 200  # hands whose images and masks are looked at; a dataset's numbers are all checked
# How far a human joint bends, degrees towards the palm, with room for odd hands: base, middle,
# end of a finger. The thumb's bends have no sign (see ``bend_angles``).
HUMAN_BENDS = {"finger": ((-45, 110), (-25, 130), (-30, 110)), "thumb": 3 * ((0, 100),)}
BENDS = np.array([HUMAN_BENDS["thumb" if f == "thumb" else "finger"] for f in FINGERS])


@dataclass(frozen=True)
class Check:
    """One number for each of some hands."""

    name: str
    unit: str
    low: float | None  # limits: a value beyond one of them is suspicious
    high: float | None
    means: str  # what is likely wrong where many hands are beyond
    rows: np.ndarray  # (n,) of the hands, as the reader counts
    values: np.ndarray  # (n,) NaN where it cannot be told

    @property
    def excess(self):
        """(n,) how far beyond the limits, in the unit; negative within, -inf where not known."""
        above = -np.inf if self.high is None else self.values - self.high
        below = -np.inf if self.low is None else self.low - self.values
        return np.nan_to_num(np.maximum(above, below), nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    @property
    def beyond(self):
        """(n,) bool."""
        return self.excess > 0

    @property
    def limit(self):
        """The limits as text."""
        if None not in (self.low, self.high):
            return f"{self.low:g} to {self.high:g}{self._unit}"
        return f"≤ {self.high:g}{self._unit}" if self.low is None else f"≥ {self.low:g}{self._unit}"

    def text(self, n):
        """Value number ``n`` with its unit."""
        value = self.values[n]
        return (f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}") + self._unit

    @property
    def _unit(self):
        return self.unit if self.unit == "°" else f" {self.unit}"

    def told(self, n):
        """Whether value number ``n`` is more than nothing beside the limit."""
        limit = max(abs(limit) for limit in (self.low, self.high) if limit is not None)
        return abs(self.values[n]) > 0.05 * limit  # NaN is not


def check_annotations(reader, hand, pictures=PICTURES):
    """All checks that the annotations of a reader's split allow.

    Args:
        reader: ``SplitReader``; left hands are looked at in the mirror.
        hand: HandModel of the right hand that the vertices belong to.
        pictures: how many samples to read, spread evenly over the split.

    Returns:
        list of ``Check``; empty where there are no 3D joints.
    """
    joints, K, rows = reader.annotation("xyz"), reader.annotation("K"), reader.annotated
    if joints is None or not len(joints):
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        checks = _check_joints(joints, rows)
        some = np.unique(np.linspace(0, len(rows) - 1, min(pictures, len(rows))).astype(int))
        samples = ((n, reader[int(rows[n])]) for n in some)
        seen = [_look(sample, n, joints, K, hand) for n, sample in samples]
    for (name, *about), values in zip(_SEEN, np.transpose(seen), strict=True):
        if not np.isnan(values).all():
            checks.append(Check(name, *about, rows[some], values))
    return checks


def suspects(checks, n=10):
    """The samples most worth a look: the worst of each check, then the second worst of each.

    Those beyond a limit come first; then those nearest to one.

    Returns:
        list of at most n (row, reason), each row once.
    """
    ranked = [(check, np.argsort(-check.excess, kind="stable")[:n]) for check in checks]
    turns = [(check, order[k]) for k in range(n) for check, order in ranked if k < len(order)]
    chosen = {}
    for beyond in (True, False):
        for check, place in turns:
            mark = "! " if beyond else ""
            if check.beyond[place] == beyond and check.told(place) and len(chosen) < n:
                chosen.setdefault(int(check.rows[place]), f"{mark}{check.name} {check.text(place)}")
    return list(chosen.items())


def summary(checks):
    """dict of check -> dict of worst value, limit, how many hands are beyond it, what that means:
    for ``results_table``."""
    return {
        check.name: {
            "worst": check.text(np.argmax(check.excess)),
            "limit": check.limit,
            "beyond": f"{check.beyond.sum()} of {len(check.rows)}",
            "many beyond it mean": check.means,
        }
        for check in checks
    }


# -- by the joints alone ---------------------------------------------------------------------
def _check_joints(joints, rows):
    """Checks of joints (N, 21, 3) metres, camera frame, right hands."""
    lost = ~(np.isfinite(joints).all(-1) & (joints[..., 2] > 0))
    bones = bone_lengths(joints)
    size = np.median(bones, -1)
    shares = bones / size[:, None]
    usual = shares / np.nanmedian(shares, 0)
    told = [
        ("lost joints", f"of {N_JOINTS}", None, 0,
         "numbers that are missing, or behind the camera", lost.sum(-1)),
        ("same joints as", "others", None, 0,
         "labels copied from one sample to the next", copies(joints)),
        ("median bone", "mm", 1000 * BONE_M[0], 1000 * BONE_M[1],
         "another unit: 1000 times too long are millimetres", 1000 * size),
        ("bone ratio", "×", None, 2,
         "joints misplaced: one bone against the same of the others",
         np.maximum(usual, 1 / usual).max(-1)),
        ("bends too far", "°", None, 15,
         "joints in another order, or left hands taken for right", bends_beyond_human(joints)),
        ("palm's height", "mm", -10, None,
         "left hands taken for right: fingers and thumb behind the palm", palm_heights(joints)),
    ]  # fmt: skip
    return [Check(*about, rows, values.astype(float)) for *about, values in told]


def bone_lengths(joints):
    """(N, 20) of joints (N, 21, 3), in their unit."""
    parents, children = np.transpose(BONES)
    return np.linalg.norm(joints[:, children] - joints[:, parents], axis=-1)


def copies(joints):
    """How many other hands have exactly the same joints (N, 21, 3), for each hand."""
    flat = np.nan_to_num(joints.reshape(len(joints), -1))
    _, which, counts = np.unique(flat, axis=0, return_inverse=True, return_counts=True)
    return counts[which.reshape(-1)] - 1


def bends_beyond_human(joints):
    """By how many degrees (N,) the worst joint of a right hand bends farther than a human's can."""
    bends = np.degrees(bend_angles(joints)).reshape(len(joints), *BENDS.shape[:2])
    return np.maximum(BENDS[..., 0] - bends, bends - BENDS[..., 1]).clip(0).max((1, 2))


def palm_heights(joints):
    """How far, in mm (N,), the thumb and the fingertips of right hands rise from the palm's plane.

    Their mean; negative for left hands, which look like right ones bent backwards. The thumb tells
    a flat hand's side.
    """
    out = hand_frames(joints)[:, 2]
    points = joints[:, [TIPS[0] - 2, TIPS[0] - 1, *TIPS]] - joints[:, [WRIST]]
    return 1000 * np.einsum("njc,nc->nj", points, out).mean(1)


# -- by the image, the mask and the mesh -----------------------------------------------------
_SEEN = (
    ("off the mesh", "mm", None, 10,
     "joints in another order than the mesh has, or another hand model than the dataset's"),
    ("off the image", f"of {N_JOINTS}", None, 5, "K of another image size, or of another crop"),
    ("off the mask", "%", None, 40,
     "a camera or labels of another image: this share of the hand is projected beside it"),
    ("neighbour fits", "%", None, 25,
     "labels shifted by one sample: more of the next or last one's joints lie in this mask"),
)  # fmt: skip


def _look(sample, n, joints, K, hand):
    """Values of ``_SEEN`` for sample number n of those that ``joints`` and ``K`` list."""
    values = np.full(len(_SEEN), np.nan)
    own = sample.joints_2d
    if sample.has("vertices"):
        values[0] = off_mesh(sample.joints, sample.vertices, hand)
    values[1] = outside(own, np.ones(sample.image.shape[:2], bool)).sum()
    if sample.mask is not None and sample.mask.any():
        points = project(sample.vertices, sample.K) if sample.has("vertices") else own
        values[2] = 100 * outside(points, sample.mask).mean()
        mask = sample.mask
        if sample.is_left:  # the neighbours' are as the network sees them
            mask, own = mask[:, ::-1], own * (-1, 1) + (mask.shape[1] - 1, 0)
        others = [m for m in (n - 1, n + 1) if 0 <= m < len(joints)]
        shares = [outside(project(joints[m], K[m]), mask).mean() for m in others]
        values[3] = 100 * (outside(own, mask).mean() - min(shares, default=1))
    return values


def off_mesh(joints, vertices, hand):
    """Largest distance, in mm, between joints (21, 3) and those of their mesh (778, 3), metres."""
    regressed = np.concatenate(
        [hand.J_regressor @ vertices, vertices[list(TIP_VERTICES["freihand"])]]
    )
    return 1000 * np.linalg.norm(joints - convert(regressed, "mano"), axis=-1).max()


def outside(points, mask):
    """(N,) bool: which of the points (N, 2) px are not on the mask (H, W)."""
    height, width = mask.shape
    u, v = np.nan_to_num(points, nan=-1, posinf=-1, neginf=-1).round().T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    out = ~inside
    out[inside] = ~mask[v[inside].astype(int), u[inside].astype(int)]
    return out
