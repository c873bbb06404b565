"""3D hand pose and shape from one RGB image with the MANO hand model."""

import os

# Before torch is imported: its threads sleep while they wait. Spinning, they fight with the
# processes that load data, and on a busy machine a training step takes ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name):
    """``predict``, ``predict_all``, ``Predictor``: imported when they are first asked for."""
    if name in ("predict", "predict_all", "Predictor"):
        from handlib import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
