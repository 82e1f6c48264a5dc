"""The kinds of figures, `(frame, *, options) -> Figure`; they read no file and show nothing on a screen."""

import itertools
from typing import Any, Literal

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import layout, marks
from goodinit.report.layout import column_title, labels_of
from goodinit.report.measures import check_axes, condition_columns, measure, metric_against, metric_rows, select

__all__ = ["curves", "heat_map", "histogram", "images", "path", "scatter"]

# Size of a panel in inches by the number of panels in a row; more are smaller.
PANEL_SIZES = {1: (5.5, 3.4), 2: (4.2, 3.4), 3: (3.4, 3.4)}
SMALL_PANEL = (2.4, 2.1)
POINTS_AREA = 9000.0  # of all points of a scatter figure, in square points; many points are smaller
MIN_POINTS = 500  # fewer are not larger


def curves(
    frame: pd.DataFrame,
    *,
    y: str | list[str],
    hue: str,
    x: str = "step",
    col: str | None = None,
    wrap: int = 4,
    smooth: int = 0,
    initial: bool = True,
    y_limits: list[float] | None = None,
    log_y: bool = False,
    share_y: bool = True,
) -> Figure:
    """Draw lines of the mean over seeds in bands of one standard deviation.

    A line ends at a cross where the first of its runs diverged; the legend names conditions without any finite value,
    and those whose lines are hidden by equal lines of another condition.

    Args:
        frame: from `frame.from_records`.
        y: the metric, or several.
        hue: the axis whose labels are the lines; `metric` if there are several.
        x: `step`; an axis of the metric, such as `layer`, at the last step; or a metric of the whole run, such as
            `epochs` or `training_seconds`, of which each update uses an equal share.
        col: the axis whose labels are the panels.
        wrap: number of panels in a row.
        smooth: width of the Kaiser window (beta 2) that smooths the curve of each run; 0 for none.
        initial: whether the lines include the values before the first update.
        y_limits: of the vertical axis.
        log_y: whether the vertical axis is logarithmic; then means are geometric, and a triangle on the lower edge
            marks a value of 0.
        share_y: whether all panels have the same vertical axis.
    """
    rows = _curve_rows(frame if initial else frame[frame["step"] > 0], x, y, hue)
    check_axes(rows, None if hue == "metric" else hue, col, x if x in records.AXES else None)
    panels = [None] if col is None else labels_of(rows[col])
    columns = min(wrap, len(panels))
    size = PANEL_SIZES.get(columns, SMALL_PANEL)
    figure, axes = layout.wrapped_panels(len(panels), columns, *size, share_y)
    looks = dict(zip(y if hue == "metric" else layout.all_labels(rows[hue]), marks.line_styles(), strict=False))
    conditions = {_line_label(label, hue): rows[rows[hue] == label] for label in looks}
    crosses = []
    for axis, panel in zip(axes.flat, panels, strict=False):
        if log_y:
            axis.set_yscale("log", nonpositive="mask")
        for label, look in zip(conditions, looks.values(), strict=True):
            line = conditions[label] if col is None else select(conditions[label], {col: panel})
            if not line.empty:
                crosses.append(marks.condition_line(axis, line, x, smooth, log_y, label, look))
        if col is not None:
            axis.set_title(f"{column_title(col)}: {panel}")
        if x in ("step", *records.AXES):
            most_ticks = 12 if x != "step" else max(3, int(1.2 * size[0]))  # so that large numbers do not overlap
            axis.xaxis.set_major_locator(MaxNLocator(most_ticks, integer=True))
        if y_limits:
            axis.set_ylim(*y_limits)
    y_title = column_title(y) if isinstance(y, str) else y[0].split("_")[-1]
    layout.label_outer(axes, "update" if x == "step" else column_title(x), y_title)
    if log_y:
        marks.mark_zeros(axes.flat)
    marks.mark_ends(axes.flat, [cross for cross in crosses if cross], conditions)
    marks.name_equal_lines(axes.flat, conditions)
    layout.shared_legend(figure, axes.flat, column_title(hue))
    return figure


def heat_map(frame: pd.DataFrame, *, metric: str, row: str, col: str) -> Figure:
    """Draw the mean over seeds of a metric at the last step as colors and numbers.

    There is a cell for each pair of labels of `row` and `col`; a cross marks a mean that is not finite.

    Args:
        frame: from `frame.from_records`.
        metric: the metric.
        row: the axis whose labels are the rows.
        col: the axis whose labels are the columns.
    """
    seaborn = style.import_seaborn()
    rows = measure(frame, metric)
    check_axes(rows, row, col)
    if rows.duplicated([row, col, "seed"]).any():
        others = ", ".join(name for name in condition_columns(rows) if name not in (row, col))
        raise InputError(f"a cell of {row} and {col} has several values of a seed: give one label of {others} in where")
    values = rows.pivot(index=[row, "seed"], columns=col, values="value")
    means = values.groupby(level=row, observed=True).mean()
    finite = values.abs().lt(np.inf).groupby(level=row, observed=True).all().to_numpy()
    height, width = means.shape
    figure = Figure(figsize=(max(0.42 * width + 3.2, 6), 0.32 * height + 1.2), layout="constrained")
    axis = figure.subplots()
    seaborn.heatmap(
        means.where(finite),
        ax=axis,
        annot=True,
        annot_kws={"fontsize": 7},
        fmt=".2g",
        cmap="viridis",
        linewidths=0.5,
        cbar_kws={"label": column_title(metric)},
    )
    for line, column in np.argwhere(~finite) + 0.5:
        marks.Cross(axis, column, line, style.COLORS[6]).draw()
    axis.grid(False)
    axis.tick_params(rotation=0, length=0)
    axis.set(xlabel=column_title(col), ylabel=column_title(row))
    return figure


def histogram(frame: pd.DataFrame, *, counts: str, edges: str, row: str, col: str) -> Figure:
    """Draw histograms of the first seed at the last step, a panel for each pair of `row` and `col`.

    A panel whose counts or edges are not finite says so.

    Args:
        frame: from `frame.from_records`.
        counts: the metric with the count in each bin.
        edges: the metric with the left edge of each bin.
        row: the axis whose labels are the rows of panels.
        col: the axis whose labels are the columns of panels.
    """
    frame = _first_seed(frame)
    all_counts, all_edges = measure(frame, counts), measure(frame, edges)
    check_axes(all_counts, row, col, "bin")
    check_axes(all_edges, row, col, "bin")
    rows, columns = labels_of(all_counts[row]), labels_of(all_counts[col])
    # Margins are set by hand: computing them for fifty panels takes longer than drawing the panels.
    figure, axes = layout.panel_grid(len(rows), len(columns), width=1.75, height=1.0, layout=None)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(0.8 / width, 0.3 / height, 1 - 0.35 / width, 1 - 0.85 / height, wspace=0.2, hspace=0.45)
    for (i, row_label), (j, column_label) in itertools.product(enumerate(rows), enumerate(columns)):
        axis, where = axes[i, j], {row: row_label, col: column_label}
        heights, lefts = (
            select(bins, where).sort_values("bin")["value"].to_numpy() for bins in (all_counts, all_edges)
        )
        if i == 0:
            axis.set_title(f"{column_title(col)} {column_label}")
        if j == 0:
            axis.set_ylabel(f"{row_label}", fontsize=8)
        axis.tick_params(labelsize=7, labelleft=j == 0, pad=1.5)
        if np.isfinite([*heights, *lefts]).all() and heights.sum() > 0:
            marks.share_bars(axis, heights, lefts)
        else:
            layout.empty_panel(axis, marks.non_finite_reason(select(frame, where)) if len(heights) else "")
    return figure


def images(frame: pd.DataFrame, *, metric: str, row: str, kinds: list[str]) -> Figure:
    """Draw the images of the first seed at the last step, a panel for each label of `row` and each kind of image.

    Args:
        frame: from `frame.images`, with arrays uint8 (kinds, images, channels, height, width), or None.
        metric: the series from which `frame` was made.
        row: the axis whose labels are the rows.
        kinds: the titles of the columns.
    """
    frame = _first_seed(frame)
    check_axes(frame.drop(columns="images").assign(metric=metric), row)
    count = next((len(arrays) for arrays in frame["images"] if arrays is not None), len(kinds))
    if len(kinds) != count:
        raise InputError(f"kinds: {len(kinds)} names for {count} kinds of images")
    figure, axes = layout.panel_grid(len(frame), len(kinds), width=3.6, height=0.75)
    for panels, (label, status, arrays) in zip(axes, frame[[row, "status", "images"]].to_numpy(), strict=True):
        for axis, array in zip(panels, [None] * count if arrays is None else arrays, strict=True):
            if array is None:
                layout.empty_panel(axis, status)
            else:
                marks.side_by_side(axis, array)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        name = f"{label} (diverged)" if status == "diverged" else label
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.set_title(kind)
    return figure


def path(frame: pd.DataFrame, *, col: str, curvatures: list[float]) -> Figure:
    """Draw the paths of two parameters over the level lines of a quadratic function, a panel for each label of `col`.

    A cross marks the last point of a run that diverged.

    Args:
        frame: from `frame.from_records`, with the diagnostic `path`; the first seed is drawn.
        col: the axis whose labels are the panels.
        curvatures: of the function, as in the model `quadratic`.
    """
    rows = metric_rows(_first_seed(frame), "position")
    check_axes(rows, col, "coordinate")
    panels = labels_of(rows[col])
    figure, axes = layout.wrapped_panels(len(panels), 2, 3.4, 2.4)
    x, y = np.meshgrid(np.linspace(-10, 10, 401), np.linspace(-5, 5, 401))
    heights = (curvatures[0] * x**2 + curvatures[1] * y**2) / 2
    for axis, panel in zip(axes.flat, panels, strict=False):
        run = rows[rows[col] == panel]
        points = run.pivot_table(index="step", columns="coordinate", values="value", dropna=False).to_numpy()
        finite = np.isfinite(points).all(1)
        points = points if finite.all() else points[: int(finite.argmin())]
        axis.contour(x, y, heights, levels=np.arange(1, 8), colors="#999999", linewidths=0.6)
        axis.plot(points[:, 0], points[:, 1], "o-", color=style.COLORS[0], linewidth=1.2, markersize=3)
        axis.plot(0, 0, "+", color=style.COLORS[6], markersize=9, markeredgewidth=1.5)
        ended = not finite.all() or (run["status"] == "diverged").any()
        axis.set_title(f"{panel}, {len(points)} points{f' ({marks.non_finite_reason(run)})' if ended else ''}")
        axis.set_xlim(-10, 10)
        axis.set_ylim(-5, 5)
        if ended and len(points):
            marks.Cross(axis, points[-1, 0], points[-1, 1], style.COLORS[6]).draw()
    layout.label_outer(axes, "x", "y")
    return figure


def scatter(frame: pd.DataFrame, *, x: list[str], y: str, at: int | Literal["last"] = "last") -> Figure:
    """Draw a metric over each of two hyper-parameters, and over both: a point for each run.

    Runs that diverged before, or have no finite value, are crosses on the edges.

    Args:
        frame: from `frame.from_records`.
        x: the two hyper-parameters, whose axes are logarithmic.
        y: the metric.
        at: the step of `y`, or `last`.
    """
    settings = [_by_run(measure(frame, name)) for name in x]
    values, rows = measure(frame, y, at), metric_rows(frame, y)
    finite = values.groupby("run", observed=True).filter(lambda run: bool(np.isfinite(run["value"]).all()))
    lost = rows[~rows["run"].isin(finite["run"])]
    heights = _by_run(values[~values["run"].isin(lost["run"])])
    figure = Figure(figsize=(11.5, 3.8), layout="constrained")
    first, second, plane = figure.subplots(1, 3)
    second.sharey(first)
    points = [setting.loc[heights.index] for setting in settings]
    shared: dict[str, Any] = {"c": heights, "cmap": "viridis", "vmin": heights.min(), "vmax": heights.max()}
    shared |= {"s": POINTS_AREA / max(len(heights), MIN_POINTS), "zorder": 3}
    shared["rasterized"] = len(heights) > style.MAX_VECTOR_POINTS
    for axis, setting in ((first, points[0]), (second, points[1])):
        axis.scatter(setting, heights, **shared)
    in_plane = plane.scatter(*points, **shared)
    if len(heights):
        figure.colorbar(in_plane, ax=plane, label=column_title(y))
    if len(lost):
        crosses = [setting.loc[labels_of(lost["run"])] for setting in settings]
        marks.edge_crosses((first, second, plane), crosses, f"{len(crosses[0])} {marks.non_finite_reason(lost)}")
    layout.label_scatter((first, second, plane), x, y)
    return figure


def _curve_rows(frame: pd.DataFrame, x: str, y: str | list[str], hue: str) -> pd.DataFrame:
    """Return the rows that `curves` draws.

    Raises:
        InputError: several metrics are not distinguished by their lines.
    """
    if isinstance(y, list) != (hue == "metric"):
        raise InputError(f"hue: {hue!r} with y: {y!r}: take metric where y is a list, and only there")
    if x in records.AXES:
        return measure(frame, y)
    return metric_rows(frame, y) if x == "step" else metric_against(frame, y, x)


def _first_seed(frame: pd.DataFrame) -> pd.DataFrame:
    first: pd.DataFrame = frame[frame["seed"] == frame["seed"].min()]
    return first


def _by_run(values: pd.DataFrame) -> pd.Series:
    """Return the value of each run."""
    return values.groupby("run", observed=True)["value"].mean()


def _line_label(label: object, hue: str) -> str:
    return column_title(str(label)) if hue == "metric" else str(label)
