"""What the command writes for a photo and prints of it."""

import numpy as np

from handlib.inference.paint import sheet, write_picture
from handlib.inference.result import write_json, write_obj


def sentence(name, hand):
    """One plain sentence: where the hand is, which one, how sure, how far away."""
    x0, y0, x1, y1 = (round(float(v)) for v in hand.box)
    side = f"{hand.side} hand"
    if hand.right_probability is not None:
        p = hand.right_probability if hand.is_right else 1 - hand.right_probability
        side += f" ({p:.0%})"
    sure = "" if hand.confidence is None else f", confidence {hand.confidence:.2f}"
    away = f"{hand.root[2]:.2f} m away"
    if not hand.K_known:
        focal = round(float(hand.K[0, 0]))
        away += f" if the focal length is {focal} px (a guess: absolute depth needs --K)"
    return f"{name}: {side} at x {x0} to {x1}, y {y0} to {y1} px{sure}, {away}"


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
        "json": lambda path: write_json(path, hands),
        "obj": lambda path: write_obj(path, hands),
        "html": lambda path: write_page(path, photo, hands, together),
    }
    return [makers[form](folder / f"{stem}.{form}") for form in formats]


def write_page(path, photo, hands, together=False):
    """Write a page with the hands before the photo, to be turned with the mouse; works offline."""
    from handlib.plots import show_mesh  # slow to import

    first = hands[0]
    counts = np.cumsum([0] + [len(hand.vertices) for hand in hands[:-1]])
    scene = show_mesh(
        np.concatenate([hand.vertices for hand in hands]),
        np.concatenate([hand.faces + n for hand, n in zip(hands, counts, strict=True)]),
        first.joints if len(hands) == 1 else None,
        title=f"{path.stem} ({first.hand})" + ("" if first.K_known else ", camera assumed"),
        view="shoulder",
        image=photo,
        K=first.K,
    )
    scene.save_html(path, offline="beside" if together else True)
    return path
