"""Figures and 3D scenes of numpy arrays. Functions return what they made and never show it."""

from handlib.lazy import lazy_names
from handlib.tables import results_table  # noqa: F401 (notebooks call it beside the figures)

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "curves": "show_error_histogram show_errors_per_joint show_histories show_intervals "
        "show_layers show_loss_gradients show_pck show_settings show_training",
        "distributions": "show_distributions",
        "errors": "show_calibration show_error_groups show_explorer show_failure_examples "
        "show_failures",
        "found": "show_found show_heatmaps",
        "images": "as_photographed draw_hand draw_sample show_augmentations show_film "
        "show_predictions show_samples show_versions",
        "posespace": "explore_hand show_atlas",
        "render": "HAND_VIEWS show_poses show_views",
        "scene": "Scene show_mesh",
    },
)
