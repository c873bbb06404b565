"""Hands in photos: crops for the network, and what it says in the photo's own pixels."""

from handlib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "predictor": "Predictor predict predict_all",
        "result": "HandPrediction",
        "photo": "list_given_photos list_photos load_photo load_photos",
        "examples": "made_up_photos noise_photos",
        "files": "file_stems save_hands",
        "saw": "what_it_saw",
        "scores": "errors_table photo_errors",
    },
)
