"""Figures: each kind is a function (frame, **options) -> matplotlib Figure; it reads and shows nothing."""

import io
import itertools
import math

from goodinit.report import style  # first: it imports matplotlib without the user's settings
from goodinit.studies import components

# isort: split
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import marks, tables

__all__ = ["curves", "histogram", "images", "path", "scatter"]  # the kinds; `draw` and `render` are for the commands

# What each kind makes of several seeds.
SPREAD = {
    "curves": "mean, band: one standard deviation",
    "histogram": "the first is shown",
    "images": "the first is shown",
    "path": "the first is shown",
    "scatter": "a point for each run",
}


def curves(
    frame,
    *,
    y: str | list[str],
    hue: str,
    x: str = "step",
    col: str | None = None,
    wrap: int = 4,
    smooth: int = 0,
    y_limits: list[float] | None = None,
    log_y: bool = False,
):
    """Lines of the mean over seeds, with a band of one standard deviation on either side.

    A line ends at a cross where the first of its runs diverged; the legend says which conditions have no finite value.

    Args:
        frame: from `tables.frame`.
        y: the metric, or several.
        hue: the axis whose labels are the lines; `metric` where there are several.
        x: `step`; an axis of what is recorded, such as `layer`, at the last step; or a metric of the whole run,
            such as `epochs` or `training_seconds`, of which each update has its share.
        col: the axis whose labels are the panels.
        wrap: panels in a row.
        smooth: width of the Kaiser window (beta 2) that each run's curve is smoothed with; 0 for none.
        y_limits: of the vertical axis.
        log_y: logarithmic vertical axis; the means of several orders of magnitude are geometric then, and
            what is 0 is a triangle on the lower edge.
    """
    rows = _rows(frame, x, y, hue)
    panels = [None] if col is None else _labels(rows[col])
    columns = min(wrap, len(panels))
    size = {1: (5.5, 3.4), 2: (4.2, 3.4), 3: (3.4, 3.4)}.get(columns, (2.4, 2.1))
    figure, axes = marks.grid(math.ceil(len(panels) / columns), columns, *size)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    looks = dict(zip(y if hue == "metric" else rows[hue].cat.categories, marks.looks(), strict=False))
    crosses = []
    for axis, panel in zip(axes.flat, panels, strict=False):
        shown = rows if panel is None else rows[rows[col] == panel]
        if log_y:
            axis.set_yscale("log", nonpositive="mask")
        for label, look in looks.items():
            own = shown[shown[hue] == label]
            end = None if own.empty else marks.condition(axis, own, x, smooth, log_y, label=_name(label, hue), **look)
            crosses += [(axis, *end, look["color"], marks.word(own))] if end else []
        if panel is not None:
            axis.set_title(f"{_words(col)}: {panel}")
        if x in ("step", *records.AXES):
            axis.xaxis.set_major_locator(MaxNLocator(12 if x != "step" else "auto", integer=True))
        if y_limits:
            axis.set_ylim(*y_limits)
    for axis in axes[-1]:
        axis.set_xlabel({"step": "update"}.get(x, _words(x)))
    for axis in axes[:, 0]:
        axis.set_ylabel(_words(y) if isinstance(y, str) else y[0].split("_")[-1])
    if log_y:
        marks.zeros(axes.flat)
    conditions = {_name(label, hue): rows[rows[hue] == label] for label in looks}
    marks.ends(list(axes.flat), crosses, conditions)
    marks.legend(figure, axes.flat, _words(hue))
    return figure


def histogram(frame, *, counts: str, edges: str, row: str, col: str):
    """Histograms of the first seed at the last step, a panel for each pair of `row` and `col`.

    A panel whose counts or edges are not finite says so.

    Args:
        frame: from `tables.frame`.
        counts: the metric with the count in each bin.
        edges: the metric with the left edge of each bin.
        row: the axis down the page; its panels share their range.
        col: the axis across the page.
    """
    frame = frame[frame["seed"] == frame["seed"].min()]
    heights, lefts = tables.measure(frame, counts), tables.measure(frame, edges)
    down = _labels(heights[row])
    across = sorted(heights[col].unique())
    # Laid out by hand: solving for the margins of some fifty panels takes longer than drawing them.
    figure, axes = marks.grid(len(down), len(across), width=1.75, height=1.0, layout=None)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(0.8 / width, 0.3 / height, 1 - 0.35 / width, 1 - 0.85 / height, wspace=0.2, hspace=0.45)
    for (i, label), (j, place) in itertools.product(enumerate(down), enumerate(across)):
        axis = axes[i, j]
        chosen = {row: label, col: place}
        height = tables.select(heights, chosen).sort_values("bin")["value"].to_numpy()
        left = tables.select(lefts, chosen).sort_values("bin")["value"].to_numpy()
        if i == 0:
            axis.set_title(f"{_words(col)} {place}")
        if j == 0:
            axis.set_ylabel(f"{label}", fontsize=8)
        axis.tick_params(labelsize=7, labelleft=j == 0, pad=1.5)
        if not (np.isfinite([*height, *left]).all() and height.sum() > 0):
            marks.lost(axis, marks.word(tables.select(frame, chosen)) if len(height) else "")
            continue
        marks.bars(axis, height, left)
    return figure


def images(frame, *, metric: str, row: str, kinds: list[str]):
    """Pictures of the first seed at the last step: a panel for each label of `row` and each kind of picture.

    Args:
        frame: from `tables.pictures`, each uint8 (kinds, images, channels, height, width), or None.
        metric: which pictures `frame` was made of.
        row: the axis whose labels are the rows.
        kinds: what the kinds are called, over the columns.
    """
    frame = frame[frame["seed"] == frame["seed"].min()]
    there = next((len(picture) for picture in frame["picture"] if picture is not None), len(kinds))
    if len(kinds) != there:
        raise InputError(f"kinds: {len(kinds)} names for {there} kinds of pictures")
    figure, axes = marks.grid(len(frame), len(kinds), width=3.6, height=0.75)
    for line, (label, status, picture) in zip(axes, frame[[row, "status", "picture"]].to_numpy(), strict=True):
        for axis, shown in zip(line, [None] * there if picture is None else picture, strict=True):
            if shown is None:
                marks.lost(axis, status)
            else:
                marks.side_by_side(axis, shown)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        name = f"{label} (diverged)" if status == "diverged" else label
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.set_title(kind)
    return figure


def path(frame, *, col: str, curvatures: list[float], limits: list[float] = (-10.0, 10.0, -5.0, 5.0), wrap: int = 2):
    """Ways of two parameters over the level lines of a quadratic function, a panel for each label of `col`.

    A cross is the last point of a run that diverged.

    Args:
        frame: from `tables.frame`, with the diagnostic `path`; the first seed is drawn.
        col: the axis whose labels are the panels.
        curvatures: of the function, as in the model `quadratic`.
        limits: of the panels: left, right, lower, upper.
        wrap: panels in a row.
    """
    rows = tables.of(frame[frame["seed"] == frame["seed"].min()], "position")
    panels = _labels(rows[col])
    columns = min(wrap, len(panels))
    figure, axes = marks.grid(math.ceil(len(panels) / columns), columns, 3.4, 2.4)
    left, right, lower, upper = limits
    x, y = np.meshgrid(np.linspace(left, right, 401), np.linspace(lower, upper, 401))
    heights = (curvatures[0] * x**2 + curvatures[1] * y**2) / 2
    for axis, panel in zip(axes.flat, panels, strict=False):
        own = rows[rows[col] == panel]
        way = own.pivot_table(index="step", columns="coordinate", values="value", dropna=False).to_numpy()
        finite = np.isfinite(way).all(1)
        points = len(way) if finite.all() else int(finite.argmin())
        way = way[:points]
        axis.contour(x, y, heights, levels=np.arange(1, 8), colors="#999999", linewidths=0.6)
        axis.plot(way[:, 0], way[:, 1], "o-", color=style.COLORS[0], linewidth=1.2, markersize=3)
        axis.plot(0, 0, "+", color=style.COLORS[6], markersize=9, markeredgewidth=1.5)
        ended = not finite.all() or (own["status"] == "diverged").any()
        axis.set_title(f"{panel}, {points} points{f' ({marks.word(own)})' if ended else ''}")
        axis.set_xlim(left, right)
        axis.set_ylim(lower, upper)
        if ended and points:
            marks.cross(axis, *way[-1], style.COLORS[6], None)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("x")
    for axis in axes[:, 0]:
        axis.set_ylabel("y")
    return figure


def scatter(frame, *, x: list[str], y: str, at: str | int = "last"):
    """A metric over each of two hyper-parameters, and over both: a point for each run.

    Runs that diverged before, or have no finite value, are crosses on the edges.

    Args:
        frame: from `tables.frame`.
        x: the two hyper-parameters, drawn on logarithmic axes.
        y: the metric.
        at: the step of `y`, or `last`.
    """
    if len(x) != 2:
        raise InputError(f"x: takes two hyper-parameters, not {len(x)}")
    places = [tables.measure(frame, name).groupby("run", observed=True)["value"].mean() for name in x]
    values = tables.measure(frame, y, at)
    rows = tables.of(frame, y)
    lost = rows[~rows["run"].isin(values.groupby("run", observed=True).filter(_is_finite)["run"])]
    heights = values[~values["run"].isin(lost["run"])].groupby("run", observed=True)["value"].mean()
    crosses = [place.loc[_labels(lost["run"])] for place in places]
    places = [place.loc[heights.index] for place in places]
    figure = Figure(figsize=(11.5, 3.8), layout="constrained")
    first, second, plane = figure.subplots(1, 3)
    second.sharey(first)
    shared = {"c": heights, "cmap": "viridis", "vmin": heights.min(), "vmax": heights.max(), "s": 18, "zorder": 3}
    for axis, place in ((first, places[0]), (second, places[1])):
        axis.scatter(place, heights, **shared)
    points = plane.scatter(*places, **shared)
    if len(heights):
        figure.colorbar(points, ax=plane, label=_words(y))
    if len(lost):
        marks.crosses((first, second, plane), crosses, f"{len(crosses[0])} {marks.word(lost)}")
    for axis, name in ((first, x[0]), (second, x[1]), (plane, x[0])):
        axis.set_xscale("log")
        axis.set_xlabel(_words(name))
    first.set_ylabel(_words(y))
    plane.set_yscale("log")
    plane.set_ylabel(_words(x[1]))
    for scale in (first.xaxis, second.xaxis, plane.xaxis, plane.yaxis):
        low, high = scale.get_view_interval()
        scale.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 3)))  # labels side by side
        scale.set_major_formatter("{x:.0e}")
        scale.set_minor_formatter("")
    return figure


def draw(study, scale, name, frame):
    """Draw one of the study's figures, with a title that says which work, what and at what scale."""
    spec = study.figures[name]
    title, where = spec.title or study.title, spec.where
    with style.context():
        shown = tables.select(frame, where)
        if shown.empty and not frame.attrs.get("complete", True):
            raise tables.NotRun(f"{study.path}: figures.{name}: nothing of what it shows is recorded yet")
        try:
            figure = components.resolve("figure", spec.kind)(shown, **spec.options)
        except InputError as error:
            raise type(error)(f"{study.path}: figures.{name}: {error}") from None
        single = {axis: label for axis, label in where.items() if not isinstance(label, list)}
        chosen = "".join(f", {_words(axis)} {label}" for axis, label in single.items())
        seeds = shown["seed"].nunique()
        note = f"{scale} scale, {seeds} seeds ({SPREAD[spec.kind]})" if seeds > 1 else f"{scale} scale, 1 seed"
        if study.deterministic:
            note = f"{scale} scale, nothing random"
        if scale == "demo":
            note += "\nDEMONSTRATION at a small scale, on stand-in data: not a replication"
        figure.suptitle(
            f"{study.work}/{study.name}: {title}{chosen}\n{note}",
            x=0.01,
            y=None if figure.get_layout_engine() else 1 - 0.08 / figure.get_figheight(),  # None: above the panels
            ha="left",
            va="top",
            fontsize=9,
        )
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()  # lays the panels out once, not again for every file
            figure.set_layout_engine("none")
    return figure


def render(figure, kind):
    """Return a figure as the bytes of an `svg` or `png` file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def _rows(frame, x, y, hue):
    """Return what a figure of curves draws, or refuse several metrics that nothing would tell apart."""
    if isinstance(y, list) != (hue == "metric"):
        raise InputError(f"hue: {hue!r} with y: {y!r}: take metric where y is a list, and only there")
    if x in records.AXES:
        return tables.measure(frame, y)
    return tables.of(frame, y) if x == "step" else tables.against(frame, y, x)


def _is_finite(rows):
    return np.isfinite(rows["value"]).all()


def _labels(axis):
    """Return the labels of an axis that have rows, in their order."""
    if axis.dtype != "category":
        return sorted(axis.unique())
    return [label for label in axis.cat.categories if (axis == label).any()]


def _name(label, hue):
    return _words(label) if hue == "metric" else str(label)


def _words(name):
    """Return a column's name as words: `model.activation` is `activation`."""
    return str(name).split(".")[-1].replace("_", " ")
