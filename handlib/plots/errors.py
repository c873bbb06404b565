"""Where errors are large, how predictions fail, and single samples looked into."""

import numpy as np
from matplotlib.patches import Patch
from scipy.stats import spearmanr

from handlib.augment import MirrorBack
from handlib.joints import FINGER_COLORS
from handlib.plots.images import (
    as_photographed,
    draw_hand,
    draw_prediction,
    draw_side,
    label_of,
    picture_grid,
    tell_apart,
)
from handlib.plots.style import SERIES, STYLE, new_figure, styled

BINS = 8
SMALL_FONT = STYLE["xtick.labelsize"]
SMALL_CELL = 1.2  # inches of one picture


@styled
def show_error_groups(errors, title=None, columns=4):
    """Mean error of groups of samples with 95 % intervals, a panel for each attribute.

    Args:
        errors: dict of name -> what ``analysis.group_errors`` returned, in mm. The first are
            bars, the others marks on them.
    """
    first = next(iter(errors.values()))
    rows = -(-(len(first) + 1) // columns)  # one is for the legend
    figure, axes = new_figure(rows, columns, 2.9 * columns, 2.3 * rows + 0.3, title)
    for ax in axes.flat[len(first) :]:
        ax.axis("off")
    every = [g for of in errors.values() for groups in of.values() for g in groups.values()]
    for ax, attribute in zip(axes.flat, first):
        _draw_groups(ax, {name: of[attribute] for name, of in errors.items()})
        ax.set(title=attribute, xlim=(0, 1.03 * max(g["error"].high for g in every)))
    for ax in axes.flat[max(len(first) - columns, 0) : len(first)]:
        ax.set_xlabel("mean error (mm)")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    handles[labels.index(next(iter(errors)))] = Patch(color=SERIES[-1], alpha=0.75)  # of any colour
    axes.flat[-1].legend(handles, labels, loc="center left")
    return figure


def _draw_groups(ax, errors):
    for n, (name, groups) in enumerate(errors.items()):
        value, low, high = np.array([g["error"] for g in groups.values()]).T
        colors = [FINGER_COLORS.get(group, SERIES[0]) for group in groups]
        spread = {"xerr": (value - low, high - value), "ecolor": "black"}
        if n == 0:
            ax.barh(range(len(groups)), value, color=colors, alpha=0.75, label=name, **spread)
        else:
            ax.errorbar(value, range(len(groups)), fmt="D", color="black", fillstyle="none",
                        markersize=5, elinewidth=1, label=name, **spread)  # fmt: skip
    names = [f"{group} ({g['n']})" for group, g in groups.items()]
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)


@styled
def show_calibration(error_2d_px, error_mm, in_plane_mm, depth_mm, title=None):
    """Whether the error in the image tells the error in space, and how much of it is depth.

    Args:
        error_2d_px, error_mm: (N,) mean joint errors of each sample, the second root-relative.
        in_plane_mm, depth_mm: (N,) parts of the second, see ``analysis.split_depth_mm``.
    """
    figure, ((both, parts),) = new_figure(1, 2, 9, 3.6, title)
    _draw_trend(both, error_2d_px, error_mm)
    both.set(xlabel="2D error (px of the network's input)", ylabel="root-relative error (mm)")
    _draw_trend(parts, in_plane_mm, depth_mm)
    top = max(parts.get_xlim()[1], parts.get_ylim()[1])
    parts.plot([0, top], [0, top], color="black", linestyle="--", linewidth=1, label="equal")
    parts.set(xlabel="error in the image plane (mm)", ylabel="error in depth (mm)")
    both.legend(loc="upper left")
    parts.legend(loc="upper left")
    return figure


def _draw_trend(ax, x, y):
    """A dot for each sample; median and quartiles of y where x is in each of ``BINS`` parts."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    ax.set_title(f"{len(x)} images")
    if len(x) < 3:
        return
    ax.scatter(x, y, s=6, alpha=min(1, 10 / len(x) ** 0.5), linewidths=0, color=SERIES[-1])
    parts = np.array_split(np.argsort(x), min(BINS, max(1, len(x) // 5)))
    places = [np.median(x[part]) for part in parts]
    low, middle, high = np.transpose([np.percentile(y[part], (25, 50, 75)) for part in parts])
    ax.errorbar(places, middle, (middle - low, high - middle), fmt="o-", color=SERIES[1],
                markersize=4, capsize=3, label="median, quartiles")  # fmt: skip
    # A few outliers must not squeeze all others.
    ax.set(xlim=(0, 1.1 * np.percentile(x, 99)), ylim=(0, 1.1 * np.percentile(y, 99)))
    ax.set_title(f"rank correlation {spearmanr(x, y).statistic:.2f}, {len(x)} images")


@styled
def show_failures(failures, title=None):
    """How many samples show which failure.

    Args:
        failures: what ``analysis.failures`` returned.
    """
    figure, ((ax,),) = new_figure(1, 1, 7, 0.9 + 0.3 * len(failures), title)
    counts = [int(rows.sum()) for rows in failures.values()]
    judged = max(1, np.logical_or.reduce(list(failures.values())).sum())
    shares = [100 * count / judged for count in counts]
    colors = [SERIES[-1] if name == "none" else SERIES[1] for name in failures]
    bars = ax.barh(range(len(shares)), shares, color=colors, alpha=0.75)
    ax.bar_label(bars, [f" {count} ({share:.0f} %)" for count, share in zip(counts, shares)])
    ax.set_yticks(range(len(shares)), failures)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel=f"of {judged} images (%); one image may show several", xlim=(0, 115))
    return figure


@styled
def show_failure_examples(examples, predictions, faces, title=None, columns=2):
    """Examples of each failure: truth, prediction, and both from the side.

    Args:
        examples: dict of failure -> dict of row of ``predictions`` -> ``Sample`` as the network
            saw it, ``columns`` at most.
        predictions: what ``evaluation.predict`` returned; faces: (F, 3) of the right hand model.
    """
    rows = max(1, len(examples))
    figure, axes = picture_grid(rows, 3 * columns, 2 * rows, title, SMALL_CELL)
    for row, (failure, samples) in zip(axes, examples.items()):
        of_samples = {name: values[list(samples)] for name, values in predictions.items()}
        seen = as_photographed(samples.values(), of_samples, faces)
        for three, (sample, prediction, side) in zip(row.reshape(-1, 3), seen):
            draw_hand(three[0], sample.image, sample.joints_2d)
            draw_hand(three[1], sample.image, prediction["pred_joints_2d"])
            draw_side(three[2], sample, prediction["pred_vertices"], side)
            for ax, name in zip(three, (f"{label_of(sample)}: truth", "prediction", "right side")):
                ax.set_title(name, fontsize=SMALL_FONT)
        row[0].set_title(f"{failure.upper()}\n{row[0].get_title('left')}")
    tell_apart(figure)
    return figure


@styled
def show_explorer(samples, predictions, faces, names, numbers, neighbours, title=None):
    """Each sample in one row: truth, prediction, mesh, the side, numbers, and the training hands
    of the most similar articulation.

    Args:
        samples: list of B ``Sample`` as the network saw them.
        predictions: what ``evaluation.predict`` says of them, B rows each.
        faces: (F, 3) of the right hand model.
        names: B texts, written above: why it is shown, how it fails.
        numbers: dict with ``error_2d_px``, ``pa_mpjpe_mm``, ``mpjpe_root_mm`` of (B,).
        neighbours: B lists of (``Sample``, mm), equally many.
    """
    columns = 4 + max(map(len, neighbours))
    figure, axes = picture_grid(len(samples), columns, 2 * len(samples), title, SMALL_CELL)
    seen = as_photographed(samples, predictions, faces)
    for n, (row, (sample, prediction, side)) in enumerate(zip(axes, seen, strict=True)):
        draw_prediction(row[:4], sample, prediction, side)
        for ax, (near, _) in zip(row[4:], neighbours[n]):
            near = MirrorBack()(near, None)
            draw_hand(ax, near.image, near.joints_2d)
        titles = [
            "\ntruth",
            f"\n2D {numbers['error_2d_px'][n]:.1f} px",
            f"\nPA {numbers['pa_mpjpe_mm'][n]:.1f} mm",
            f"from the right\nroot {numbers['mpjpe_root_mm'][n]:.1f} mm",
            *(f"\n{label_of(near)}: {mm:.1f} mm" for near, mm in neighbours[n]),
        ]
        titles[4] = f"nearest in training{titles[4]}"
        for ax, text in zip(row, titles):
            ax.set_title(text, fontsize=SMALL_FONT)
        _draw_heading(row[0], f"{label_of(sample)}: {names[n]}")
    tell_apart(figure)
    return figure


def _draw_heading(ax, text):
    """A line above the title's last, as long as it may be: the layout does not know of it."""
    place = {"xytext": (0, 1.6 * SMALL_FONT), "textcoords": "offset points"}
    ax.annotate(text, (0, 1), xycoords="axes fraction", **place, fontsize=SMALL_FONT, va="bottom")
    ax.texts[-1].set_in_layout(False)
