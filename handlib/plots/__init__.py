"""Figures and 3D scenes. Functions return what they made and never show it."""

from handlib.plots.curves import (
    Table,
    results_table,
    show_error_histogram,
    show_errors_per_joint,
    show_pck,
    show_training,
)
from handlib.plots.distributions import show_distributions
from handlib.plots.images import (
    draw_hand,
    draw_sample,
    show_augmentations,
    show_predictions,
    show_samples,
    show_versions,
)
from handlib.plots.render import (
    HAND_VIEWS,
    VIEWS,
    overlay_mesh,
    render_view,
    weak_perspective_camera,
)
from handlib.plots.scene import Scene, show_mesh, show_poses, show_skeleton, show_views

__all__ = [
    "HAND_VIEWS",
    "VIEWS",
    "Scene",
    "Table",
    "draw_hand",
    "draw_sample",
    "overlay_mesh",
    "render_view",
    "results_table",
    "show_augmentations",
    "show_distributions",
    "show_error_histogram",
    "show_errors_per_joint",
    "show_mesh",
    "show_pck",
    "show_poses",
    "show_predictions",
    "show_samples",
    "show_skeleton",
    "show_training",
    "show_versions",
    "show_views",
    "weak_perspective_camera",
]
