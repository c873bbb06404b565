"""The hand model: reading its files, the differentiable layer, and the stand-in."""

from handlib.mano.files import HandModel, load_hand_model
from handlib.mano.layer import HandLayer, HandOutput, ManoLayer, pose_hand

__all__ = [
    "POSES",
    "HandLayer",
    "HandModel",
    "HandOutput",
    "ManoLayer",
    "load_hand_model",
    "pose_hand",
    "standin_path",
]


def __getattr__(name):
    # Late: the stand-in's builder imports much that a real MANO never needs.
    if name == "standin_path":
        from handlib.mano.standin import standin_path

        return standin_path
    if name == "POSES":
        from handlib.mano.articulation import POSES

        return POSES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
