"""What the kinds of figures draw in their panels: lines with bands, and marks for what an axis cannot show."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from goodinit import records
from goodinit.errors import InputError
from goodinit.report.measures import condition_columns
from goodinit.report.statistics import smooth

__all__ = [
    "Cross",
    "LineStyle",
    "condition_line",
    "edge_crosses",
    "line_styles",
    "mark_ends",
    "mark_zeros",
    "name_equal_lines",
    "non_finite_reason",
    "share_bars",
    "side_by_side",
]

MAX_NAMES = 4  # of conditions whose lines end at a cross, in the note of a panel

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
    """A cross at the last finite point of something that diverged.

    Args:
        axis: the panel.
        x, y: the point.
        color: of the line.
        reason: why the line ends, for the legend; None without an entry.
        name: of the condition, with the number of its runs that ended, for the note in the panel.
    """

    axis: Axes
    x: float
    y: float
    color: str
    reason: str | None = None
    name: str = ""

    def draw(self) -> None:
        """Draw the cross, at the edge of the panel if the point is outside."""
        x = np.clip(self.x, min(self.axis.get_xlim()), max(self.axis.get_xlim()))
        y = np.clip(self.y, min(self.axis.get_ylim()), max(self.axis.get_ylim()))
        look: dict[str, Any] = {"markersize": 6, "markeredgewidth": 1.5, "zorder": 4, "clip_on": False}
        self.axis.plot([x], [y], "x", color=self.color, **look)
        if self.reason is not None:
            _add_to_legend(self.axis, "x", self.reason)


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

    Raises:
        InputError: a run has several values at one place.
    """
    if rows.duplicated([x, "seed"]).any():
        others = " and ".join(name for name in condition_columns(rows) if rows[name].nunique() > 1 and name != x)
        raise InputError(f"line {label}: several values of {others}: give one in where, or name hue or col")
    wide = rows.pivot(index=x, columns="seed", values="value").dropna(how="all")
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
    reason, name = non_finite_reason(rows), _with_count(label, rows)
    return Cross(axis, places[finite[-1]], means[finite[-1]], look.color, reason, name)


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


def mark_ends(axes: Iterable[Axes], crosses: Iterable[Cross], conditions: Mapping[str, pd.DataFrame]) -> None:
    """Mark where lines end before the others, and name these conditions and those without any finite value.

    Args:
        axes: the panels.
        crosses: at the ends of lines.
        conditions: the rows of each condition, by the label of its lines.
    """
    axes, crosses = list(axes), list(crosses)
    for cross in crosses:
        cross.draw()
    unseen: dict[Axes, dict[str, list[str]]] = {}
    ended = {axis: [cross for cross in crosses if cross.axis is axis and cross.reason == "diverged"] for axis in axes}
    for axis, of_panel in ended.items():
        if 0 < len(of_panel) <= MAX_NAMES:
            unseen[axis] = {"diverged": [cross.name for cross in of_panel]}
    for name, rows in conditions.items():
        lines = [(axis, line) for axis in axes for line in axis.get_lines() if line.get_label() == name]
        without = [(axis, line) for axis, line in lines if not np.isfinite(line.get_ydata()).any()]
        for axis, line in [] if np.isfinite(rows["value"]).all() else without:
            unseen.setdefault(axis, {}).setdefault(non_finite_reason(rows), []).append(name)
            if len(without) == len(lines):
                line.set_label(f"{name} ({non_finite_reason(rows)})")
    for axis, reasons in unseen.items():
        text = "\n".join(textwrap.fill(f"{reason}: {', '.join(names)}", 40) for reason, names in reasons.items())
        hides_cross = any(_height(cross) > 0.8 for cross in crosses if cross.axis is axis)  # at the start of a line
        x, side = (0.97, "right") if hides_cross else (0.03, "left")
        axis.text(x, 0.97, text, transform=axis.transAxes, ha=side, va="top", in_layout=False, **NAME_STYLE)


def mark_zeros(axes: Iterable[Axes]) -> None:
    """Draw a triangle on the lower edge wherever a line is 0, which a logarithmic axis cannot show.

    The geometric mean is 0 if one of the runs is.
    """
    for axis in axes:
        for line in axis.get_lines():
            x, y = line.get_data()
            zeros = np.asarray(x)[np.asarray(y) == 0]
            if len(zeros):
                axis.plot(zeros, np.zeros(len(zeros)), "v", color=line.get_color(), markersize=6, clip_on=False,
                          transform=axis.get_xaxis_transform())  # fmt: skip
                _add_to_legend(axis, "v", "0 in a run")


def name_equal_lines(axes: Iterable[Axes], names: Iterable[str]) -> None:
    """Name in the legend, beside a condition whose lines are hidden by equal lines, the condition that hides them.

    Args:
        axes: the panels.
        names: the labels of the lines in the order in which they are drawn.
    """
    lines: dict[str, list[Line2D]] = {name: [] for name in names}
    for line in itertools.chain.from_iterable(axis.get_lines() for axis in axes):
        lines.get(str(line.get_label()), []).append(line)
    for name, other in itertools.combinations(lines, 2):
        if lines[name] and [_points(line) for line in lines[name]] == [_points(line) for line in lines[other]]:
            for line in lines[name]:
                line.set_label(f"{name} (= {other})")


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
    """Show images, uint8 (N, channels, height, width), beside each other with a white frame of one pixel."""
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
        rasterized = len(x) > style.MAX_VECTOR_POINTS
        axis.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0, rasterized=rasterized)
    return np.asarray(mean)


def _points(line: Line2D) -> tuple[object, list[list[float]]]:
    """Return the panel of a line and its points."""
    return line.axes, np.column_stack(line.get_data()).tolist()


def _add_to_legend(axis: Axes, marker: str, label: str) -> None:
    """Add a mark to the legend in one color, as the marks in the panel have the colors of their lines."""
    axis.plot([], [], marker, color="#444444", markersize=6, markeredgewidth=1.5, label=label, in_layout=False)


def _height(cross: Cross) -> float:
    """Return the height of a cross as a fraction of that of its panel."""
    position = cross.axis.transData.transform((cross.x, cross.y))
    return float(cross.axis.transAxes.inverted().transform(position)[1])


def _with_count(name: str, rows: pd.DataFrame) -> str:
    """Return the name of a condition and how many of its runs have values that are not finite, or diverged."""
    ended = (~np.isfinite(rows["value"]) | (rows["status"] == "diverged")).groupby(rows["seed"]).any()
    return f"{name} ({ended.sum()} of {len(ended)})"


def _write_highest_share(axis: Axes, shares: np.ndarray, edges: np.ndarray, width: float) -> None:
    """Write the share of the highest bar, which extends beyond the panel, on the side where the other bars are low."""
    top = int(shares.argmax())
    rightward = top < len(shares) / 2
    candidates = range(top, len(shares)) if rightward else range(top, -1, -1)
    position = next((bar for bar in candidates if shares[bar] < 0.2), top)
    x = edges[position] + width * (0.4 if rightward else 0.6)
    axis.text(x, 0.29, f"{shares.max():.0%}", ha="left" if rightward else "right", va="top", fontsize=7)
