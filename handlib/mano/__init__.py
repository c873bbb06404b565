"""The hand model: reading its files, the differentiable layer, and the stand-in."""

from handlib.mano.files import HandModel, load_hand_model
from handlib.mano.layer import HandLayer, HandOutput, ManoLayer

__all__ = ["HandLayer", "HandModel", "HandOutput", "ManoLayer", "load_hand_model", "standin_path"]


def __getattr__(name):
    # Late: the builder imports scipy's interpolation and much else, which a real MANO never needs.
    if name == "standin_path":
        from handlib.mano.standin import standin_path

        return standin_path
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
