"""Colours that pictures and 3D scenes share; nothing is imported for them."""

PREDICTION, TRUTH = "#E69F00", "#0072B2"
SKIN = "#D9A88B"
GLASS = 0.4  # opacity of a mesh that one looks through
CAMERA_COLOR = "#777777"
