"""Figures: each kind is a function (frame, **options) -> matplotlib Figure; it reads and shows nothing."""

import io
import itertools

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from goodinit.report import tables

__all__ = ["curves", "histogram"]  # the kinds; `draw` and `render` are for the command line

# Okabe and Ito's colors, told apart by the color-blind, ordered so that neighbors differ in grey too;
# the dashes tell them apart where there is no color at all.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A500")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "goodinit",
}


def curves(
    frame,
    *,
    y: str,
    hue: str,
    x: str = "step",
    col: str | None = None,
    smooth: int = 0,
    y_limits: list[float] | None = None,
    log_y: bool = False,
):
    """Lines of the mean over seeds, with a band of one standard deviation on either side.

    Args:
        frame: from `tables.frame`.
        y: the metric.
        hue: the axis whose labels are the lines.
        x: `step`, or `layer` at the last step.
        col: the axis whose labels are the panels.
        smooth: width of the Kaiser window (beta 2) that each run's curve is smoothed with; 0 for none.
        y_limits: of the vertical axis.
        log_y: logarithmic vertical axis; the means of several orders of magnitude are geometric then, and
            what is 0 is a triangle on the lower edge.
    """
    rows = frame[frame["metric"] == y] if x == "step" else tables.measure(frame, y)
    panels = [None] if col is None else [label for label in rows[col].cat.categories if (rows[col] == label).any()]
    figure, axes = _grid(1, len(panels), width=5.5 if len(panels) == 1 else 3.4, height=3.4)
    styles = dict(zip(rows[hue].cat.categories, _styles(), strict=False))
    for axis, panel in zip(axes[0], panels, strict=True):
        shown = rows if panel is None else rows[rows[col] == panel]
        for label, style in styles.items():
            wide = shown[shown[hue] == label].pivot_table(index=x, columns="seed", values="value", observed=True)
            if wide.empty:
                continue
            values = wide.to_numpy()
            if smooth:
                values = np.apply_along_axis(_smooth, 0, values, smooth)
            _line(axis, wide.index.to_numpy(), values, label, style, log_y)
        if panel is not None:
            axis.set_title(f"{_words(col)}: {panel}")
        axis.set_xlabel({"step": "update"}.get(x, x))
        if x != "step":
            axis.set_xticks(sorted(shown[x].unique()))
        if y_limits:
            axis.set_ylim(*y_limits)
    axes[0, 0].set_ylabel(_words(y))
    if log_y:
        _mark_zeros(axes[0])
    named = {}
    for axis in axes[0]:
        named |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named, title=_words(hue), loc="outside right center", handlelength=3)
    return figure


def histogram(frame, *, counts: str, edges: str, row: str, col: str):
    """Histograms of the first seed at the last step, a panel for each pair of `row` and `col`.

    Args:
        frame: from `tables.frame`.
        counts: the metric with the count in each bin.
        edges: the metric with the left edge of each bin.
        row: the axis down the page; its panels share their range.
        col: the axis across the page.
    """
    frame = frame[frame["seed"] == frame["seed"].min()]
    heights, lefts = tables.measure(frame, counts), tables.measure(frame, edges)
    down = [label for label in heights[row].cat.categories if (heights[row] == label).any()]
    across = sorted(heights[col].unique())
    figure, axes = _grid(len(down), len(across), width=1.75, height=1.0)
    for (i, label), (j, place) in itertools.product(enumerate(down), enumerate(across)):
        axis = axes[i, j]
        chosen = {row: label, col: place}
        height = tables.select(heights, chosen).sort_values("bin")["value"].to_numpy()
        left = tables.select(lefts, chosen).sort_values("bin")["value"].to_numpy()
        share, width = height / height.sum(), left[1] - left[0]
        axis.stairs(share, [*left, left[-1] + width], fill=True, color="#0072B2")
        axis.set_ylim(0, 0.3)
        if share.max() > 0.3:  # the tallest bar says how tall it is where it leaves the panel
            top = share.argmax()
            side = "left" if top < len(share) / 2 else "right"
            axis.text(left[top] + width * (1.4 if side == "left" else -0.4), 0.29, f"{share.max():.0%}",
                      ha=side, va="top", fontsize=7)  # fmt: skip
        axis.set_xlim(left[0] - width * 0.5, left[-1] + width * 1.5)
        axis.set_xticks([left[0], left[-1] + width])
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        axis.set_yticks([0, 0.15, 0.3])
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.tick_params(labelsize=7, labelleft=j == 0, pad=1.5)
        if i == 0:
            axis.set_title(f"{_words(col)} {place}")
        if j == 0:
            axis.set_ylabel(f"{label}", fontsize=8)
    return figure


def draw(study, scale, name, frame):
    """Draw one of the study's figures, with a title that says which work, what and at what scale."""
    options = dict(study.figures()[name])
    kind, title, where = options.pop("kind"), options.pop("title", study.body["title"]), options.pop("where", None)
    with mpl.rc_context(STYLE):
        shown = tables.select(frame, where)
        figure = globals()[kind](shown, **options)
        chosen = "".join(f", {_words(axis)} {label}" for axis, label in (where or {}).items())
        seeds = shown["seed"].nunique()
        spread = {"curves": "mean, band: one standard deviation", "histogram": "the first is shown"}[kind]
        note = f"{scale} scale, {seeds} seed{'s' * (seeds > 1)} ({spread})"
        if scale == "demo":
            note += "\nDEMONSTRATION at a small scale, on stand-in data: not a replication"
        figure.suptitle(f"{study.work}/{study.name}: {title}{chosen}\n{note}", x=0.01, ha="left", fontsize=9)
        figure.draw_without_rendering()  # lays the panels out once, not again for every file
        figure.set_layout_engine("none")
    return figure


def render(figure, kind):
    """Return a figure as the bytes of an `svg` or `png` file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def _grid(rows, columns, width, height):
    figure = Figure(figsize=(width * columns + 1.6, height * rows + 0.9), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=True)


def _styles():
    return ({"color": color, "linestyle": dash} for dash, color in zip(itertools.cycle(DASHES), COLORS, strict=False))


def _line(axis, x, values, label, style, log_y):
    """Draw the mean of `values`, (points, seeds), and a band of one standard deviation."""
    marker = {"marker": "o", "markersize": 3.5} if len(x) <= 12 else {}
    if log_y:
        values = np.log10(np.where(values > 0, values, np.nan))
    middle, spread = values.mean(1), values.std(1, ddof=1) if values.shape[1] > 1 else 0
    low, high = middle - spread, middle + spread
    if log_y:
        axis.set_yscale("log")
        low, middle, high = 10**low, 10**middle, 10**high
    axis.plot(x, middle, label=label, linewidth=1.4, **style, **marker)
    axis.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _mark_zeros(axes):
    """Put a triangle on the lower edge wherever a line is undefined, because what it shows is 0."""
    for axis in axes:
        for line in axis.get_lines():
            x, y = line.get_data()
            lost = np.asarray(x)[np.isnan(np.asarray(y, dtype=float))]
            if len(lost):
                axis.plot(lost, np.zeros(len(lost)), "v", color=line.get_color(), markersize=6, clip_on=False,
                          transform=axis.get_xaxis_transform(), label="exactly 0")  # fmt: skip


def _smooth(curve, width):
    """Smooth with a normalized Kaiser window of odd width, beta 2, the ends reflected; same length.

    Reference: Saito, Deep Learning from Scratch (2016), `common/util.py`, where the width is 11.
    """
    window = np.kaiser(width, 2)
    padded = np.pad(curve, width // 2, mode="reflect")
    return np.convolve(padded, window / window.sum(), mode="valid")


def _words(name):
    """Return a column's name as words: `model.activation` is `activation`."""
    return str(name).split(".")[-1].replace("_", " ")
