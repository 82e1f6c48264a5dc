"""The layout of figures: the arrangement of panels, their titles, labels and legend."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import goodinit.report.style  # noqa: F401  # first: it imports matplotlib without the settings of the user

# isort: split
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

__all__ = [
    "all_labels",
    "column_title",
    "empty_panel",
    "label_outer",
    "label_scatter",
    "labels_of",
    "panel_grid",
    "shared_legend",
    "wrapped_panels",
]


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
    """Return a figure and its panels as `panel_grid` does, with at most `columns` in a row; the others are hidden."""
    figure, axes = panel_grid(math.ceil(count / columns), min(columns, count), width, height, share_y)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes


def labels_of(column: pd.Series) -> list[Any]:
    """Return the labels of a column that have rows, in the order of the study."""
    present = set(column.unique())
    return [label for label in all_labels(column) if label in present]


def all_labels(column: pd.Series) -> list[Any]:
    """Return the labels of a column in the order of the study; of an axis that it compares also those without rows."""
    dtype = column.dtype
    return list(dtype.categories) if isinstance(dtype, pd.CategoricalDtype) else sorted(column.unique())


def column_title(name: str) -> str:
    """Return the name of a column as text: `model.activation` is `activation`, and `model.name` is `model`."""
    return str(name).removesuffix(".name").split(".")[-1].replace("_", " ")


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


def shared_legend(figure: Figure, axes: Iterable[Axes], title: str) -> None:
    """Draw one legend for all panels beside them."""
    handles: dict[str, Any] = {}
    for axis in axes:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), title=title, loc="outside right center", handlelength=3)


def empty_panel(axis: Axes, text: str) -> None:
    """Write a text in the middle of a panel that has nothing to show."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=8, color="#666666")
    axis.set(xticks=[], yticks=[])
