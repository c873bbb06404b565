"""How the hands of the generator are bent: what hands do all day more often than signs.

The poses of ``handlib.mano.articulation`` are also what the stand-in hand's pose space is made of,
so that they stay as they are; here are more, and how often they come.
"""

import numpy as np

from handlib.mano.articulation import (
    LIMITS,
    MAX_OVERLAP,
    NAMED_ANGLES,
    articulate,
    clearance,
    sample_angles,
)

_SHARE = 0.4  # of the hands are in an everyday pose, the others in any
# name -> index, middle, ring, pinky (flexion and abduction of MCP, flexion of PIP and DIP), thumb.
_MORE = {
    "wrap": ((50, 2, 58, 30), (54, 0, 60, 32), (58, -2, 62, 34), (60, -5, 62, 34),
             (18, 32, 40, 18, 25)),
    "rod": ((66, 1, 84, 48), (70, 0, 86, 50), (72, -1, 88, 50), (72, -4, 84, 46),
            (30, 26, 34, 25, 30)),
    "plate": ((34, 3, 14, 6), (36, 0, 14, 6), (36, -2, 14, 6), (34, -5, 14, 6),
              (22, 28, 34, 8, 8)),
    "wide": ((10, 14, 26, 14), (10, 3, 28, 15), (10, -7, 28, 15), (8, -16, 26, 14),
             (-5, 42, 25, 5, 15)),
    "loose": ((30, 1, 38, 20), (38, 0, 46, 24), (46, -1, 52, 28), (52, -3, 52, 28),
              (14, 10, 12, 12, 22)),
    "mouse": ((14, 4, 22, 12), (16, -2, 24, 13), (40, -2, 45, 26), (48, -6, 45, 26),
              (8, 20, 18, 12, 16)),
    "trigger": ((20, 3, 50, 28), (62, 0, 84, 48), (66, -1, 86, 50), (68, -4, 82, 46),
                (26, 12, 24, 22, 26)),
    "knife": ((38, 2, 28, 10), (76, 0, 88, 50), (80, -1, 92, 54), (80, -3, 88, 50),
              (26, 12, 30, 22, 16)),
    "cup": ((52, 4, 86, 44), (58, 0, 90, 46), (62, -2, 86, 44), (62, -6, 72, 38),
            (25, 9, 20, 19, 20)),
    "phone": ((36, 4, 42, 24), (44, 0, 46, 26), (48, -2, 48, 28), (46, -6, 52, 32),
              (0, 34, 14, 14, 20)),
    "spoon": ((62, 2, 60, 22), (70, 0, 76, 36), (76, -1, 88, 48), (78, -3, 84, 46),
              (31, 14, 41, 13, 6)),
    "scissors": ((40, 6, 54, 28), (50, 0, 62, 32), (60, -2, 68, 36), (62, -4, 72, 40),
                 (22, 22, 34, 20, 34)),
    "string": ((38, 6, 68, 46), (40, 1, 70, 48), (42, -5, 70, 48), (40, -10, 66, 46),
               (16, 28, 34, 6, 8)),
    "keys": ((16, 6, 42, 18), (18, 0, 46, 20), (16, -5, 44, 20), (10, -12, 38, 18),
             (4, 16, 10, 8, 12)),
    "purse": ((64, 3, 34, 10), (66, 1, 40, 14), (64, -4, 40, 14), (58, -9, 38, 12),
              (42, 22, 53, 8, -4)),
    "loose_fist": ((60, 0, 81, 42), (64, 0, 85, 46), (66, -1, 85, 46), (64, -3, 81, 42),
                   (22, 10, 21, 20, 31)),
    "tucked": ((50, 0, 102, 62), (52, 0, 104, 64), (54, -1, 104, 64), (54, -3, 98, 60),
               (42, 8, 22, 31, 41)),
    "cigarette": ((30, 5, 12, 6), (30, -3, 14, 8), (50, -2, 60, 34), (54, -5, 60, 34),
                  (10, 6, 8, 12, 22)),
    "cradle": ((20, 3, 24, 12), (34, 0, 34, 18), (52, -3, 52, 28), (60, -8, 60, 34),
               (8, 30, 22, 10, 12)),
    "bent_back": ((-16, 2, 0, -3), (-18, 0, 0, -3), (-18, -2, 0, -3), (-16, -5, 0, -3),
                  (-20, 5, -10, -8, -14)),
}  # fmt: skip
_SHARED = ("relaxed", "pinch", "hook", "claw", "grasp", "ball", "tripod", "key")
# (21,) angles in the order of the articulations, whose fourth finger is the ring finger.
EVERYDAY = {name: NAMED_ANGLES[name] for name in _SHARED} | {
    name: np.array([*index, *middle, *pinky, *ring, *thumb], float)
    for name, (index, middle, ring, pinky, thumb) in _MORE.items()
}


def sample_articulations(rng, n):
    """n articulations (n, 45) without crossing digits, axis-angle about the flat pose."""
    angles = sample_angles(rng, n)
    everyday = rng.random(n) < _SHARE
    angles[everyday] = _everyday(rng, everyday.sum())
    return articulate(angles)


def _everyday(rng, n):
    """n sets of angles (n, 21): near one everyday pose or on the way between two."""
    named, kept = np.stack(list(EVERYDAY.values())), np.zeros((0, 21))
    while len(kept) < n:
        first, second = rng.integers(len(named), size=(2, 64 + n))
        blend = rng.beta(0.4, 0.8, (64 + n, 1))
        angles = (1 - blend) * named[first] + blend * named[second]
        # All fingers bend further together, and each joint a little by itself.
        angles[:, [0, 4, 8, 12]] += rng.normal(0, 10, (64 + n, 1))
        angles[:, [2, 6, 10, 14]] += rng.normal(0, 10, (64 + n, 1))
        angles += rng.normal(0, 5, angles.shape) * np.tile([1.2, 0.6, 1.2, 1], 6)[:21]
        angles = angles.clip(*LIMITS.T)
        kept = np.concatenate([kept, angles[clearance(angles) > -MAX_OVERLAP]])
    return kept[:n]
