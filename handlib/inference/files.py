"""What the command writes for a photo and prints of it."""

import numpy as np

from handlib.geometry import transform_intrinsics
from handlib.inference.find import SURE
from handlib.inference.paint import sheet, write_picture
from handlib.inference.result import write_obj
from handlib.paths import write_json

MARGIN = 0.5  # around the hands in a page, in sides of the box of their joints


def sentence(name, hand, number=None):
    """One plain sentence: where the hand is, which one, how sure, how far away.

    Args:
        number: of the hand in the photo's picture, where there are several.
    """
    x0, y0, x1, y1 = (round(float(v)) for v in hand.box)
    side = f"{hand.side} hand"
    if hand.right_probability is not None:
        p = hand.right_probability if hand.is_right else 1 - hand.right_probability
        side += f" ({p:.0%})"
    sure = "" if hand.confidence is None else f", confidence {hand.confidence:.2f}"
    if hand.confidence is not None and hand.confidence < SURE:
        sure += " (perhaps no hand)"
    side = side if number is None else f"{number}: {side}"
    away = f"{hand.root[2]:.2f} m away"
    if not hand.K_known:
        focal = round(float(hand.K[0, 0]))
        away += f" if the focal length is {focal} px (a guess: absolute depth needs --K)"
    return f"{name}: {side} at x {x0} to {x1}, y {y0} to {y1} px{sure}, {away}"


def file_stems(photos):
    """A name for the files of each photo; folders may hold photos of the same name."""
    stems, taken = [], set()
    for path in photos:
        stem, n = path.stem, 2
        while stem in taken:
            stem, n = f"{path.stem}-{n}", n + 1
        taken.add(stem)
        stems.append(stem)
    return stems


def save_hands(folder, stem, photo, hands, formats, together=False):
    """Write what is asked for of a photo's hands.

    Args:
        folder: Path; stem: of the files' names. photo: (H, W, 3) uint8.
        hands: list of ``HandPrediction``. formats: of ``arguments.FORMATS``.
        together: pages share one copy of plotly.js beside them, instead of 5 MB in each.

    Returns:
        list of Paths.
    """
    makers = {
        "png": lambda path: write_picture(path, sheet(photo, hands)),
        "json": lambda path: write_json(path, [hand.as_dict() for hand in hands]),
        "obj": lambda path: write_obj(path, hands),
        "html": lambda path: write_page(path, photo, hands, together),
    }
    paths = [folder / f"{stem}.{form}" for form in formats]
    for form, path in zip(formats, paths, strict=True):
        makers[form](path)
    return paths


def write_page(path, photo, hands, together=False):
    """Write a page with the hands before the photo, to be turned with the mouse; works offline."""
    from handlib.plots.layers import VIEWS, Layer, photo_behind
    from handlib.plots.page import write_page

    names = [f"{hand.side} hand" + f" {n}" * (len(hands) > 1) for n, hand in enumerate(hands, 1)]
    layers = [
        Layer(name, hand.vertices, hand.faces)  # solid: plotly sorts no triangles
        for name, hand in zip(names, hands, strict=True)
    ]
    photo, K = _around(photo, hands)
    in_front = all(hand.vertices[:, 2].min() > 0 for hand in hands)
    behind = photo_behind([hand.vertices for hand in hands], photo, K) if in_front else None
    title = f"{path.stem}: {hands[0].hand}" + ", camera assumed" * (not hands[0].K_known)
    write_page(path, layers, VIEWS["shoulder"], behind, title, together)
    return path


def _around(photo, hands):
    """The part of a photo about its hands, and the camera of that part: a hand is small before a
    whole photo."""
    points = np.concatenate([hand.joints_2d for hand in hands])
    low, high = points.min(0), points.max(0)
    margin = MARGIN * (high - low).max()
    limits = np.array(photo.shape[1::-1])
    low = np.clip(low - margin, 0, limits - 2).astype(int)
    high = np.clip(high + margin, low + 2, limits).astype(int)
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]])
    return photo[low[1] : high[1], low[0] : high[0]], transform_intrinsics(shift, hands[0].K)
