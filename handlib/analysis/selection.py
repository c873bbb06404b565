"""Which samples to look at: by a filter, by rank, and their neighbours in the training set."""

import operator
import re

import numpy as np

from handlib.geometry import centroid, similarity_align
from handlib.metrics import errors_mm
from handlib.names import hint

COMPARE = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*([\w ]+?)\s*(<=|>=|!=|=|<|>)\s*([^<>=!]+?)\s*")


def select(columns, text):
    """The samples that a filter names.

    A filter is one or more conditions, ``name=value`` or with ``!=``, ``<``, ``<=``, ``>``,
    ``>=``, separated by commas; all must hold: "view=back, pa_mpjpe_mm>30". It is parsed, never
    executed.

    Args:
        columns: dict of name -> (N,) numbers, (N,) text, or a dict of value -> (N,) bool (a
            sample may have several of these values). N is that of all.
        text: the filter; "" takes all.

    Returns:
        (N,) bool. What is not known (NaN, "") does not fulfil a condition.

    Raises:
        ValueError: not such a filter, saying what is known.
    """
    masks = [holds(columns, condition) for condition in text.split(",") if condition.strip()]
    first = next(iter(columns.values()))
    count = len(next(iter(first.values())) if isinstance(first, dict) else first)
    return np.logical_and.reduce([np.ones(count, bool), *masks])


def holds(columns, condition):
    parts = _CONDITION.fullmatch(condition)
    if not parts:
        raise ValueError(
            f"filter {condition.strip()!r} is not of the form name=value (or !=, <, <=, >, >=); "
            f"names: {', '.join(columns)}"
        )
    name, sign, value = parts.groups()
    if name not in columns:
        raise ValueError(f"filter {condition.strip()!r}: no {name!r}; {hint(name, columns)}")
    values = columns[name]
    if not isinstance(values, dict) and values.dtype.kind in "fiub":
        return COMPARE[sign](values, _number(name, value)) & np.isfinite(values)
    if not isinstance(values, dict):
        values = {v: values == v for v in dict.fromkeys(values) if v}
    if sign not in ("=", "!="):
        raise ValueError(f"filter {condition.strip()!r}: {name} is text: take = or !=")
    if value not in values:
        raise ValueError(f"filter {condition.strip()!r}: no {value!r}; {hint(value, values)}")
    some = np.logical_or.reduce(list(values.values()))
    return values[value] if sign == "=" else some & ~values[value]


def _number(name, text):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"filter: {name} is a number, {text!r} is not") from None


LARGER_IS_BETTER = ("auc_", "pa_f_")  # metrics whose names begin so


def best_median_worst(columns, by, count, among=None):
    """Rows of the best, the middle and the worst samples, each pose once.

    Args:
        columns: as of ``select``; ``columns["group"]`` tells the pose of each sample.
        by: name of a column: the smallest is the best, of ``LARGER_IS_BETTER`` the largest.
        count: of each kind at most; among: (N,) bool, which samples to take from; None for all.

    Returns:
        dict of "best", "median", "worst" -> list of rows, in the order of their errors. Where
        samples are few, the worst are taken first.

    Raises:
        ValueError: no such column of numbers, or no sample whose error is known.
    """
    numbers = {n: v for n, v in columns.items() if not isinstance(v, dict) and v.dtype.kind == "f"}
    if by not in numbers:
        raise ValueError(f"samples cannot be ranked by {by!r}; {hint(by, numbers)}")
    errors, poses = columns[by], columns["group"]
    errors = -errors if by.startswith(LARGER_IS_BETTER) else errors
    rows = np.flatnonzero(np.isfinite(errors) & (True if among is None else among))
    if not len(rows):
        raise ValueError(f"{by} is not known of any of these samples: widen the filter")
    order = rows[np.argsort(errors[rows], kind="stable")]
    from_middle = order[np.argsort(np.abs(np.arange(len(order)) - len(order) // 2), kind="stable")]
    found, taken = {}, set()
    for name, ranked in (("worst", order[::-1]), ("best", order), ("median", from_middle)):
        found[name] = []
        for row in ranked.tolist():
            if len(found[name]) < count and poses[row] not in taken:
                found[name].append(row)
                taken.add(poses[row])
        found[name].sort(key=lambda row: errors[row])
    return {name: found[name] for name in ("best", "median", "worst")}


def nearest_poses(joints, poses, count=3):
    """The hands of a set that are most alike in articulation: moved, turned and scaled onto it.

    Args:
        joints: (21, 3) of one hand, which is compared by its known joints; poses: (M, 21, 3) to
        search; any unit, NaN where unknown. count: of neighbours.

    Returns:
        (rows, mm): the nearest ``poses`` and their mean joint distances after alignment, in mm if
        ``joints`` are metres; fewer where there are not so many.
    """
    compared = np.isfinite(joints).all(-1)
    joints, poses = joints[compared], poses[:, compared]
    target, moved = joints - centroid(joints), poses - centroid(poses)
    covariance = np.einsum("mja,jb->mab", moved, target)
    known = np.flatnonzero(np.isfinite(covariance).all((1, 2)))
    covariance, moved = covariance[known], moved[known]
    # What the best similarity takes away of the squared distance (Umeyama 1991): no rotation is
    # needed to know it, only the singular values.
    values = np.linalg.svd(covariance, compute_uv=False)
    values[:, 2] *= np.sign(np.linalg.det(covariance))
    explained = values.sum(1) ** 2 / np.einsum("mja,mja->m", moved, moved)
    near = known[np.argsort(-explained)[: 4 * count]]
    goal = np.broadcast_to(joints, poses[near].shape)
    distances = errors_mm(similarity_align(poses[near], goal)[0], goal).mean(1)
    order = np.argsort(distances)[:count]
    return near[order], distances[order]
