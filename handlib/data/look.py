"""How a hand looks: its skin, nails and sleeve, the light on it, and how they are drawn."""

from typing import NamedTuple

import numpy as np

from handlib.data.paint import SKIN_TONES, skin_tone


class Look(NamedTuple):
    """Material, light and camera response; colours are linear RGB (3,) unless said."""

    back: np.ndarray
    palm: np.ndarray
    nail: np.ndarray
    cloth: np.ndarray
    cloth_accent: np.ndarray
    cloth_cell: float  # metres of a thread pattern
    blood: float
    mottle: float
    veins: float
    hair: float  # how dark it is, on the back of hand and arm
    creases: float
    clefts: float  # how dark it is where fingers lie against each other
    wrinkles: float
    nail_edge: float
    bump: float
    gloss: float
    nail_gloss: float
    shine: float  # exponent of the highlight
    offset: np.ndarray  # (3,) of the noise, so that no two skins are alike
    wrap: np.ndarray  # how far light of each colour reaches round into the dark
    lights: np.ndarray  # (L, 3) unit directions towards the lights, camera frame; 0 casts shadows
    light_colors: np.ndarray  # (L, 3)
    up: np.ndarray  # (3,) where the sky is
    sky: np.ndarray
    ground: np.ndarray
    shadow: float  # 0-1
    shadow_edge: float  # how soon it is dark behind what casts it, per metre
    # A shadow of something outside of the picture, where a @ p + b is above 0 for both of its edges
    # (a, b), p from the joints' middle; and the share of all light that is missing there.
    outside: np.ndarray  # (2, 4)
    outside_dark: float
    falloff: np.ndarray  # log of the light's growth, per metre
    thing: np.ndarray
    thing_accent: np.ndarray
    thing_scale: np.ndarray  # (3,) of its pattern along its own axes, per metre
    thing_bias: float  # which of the two colours it has more of
    thing_edge: float  # how sharp they meet
    thing_bump: float
    thing_gloss: float
    thing_shine: float


_LIGHTS = 3  # at most
_SHADED = 0.4  # of the pictures have a shadow of something outside of them
_SHAPES = {"lights": (_LIGHTS, 3), "light_colors": (_LIGHTS, 3), "outside": (2, 4)}
_RECORD = np.dtype(
    [
        (name, np.float32, _SHAPES.get(name, () if kind is float else (3,)))
        for name, kind in Look.__annotations__.items()
    ]
    + [("count", np.int64)]
)


def as_record(look):
    """A ``Look`` as one record in single precision, with the ``count`` of its lights.

    Compiled functions hand a record on by its address, a tuple field by field.
    """
    record = np.zeros((), _RECORD)
    for name, value in zip(Look._fields, look):
        place = record[name][: len(value)] if name in _SHAPES else record[name]
        place[...] = value
    record["count"] = len(look.lights)
    return record[()]


def _linear(rgb_255):
    return (np.asarray(rgb_255, float) / 255) ** 2.2


def random_look(rng):
    """A random ``Look``: skin from light to dark, cloth, one to three lights and a sky."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    # Redder or yellower, never greener: skin does not come in green.
    hue = np.exp(rng.normal(0, 0.07) * np.array([1, -0.3, -1]))
    back = _linear(skin_tone(tone)) * hue
    pale = _linear(skin_tone(tone * 0.5)) * hue
    palm = pale + (_linear((222, 150, 132)) - pale) * rng.uniform(0.05, 0.35)
    palm = back + (palm - back) * rng.uniform(0.4, 1)
    nail = (palm + back) / 2
    nail = nail + (_linear((226, 172, 158)) - nail) * rng.uniform(0.2, 0.5)
    if rng.random() < 0.08:  # varnish
        nail = rng.uniform(0.02, 0.8, 3)
    cloth = rng.uniform(0.02, 0.7) * np.exp(rng.normal(0, rng.choice([0.05, 0.5]), 3))
    accent = cloth * rng.uniform(0.5, 1) if rng.random() < 0.7 else rng.uniform(0.02, 0.8, 3)
    lights = rng.normal(size=(rng.integers(1, 4), 3)) + [0, -0.6, -0.7]
    lights /= np.linalg.norm(lights, axis=1, keepdims=True)
    # From an overcast sky to a lamp in the dark.
    power = np.array([np.exp(rng.normal(-0.3, 0.45)), *rng.uniform(0.05, 0.5, len(lights) - 1)])
    warmth = rng.normal(0, 0.16, len(lights))[:, None] * np.array([1, 0.2, -1])
    sky = np.exp(rng.normal(-0.85, 0.45)) * np.exp(rng.normal(0, 0.14) * np.array([-1, 0, 1]))
    ground = sky * rng.uniform(0.3, 0.9) * np.exp(rng.normal(0, 0.12, 3))
    exposure = np.exp(rng.normal(0, 0.35)) * 1.1 / (power.sum() * 0.5 + sky.mean())
    # Cameras brighten dark things, but not all the way.
    exposure *= (0.35 / back.mean()) ** rng.uniform(0, 0.45)
    up = rng.normal(0, 0.35, 3) + [0, -1, -0.2]
    return Look(
        back=back, palm=palm, nail=nail, cloth=cloth, cloth_accent=accent,
        cloth_cell=np.exp(rng.uniform(*np.log([0.0006, 0.015]))),
        blood=rng.uniform(0.2, 2.0), mottle=rng.uniform(0.05, 0.3), veins=rng.uniform(0, 0.8),
        hair=rng.uniform(0.1, 0.7) * (rng.random() < 0.3),
        creases=rng.uniform(0.3, 1.0), clefts=rng.uniform(0, 1) * (rng.random() < 0.7),
        wrinkles=rng.uniform(0.15, 0.6),
        nail_edge=rng.uniform(0.2, 0.9), bump=rng.uniform(0.02, 0.3),
        gloss=rng.uniform(0.1, 0.3) if rng.random() < 0.15 else rng.uniform(0, 0.12),
        nail_gloss=rng.uniform(0.1, 0.4), shine=rng.uniform(8, 50), offset=rng.uniform(0, 16, 3),
        wrap=np.array([0.35, 0.2, 0.15]) * rng.uniform(0.4, 1.4), lights=lights,
        light_colors=power[:, None] * np.exp(warmth) * exposure,
        up=up / np.linalg.norm(up), sky=sky * exposure, ground=ground * exposure,
        shadow=rng.uniform(0.4, 1.0), shadow_edge=np.exp(rng.uniform(*np.log([50, 500]))),
        **_surroundings(rng, lights[0]), **_random_thing(rng),
    )  # fmt: skip


def _surroundings(rng, light):
    """What things outside of the picture do to the light: a shadow, and its growth to one side."""
    # Edges run along the light, somewhere over the hand or its arm; soft or sharp.
    edges = np.cross(light, rng.normal(size=(2, 3)))
    edges /= np.linalg.norm(edges, axis=1, keepdims=True) + 1e-9
    width = np.exp(rng.uniform(*np.log([0.002, 0.08])))
    edges = np.column_stack([edges, rng.uniform(-0.1, 0.1, 2)]) / width
    if rng.random() < 0.6:
        edges[1] = 0, 0, 0, 1  # one edge alone
    falloff = rng.normal(0, 3, 3) * (rng.random() < 0.5)
    dark = rng.uniform(0.2, 0.75) * (rng.random() < _SHADED)
    return {"outside": edges, "outside_dark": dark, "falloff": falloff}


def _random_thing(rng):
    """Colours, pattern and gloss of what is held."""
    color = rng.beta(0.7, 1.3) * np.exp(rng.normal(0, rng.choice([0.05, 0.9]), 3))
    other = rng.beta(0.7, 1.3) * np.exp(rng.normal(0, rng.choice([0.05, 0.9]), 3))
    # Few cycles along one axis and many along another are stripes.
    scale = np.exp(rng.uniform(*np.log([3, 250]), 3))
    return {
        "thing": color.clip(0.01, 0.9), "thing_accent": other.clip(0.01, 0.9),
        "thing_scale": scale, "thing_bias": rng.uniform(-1, 1),
        "thing_edge": np.exp(rng.uniform(0, 3)), "thing_bump": rng.uniform(0, 0.15),
        "thing_gloss": rng.uniform(0, 0.6) * (rng.random() < 0.6),
        "thing_shine": np.exp(rng.uniform(*np.log([8, 150]))),
    }  # fmt: skip
