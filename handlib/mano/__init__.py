"""The hand model: reading its files, the differentiable layer, and the stand-in."""

from handlib.mano.files import HandModel, load_hand_model
from handlib.mano.layer import HandLayer, HandOutput, ManoLayer

__all__ = ["HandLayer", "HandModel", "HandOutput", "ManoLayer", "load_hand_model"]
