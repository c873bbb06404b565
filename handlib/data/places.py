"""Made-up places and people behind a hand: outdoors, rooms, tables, clothes, faces, dark stages.

Nothing is drawn in detail. What counts is what photos have and random shapes do not: a horizon,
perspective, wood, leaves, cloth, rows of things, a person around the hand.
"""

import cv2
import numpy as np

from handlib.data.abstract import scatter
from handlib.data.bodies import head
from handlib.data.paint import mix, noise, random_color, random_tone


def place(rng, size):
    """A picture (size, size, 3) float32, 0-255, of a random kind of place."""
    shares = np.array(list(KINDS.values()))
    kind = list(KINDS)[rng.choice(len(KINDS), p=shares / shares.sum())]
    picture = kind(rng, size)
    return scatter(rng, picture, 1) if rng.random() < 0.25 else picture


def _fill(size, color):
    return np.full((size, size, 3), color, np.float32)


def _near(rng, color, amount=12):
    return np.asarray(color, float) + rng.normal(0, amount, 3) + rng.normal(0, amount)


def _polygon(picture, corners, color):
    cv2.fillPoly(picture, [np.round(corners).astype(np.int32)], np.asarray(color, float).tolist())


def _box(picture, x, y, w, h, color):
    _polygon(picture, np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]), color)


def _grain(rng, size, cells, stretch, amount):
    """Noise drawn out along x, (size, size, 1), as in wood, cloth and water."""
    tall = noise(rng, size, cells, octaves=2)[: max(4, size // stretch)]
    return amount * cv2.resize(tall.T, (size, size))[..., None].swapaxes(0, 1)


# -- outdoors --------------------------------------------------------------------------------
_SKIES = ((200, 215, 235), (120, 165, 220), (190, 190, 195), (235, 190, 150), (70, 80, 110))
_LANDS = ((70, 100, 50), (110, 120, 70), (120, 95, 70), (90, 90, 95), (170, 150, 120), (60, 70, 60))


def _outdoors(rng, size):
    """Sky, clouds, ridges one before the other, a textured ground, a few upright things."""
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None].repeat(size, 1)
    sky = _near(rng, _SKIES[rng.integers(len(_SKIES))])
    picture = mix(ramp, sky * rng.uniform(0.7, 1), sky * 0.3 + 170)
    clouds = (2 * noise(rng, size, 3, octaves=4) - rng.uniform(-0.5, 1)).clip(0, 1)
    picture = mix(clouds * np.float32(0.8), picture, (240, 240, 240))
    horizon = rng.uniform(0.1, 0.8)
    land = _near(rng, _LANDS[rng.integers(len(_LANDS))])
    rough = (rng.uniform(10, 45) * noise(rng, size, 12, octaves=4))[..., None]
    for k in range(rng.integers(1, 4)):
        height = _crest(rng, size)
        ridge = size * (horizon + 0.12 * k + rng.uniform(0.03, 0.2) * height)
        below = np.arange(size)[:, None] > ridge
        color = np.float32(_near(rng, land, 15) * rng.uniform(0.5, 1.2))
        picture = np.where(below[..., None], color + rough[:: 1 - 2 * (k % 2)], picture)
    if rng.random() < 0.5:
        _leaf_dabs(rng, picture, land, int(rng.integers(100, 500)), top=horizon)
    for _ in range(rng.integers(0, 6)):  # posts, trunks, houses
        w, h = rng.uniform(0.01, 0.15) * size, rng.uniform(0.1, 0.6) * size
        x, y = rng.uniform(0, size), size * (horizon + rng.uniform(-0.2, 0.4))
        _box(picture, x, y - h / 2, w, h, random_color(rng) * 0.7)
    return picture


def _crest(rng, size):
    """Heights (size,) of a ridge: a line bent at all scales."""
    steps = 2 ** np.arange(int(rng.integers(1, 4)), 8)
    x = np.linspace(0, 1, size)
    lines = (np.interp(x, np.linspace(0, 1, n + 1), rng.uniform(-1, 1, n + 1)) for n in steps)
    return sum(line * 0.55**k for k, line in enumerate(lines))


def _leaf_dabs(rng, picture, color, count, top=0.0):
    size = len(picture)
    shades = (np.asarray(color) * np.exp(rng.normal(0, 0.4, (count, 1)))).tolist()
    centers = (rng.uniform([0, top], 1, (count, 2)) * size).astype(int).tolist()
    axes = (rng.uniform(0.004, 0.03, (count, 2)) * size).astype(int).tolist()
    for center, axis, shade, turn in zip(centers, axes, shades, rng.uniform(0, 180, count)):
        cv2.ellipse(picture, center, axis, turn, 0, 360, shade, -1)


def _leaves(rng, size):
    """Foliage or gravel: dabs of one colour over its own shade."""
    color = _near(rng, ((70, 110, 40), (100, 120, 60), (130, 120, 110))[rng.integers(3)])
    picture = _fill(size, color * 0.4) + (20 * noise(rng, size, 6, octaves=3))[..., None]
    _leaf_dabs(rng, picture, color, int(rng.integers(300, 900)))
    return picture


# -- indoors ---------------------------------------------------------------------------------
def _wood(rng, size):
    color = _near(rng, ((150, 105, 65), (190, 150, 105), (95, 65, 45), (200, 180, 150))[
        rng.integers(4)])  # fmt: skip
    picture = _fill(size, color) + _grain(rng, size, int(rng.integers(6, 20)), 12, 25)
    if rng.random() < 0.6:  # boards
        width = rng.uniform(0.08, 0.4) * size
        for y in np.arange(rng.uniform(0, width), size, width):
            cv2.line(picture, (0, int(y)), (size, int(y)), (color * 0.6).tolist(), 1)
    return picture


def _tiles(rng, size):
    step = rng.uniform(0.06, 0.3) * size
    y, x = (np.mgrid[:size, :size] / step).astype(np.float32)
    a = np.asarray(random_color(rng), np.float32) * 0.5 + 90
    odd = ((np.floor(x) + np.floor(y)) % 2)[..., None]
    joint = (np.minimum(x % 1, y % 1) < 0.06)[..., None]
    return a * (1 - 0.35 * odd * (rng.random() < 0.5)) * (1 - 0.4 * joint)


def _plain(rng, size):
    color = _near(rng, rng.uniform(60, 230)) if rng.random() < 0.6 else random_color(rng)
    return _fill(size, color) + (8 * noise(rng, size, 3, octaves=3))[..., None]


def _laid(rng, size, texture, horizon):
    """A texture on a floor or table that recedes from the lower edge to a horizon, px."""
    corners = np.float32([[0, 0], [size, 0], [size, size], [0, size]])
    wide, shift = rng.uniform(1.2, 4) * size, rng.uniform(-0.5, 0.5) * size
    near = size / 2 + shift + np.array([wide, -wide])
    far = np.float32([[0, horizon], [size, horizon], [near[0], size * 1.2], [near[1], size * 1.2]])
    return cv2.warpPerspective(
        texture, cv2.getPerspectiveTransform(corners, far), (size, size),
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip


def _furnish(rng, picture, count, low, high):
    """Upright boxes with shaded sides, frames and windows between two heights, shares."""
    size = len(picture)
    for _ in range(count):
        x, y = rng.uniform(-0.1, 1) * size, rng.uniform(low, high) * size
        w, h = rng.uniform(0.05, 0.4, 2) * size
        color = random_color(rng) * 0.6 + 30
        _box(picture, x, y - h, w, h, color * 0.7)
        inner = rng.uniform(0.02, 0.1) * w
        inside = color if rng.random() < 0.6 else np.full(3, rng.choice([25.0, 245.0]))
        _box(picture, x + inner, y - h + inner, w - 2 * inner, h - 2 * inner, inside)


def _room(rng, size):
    """A wall with things on it, and a floor."""
    picture = (_plain if rng.random() < 0.8 else _tiles)(rng, size)
    horizon = rng.uniform(0.3, 0.95) * size
    _furnish(rng, picture, rng.integers(0, 6), 0.2, 0.8)
    floor = _laid(rng, size, (_wood, _tiles, _plain)[rng.integers(3)](rng, size), int(horizon))
    slope = rng.uniform(-0.2, 0.2)
    below = np.arange(size)[:, None] > horizon + slope * (np.arange(size) - size / 2)
    picture = np.where(below[..., None], floor, picture).astype(np.float32)
    _furnish(rng, picture, rng.integers(0, 4), 0.6, 1.2)
    return picture


def _table(rng, size):
    """A table top seen from above or aslant, with paper, plates, keys and boxes on it."""
    picture = (_wood, _plain, _tiles)[rng.choice(3, p=(0.5, 0.35, 0.15))](rng, size)
    for _ in range(rng.integers(1, 6)):
        x, y, w, h = rng.uniform([0, 0, 0.1, 0.1], [0.9, 0.9, 0.6, 0.6]) * size
        kind = rng.random()
        if kind < 0.4:
            _box(picture, x, y, w, h, np.full(3, rng.uniform(170, 250)))
            _marks(rng, picture, x, y, w, h)
        elif kind < 0.6:
            shade = random_color(rng) * 0.5 + 110
            for share in (1, 0.92, 0.6):
                axes = (max(1, int(w * share / 2)), max(1, int(h * share / 2)))
                cv2.ellipse(picture, (int(x), int(y)), axes, 0, 0, 360, shade.tolist(), -1)
                shade = shade * rng.uniform(0.85, 1.05)
        else:
            _box(picture, x + 3, y + 4, w, h, picture.mean((0, 1)) * 0.5)
            _box(picture, x, y, w, h, random_color(rng))
            if rng.random() < 0.5:
                _keys(rng, picture, x, y, w, h)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(0, 360), rng.uniform(1, 1.5))
    picture = cv2.warpAffine(picture, turn, (size, size), borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.5:
        picture = _laid(rng, size, picture, int(rng.uniform(-0.5, 0.1) * size))
    return picture


def _marks(rng, picture, x, y, w, h):
    """Lines of writing."""
    pitch = max(3, rng.uniform(0.015, 0.06) * len(picture))
    ink = (random_color(rng) * 0.4).tolist()
    for row in np.arange(y + pitch, y + h - pitch, pitch):
        stops = x + w * np.sort(rng.uniform(0.05, 0.95, 2 * rng.integers(2, 9))).reshape(-1, 2)
        for a, b in stops:
            cv2.line(picture, (int(a), int(row)), (int(b), int(row)), ink, max(1, int(pitch / 3)))


def _keys(rng, picture, x, y, w, h):
    step, color = max(4, w / rng.integers(3, 14)), random_color(rng)
    for row in np.arange(y + 2, y + h - step, step):
        for column in np.arange(x + 2, x + w - step, step):
            _box(picture, column, row, 0.8 * step, 0.75 * step, color)


def _shelf(rng, size):
    """Rows of upright coloured things."""
    picture = _plain(rng, size) * np.float32(0.5)
    pitch = rng.uniform(0.15, 0.5) * size
    for bottom in np.arange(rng.uniform(0.3, 1) * pitch, size + pitch, pitch):
        x = 0.0
        while x < size:
            w, h = rng.uniform(0.01, 0.08) * size, pitch * rng.uniform(0.5, 0.9)
            color = random_color(rng)
            _box(picture, x, bottom - h, w, h, color)
            band = bottom - h * rng.uniform(0.2, 0.9)
            _box(picture, x, band, w, 0.1 * h, color * rng.uniform(0.5, 1.4))
            x += w + (rng.random() < 0.15) * rng.uniform(0, 0.1) * size
        _box(picture, 0, bottom, size, 0.06 * pitch, random_color(rng) * 0.5)
    return picture


# -- people ----------------------------------------------------------------------------------
def _cloth(rng, size):
    """Fabric: plain, plaid, striped, with folds."""
    base = random_color(rng)
    picture = _fill(size, base)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    if rng.random() < 0.6:
        angle = rng.uniform(0, np.pi)
        bend = (noise(rng, size, 2) * np.float32(rng.uniform(0, 0.05) * size)).astype(np.float32)
        across = (
            x * np.cos(angle) + y * np.sin(angle) + bend,
            y * np.cos(angle) - x * np.sin(angle),
        )
        for line in across[: rng.integers(1, 3)]:
            for _ in range(rng.integers(1, 3)):
                period = rng.uniform(0.02, 0.25) * size
                phase = (line / period + rng.random()) % 1
                band = (phase < rng.uniform(0.1, 0.5)) * np.float32(rng.uniform(0.3, 1))
                picture = mix(band, picture, random_color(rng))
    folds = 1 + np.float32(rng.uniform(0.1, 0.45)) * noise(rng, size, int(rng.integers(2, 6)), 2)
    weave = _grain(rng, size, 30, 1, rng.uniform(0, 12))
    return (picture * folds[..., None] + weave).astype(np.float32)


def _person(rng, size):
    """Somebody behind the hand: shirt, neck, head with hair, arms; often nothing but a part."""
    kinds = (_room, _plain, _outdoors)
    picture = kinds[rng.choice(3, p=(0.4, 0.4, 0.2))](rng, size)
    tone = random_tone(rng)
    shirt, unit = _cloth(rng, size), rng.uniform(0.1, 0.4) * size  # half a head
    x, y = rng.uniform(0.1, 0.9) * size, rng.uniform(-0.3, 0.7) * size
    body = np.zeros((size, size), np.float32)
    shoulders = np.array([[-0.5, 1.2], [-2.1, 1.9], [-2.6, 9], [2.6, 9], [2.1, 1.9], [0.5, 1.2]])
    _polygon(body, (shoulders * unit + [x, y]), np.ones(3))
    body = cv2.GaussianBlur(body, (0, 0), 0.04 * unit + 0.5)
    picture = mix(body, picture, shirt)
    picture = head(rng, picture, (x, y), 1.1 * unit, tone)
    for side in (-1, 1):  # arms, bare or in the shirt's colour
        points = np.array([[2.2, 2.3], [2.6, 4.5], rng.uniform([-1, 2], [3, 6])]) * [side, 1] * unit
        points = (points + [x, y]).astype(int)
        color = tone if rng.random() < 0.5 else shirt.mean((0, 1)) * 0.9
        for k, shade in enumerate((0.7, 0.9, 1.02)):
            cv2.polylines(picture, [points.astype(np.int32)], False, (color * shade).tolist(),
                          max(1, int(unit * (0.9 - 0.25 * k))))  # fmt: skip
    return picture


def _stage(rng, size):
    """Almost black, with lamps."""
    picture = _fill(size, rng.uniform(0, 30)) + (6 * noise(rng, size, 4, octaves=3))[..., None]
    color = _near(rng, rng.uniform(180, 255))
    for x, y in rng.uniform(0, size, (rng.integers(0, 30), 2)).astype(int).tolist():
        cv2.circle(picture, (x, y), int(rng.uniform(0.004, 0.02) * size) + 1, color.tolist(), -1)
    glow = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 8))
    return picture + glow


def _screen(rng, size):
    """A green or blue screen with folds and a dark edge of the studio."""
    hue = ((50, 140, 60), (70, 170, 90), (40, 80, 180), (90, 120, 60))[rng.integers(4)]
    light = 1 + np.float32(0.3) * noise(rng, size, 2) + np.float32(0.05) * noise(rng, size, 5, 3)
    picture = _fill(size, _near(rng, hue)) * light[..., None]
    for _ in range(rng.integers(0, 3)):
        a, b = rng.uniform(-0.3, 1.3, (2, 2)) * size
        out = np.array([a, b, b + rng.normal(0, size, 2), a + rng.normal(0, size, 2)])
        _polygon(picture, out, _near(rng, rng.choice([20.0, 60.0, 190.0])))
    _furnish(rng, picture, rng.integers(0, 3), 0.1, 1)
    return picture


# How often each kind of place is drawn.
KINDS = {
    _outdoors: 3, _leaves: 1.5, _room: 3, _table: 2, _cloth: 2, _person: 3, _stage: 1, _shelf: 1.5,
    _screen: 1,
}  # fmt: skip
