"""Which hands go wrong, and how: groups of samples, failures by rule, neighbours, filters.

Numpy on what ``evaluation.predict`` returned. Like the predictions, everything is as the network
sees it: right hands, camera frame.
"""

from handlib.analysis.attributes import (
    attributes,
    group_errors,
    groups,
    hidden_joints,
    split_depth_mm,
)
from handlib.analysis.failures import RULES, failures, names_of
from handlib.analysis.selection import best_median_worst, nearest_poses, select

__all__ = [
    "RULES",
    "attributes",
    "best_median_worst",
    "failures",
    "group_errors",
    "groups",
    "hidden_joints",
    "names_of",
    "nearest_poses",
    "select",
    "split_depth_mm",
]
