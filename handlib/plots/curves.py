"""Training curves and error curves."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from handlib.joints import JOINT_COLORS, JOINT_NAMES
from handlib.metrics import Interval, area_under
from handlib.plots.style import SERIES, new_figure, shortened_together, styled

DASHES, MARKERS = ("-", "--", "-.", ":"), "Dsv^"
NOISY = 25  # a running mean leaves so many values that do not share any


@styled
def show_training(history, baselines=None, title=None):
    """Loss terms, validation PA-MPJPE, learning rate and where the time goes, over the steps.

    Args:
        history: records of ``metrics.jsonl``: flat dicts with ``step`` and any of ``loss`` and its
            terms ``loss_<term>``, ``val_pa_mpjpe_mm``, ``lr``, ``s_<part>`` (seconds).
        baselines: dict of name -> PA-MPJPE in mm, drawn as lines across.
        title: say what was trained on what.
    """
    figure, ((losses, error), (rate, times)) = new_figure(2, 2, 10, 5.6, title)
    keys = dict.fromkeys(key for record in history for key in record)
    terms = {key: _series(history, key) for key in keys if key.startswith("loss")}
    # From the largest to the smallest, as their lines lie above each other.
    terms = dict(sorted(terms.items(), key=lambda term: -np.median(term[1][1])))
    for n, (key, series) in enumerate(terms.items()):
        _draw_noisy(losses, *series, DASHES[n // len(SERIES)], _words(key, "loss_"))
    losses.set_ylabel("weighted loss")
    _log(losses)
    highest = losses.get_ylim()[1]
    losses.set_ylim(bottom=max(losses.get_ylim()[0], 1e-4 * highest))  # terms that matter
    error.plot(*_series(history, "val_pa_mpjpe_mm"), "o-", markersize=3, label="validation")
    for n, (name, value) in enumerate((baselines or {}).items(), 1):
        error.axhline(value, color=SERIES[-1], linestyle=DASHES[n % 4], label=name)
    _from_zero(error)
    error.set_ylabel("PA-MPJPE (mm)")
    rate.plot(*_series(history, "lr"))
    rate.set(ylim=(0, None), ylabel="learning rate")
    parts = {_words(k, "s_"): _series(history, k) for k in keys if k.startswith("s_")}
    if parts:
        steps = next(iter(parts.values()))[0]
        took = 1000 * np.array([y for _, y in parts.values()])
        times.stackplot(steps, took, labels=parts)
        # The first step takes several times as long, and would leave no room to see the others in.
        times.set_ylim(0, 1.2 * np.percentile(took.sum(0), 95))
        times.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
    times.set_ylabel("time of one step (ms)")
    if terms:  # before the first step there may be an evaluation alone
        losses.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    error.legend()
    for ax in (losses, error, rate, times):
        ax.set_xlabel("step")
    return figure


@styled
def show_layers(layers, title=None):
    """How strongly each layer speaks and learns, from the image to the hand.

    Args:
        layers: what ``diagnose.layer_figures`` returns.
    """
    figure, ((speaks, learns, silent),) = new_figure(1, 3, 11, 3, title)
    wanted = (
        (speaks, "activation", "RMS of the output"),
        (learns, "gradient", "gradient / weights (RMS)"),
        (silent, "silent", "silent units (%)"),
    )
    for ax, key, label in wanted:
        values = np.array([each[key] for each in layers.values() if key in each])
        values = 100 * values if key == "silent" else values
        ax.plot(np.arange(1, len(values) + 1), values, "o-", markersize=3)
        ax.set(xlabel="layer, from the image on", ylabel=label)
        if key != "silent":
            _log(ax)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    silent.set_ylim(0, 100)
    return figure


@styled
def show_loss_gradients(gradients, title=None):
    """How hard each loss pulls at the encoder, the hardest on top.

    Args:
        gradients: what ``diagnose.loss_gradients`` returns.
    """
    names = sorted(gradients, key=gradients.get)
    figure, ((ax,),) = new_figure(1, 1, 8, 0.9 + 0.3 * len(names), title)
    bars = ax.barh([name.replace("_", " ") for name in names], [gradients[n] for n in names])
    ax.bar_label(bars, fmt="%.2g", padding=3)
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("gradient of the weighted loss by the encoder's last kernel (norm)")
    return figure


def _from_zero(ax):
    """A vertical axis from 0 to above the largest value. matplotlib's own margin is a share of the
    values' range, which is next to nothing where they lie close together."""
    top = ax.dataLim.y1
    ax.set_ylim(0, 1.05 * top if top > 0 else None)  # without values it is -inf


def _log(ax):
    """A vertical axis in powers, labelled with plain numbers: the style knows no formulas, for
    dollars in the name of a file are none."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, _: _between_powers(value, *ax.get_ylim()))


def _between_powers(value, low, high):
    """The label of a tick between powers of ten: of an axis that may show one power or none."""
    named = high < 20 * low and (high < 2.5 * low or f"{value:.0e}"[0] in "25")
    return f"{value:g}" if named else ""


def _series(records, key):
    """Steps and values (2, N) of the records that have ``key``."""
    points = [(r["step"], r[key]) for r in records if r.get(key) is not None]
    return np.array(points, float).reshape(-1, 2).T


def _draw_noisy(ax, steps, values, dashes, label):
    """A line, or where it has many points their running mean, and faintly the line itself."""
    window = np.ones(len(values) // NOISY or 1)
    # At the ends fewer values are in the window.
    mean = np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
    (line,) = ax.plot(steps, mean, dashes, label=label)
    if len(window) > 1:
        ax.plot(steps, values, color=line.get_color(), linewidth=0.7, alpha=0.25)


def _words(key, prefix):
    return key.removeprefix(prefix).replace("_", " ")


@styled
def show_pck(curves, title=None):
    """Percentage of correct keypoints over the error threshold.

    Args:
        curves: dict of name -> (thresholds (T,) mm, pck (T,) 0..1, or an ``Interval`` of such
            curves, whose bounds are drawn as a band).
    """
    figure, ((ax,),) = new_figure(1, 1, 5.5, 3.6, title)
    for n, (name, (thresholds, pck)) in enumerate(curves.items()):
        if isinstance(pck, Interval):
            pck, low, high = pck
            ax.fill_between(thresholds, 100 * low, 100 * high, alpha=0.25, linewidth=0)
        label = f"{name} (AUC {area_under(pck, thresholds):.3f})"
        ax.plot(thresholds, 100 * pck, DASHES[n % 4], label=label)
    ax.set(xlabel="error threshold (mm)", ylabel="joints within it (%)")
    ax.set(xlim=(0, None), ylim=(0, 100))
    ax.legend(loc="lower right")
    return figure


def _shown(label):
    """A label that matplotlib does not hide for its first letter."""
    return f"\u200b{label}" if label.startswith("_") else label


@styled
def show_histories(histories, title=None):
    """Loss and validation error of several runs over their steps.

    Args:
        histories: dict of run -> records of its ``metrics.jsonl``.
    """
    figure, ((losses, errors),) = new_figure(1, 2, 10, 3.4, title)
    names = shortened_together(histories)
    for n, (name, records) in enumerate(zip(names, histories.values(), strict=True)):
        look = {"color": SERIES[n % len(SERIES)], "linestyle": DASHES[n // len(SERIES) % 4]}
        losses.plot(*_series(records, "loss"), **look, label=_shown(name))
        errors.plot(*_series(records, "val_pa_mpjpe_mm"), marker="o", markersize=3, **look)
    losses.set(xlabel="step", ylabel="weighted loss")
    _log(losses)
    errors.set(xlabel="step", ylabel="validation PA-MPJPE (mm)")
    for ax in (losses, errors):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _from_zero(errors)
    figure.legend(loc="outside lower left", ncols=2)
    return figure


@styled
def show_intervals(intervals, line=None, title=None, xlabel="error (mm)"):
    """Errors with their confidence intervals, from the top down.

    Args:
        intervals: dict of name -> ``Interval`` in mm.
        line: (name, mm) of a baseline drawn across, or None.
        xlabel: say which error it is.
    """
    figure, ((ax,),) = new_figure(1, 1, 8, 0.9 + 0.34 * len(intervals), title)
    for place, (value, low, high) in enumerate(intervals.values()):
        ax.plot([low, high], [place, place], color=SERIES[0], linewidth=3, alpha=0.5)
        ax.plot(value, place, "o", color=SERIES[0])
    _name_rows(ax, shortened_together(intervals), line, xlabel)
    return figure


def _name_rows(ax, names, line, xlabel):
    """Names down the side of a diagram of errors, and a baseline (name, mm) across it."""
    if line:
        ax.axvline(line[1], color="black", linestyle="--", label=f"{line[0]} ({line[1]:.1f})")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(xlabel)


@styled
def show_settings(errors, line=None, title=None, xlabel="error (mm)"):
    """Errors of several settings: a dot for each repetition, a bar for their mean.

    Args:
        errors: dict of setting -> (repetitions,) mm, from the top down.
        line: (name, mm) of a baseline drawn across, or None.
        xlabel: say which error it is.
    """
    figure, ((ax,),) = new_figure(1, 1, 8, 0.8 + 0.34 * len(errors), title)
    for place, values in enumerate(errors.values()):
        ax.barh(place, np.mean(values), color=SERIES[0], alpha=0.35)
        ax.plot(values, [place] * len(values), "o", color=SERIES[0], markersize=4)
    _name_rows(ax, list(errors), line, xlabel)
    ax.set_xlim(0, None)
    return figure


@styled
def show_errors_per_joint(errors, title=None):
    """Mean error of each joint.

    Args:
        errors: dict of name -> (N, 21) mm, NaN where unknown. The first one takes the finger
            colours, the others are marks on it.
    """
    figure, ((ax,),) = new_figure(1, 1, 9, 3.4, title)
    names = [name.replace("_", " ") for name in JOINT_NAMES]
    for n, (name, values) in enumerate(errors.items()):
        mean = np.nanmean(values, 0)
        if n == 0:
            ax.bar(names, mean, color=JOINT_COLORS, label=name)
        else:
            ax.plot(names, mean, MARKERS[(n - 1) % 4], color="black", fillstyle="none", label=name)
    ax.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    ax.grid(axis="x", visible=False)
    ax.margins(x=0.01, y=0.2)  # room for the legend above the bars
    ax.set(ylim=(0, None), ylabel="mean error (mm)")
    ax.legend(loc="upper left", ncols=len(errors))
    return figure


@styled
def show_error_histogram(errors, title=None):
    """How many hands have which error.

    Args:
        errors: dict of name -> (N,) mm, NaN where unknown. All share their bins.
    """
    figure, ((ax,),) = new_figure(1, 1, 5.5, 3.4, title)
    known = {name: values[np.isfinite(values)] for name, values in errors.items()}
    top = max(np.percentile(values, 99.5) for values in known.values())
    for n, (name, values) in enumerate(known.items()):
        style = {"alpha": 0.45, "histtype": "stepfilled"} if n == 0 else {"histtype": "step"}
        ax.hist(values.clip(0, top), np.linspace(0, top, 31), linewidth=1.8,
                label=f"{name} (median {np.median(values):.1f})", **style)  # fmt: skip
    ax.set(xlabel="mean error of one hand (mm)", ylabel="hands")
    ax.legend()
    return figure
