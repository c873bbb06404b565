"""The hand model: reading its files, the differentiable layer, and the stand-in."""

from handlib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "articulation": "POSES",
        "backends": "mano_layer",
        "files": "HandModel load_hand_model",
        "layer": "HandLayer HandOutput ManoLayer pose_hand",
        "posespace": "from_components interpolate_fingers to_components",
    },
)
