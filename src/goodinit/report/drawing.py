"""Draw the figures of a study, with their titles, and render them as files."""

import io
from typing import Literal, get_args

from goodinit.report import style  # first: it imports matplotlib without the user's settings

# isort: split
import pandas as pd
from matplotlib.figure import Figure

from goodinit.errors import InputError
from goodinit.report import DEMONSTRATION
from goodinit.report.layout import column_title
from goodinit.report.measures import NotRun, select
from goodinit.studies import FigureSpec, Study, components

__all__ = ["FORMATS", "draw", "render"]

Format = Literal["svg", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)

# What each kind of figure shows of several seeds.
SEEDS_SHOWN = {
    "curves": "mean, band: one standard deviation",
    "curves, log_y": "geometric mean, band: one standard deviation of the logarithm",
    "heat_map": "mean",
    "histogram": "the first is shown",
    "images": "the first is shown",
    "path": "the first is shown",
    "scatter": "a point for each run",
}


def draw(study: Study, scale: str, name: str, frame: pd.DataFrame) -> Figure:
    """Draw one of a study's figures, with a title that names the study and the scale.

    Args:
        study: the study that has the figure.
        scale: the scale of the records.
        name: the name of the figure.
        frame: from `frame.from_records`, or from `frame.images` for a figure of images.

    Raises:
        NotRun: nothing that the figure shows is recorded yet.
        InputError: the records do not hold what the figure shows, or its options contradict each other.
    """
    spec = study.figures[name]
    with style.context():
        shown = select(frame, spec.where)
        if shown.empty and not frame.attrs.get("complete", True):
            raise NotRun(f"{study.path}: figures.{name}: nothing of what it shows is recorded yet")
        try:
            figure: Figure = components.resolve("figure", spec.kind)(shown, **spec.options)
        except InputError as error:
            raise type(error)(f"{study.path}: figures.{name}: {error}") from None
        figure.suptitle(
            _title(study, scale, spec, *_seeds_of_conditions(study, shown)),
            x=0.01,
            y=None if figure.get_layout_engine() else 1 - 0.08 / figure.get_figheight(),  # None: above the panels
            ha="left",
            va="top",
            fontsize=9,
        )
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()  # computes the layout once, not again for every format
            figure.set_layout_engine("none")
    return figure


def render(figure: Figure, kind: Format) -> bytes:
    """Return a figure as the bytes of a file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def _seeds_of_conditions(study: Study, shown: pd.DataFrame) -> tuple[int, int]:
    """Return the smallest and the largest number of seeds of a condition."""
    seeds = shown["seed"].nunique()
    if not study.axes or shown.attrs.get("complete", True):
        return seeds, seeds
    counts = shown.groupby(list(study.axes), observed=True)["seed"].nunique()
    return counts.min(), counts.max()


def _title(study: Study, scale: str, spec: FigureSpec, fewest: int, most: int) -> str:
    """Return the title of a figure: the study, what is shown, the scale, and the number of seeds of a condition."""
    single = {axis: label for axis, label in spec.where.items() if not isinstance(label, list)}
    chosen = "".join(f", {column_title(axis)} {label}" for axis, label in single.items())
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    shown = SEEDS_SHOWN["curves, log_y" if spec.options.get("log_y") else spec.kind]
    note = f"{scale} scale, {seeds} seeds ({shown})" if most > 1 else f"{scale} scale, 1 seed"
    if study.deterministic:
        note = f"{scale} scale, nothing random"
    if scale == "demo":
        note += f"\n{DEMONSTRATION}"
    return f"{study.full_name}: {spec.title or study.title}{chosen}\n{note}"
