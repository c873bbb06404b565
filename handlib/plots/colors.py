"""Colours that pictures and 3D scenes share; nothing is imported for them."""

PREDICTION, TRUTH = "#E69F00", "#0072B2"
SKIN = "#D9A88B"
GLASS = 0.4  # opacity of a mesh that one looks through
CAMERA_COLOR = "#777777"


def rgb(color):
    """(red, green, blue) 0-255 of "#RRGGBB"."""
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
