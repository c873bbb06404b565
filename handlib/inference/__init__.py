"""Hands in photos: crops for the network, and what it says in the photo's own pixels."""

from handlib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "predictor": "Predictor predict predict_all",
        "result": "HandPrediction",
        "photo": "load_photo",
        "scores": "errors_table photo_errors",
    },
)
