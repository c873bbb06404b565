"""The hand model: reading its files, the differentiable layer, and the stand-in."""

from handlib.mano.articulation import POSES
from handlib.mano.backends import mano_layer
from handlib.mano.files import HandModel, load_hand_model
from handlib.mano.layer import HandLayer, HandOutput, ManoLayer, pose_hand
from handlib.mano.posespace import from_components, interpolate_fingers, to_components

__all__ = [
    "POSES",
    "HandLayer",
    "HandModel",
    "HandOutput",
    "ManoLayer",
    "from_components",
    "interpolate_fingers",
    "load_hand_model",
    "mano_layer",
    "pose_hand",
    "to_components",
]
