"""The table of a study: its measures, summarized over the seeds, beside the numbers that the source reports."""

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report.measures import NotRun, condition_columns, last_steps, measure, metric_rows, select
from goodinit.report.statistics import summarize
from goodinit.studies import Measure, Study

__all__ = ["table"]

SHARES = ("converged", "diverged")  # metrics that are 1 for a run that has a property, else 0


def table(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a study.

    A measure at a step that this scale does not reach is left out.

    Args:
        study: the study that has the table.
        frame: from `frame.from_records`.

    Returns:
        A frame with a column for each axis of the measures, `metric`, `at`, the columns of `statistics.summarize`,
        and `reported`, `source` and `verified`, which are empty where the source reports nothing.

    Raises:
        NotRun: this scale reaches no measure.
        InputError: the records do not hold a measure.
    """
    parts = []
    for item in study.table:
        try:
            values = measure(frame, item.metric, item.at)
        except NotRun:
            continue
        except InputError as error:
            raise InputError(f"{study.path}: table: {error}") from None
        values = select(values, item.where)
        axes = condition_columns(values)
        part = summarize(values, axes, shares=item.metric in SHARES)
        part.insert(len(axes), "metric", item.metric)
        part.insert(len(axes) + 1, "at", _describe_steps(frame, item))
        _add_reported(part, study, item)
        parts.append(part.astype({axis: object for axis in study.axes if axis in part}))
    if not parts:
        raise NotRun(f"{study.path}: table: no measure is at a step that was recorded at this scale")
    return pd.concat(parts, ignore_index=True)


def _add_reported(part: pd.DataFrame, study: Study, item: Measure) -> None:
    """Add the columns with the numbers that the source reports for a measure."""
    part["reported"], part["source"], part["verified"] = np.nan, "", ""
    for reported in study.reported:
        if reported.metric == item.metric and reported.at == item.at:
            rows = select(part, reported.where).index
            part.loc[rows, "reported"] = reported.value
            part.loc[rows, "source"] = reported.source
            part.loc[rows, "verified"] = "yes" if reported.verified else "no"


def _describe_steps(frame: pd.DataFrame, item: Measure) -> str:
    """Return the steps of a measure as text."""
    at = item.at
    if isinstance(at, str | int):
        return str(at)
    if "from" in at:
        return f"mean of steps {at['from']} to {at['to']}" if "to" in at else f"mean from step {at['from']}"
    rows = last_steps(metric_rows(frame, item.metric), at["last"])
    return f"mean of last {rows.groupby('run', observed=True)['step'].nunique().max()}"
