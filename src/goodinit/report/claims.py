"""Claims to verdicts: each predicate is a function (frame, **options) -> Verdict."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report import tables
from goodinit.studies import SCALES, components

__all__ = ["agrees", "beats", "ranks", "trend", "within"]  # the predicates that a study may name

COLUMNS = (
    "work",
    "study",
    "claim",
    "says",
    "source",
    "scale",
    "test",
    "reported",
    "verified",
    "estimate",
    "low",
    "high",
    "n",
    "verdict",
    "note",
)
FEWEST_SEEDS = 3  # with fewer, nothing is concluded about a mean; where nothing is random, one is enough


@dataclass(frozen=True)
class Verdict:
    """An estimate with its 95 % interval, from n seeds, and what follows for the claim.

    `verdict` is `replicated`, `contradicted` or `inconclusive`; `judge` adds `indicative: for`,
    `indicative: against` and `not run`.
    """

    estimate: float
    low: float
    high: float
    n: int
    verdict: str


def within(
    frame,
    *,
    metric: str,
    where: dict | None = None,
    at: str | int | dict = "last",
    above: float | None = None,
    below: float | None = None,
):
    """The mean lies between two bounds, in each condition (and layer) of `where`; the worst one counts."""
    values = tables.measure(tables.select(frame, where), metric, at)
    by = tables.condition_columns(values)
    found = [_bounded(group["value"], above, below) for _, group in values.groupby(by, observed=True)]
    return _worst(found)


def beats(
    frame,
    *,
    better: dict,
    worse: dict,
    metric: str,
    best: Literal["lowest", "highest"],
    where: dict | None = None,
    at: str | int | dict = "last",
):
    """One condition is better than another: the mean over seeds of the paired difference is more than 0.

    A run that diverged, whose value is not a number, is worse than any that did not.
    """
    values = tables.measure(tables.select(frame, where), metric, at)
    values = values.fillna({"value": -math.inf if best == "highest" else math.inf})
    sides = [tables.select(values, side).set_index("seed")["value"] for side in (better, worse)]
    if any(side.index.has_duplicates for side in sides):
        raise InputError("beats: better and worse must each name one condition")
    difference = (sides[0] - sides[1]).dropna() * (1 if best == "highest" else -1)
    return _bounded(difference, above=0)


def ranks(
    frame,
    *,
    order: list[dict | list[dict]],
    metric: str,
    best: Literal["lowest", "highest"],
    where: dict | None = None,
    at: str | int | dict = "last",
):
    """Conditions stand in an order, the best first: each `beats` the next; the worst pair counts.

    In place of a condition there may be a list of some, whose own order is open: each of them beats what follows, and
    is beaten by what precedes.
    """
    pairs = [
        pair for above, below in itertools.pairwise(map(_as_list, order)) for pair in itertools.product(above, below)
    ]
    return _worst(
        [beats(frame, better=one, worse=other, metric=metric, best=best, where=where, at=at) for one, other in pairs]
    )


def trend(
    frame,
    *,
    metric: str,
    start: dict,
    end: dict,
    where: dict | None = None,
    at: str | int | dict = "last",
    start_at: str | int | dict | None = None,
    above: float | None = None,
    below: float | None = None,
):
    """The ratio of a metric at `end` to the same at `start`, paired by seed, lies between two bounds.

    With `start_at` the metric at `start` is taken at these steps instead of `at`.
    """
    rows = tables.select(frame, where)
    measured = [tables.measure(rows, metric, steps) for steps in (at if start_at is None else start_at, at)]
    first, last = (
        tables.select(values, place).set_index("seed")["value"]
        for values, place in zip(measured, (start, end), strict=True)
    )
    if first.index.has_duplicates or last.index.has_duplicates:
        raise InputError("trend: where, start and end must name one condition")
    return _bounded((last / first).dropna(), above, below)


def agrees(frame, reported, *, where: dict, metric: str, at: int, window: int = 1):
    """The reported value of one run at one step could be one of ours: it lies in the 95 % prediction interval.

    The interval (Student's t) is that in which one more value would lie, not that of the mean.  Its values
    are those of all runs at the last `window` steps up to `at`: the loss of one mini-batch varies more from
    batch to batch than from seed to seed.
    """
    from scipy import stats  # half a second, which a table or a figure need not wait for

    rows = tables.select(frame, where)
    found = pd.concat([tables.measure(rows, metric, step) for step in range(at - window + 1, at + 1)])
    values = found["value"].to_numpy()
    seeds, mean = found["seed"].nunique(), float(values.mean())
    if seeds < FEWEST_SEEDS:
        return Verdict(mean, math.nan, math.nan, seeds, "inconclusive")
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) * math.sqrt(1 + 1 / len(values))
    verdict = "replicated" if abs(reported - mean) <= half else "contradicted"
    return Verdict(mean, mean - half, mean + half, seeds, verdict)


def judge(study, scale, frame):
    """Return a frame with one row for each claim of a study.

    Args:
        study: a Study.
        scale: the scale of the frame.
        frame: from `tables.frame`, or None where nothing was run.
    """
    rows = []
    for claim in study.claims:
        said = _reported(study, claim) if claim.predicate == "agrees" else None
        found = Verdict(math.nan, math.nan, math.nan, 0, "not run")
        if frame is not None and _was_run(frame, claim.options):
            more = () if said is None else (said.value,)
            try:
                found = components.resolve("test", claim.predicate)(frame, *more, **claim.options)
            except tables.NotRun:
                pass
            except InputError as error:
                raise InputError(f"{study.path}: claims.{claim.id}: {error}") from None
        verdict = found.verdict
        if found.n and found.n < (1 if study.deterministic else FEWEST_SEEDS):
            verdict = "inconclusive"
        if SCALES.index(scale) < SCALES.index(claim.needs):
            verdict = {"replicated": "indicative: for", "contradicted": "indicative: against"}.get(verdict, verdict)
        rows.append(
            {
                "work": study.work,
                "study": study.name,
                "claim": claim.id,
                "says": claim.says,
                "source": claim.source,
                "scale": scale,
                "test": claim.predicate,
                "reported": math.nan if said is None else said.value,
                "verified": "" if said is None else "yes" if said.verified else "no",
                "estimate": found.estimate,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "verdict": verdict,
                "note": claim.note,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _bounded(values, above=None, below=None):
    """Judge whether the mean of one value a seed lies between the bounds; an infinite value counts."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return Verdict(math.nan, math.nan, math.nan, 0, "inconclusive")
    mean = values.mean()
    low, high = tables.interval(values[None])[:, 0] if np.isfinite(mean) and len(values) > 1 else (mean, mean)
    if (above is None or above < low) and (below is None or high < below):
        verdict = "replicated"
    else:
        outside = (above is not None and high <= above) or (below is not None and low >= below)
        verdict = "contradicted" if outside else "inconclusive"
    return Verdict(float(mean), float(low), float(high), len(values), verdict)


def _worst(found):
    """Return the verdict that decides a claim about all: the first of the worst kind."""
    return min(found, key=lambda one: ("contradicted", "inconclusive", "replicated").index(one.verdict))


def _as_list(conditions):
    """Return a condition, or a list of some, as a list."""
    return conditions if isinstance(conditions, list) else [conditions]


def _was_run(frame, options):
    """Say whether each condition that a test names has records."""
    where = options.get("where") or {}
    sides = [options[key] for key in ("better", "worse") if key in options]
    sides = sides or [side for one in options.get("order", [{}]) for side in _as_list(one)]
    return all(not tables.select(frame, where | side).empty for side in sides)


def _reported(study, claim):
    """Return the reported number with which a claim's test compares."""
    measure = claim.options.get("metric"), claim.options.get("at", "last"), claim.options.get("where", {})
    for reported in study.reported:
        if (reported.metric, reported.at, reported.where) == measure:
            return reported
    raise InputError(f"{study.path}: claims.{claim.id}: no reported value for it: add one under reported")
