"""What is reported of predicted hands, in numpy; alignment and unit are in each metric's name.

Arrays go in in metres and pixels; names that end in ``_mm`` are millimetres. In a name, ``root``
means both hands moved to joint ``joints.ROOT``, ``scale`` also the best scale of each sample,
``st`` the best scale and translation, and ``pa`` (Procrustes-aligned) the best similarity of each
sample: with a proper rotation, so that a mirrored hand stays wrong. Aligned numbers say nothing
about where the hand is.
"""

from handlib.metrics.fixed_hand import baselines, best_constant_scale
from handlib.metrics.freihand import freihand_scores
from handlib.metrics.intervals import (
    Interval,
    keypoint_intervals,
    mean_interval,
    paper_intervals,
    t_interval,
)
from handlib.metrics.points import (
    PCK_THRESHOLDS_MM,
    area_under,
    errors_mm,
    pck,
    root_relative,
    scale_translation_align,
)
from handlib.metrics.scores import NotFinite, aligned_errors_mm, evaluate, per_sample, summarise
from handlib.metrics.surface import F_THRESHOLDS_MM, f_scores

__all__ = [
    "F_THRESHOLDS_MM",
    "PCK_THRESHOLDS_MM",
    "Interval",
    "NotFinite",
    "aligned_errors_mm",
    "area_under",
    "baselines",
    "best_constant_scale",
    "errors_mm",
    "evaluate",
    "f_scores",
    "freihand_scores",
    "keypoint_intervals",
    "mean_interval",
    "paper_intervals",
    "pck",
    "per_sample",
    "root_relative",
    "scale_translation_align",
    "summarise",
    "t_interval",
]
