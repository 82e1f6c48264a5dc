"""One value of each run: a metric at certain steps, from the tidy frame."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

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
    "measure_all_runs",
    "metric_against",
    "metric_rows",
    "rank_trials",
    "required_step",
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

    A run that diverged by the requested steps has the value NaN, with `lowest` whenever it diverged.  Another run that
    ended before the requested steps has no value.

    Args:
        frame: from `frame.from_records`.
        metric: the name of the metric, or several names.
        at: `last`, the last step of each run; a step; `{"last": k}`, the mean over the last k recorded steps without
            step 0, or over all of them if there are fewer; `{"from": a, "to": b}`, the mean over the recorded steps
            from a to b, or to the end without `to`; or `lowest`, the smallest value.

    Raises:
        InputError: the records do not hold the metric, or a run has passed the requested steps without a value there.
        NotRun: no run reaches the requested steps, or has passed them at a scale at which runs are observed at other
            steps than in the published protocol.
    """
    rows = metric_rows(frame, metric)
    rows = rows.drop(columns=[name for name in records.AXES if (rows[name] < 0).all()])
    keys = [name for name in rows.columns if name not in ("step", "value")]
    if at == "lowest":
        lowest = rows.groupby(keys, observed=True)["value"].min().reset_index()
        return lowest.assign(value=lowest["value"].mask(lowest["status"] == "diverged"))
    first, last = _interval(at)
    required = required_step(at)
    end = rows["run"].map(frame.groupby("run", observed=True)["step"].max()).astype(int)  # of any metric
    last_step = rows.groupby(["run", "metric"], observed=True)["step"].transform("max")
    is_last = rows["step"] == last_step
    diverged = (rows["status"] == "diverged") & ((end < required) | ((last_step < end) & (end <= last)))
    values = rows.assign(value=rows["value"].mask(diverged))
    if isinstance(at, str):  # the last step
        return values[is_last]
    if isinstance(at, Mapping) and "last" in at:
        chosen = last_steps(values, at["last"])
    else:
        reaches = ~diverged & (end >= required)
        inside = rows["step"].between(first, last) & reaches
        _check_recorded(rows, reaches, inside, at)
        chosen = values[inside | (diverged & is_last)]
    if isinstance(at, int):
        return chosen.assign(step=at)
    means = chosen.groupby(keys, observed=True)["value"].agg(lambda values: values.to_numpy().mean())
    return means.reset_index()  # numpy's mean, since that of pandas leaves out NaN


def measure_all_runs(frame: pd.DataFrame, metric: str, at: At = "last") -> pd.DataFrame:
    """Return what `measure` does, a value for each run of the conditions that have the metric.

    Raises:
        InputError: as in `measure`.
        NotRun: also if a run has no value, because it ended before the requested steps or did not record the metric, or
            if runs of a condition diverged before any of them recorded it.
    """
    values = measure(frame, metric, at)
    runs = frame.drop_duplicates("run")
    axes = [runs[axis] for axis in condition_columns(frame) if axis not in records.AXES]
    recorded = runs["run"].isin(metric_rows(frame, metric)["run"].unique())
    expected = (recorded | (runs["status"] == "diverged")).groupby(axes, observed=True).transform("any")
    missing = expected & ~runs["run"].isin(values["run"])
    if missing.any():
        steps = "" if at in ("last", "lowest") else f" at {at}"
        raise NotRun(f"metric: {metric!r} has no value{steps} in {missing.sum()} of {expected.sum()} runs")
    return values


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
    """Check that each of some axes is one of a metric, and that they are different ones; None is no axis.

    Args:
        rows: of the metric, or of several.
        axes: names of axes, such as `init` or `layer`.

    Raises:
        InputError: there is no such axis, the metric does not have it, or it is repeated.
    """
    available = [name for name in condition_columns(rows) if name not in records.AXES or (rows[name] >= 0).all()]
    for axis in axes:
        if axis not in (None, *available):
            raise InputError(f"{rows['metric'].iloc[0]} has no axis {axis!r}{nearest(axis, available)}")
        if axis is not None and axes.count(axis) > 1:
            raise InputError(f"axis {axis!r} is shown twice: name another one")


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


def required_step(at: At) -> float:
    """Return the step that a run must reach to have a value at the requested steps; -inf where any will do."""
    first, last = (-math.inf, math.inf) if at == "lowest" else _interval(at)
    return first if math.isinf(last) else last


def _interval(at: At) -> tuple[float, float]:
    """Return the first and the last of the steps that are requested; infinite where there is no limit.

    Raises:
        InputError: these are not steps.
    """
    if isinstance(at, int):
        return at, at
    if isinstance(at, Mapping):
        return at.get("from", -math.inf), at.get("to", math.inf)
    if at != "last":
        raise InputError(f"at: {at!r} is not a step, last or lowest")
    return -math.inf, math.inf


def _check_recorded(rows: pd.DataFrame, reaches: pd.Series, inside: pd.Series, at: int | Mapping[str, int]) -> None:
    """Check that each run that reaches some steps has a value there.

    Args:
        rows: of a metric.
        reaches: for each row, whether its run reaches the steps and did not diverge before.
        inside: for each row, whether it is at one of the steps.
        at: the steps.

    Raises:
        InputError: a run that reaches the steps has no value there.
        NotRun: no run reaches the steps, or the scale observes runs at other steps.
    """
    metric, (first, last) = rows["metric"].iloc[0], _interval(at)
    steps = f"step {at}" if isinstance(at, int) else f"steps {first} to {last}"
    if isinstance(at, Mapping) and "to" not in at:
        steps = f"steps from {first}"
    if not reaches.any():
        if (rows["status"] == "diverged").all():
            return
        raise NotRun(f"metric: {metric!r} has no value at {steps}; the last is {rows['step'].max()}")
    recorded = inside.groupby([rows["run"], rows["metric"]], observed=True).transform("any")
    missing = rows[reaches & ~recorded]
    if len(missing):
        run, name = missing[["run", "metric"]].iloc[0]
        recorded_steps = missing.loc[(missing["run"] == run) & (missing["metric"] == name), "step"]
        earlier, later = recorded_steps[recorded_steps < first], recorded_steps[recorded_steps > last]
        listed = " and ".join(str(step) for step in [*earlier.nlargest(1), *later.nsmallest(1)])
        error = InputError if rows.attrs.get("observed_as_published", True) else NotRun
        raise error(f"at: {name!r} is not recorded at {steps}, but at {listed}: name steps that are recorded")
