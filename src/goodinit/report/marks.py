"""What the kinds of figures draw with: panels, lines with bands, and marks for what an axis cannot show."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from goodinit import records
from goodinit.report.statistics import smooth

__all__ = [
    "Cross",
    "LineStyle",
    "column_title",
    "condition_line",
    "edge_crosses",
    "empty_panel",
    "label_outer",
    "label_scatter",
    "labels_of",
    "line_styles",
    "mark_ends",
    "mark_zeros",
    "non_finite_reason",
    "panel_grid",
    "share_bars",
    "shared_legend",
    "side_by_side",
    "wrapped_panels",
]

# The names of conditions inside a panel: small, and legible where a line crosses them.
NAME_STYLE: Mapping[str, Any] = {
    "fontsize": 7,
    "color": "#444444",
    "bbox": {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
}


class LineStyle(NamedTuple):
    """How the lines of a condition are drawn."""

    color: str
    linestyle: style.Dash


class Cross(NamedTuple):
    """A cross at the last finite point of something that diverged."""

    axis: Axes
    x: float
    y: float
    color: str
    label: str | None

    def draw(self) -> None:
        """Draw the cross, at the edge of the panel if the point is outside."""
        x = np.clip(self.x, min(self.axis.get_xlim()), max(self.axis.get_xlim()))
        y = np.clip(self.y, min(self.axis.get_ylim()), max(self.axis.get_ylim()))
        look: dict[str, Any] = {"markersize": 6, "markeredgewidth": 1.5, "zorder": 4, "clip_on": False}
        self.axis.plot([x], [y], "x", color=self.color, label=self.label, **look)


def panel_grid(
    rows: int,
    columns: int,
    width: float,
    height: float,
    share_y: bool = True,
    layout: Literal["constrained"] | None = "constrained",
) -> tuple[Figure, np.ndarray]:
    """Return a figure, and its panels of a width and height in inches, an array (rows, columns) of Axes."""
    figure = Figure(figsize=(width * columns + 1.6, height * rows + 0.9), layout=layout)
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, sharey=share_y))


def wrapped_panels(
    count: int, columns: int, width: float, height: float, share_y: bool = True
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels as `panel_grid` does, with at most `columns` in a row; those left are hidden."""
    figure, axes = panel_grid(math.ceil(count / columns), min(columns, count), width, height, share_y)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes


def column_title(name: str) -> str:
    """Return the name of a column as text: `model.activation` is `activation`."""
    return str(name).split(".")[-1].replace("_", " ")


def labels_of(column: pd.Series) -> list[Any]:
    """Return the labels of a column that have rows, in the order of the study."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return sorted(column.unique())
    return [label for label in column.dtype.categories if (column == label).any()]


def line_styles() -> Iterator[LineStyle]:
    """Yield the styles that distinguish conditions; the first 45 differ."""
    pairs = zip(itertools.cycle(style.COLORS), itertools.cycle(style.DASHES), strict=False)
    return (LineStyle(color, dash) for color, dash in pairs)


def condition_line(
    axis: Axes, rows: pd.DataFrame, x: str, smooth_width: int, log_y: bool, label: str, look: LineStyle
) -> Cross | None:
    """Draw the line of one condition, the mean over its runs in a band of one standard deviation.

    The line ends where the first of the runs diverged or has a value that is not finite.

    Returns:
        The cross to draw at the last finite point, or None if the line reaches its end.
    """
    wide = rows.pivot_table(index=x, columns="seed", values="value", observed=True)
    places, values = wide.index.to_numpy(), wide.to_numpy()
    if wide.empty:
        _mean_line(axis, np.empty(0), np.empty((0, 1)), log_y, label, look)
        return None
    if smooth_width:
        values = np.apply_along_axis(smooth, 0, values, smooth_width)
    means = _mean_line(axis, places, values, log_y, label, look)
    finite = np.flatnonzero(np.isfinite(values).all(1) & np.isfinite(means))
    lost = rows.loc[~np.isfinite(rows["value"]), x].max()  # NaN if all values are finite
    stopped = x not in records.AXES and (rows["status"] == "diverged").any()
    if not len(finite) or not (stopped or lost > places[finite[-1]]):
        return None
    return Cross(axis, places[finite[-1]], means[finite[-1]], look.color, non_finite_reason(rows))


def edge_crosses(axes: tuple[Axes, Axes, Axes], points: Sequence[pd.Series], label: str) -> None:
    """Draw crosses on the lower edges of two panels, and in the plane, at points without a finite value."""
    first, second, plane = axes
    look: dict[str, Any] = {
        "color": style.COLORS[6],
        "markersize": 5,
        "markeredgewidth": 1.2,
        "zorder": 4,
        "label": label,
    }
    for axis, positions in zip((first, second), points, strict=True):
        edge = np.zeros(len(positions))
        axis.plot(positions, edge, "x", transform=axis.get_xaxis_transform(), clip_on=False, **look)
    plane.plot(*points, "x", **look)
    first.legend()


def non_finite_reason(rows: pd.DataFrame) -> str:
    """Return why rows have values that are not finite: `diverged` if a run did, or its loss is not finite.

    Other metrics can be undefined for other reasons, such as the size of an update before the first update.
    """
    losses = rows["metric"].astype(str).str.endswith("loss").all()
    return "diverged" if losses or (rows["status"] == "diverged").any() else "not finite"


def shared_legend(figure: Figure, axes: Iterable[Axes], title: str) -> None:
    """Draw one legend for all panels beside them."""
    handles: dict[str, Any] = {}
    for axis in axes:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), title=title, loc="outside right center", handlelength=3)


def label_outer(axes: np.ndarray, x: str, y: str) -> None:
    """Label the horizontal axes of the last row of panels, and the vertical axes of the first column."""
    for axis in axes[-1]:
        axis.set_xlabel(x)
    for axis in axes[:, 0]:
        axis.set_ylabel(y)


def label_scatter(axes: tuple[Axes, Axes, Axes], x: list[str], y: str) -> None:
    """Label the axes of a scatter figure, and make those of hyper-parameters logarithmic."""
    first, second, plane = axes
    for axis, name in ((first, x[0]), (second, x[1]), (plane, x[0])):
        axis.set_xscale("log")
        axis.set_xlabel(column_title(name))
    first.set_ylabel(column_title(y))
    plane.set_yscale("log")
    plane.set_ylabel(column_title(x[1]))
    for scale in (first.xaxis, second.xaxis, plane.xaxis, plane.yaxis):
        low, high = scale.get_view_interval()
        scale.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 3)))  # so that labels do not overlap
        scale.set_major_formatter("{x:.0e}")
        scale.set_minor_formatter("")


def empty_panel(axis: Axes, text: str) -> None:
    """Write a text in the middle of a panel that has nothing to show."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=8, color="#666666")
    axis.set(xticks=[], yticks=[])


def mark_ends(axes: Iterable[Axes], crosses: Iterable[Cross], conditions: Mapping[str, pd.DataFrame]) -> None:
    """Mark where lines end before the others, and name the conditions without any finite value.

    Args:
        axes: the panels.
        crosses: at the ends of lines.
        conditions: the rows of each condition, by the label of its lines.
    """
    for cross in crosses:
        cross.draw()
    axes = list(axes)
    unseen: dict[Axes, dict[str, list[str]]] = {}
    for name, rows in conditions.items():
        lines = [(axis, line) for axis in axes for line in axis.get_lines() if line.get_label() == name]
        without = [(axis, line) for axis, line in lines if not np.isfinite(line.get_ydata()).any()]
        for axis, line in [] if np.isfinite(rows["value"]).all() else without:
            unseen.setdefault(axis, {}).setdefault(non_finite_reason(rows), []).append(name)
            if len(without) == len(lines):
                line.set_label(f"{name} ({non_finite_reason(rows)})")
    for axis, reasons in unseen.items():
        text = "\n".join(textwrap.fill(f"{reason}: {', '.join(names)}", 40) for reason, names in reasons.items())
        axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top", **NAME_STYLE)


def mark_zeros(axes: Iterable[Axes]) -> None:
    """Draw a triangle on the lower edge wherever a line is 0, which a logarithmic axis cannot show."""
    for axis in axes:
        for line in axis.get_lines():
            x, y = line.get_data()
            zeros = np.asarray(x)[np.asarray(y) == 0]
            if len(zeros):
                axis.plot(zeros, np.zeros(len(zeros)), "v", color=line.get_color(), markersize=6, clip_on=False,
                          transform=axis.get_xaxis_transform(), label="exactly 0")  # fmt: skip


def share_bars(axis: Axes, counts: np.ndarray, edges: np.ndarray) -> None:
    """Draw a histogram of the shares in bins with these left edges, up to 30 %."""
    shares, width = counts / counts.sum(), edges[1] - edges[0]
    axis.stairs(shares, [*edges, edges[-1] + width], fill=True, color=style.COLORS[0])
    axis.set_ylim(0, 0.3)
    if shares.max() > 0.3:
        _write_highest_share(axis, shares, edges, width)
    axis.set_xlim(edges[0] - width * 0.5, edges[-1] + width * 1.5)
    axis.set_xticks([edges[0], edges[-1] + width])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axis.set_yticks([0, 0.15, 0.3])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def side_by_side(axis: Axes, images: np.ndarray) -> None:
    """Show images, uint8 (images, channels, height, width), beside each other with a white frame of one pixel."""
    framed = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=255)
    axis.imshow(np.concatenate(list(framed), 2).transpose(1, 2, 0), interpolation="nearest")


def _mean_line(axis: Axes, x: np.ndarray, values: np.ndarray, log_y: bool, label: str, look: LineStyle) -> np.ndarray:
    """Draw the mean of `values`, (points, seeds), in a band of one standard deviation; return the mean, (points,)."""
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if 0 < len(x) <= 12 else {}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # 0 has a logarithm of -inf
        values = np.log10(values) if log_y else values
        mean, spread = values.mean(1), values.std(1, ddof=1) if values.shape[1] > 1 else 0
        low, high = mean - spread, mean + spread
        if log_y:
            low, mean, high = 10**low, 10**mean, 10**high
    axis.plot(x, mean, label=label, linewidth=1.4, color=look.color, linestyle=look.linestyle, **marker)
    if not log_y or (high > 0).any():  # a logarithmic axis cannot show a band that is 0 throughout
        rasterized = len(x) > style.MOST_VECTOR_POINTS
        axis.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0, rasterized=rasterized)
    return np.asarray(mean)


def _write_highest_share(axis: Axes, shares: np.ndarray, edges: np.ndarray, width: float) -> None:
    """Write the share of the highest bar, which leaves the panel, on the side where the other bars are low."""
    top = int(shares.argmax())
    rightward = top < len(shares) / 2
    candidates = range(top, len(shares)) if rightward else range(top, -1, -1)
    position = next((bar for bar in candidates if shares[bar] < 0.2), top)
    x = edges[position] + width * (0.4 if rightward else 0.6)
    axis.text(x, 0.29, f"{shares.max():.0%}", ha="left" if rightward else "right", va="top", fontsize=7)
