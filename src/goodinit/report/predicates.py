"""Predicates: functions that test a claim on the records of a study, `(frame, *, options) -> Evidence`.

A run that diverged, or has no value, is never left out: it counts as worse than any other.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from goodinit import records
from goodinit.errors import InputError
from goodinit.report.distributions import t_quantile
from goodinit.report.evidence import Evidence, compare_with_bounds, worst
from goodinit.report.inference import Difference, Exact, Mean, Median, Share, location
from goodinit.report.measures import NotRun, condition_columns, measure_all_runs, metric_rows, select
from goodinit.studies import At, Reported, Where, as_list

__all__ = ["agrees", "beats", "ranks", "ratio", "share", "within"]  # the predicates that a study may name


def within(
    frame: pd.DataFrame,
    *,
    metric: str,
    where: Where | None = None,
    at: At = "last",
    above: float | None = None,
    below: float | None = None,
) -> Evidence:
    """Test that the mean lies between two bounds in each condition (and layer) of `where`; the worst one decides."""
    outside, deterministic = -math.inf if below is None else math.inf, _is_deterministic(frame)
    samples = _samples(frame, measure_all_runs(select(frame, where), metric, at))
    return worst(
        {
            name: compare_with_bounds(location(sample.fillna(outside), deterministic=deterministic), above, below)
            for name, sample in samples.items()
        }
    )


def share(
    frame: pd.DataFrame,
    *,
    metric: str,
    where: Where | None = None,
    at: At = "last",
    between: list[float | None] | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Evidence:
    """Test that a share of runs lies between two bounds; the runs of all conditions in `where` are pooled.

    Counted are the runs whose metric is 1, or with `between`, lies between two bounds or at one of them, compared in
    single precision, in which metrics are recorded.

    Deviation: runs with the same seed are taken as independent, though they see the same mini-batches.
    """
    values = measure_all_runs(select(frame, where), metric, at)
    _samples(frame, values)
    if between is None and not values["value"].dropna().isin([0, 1]).all():
        raise InputError(f"share: {metric} has values other than 0 and 1: give between: [low, high]")
    low, high = between or (1.0, 1.0)
    with np.errstate(over="ignore"):
        numbers = values["value"].to_numpy(np.float32)
        counted = numbers >= np.float32(-math.inf if low is None else low)
        counted &= numbers <= np.float32(math.inf if high is None else high)
    return compare_with_bounds(Share.of(int(counted.sum()), len(values)), above, below)


def beats(
    frame: pd.DataFrame,
    *,
    better: Where,
    worse: Where,
    metric: str,
    best: Literal["lowest", "highest"],
    where: Where | None = None,
    at: At = "last",
) -> Evidence:
    """Test that one condition is better than another: the mean of the difference, paired by seed, is above 0.

    Where a side names several conditions, each of `better` beats each of `worse`; the worst pair decides.
    """
    return ranks(frame, order=[better, worse], metric=metric, best=best, where=where, at=at)


def ranks(
    frame: pd.DataFrame,
    *,
    order: list[Where | list[Where]],
    metric: str,
    best: Literal["lowest", "highest"],
    where: Where | None = None,
    at: At = "last",
) -> Evidence:
    """Test that conditions have an order, the best first: each is better than the next; the worst pair decides.

    An item of the order may be several conditions whose own order is open: each of them beats the conditions of the
    next item, and is beaten by those of the previous item.
    """
    items = [as_list(item) for item in order]
    values = measure_all_runs(_of_runs(select(frame, where), [side for item in items for side in item]), metric, at)
    sides = [_union(values, item) for item in items]
    axes = list(dict.fromkeys(axis for item in items for condition in item for axis in condition))
    _samples(frame, pd.concat(sides), axes)
    evidence = {}
    for better, worse in itertools.pairwise(sides):
        pairs = itertools.product(_samples(frame, better, axes).items(), _samples(frame, worse, axes).items())
        for (name, sample), (other, other_sample) in pairs:
            difference = _difference(sample, other_sample, best, deterministic=_is_deterministic(frame))
            evidence[f"{name} against {other}"] = compare_with_bounds(difference, above=0)
    return worst(evidence)


def ratio(
    frame: pd.DataFrame,
    *,
    metric: str,
    numerator: Where,
    denominator: Where,
    where: Where | None = None,
    at: At = "last",
    denominator_at: At | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Evidence:
    """Test that the geometric mean of the ratio of a metric in two conditions, by seed, lies between two bounds.

    With `denominator_at` the metric of the denominator is taken at these steps instead of `at`.

    Raises:
        InputError: a value is negative, or one of the two does not name one condition.
    """
    rows = select(frame, where)
    numerators, denominators = (
        _only_one("ratio", frame, select(measure_all_runs(_of_runs(rows, [side]), metric, steps), side))
        for side, steps in ((numerator, at), (denominator, at if denominator_at is None else denominator_at))
    )
    if not numerators.index.equals(denominators.index):
        sides = {"numerator": numerators, "denominator": denominators}
        _samples(frame, pd.concat([sample.reset_index().assign(side=name) for name, sample in sides.items()]))
    if (numerators < 0).any() or (denominators < 0).any():
        raise InputError(f"ratio: {metric} has values below 0, which have no ratio: use beats or within")
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(numerators.to_numpy()) - np.log(denominators.to_numpy())
    outside = -math.inf if below is None else math.inf
    mean = location(np.where(np.isnan(logarithms), outside, logarithms), deterministic=_is_deterministic(frame))
    evidence = compare_with_bounds(mean, *(None if bound is None else math.log(bound) for bound in (above, below)))
    estimate, low, high = (math.exp(value) if value < 700 else math.inf for value in _numbers(evidence))
    return replace(evidence, estimate=estimate, low=low, high=high)


def agrees(
    frame: pd.DataFrame,
    reported: Reported,
    *,
    where: Where,
    metric: str,
    within: float,
    at: At = "last",
    window: int = 1,
) -> Evidence:
    """Test that the mean equals a reported number but for a difference smaller than `within` (an equivalence test).

    The interval of the difference holds the uncertainty of both: of the reported number, its standard deviation and
    number of runs where the source gives them, else one run with our standard deviation; and its rounding.

    Args:
        frame: from `frame.from_records`.
        reported: the number.
        where, metric, at: the measure.
        within: the difference that would matter.
        window: the number of steps up to `at` over which each of our runs is averaged.  The reported number is of
            one step: its standard deviation is that of all our values at these steps, as the loss of one
            mini-batch varies more between batches than between seeds.

    Returns:
        The evidence; its interval is that of the difference, added to the reported number.

    Raises:
        InputError: `where` does not name one condition, or `window` needs a step.
    """
    rows = select(frame, where)
    if window == 1:
        sample = values = _only_one("agrees", frame, measure_all_runs(rows, metric, at))
    else:
        if not isinstance(at, int):
            raise InputError("agrees: window needs a step: give at as a number")
        first, series = at - window + 1, metric_rows(rows, metric)
        measure_all_runs(rows, metric, first)  # the first step must be recorded
        sample = _only_one("agrees", frame, measure_all_runs(rows, metric, {"from": first, "to": at}))
        values = series["value"][series["step"].between(first, at)]
    ours = location(sample.fillna(math.inf), deterministic=_is_deterministic(frame))
    finite = values[np.isfinite(values)].to_numpy()
    freedom: float | None = None
    if reported.sd is not None:
        deviation, freedom = reported.sd, float(reported.runs - 1)
    elif isinstance(ours, Exact):
        deviation = 0.0
    else:
        deviation = float(finite.std(ddof=1)) if ours.n > 1 and finite.size > 1 else math.inf
    error = deviation / math.sqrt(reported.runs)
    if isinstance(ours, Median):
        quantile = t_quantile(max(finite.size - 1, 1) if freedom is None else freedom)
        margin = within + reported.rounded_to / 2 + (quantile * error if finite.size else 0.0)
        evidence = compare_with_bounds(ours, above=reported.value - margin, below=reported.value + margin)
        return replace(evidence, p_for=1.0)  # a mean that is not finite agrees with no number
    evidence = compare_with_bounds(
        Difference.of(ours, reported.value, error, freedom, reported.rounded_to), above=-within, below=within
    )
    low, high = reported.value + evidence.low, reported.value + evidence.high
    return replace(evidence, estimate=ours.value, low=low, high=high)


def _of_runs(frame: pd.DataFrame, conditions: Sequence[Where]) -> pd.DataFrame:
    """Return the rows of the runs of some conditions, whose axes of series, such as `layer`, do not matter."""
    of_runs = [{axis: labels for axis, labels in side.items() if axis not in records.AXES} for side in conditions]
    chosen = np.concatenate([select(frame, condition).index for condition in of_runs])
    return frame[frame.index.isin(chosen)]


def _samples(frame: pd.DataFrame, values: pd.DataFrame, axes: Sequence[str] | None = None) -> dict[str, pd.Series]:
    """Return the values of each condition by seed.

    Args:
        frame: from `frame.from_records`.
        values: from `measure`.
        axes: the columns that distinguish conditions; None for all.

    Raises:
        InputError: there is no value, a condition has several of a seed, or the conditions have different seeds.
        NotRun: the seeds differ because some jobs of the study have no record yet.
    """
    if values.empty:
        raise InputError("where: the test selects no run")
    columns = condition_columns(values) if axes is None else list(axes)
    varying = [column for column in columns if values[column].nunique() > 1] if axes is None else columns
    samples = {}
    for labels, group in values.groupby(columns, observed=True):
        named = dict(zip(columns, labels, strict=True))
        name = ", ".join(f"{axis} {named[axis]}" for axis in varying)
        if group["seed"].duplicated().any():
            open_axes = [column for column in condition_columns(group) if group[column].nunique() > 1]
            raise InputError(f"where: more than one {' and '.join(open_axes)} in {name or 'a condition'}: name one")
        samples[name] = group.set_index("seed")["value"].sort_index()
    if len({tuple(sample.index) for sample in samples.values()}) > 1:
        error = InputError if frame.attrs.get("complete", True) else NotRun
        raise error(f"where: the seeds differ between conditions: {', '.join(samples)}"[:250])
    return samples


def _only_one(predicate: str, frame: pd.DataFrame, values: pd.DataFrame) -> pd.Series:
    """Return the values by seed of the only condition that was selected."""
    samples = _samples(frame, values)
    if len(samples) != 1:
        raise InputError(f"{predicate}: one condition is compared, but the test selects {len(samples)}: name one")
    return next(iter(samples.values()))


def _union(values: pd.DataFrame, conditions: Sequence[Where]) -> pd.DataFrame:
    """Return the rows of some conditions."""
    return pd.concat([select(values, condition) for condition in conditions])


def _difference(
    better: pd.Series, worse: pd.Series, best: Literal["lowest", "highest"], *, deterministic: bool
) -> Exact | Mean | Median:
    """Return the estimate of by how much one side is better than the other, paired by seed.

    Two runs that are the worst possible are equal; where there is such a run, the estimate is a median.
    """
    sign, lowest = (1, -math.inf) if best == "highest" else (-1, math.inf)
    sides = np.stack([sign * side.fillna(lowest).to_numpy(dtype=float) for side in (better, worse)])
    with np.errstate(invalid="ignore"):
        difference = np.where(sides[0] == sides[1], 0.0, sides[0] - sides[1])
    return location(difference, deterministic=deterministic) if np.isfinite(sides).all() else Median.of(difference)


def _is_deterministic(frame: pd.DataFrame) -> bool:
    """Return whether the runs of a study do not depend on their seed."""
    return bool(frame.attrs.get("deterministic", False))


def _numbers(evidence: Evidence) -> tuple[float, float, float]:
    """Return the estimate and the bounds of its interval."""
    return evidence.estimate, evidence.low, evidence.high
