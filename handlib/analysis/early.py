"""What is wrong with a ranking or a filter of samples, told before anything is predicted."""

import numpy as np

from handlib.analysis.attributes import VIEWS, attributes
from handlib.analysis.failures import RULES
from handlib.analysis.selection import best_median_worst, holds
from handlib.data.sample import VERSIONS
from handlib.metrics import per_sample


def check_selection(rank_by, text):
    """ValueError for names and values that ``best_median_worst`` and ``select`` know of no samples.

    Args:
        rank_by: name of a column to rank by.
        text: a filter; whether a sample passes it, only the predictions tell.
    """
    columns = _columns()
    best_median_worst(columns, rank_by, 1)
    for condition in filter(str.strip, text.split(",")):
        holds(columns, condition)


def _columns():
    """The columns of completely annotated samples, two made-up ones, with every text there is."""
    joints = np.random.default_rng(0).normal(size=(2, 21, 3))
    flat, root = joints[..., :2], joints[:, 0]
    predictions = {"gt_joints": joints, "gt_unit": np.ones(2), "gt_joints_2d": flat}
    predictions["version"] = np.zeros(2, int)
    columns = per_sample(joints, joints, joints, joints, flat, flat, root)
    columns |= attributes(predictions) | dict.fromkeys(("id", "group"), np.arange(2))
    columns |= {"view": np.array(VIEWS, object), "look": np.array(VERSIONS, object)}
    return columns | {"failure": dict.fromkeys([*RULES, "none"], np.zeros(2, bool))}
