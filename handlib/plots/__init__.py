"""Figures and 3D scenes of numpy arrays. Functions return what they made and never show it."""

from handlib.plots.curves import (
    show_error_histogram,
    show_errors_per_joint,
    show_histories,
    show_intervals,
    show_layers,
    show_pck,
    show_settings,
    show_training,
)
from handlib.plots.distributions import show_distributions
from handlib.plots.errors import (
    show_calibration,
    show_error_groups,
    show_explorer,
    show_failure_examples,
    show_failures,
)
from handlib.plots.images import (
    as_photographed,
    draw_hand,
    draw_sample,
    show_augmentations,
    show_film,
    show_predictions,
    show_samples,
    show_versions,
)
from handlib.plots.posespace import explore_hand, show_atlas
from handlib.plots.render import HAND_VIEWS, show_poses, show_views
from handlib.plots.scene import Scene, show_mesh
from handlib.tables import results_table

__all__ = [
    "HAND_VIEWS",
    "Scene",
    "as_photographed",
    "draw_hand",
    "draw_sample",
    "explore_hand",
    "results_table",
    "show_atlas",
    "show_augmentations",
    "show_calibration",
    "show_distributions",
    "show_error_groups",
    "show_error_histogram",
    "show_errors_per_joint",
    "show_explorer",
    "show_failure_examples",
    "show_failures",
    "show_film",
    "show_histories",
    "show_intervals",
    "show_layers",
    "show_mesh",
    "show_pck",
    "show_poses",
    "show_predictions",
    "show_samples",
    "show_settings",
    "show_training",
    "show_versions",
    "show_views",
]
