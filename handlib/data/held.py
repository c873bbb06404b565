"""Where a thing lies in a posed hand: between two fingertips, or against palm and fingers.

Nothing here knows how a pose came about: a grip is read off the joints, and the thing is made as
large as the mesh leaves room.
"""

from typing import NamedTuple

import numpy as np

from handlib.compiled import njit
from handlib.data.things import KINDS, PEN, SMALL, random_thing, with_head, with_ring

_FLESH = 0.0015  # metres that a fingertip gives way
_PAD = 0.017  # distance of two fingertip vertices whose pads touch
_PINCH = 0.05  # and from here on nothing is held between them
_GRIP = 0.025  # around the two tips flesh and thing may meet
_LEAST = 0.45  # a thing that fits only at a smaller share of its size is another thing
_REACH = np.linspace(0.004, 0.075, 25)  # how far from the palm's bones the middle may lie
_FLAT = 0.87  # straightness of a hand on which things lie, rather than in it
_TRIES = 4


class Held(NamedTuple):
    """A thing in place. Camera frame, metres."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    rest: np.ndarray  # (V, 3) in the thing's own frame, where textures are looked up
    balls: np.ndarray  # (N, 4) centres and radii that stand for it where it hides light


def hold(rng, vertices, joints, back):
    """A random thing in a hand, or None: a grip is likelier to hold something than a flat hand.

    Args:
        rng: ``numpy.random.Generator``.
        vertices: (V, 3) of the hand and its arm, metres.
        joints: (21, 3).
        back: (3,) unit direction of the hand's back.

    Returns:
        ``Held`` or None.
    """
    curl = straightness(joints)
    pinches = np.linalg.norm(joints[4] - joints[8]) < _PINCH
    if rng.random() > (0.45 if pinches or 0.4 < curl < _FLAT else 0.22):
        return None
    for _ in range(_TRIES):
        held = None
        if pinches and rng.random() < 0.6:
            held = _between_fingertips(rng, vertices, joints, back)
        held = held or _in_the_palm(rng, vertices, joints, back, curl)
        if held is not None:
            return held
    return None


def straightness(joints):
    """Mean over the four fingers of the distance knuckle to tip over the bones' length: 0.3-1."""
    chains = joints[5:].reshape(4, 4, 3)
    bones = np.linalg.norm(np.diff(chains, axis=1), axis=-1).sum(1)
    return float((np.linalg.norm(chains[:, 3] - chains[:, 0], axis=-1) / bones).mean())


def _in_the_palm(rng, vertices, joints, back, curl):
    """Something across the palm, as near to it and as thick as the fingers leave room."""
    thin = rng.random() < (0.5 if curl < 0.55 else 0.2)
    name = "rod" if thin else list(KINDS)[rng.integers(len(KINDS))]
    thing = random_thing(rng, KINDS[name])
    across = _unit(joints[5] - joints[17])
    middle = 0.75 * joints[[5, 9, 13, 17]].mean(0) + 0.25 * joints[0]
    if curl > _FLAT:  # on a flat hand, anywhere and any way round
        middle = middle + rng.normal(0, 0.02, 3)
        across = _unit(across + rng.normal(0, 0.8, 3))
    axis = _unit(across + rng.normal(0, 0.15, 3))
    frame = _frame(-back, axis)
    middle = middle + axis * rng.normal(0, 0.3) * min(thing.half[2], 0.08)
    local = (vertices - middle) @ frame.T
    reach = _REACH
    if curl < _FLAT:  # not on the far side of the bent fingers
        reach = reach * min(((joints[5:] - middle) @ frame[0]).max() / reach[-1], 1)
    fits = _rooms(local, thing, reach) + _FLESH / thing.half[0]
    if fits.max() < _LEAST:
        return None
    place = int(np.argmax(fits >= 1)) if fits.max() >= 1 else int(np.argmax(fits))
    size = np.full(3, min(fits[place], 1.0))
    if not thing.is_round:
        size[2] = 1
    thing = thing._replace(vertices=thing.vertices * size, half=thing.half * size)
    if name == "rod" and rng.random() < 0.6:
        change = with_head if rng.random() < 0.6 else with_ring
        thing = change(rng, thing)
    return _put(thing, frame, middle + reach[place] * frame[0])


def _rooms(local, thing, reach=(0.0,)):
    """How many times wider the thing may be before a point lies inside it.

    Args:
        local: (V, 3) in the thing's frame. reach: (T,) places of its middle along x.

    Returns:
        (T,); infinite where there is no point beside it.
    """
    out = np.empty(len(reach))
    exponent = 2 / max(thing.power, 0.1)
    _widest(local, np.asarray(reach), 1 / thing.half, exponent, thing.is_round, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _widest(local, reach, inverse, exponent, is_round, out):
    for t in range(len(reach)):
        least = np.inf
        for v in range(len(local)):
            x = abs(local[v, 0] - reach[t]) * inverse[0]
            y = abs(local[v, 1]) * inverse[1]
            z = abs(local[v, 2]) * inverse[2]
            if is_round:
                least = min(least, np.sqrt(x * x + y * y + z * z))
            elif z < 1 and max(x, y) < least:
                least = min(least, (x**exponent + y**exponent) ** (1 / exponent))
        out[t] = least


def _between_fingertips(rng, vertices, joints, back):
    """Something small between thumb and index finger, or a pen that leans on the hand."""
    gap = joints[8] - joints[4]
    tips = (joints[4] + joints[8]) / 2
    if rng.random() < 0.4:
        thing = random_thing(rng, PEN)
        rest = (joints[2] + joints[5]) / 2 + 0.015 * back
        frame = _frame(gap, _unit(rest - tips) + rng.normal(0, 0.2, 3))
        middle = tips + frame[2] * rng.uniform(0.2, 0.7) * thing.half[2]
    else:
        thing = random_thing(rng, list(SMALL.values())[rng.integers(len(SMALL))])
        thickness = max((np.linalg.norm(gap) - _PAD) / 2, 0.0006)
        size = np.array([thickness / thing.half[0], 1, 1])
        thing = thing._replace(vertices=thing.vertices * size, half=thing.half * size)
        frame = _frame(gap, tips - joints[9] + rng.normal(0, 0.04, 3), keep=0)
        middle = tips + frame[2] * thing.half[2] * rng.uniform(0.1, 0.9)
    others = vertices[np.linalg.norm(vertices - tips, axis=1) > _GRIP]
    if _rooms((others - middle) @ frame.T, thing)[0] < 0.8:
        return None
    return _put(thing, frame, middle)


def _put(thing, frame, middle):
    vertices = middle + thing.vertices @ frame
    along = np.array([-0.6, 0, 0.6])[:, None] * thing.half[2] * frame[2]
    radius = min(thing.half[0], thing.half[1])
    balls = np.column_stack([middle + along, np.full(3, radius)])
    return Held(vertices, thing.faces, thing.vertices, balls)


def _frame(x, z, keep=2):
    """Rows: unit axes of a right-handed frame; the one numbered ``keep`` is exactly as given."""
    x, z = _unit(x), _unit(z)
    if keep == 2:
        x = _unit(x - (x @ z) * z)
    else:
        z = _unit(z - (z @ x) * x)
    return np.stack([x, np.cross(z, x), z])


def _unit(v):
    return v / max(np.linalg.norm(v), 1e-9)
