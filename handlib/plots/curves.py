"""Training curves, error curves and tables of results."""

import html
import json
import math
from pathlib import Path

import numpy as np

from handlib.joints import JOINT_COLORS, JOINT_NAMES
from handlib.metrics import area_under
from handlib.plots.style import SERIES, new_figure, styled, to_numpy

DASHES = ("-", "--", "-.", ":")
MARKERS, HOLLOW = "sDv^", {"color": "black", "fillstyle": "none", "markersize": 6}


# -- training --------------------------------------------------------------------------------
def read_history(history):
    """Records of a run: a list of dicts as it is, or the lines of a ``metrics.jsonl`` file."""
    if not isinstance(history, str | Path):
        return list(history)
    path = Path(history)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no training log there; train first (notebook 02_train)")
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


@styled
def show_training(history, metric="val_pa_mpjpe_mm", baselines=None, title=None):
    """Loss terms, a validation metric, learning rate and where the time goes, over the steps.

    Args:
        history: path of a ``metrics.jsonl``, or its records: flat dicts with ``step`` and any of
            ``loss`` and its terms ``loss_<term>``, ``val_<metric>``, ``lr``, ``s_<part>`` seconds.
        metric: drawn from the records of evaluations; its name ends with its unit.
        baselines: dict of name -> value of that metric, drawn as lines across.
        title: say what was trained on what.
    """
    records = read_history(history)
    keys = list(dict.fromkeys(key for record in records for key in record))
    figure, axes = new_figure(2, 2, 9, 5.6, title)
    terms = [key for key in keys if key == "loss" or key.startswith("loss_")]
    _draw_lines(axes[0, 0], records, terms, "weighted loss", log=True)
    _draw_lines(axes[0, 1], records, [metric], _axis_name(metric.removeprefix("val_")))
    for n, (name, value) in enumerate((baselines or {}).items(), 1):
        axes[0, 1].axhline(value, color=SERIES[-1], linestyle=DASHES[n % 4], label=name)
    axes[0, 1].set_ylim(bottom=0)
    axes[0, 1].legend()
    _draw_lines(axes[1, 0], records, ["lr"], "learning rate")
    _draw_times(axes[1, 1], records, [key for key in keys if key.startswith("s_")])
    for ax in axes.flat:
        ax.set_xlabel("step")
    return figure


def _series(records, key):
    """Steps and values (2, N) of the records that have ``key``."""
    points = [(r.get("step", n), r[key]) for n, r in enumerate(records) if r.get(key) is not None]
    return np.array(points, float).reshape(-1, 2).T


def _draw_lines(ax, records, keys, label, log=False):
    for n, key in enumerate(keys):
        ax.plot(*_series(records, key), DASHES[n // len(SERIES) % 4], label=_axis_name(key),
                marker="o" if key.startswith("val_") else None, markersize=3)  # fmt: skip
    ax.set_ylabel(label)
    if log and keys:
        ax.set_yscale("log")
    if len(keys) > 1:
        ax.legend(ncols=2)


def _draw_times(ax, records, keys):
    """Milliseconds of one step, its parts stacked."""
    series = [_series(records, key) for key in keys]
    if series:
        ax.stackplot(series[0][0], [1000 * y for _, y in series],
                     labels=[key.removeprefix("s_").replace("_", " ") for key in keys])  # fmt: skip
        ax.legend(loc="lower left", frameon=True, reverse=True)
    ax.set_ylabel("time of one step (ms)")


def _axis_name(key):
    """``pa_mpjpe_mm`` as "PA-MPJPE (mm)"; a name without a known unit as words."""
    for suffix, unit in (("_mm", "mm"), ("_px", "px")):
        if key.endswith(suffix):
            words = key.removesuffix(suffix).removeprefix("val_").upper().replace("_", "-")
            return f"{words} ({unit})"
    return key.removeprefix("loss_").replace("_", " ")


# -- errors ----------------------------------------------------------------------------------
@styled
def show_pck(curves, title=None, label="joints"):
    """Percentage of correct keypoints over the error threshold.

    Args:
        curves: dict of name -> (thresholds (T,) mm, pck (T,) 0..1).
        label: what is counted, and how it was aligned.
    """
    figure, axes = new_figure(1, 1, 5.5, 3.6, title)
    ax = axes[0, 0]
    for n, (name, (thresholds, pck)) in enumerate(curves.items()):
        thresholds, pck = to_numpy(thresholds), to_numpy(pck)
        area = area_under(pck, thresholds)
        ax.plot(thresholds, 100 * pck, DASHES[n % 4], label=f"{name} (AUC {area:.3f})")
    ax.set(xlabel="error threshold (mm)", ylabel=f"{label} within it (%)", ylim=(0, 100))
    ax.set_xlim(left=0)
    ax.legend(loc="lower right")
    return figure


@styled
def show_errors_per_joint(errors, title=None, label="mean error (mm)"):
    """Mean error of each joint.

    Args:
        errors: dict of name -> (21,) or (N, 21) mm, drawn beside each other. The first one takes
            the finger colours, the others are marks.
    """
    figure, axes = new_figure(1, 1, 9, 3.4, title)
    ax = axes[0, 0]
    means = {name: np.atleast_2d(to_numpy(e)).mean(0) for name, e in errors.items()}
    positions = np.arange(len(JOINT_NAMES))
    for n, (name, mean) in enumerate(means.items()):
        if n == 0:
            ax.bar(positions, mean, color=JOINT_COLORS, label=name)
        else:
            ax.plot(positions, mean, MARKERS[n % 4], **HOLLOW, label=name)
    names = [name.replace("_", " ") for name in JOINT_NAMES]
    ax.set_xticks(positions, names, rotation=50, ha="right", rotation_mode="anchor")
    ax.grid(axis="x", visible=False)
    ax.set_ylabel(label)
    if len(means) > 1:
        ax.legend(loc="upper left", ncols=len(means))
        ax.set_ylim(top=1.2 * max(m.max() for m in means.values()))
    return figure


@styled
def show_error_histogram(errors, title=None, label="mean error of one hand (mm)"):
    """How many hands have which error.

    Args:
        errors: dict of name -> (N,) mm. All share their bins; medians are in the legend.
    """
    figure, axes = new_figure(1, 1, 5.5, 3.4, title)
    values = [to_numpy(e) for e in errors.values()]
    top = max(np.percentile(v, 99.5) for v in values)
    bins = np.linspace(0, top, 31)
    for n, (name, value) in enumerate(zip(errors, values, strict=True)):
        style = {"alpha": 0.45, "histtype": "stepfilled"} if n == 0 else {"histtype": "step"}
        axes[0, 0].hist(value.clip(0, top), bins, label=f"{name} (median {np.median(value):.1f})",
                        color=SERIES[n % len(SERIES)], linewidth=1.8, **style)  # fmt: skip
    axes[0, 0].set(xlabel=label, ylabel="hands")
    axes[0, 0].legend()
    return figure


# -- tables ----------------------------------------------------------------------------------
class Table:
    """Rows of results: HTML in a notebook, aligned text in a terminal, Markdown in a file."""

    def __init__(self, header, rows, caption=""):
        self.header, self.rows, self.caption = list(header), [list(row) for row in rows], caption

    def cells(self):
        """Strings of all rows. The numbers of a column have the same number of decimals."""
        columns = [_format_column(column) for column in zip(*self.rows, strict=True)]
        return [list(row) for row in zip(*columns, strict=True)]

    def __str__(self):
        lines = [[str(h) for h in self.header], *self.cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        text = [self._align(line, widths) for line in lines]
        return "\n".join([*([self.caption] if self.caption else []), text[0], rule, *text[1:]])

    @staticmethod
    def _align(cells, widths):
        numbers = (cell.rjust(w) for cell, w in zip(cells[1:], widths[1:], strict=True))
        return "  ".join([cells[0].ljust(widths[0]), *numbers]).rstrip()

    __repr__ = __str__

    def markdown(self):
        rows = [[_escape_markdown(c) for c in row] for row in [self.header, *self.cells()]]
        rows.insert(1, ["---", *["---:"] * (len(self.header) - 1)])
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"{_escape_markdown(self.caption)}\n\n{table}" if self.caption else table

    def _repr_html_(self):
        def row(cells, tag):
            first, *others = (html.escape(str(c)) for c in cells)
            tail = "".join(f'<{tag} style="text-align:right">{c}</{tag}>' for c in others)
            return f'<tr><{tag} style="text-align:left">{first}</{tag}>{tail}</tr>'

        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        body = "".join(row(cells, "td") for cells in self.cells())
        return (
            f"<table>{caption}<thead>{row(self.header, 'th')}</thead><tbody>{body}</tbody></table>"
        )


def results_table(results, metrics=None, caption="", corner=""):
    """A table of results, one row for each name.

    Args:
        results: dict of row name -> dict of metric -> number, string or None (shown as a dash).
        metrics: the columns; default all that occur, in order.
        caption: say which hand model and which data; corner: head of the first column.
    """
    found = dict.fromkeys(key for row in results.values() for key in row)
    metrics = list(found) if metrics is None else list(metrics)
    rows = [[name, *(row.get(m) for m in metrics)] for name, row in results.items()]
    return Table([corner, *metrics], rows, caption)


def _format_column(values):
    numbers = [abs(v) for v in values if _is_number(v) and math.isfinite(v)]
    largest = max(numbers, default=0)
    decimals = 3 if largest < 2 else 2 if largest < 100 else 1
    if all(isinstance(v, int | np.integer) for v in values if _is_number(v)):
        decimals = 0
    return ["–" if v is None else f"{v:.{decimals}f}" if _is_number(v) else str(v) for v in values]


def _is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _escape_markdown(text):
    escaped = html.escape(str(text), quote=False)
    return escaped.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
