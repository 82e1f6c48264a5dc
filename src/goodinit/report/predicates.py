"""Predicates: functions that test a claim on the records of a study, `(frame, *, options) -> Evidence`."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report.measures import condition_columns, measure, select
from goodinit.report.statistics import Interval, bootstrap_interval, prediction_interval
from goodinit.studies import At, Where

__all__ = ["agrees", "beats", "ranks", "trend", "within"]  # the predicates that a study may name

Decision = Literal["contradicted", "inconclusive", "replicated"]  # the worst first
MIN_SEEDS = 3  # with fewer, nothing is concluded about a mean, unless runs do not depend on their seed


@dataclass(frozen=True)
class Evidence:
    """What a predicate concludes.

    Args:
        estimate: what the predicate estimates, such as a mean or a difference.
        low, high: the bounds of its 95 % interval.
        n: the number of seeds.
        decision: whether the interval confirms the claim, contradicts it, or neither.
    """

    estimate: float
    low: float
    high: float
    n: int
    decision: Decision


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
    values = measure(select(frame, where), metric, at)
    groups = values.groupby(condition_columns(values), observed=True)["value"]
    return _worst([_test_mean(group.to_numpy(), above, below) for _, group in groups])


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

    A run that diverged, whose value is NaN, is worse than any that did not.
    """
    values = measure(select(frame, where), metric, at)
    values = values.fillna({"value": -math.inf if best == "highest" else math.inf})
    better_values, worse_values = (select(values, side).set_index("seed")["value"] for side in (better, worse))
    if better_values.index.has_duplicates or worse_values.index.has_duplicates:
        raise InputError("beats: better and worse must each name one condition")
    difference = (better_values - worse_values).dropna() * (1 if best == "highest" else -1)
    return _test_mean(difference.to_numpy(), above=0)


def ranks(
    frame: pd.DataFrame,
    *,
    order: list[Where | list[Where]],
    metric: str,
    best: Literal["lowest", "highest"],
    where: Where | None = None,
    at: At = "last",
) -> Evidence:
    """Test that conditions have an order, the best first: each `beats` the next; the worst pair decides.

    An item of the order may be a list of conditions whose own order is open: each of them beats the conditions of the
    next item, and is beaten by those of the previous item.
    """
    pairs = [
        pair
        for item, following in itertools.pairwise(map(_as_list, order))
        for pair in itertools.product(item, following)
    ]
    return _worst(
        [
            beats(frame, better=better, worse=worse, metric=metric, best=best, where=where, at=at)
            for better, worse in pairs
        ]
    )


def trend(
    frame: pd.DataFrame,
    *,
    metric: str,
    start: Where,
    end: Where,
    where: Where | None = None,
    at: At = "last",
    start_at: At | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Evidence:
    """Test that the mean ratio of a metric at `end` to that at `start`, paired by seed, lies between two bounds.

    With `start_at` the metric at `start` is taken at these steps instead of `at`.
    """
    rows = select(frame, where)
    first = select(measure(rows, metric, at if start_at is None else start_at), start).set_index("seed")["value"]
    last = select(measure(rows, metric, at), end).set_index("seed")["value"]
    if first.index.has_duplicates or last.index.has_duplicates:
        raise InputError("trend: where, start and end must name one condition")
    return _test_mean((last / first).dropna().to_numpy(), above, below)


def agrees(frame: pd.DataFrame, reported: float, *, where: Where, metric: str, at: int, window: int = 1) -> Evidence:
    """Test that the reported value of one run at one step lies in the 95 % prediction interval of the runs.

    The interval is computed from the values of all runs at the last `window` steps up to `at`: the loss of one
    mini-batch varies more between batches than between seeds.
    """
    rows = select(frame, where)
    measured = pd.concat([measure(rows, metric, step) for step in range(at - window + 1, at + 1)])
    values, seeds = measured["value"].to_numpy(), measured["seed"].nunique()
    mean = float(values.mean())
    if seeds < MIN_SEEDS:
        return Evidence(mean, math.nan, math.nan, seeds, "inconclusive")
    interval = prediction_interval(values)
    decision: Decision = "replicated" if interval.low <= reported <= interval.high else "contradicted"
    return Evidence(mean, interval.low, interval.high, seeds, decision)


def _test_mean(values: np.ndarray, above: float | None = None, below: float | None = None) -> Evidence:
    """Test that the mean of one value for each seed lies between bounds; infinite values count, NaN does not."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Evidence(math.nan, math.nan, math.nan, 0, "inconclusive")
    mean = float(values.mean())
    interval = Interval(mean, mean)
    if np.isfinite(mean) and len(values) > 1:
        interval = Interval(*bootstrap_interval(values[None])[:, 0].tolist())
    return Evidence(mean, interval.low, interval.high, len(values), _decide(interval, above, below))


def _decide(interval: Interval, above: float | None, below: float | None) -> Decision:
    """Return whether an interval lies between two bounds, beyond one of them, or neither."""
    if (above is None or above < interval.low) and (below is None or interval.high < below):
        return "replicated"
    beyond = (above is not None and interval.high <= above) or (below is not None and interval.low >= below)
    return "contradicted" if beyond else "inconclusive"


def _worst(evidence: Sequence[Evidence]) -> Evidence:
    """Return the evidence that decides a claim about all conditions: the first with the worst decision."""
    return min(evidence, key=lambda item: get_args(Decision).index(item.decision))


def _as_list(item: Where | list[Where]) -> list[Where]:
    """Return an item of an order as a list of conditions."""
    return item if isinstance(item, list) else [item]
