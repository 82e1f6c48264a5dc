"""One value of each run: a metric at certain steps, from the tidy frame."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from goodinit import records
from goodinit.errors import InputError, nearest
from goodinit.studies import At, Where, as_list

__all__ = [
    "NotRun",
    "check_axes",
    "condition_columns",
    "last_steps",
    "measure",
    "metric_against",
    "metric_rows",
    "rank_trials",
    "select",
]

RUN_COLUMNS = {"seed", "run", "status", "metric", "step", "value"}  # the others describe the condition


class NotRun(InputError):
    """The records at this scale do not contain the requested values: there are none, or they have too few steps."""


def select(frame: pd.DataFrame, where: Where | None) -> pd.DataFrame:
    """Return the rows that have the given label, or one of the given labels, in each of some columns.

    Raises:
        InputError: there is no such column.
    """
    for column, labels in (where or {}).items():
        if column not in frame:
            raise InputError(f"where: no axis {column!r} here{nearest(column, frame.columns)}")
        frame = frame[frame[column].isin(as_list(labels))]
    return frame


def metric_rows(frame: pd.DataFrame, metric: str | Sequence[str]) -> pd.DataFrame:
    """Return the rows of a metric, or of several.

    Raises:
        InputError: the records do not hold the metric.
        NotRun: the records do not hold the metric, but some jobs have no record yet.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    for name in metrics:
        if not (frame["metric"] == name).any():
            error = InputError if frame.attrs.get("complete", True) else NotRun
            raise error(f"metric: {name!r} is not in the records{nearest(name, frame['metric'].unique())}")
    return frame[frame["metric"].isin(metrics)]


def measure(frame: pd.DataFrame, metric: str | Sequence[str], at: At = "last") -> pd.DataFrame:
    """Return one value of a metric for each run (and layer).

    Args:
        frame: from `frame.from_records`.
        metric: the name of the metric, or several names.
        at: `last`, the last step of each run; a step; `{"last": k}`, the mean over the last k recorded steps without
            step 0, or over all of them if there are fewer; `{"from": a, "to": b}`, the mean over the recorded steps
            from a to b, or to the end without `to`; or `lowest`, the smallest value.  A run that diverged before the
            requested step, or after the last recorded one, has the value NaN.

    Raises:
        InputError: the records do not hold the metric.
        NotRun: they do not hold it at this step, or not up to step b.
    """
    rows = metric_rows(frame, metric)
    rows = rows.drop(columns=[name for name in records.AXES if (rows[name] < 0).all()])
    keys = [name for name in rows.columns if name not in ("step", "value")]
    last_step = rows.groupby("run", observed=True)["step"].transform("max")
    if at == "lowest":
        return rows.groupby(keys, observed=True)["value"].min().reset_index()
    if isinstance(at, Mapping):
        chosen = last_steps(rows, at["last"]) if "last" in at else _step_range(rows, at["from"], at.get("to"))
        groups = chosen.groupby(keys, observed=True)["value"]
        means = groups.agg(lambda values: values.to_numpy().mean())  # numpy's mean: that of pandas leaves out NaN
        return means.reset_index()
    if isinstance(at, str) and at != "last":
        raise InputError(f"at: {at!r} is not a step, last or lowest")
    if not isinstance(at, int):
        ended = frame.groupby("run", observed=True)["step"].max()  # of any metric: where the run ended
        diverged_after = (rows["status"] == "diverged") & (last_step < rows["run"].map(ended).astype(int))
        return rows.assign(value=rows["value"].mask(diverged_after))[rows["step"] == last_step]
    diverged_before = (rows["status"] == "diverged") & (rows["step"] == last_step) & (last_step < at)
    values = rows.assign(value=rows["value"].mask(diverged_before))[(rows["step"] == at) | diverged_before]
    if values.empty or (diverged_before.any() and rows.loc[rows["status"] != "diverged", "step"].max() < at):
        raise NotRun(f"metric: {metric!r} has no value at step {at}; the last is {rows['step'].max()}")
    return values.assign(step=at)


def metric_against(frame: pd.DataFrame, metric: str | Sequence[str], resource: str) -> pd.DataFrame:
    """Return the rows of a metric with a column that says how much of a resource was used up to each row's step.

    Args:
        frame: from `frame.from_records`.
        metric: the metric of the rows, or several.
        resource: a metric of the whole run, such as `training_seconds` or `epochs`, and the name of the column.  Each
            update uses an equal share of it, the mean over the seeds.

    Raises:
        InputError: the records do not hold one of these metrics.
    """
    rows, totals = metric_rows(frame, metric), measure(frame, resource)
    axes = [name for name in totals.select_dtypes("category") if name not in ("run", "status", "metric")]
    per_update = totals["value"] / totals["step"]
    shares = per_update.groupby([totals[axis] for axis in axes], observed=True).transform("mean")
    share_of_run = rows["run"].map(dict(zip(totals["run"], shares, strict=True))).astype(float)
    return rows.assign(**{resource: rows["step"] * share_of_run})


def check_axes(rows: pd.DataFrame, *axes: str | None) -> None:
    """Check that each of some axes is one of a metric; None is no axis.

    Args:
        rows: of the metric, or of several.
        axes: names of axes, such as `init` or `layer`.

    Raises:
        InputError: there is no such axis, or the metric does not have it.
    """
    available = [name for name in condition_columns(rows) if name not in records.AXES or (rows[name] >= 0).all()]
    for axis in axes:
        if axis not in (None, *available):
            raise InputError(f"{rows['metric'].iloc[0]} has no axis {axis!r}{nearest(axis, available)}")


def condition_columns(values: pd.DataFrame) -> list[str]:
    """Return the columns that distinguish conditions: all but those that describe a single run.

    Where trials are ranked, the rank replaces the trial: trials of different seeds have nothing in common.
    """
    excluded = RUN_COLUMNS | ({"trial"} if "rank" in values else set())
    return [name for name in values.columns if name not in excluded]


def rank_trials(
    frame: pd.DataFrame, axes: Iterable[str], metric: str, best: Literal["lowest", "highest"], at: At = "last"
) -> pd.Series:
    """Return for each row the rank of its trial in its random search, 1 for the best; ties are ordered by trial.

    Each seed, and each label of the other axes, has a random search of its own.  A trial that has no value at that
    step, because it diverged, is ranked last.

    Raises:
        InputError: as in `measure`.
    """
    search = ["seed", *(axis for axis in axes if axis != "trial")]
    runs = frame[[*search, "trial", "run"]].drop_duplicates().set_index("run").sort_values("trial", kind="stable")
    runs["value"] = measure(frame, metric, at).set_index("run")["value"]
    ordered = runs.sort_values("value", ascending=best == "lowest", kind="stable")  # NaN is last
    ranks = ordered.groupby(search, observed=True).cumcount() + 1
    return frame["run"].astype(str).map(ranks.rename(index=str)).astype(int).astype("category")


def last_steps(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the rows of the last `count` recorded steps of each run, without step 0 if there are others."""
    trained = rows[rows["step"] > 0]
    trained = rows if trained.empty else trained
    return trained[trained.groupby("run", observed=True)["step"].rank("dense", ascending=False) <= count]


def _step_range(rows: pd.DataFrame, first: int, last: int | None) -> pd.DataFrame:
    """Return the rows of the steps from `first` to `last`; a run that diverged before has NaN."""
    if rows["step"].max() < (first if last is None else last):
        steps = f"from {first}" if last is None else f"{first} to {last}"
        raise NotRun(f"metric: no value at steps {steps}; the last is {rows['step'].max()}")
    end = rows.groupby("run", observed=True)["step"].transform("max")
    diverged_before = (rows["status"] == "diverged") & (rows["step"] == end) & (end < first)
    rows = rows.assign(value=rows["value"].mask(diverged_before))
    return rows[rows["step"].between(first, np.inf if last is None else last) | diverged_before]
