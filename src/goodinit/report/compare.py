"""Compare two folders of records, number by number, to see whether another machine reproduced them."""

from pathlib import Path

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report.frame import from_records
from goodinit.report.measures import NotRun, condition_columns, measure, select
from goodinit.studies import Measure, Study

__all__ = ["COLUMNS", "NOT_REPRODUCED", "compare"]

COLUMNS = ("study", "metric", "at", "first", "second", "n", "spread", "difference")  # the others are axes
NOT_REPRODUCED = ("different", "missing")  # values of `difference`
ROUNDING = 1e-5  # relative: the difference between processors in the same sums, before training has amplified it
STANDARD_ERRORS = 3  # of the difference between two means: hundreds of them are compared


def compare(study: Study, scale: str, first: Path, second: Path) -> pd.DataFrame:
    r"""Return a frame with a row for each measure of the study's table and each condition.

    Args:
        study: the study whose records are compared.
        scale: the scale of the records in both folders.
        first, second: the folders of results.

    Returns:
        A frame with the labels, `metric`, `at`, `first` and `second` (means over the seeds that both folders have),
        `n`, `spread` (the larger standard deviation, of the finite numbers) and `difference`: `same`, all numbers are
        bit-equal; `within spread`, the same runs have a finite number, and the means of these numbers differ by at most
        :math:`3 s \sqrt{2 / n}`, which is three standard errors, or by rounding; `different`; or `missing`, one of the
        folders has no run of the condition.  Seconds are left out.

    Raises:
        NotRun: one of the folders has no records of the study.
        InputError: as in `frame.from_records`.
    """
    frames = from_records(study, scale, first), from_records(study, scale, second)
    parts = []
    for item in study.table:
        if item.metric.endswith("_seconds"):
            continue
        try:
            values = [select(measure(frame, item.metric, item.at), item.where) for frame in frames]
        except NotRun:
            continue
        except InputError as error:
            raise InputError(f"{study.path}: table: {error}") from None
        if not all(value.empty for value in values):  # neither folder has a condition of `where`
            parts.append(_compare_measure(item, *values))
    if not parts:
        raise NotRun(f"{study.path}: table: no measure that both have at this scale")
    return pd.concat(parts, ignore_index=True)


def _compare_measure(item: Measure, first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one measure, given its values in both folders."""
    axes = condition_columns(first)
    keys = [*axes, "seed"]
    both = first[[*keys, "value"]].merge(
        second[[*keys, "value"]], on=keys, how="outer", suffixes=("_first", "_second"), indicator="side"
    )
    rows = []
    for key, group in both.groupby(axes, observed=True):
        pairs = group.loc[group["side"] == "both", ["value_first", "value_second"]].to_numpy()
        rows.append({**dict(zip(axes, key, strict=True)), **_compare_samples(*pairs.T)})
    part = pd.DataFrame(rows)
    part.insert(len(axes), "metric", item.metric)
    part.insert(len(axes) + 1, "at", str(item.at))
    return part


def _compare_samples(first: np.ndarray, second: np.ndarray) -> dict[str, float | str]:
    """Return the means of two samples, paired by seed, and how they differ; they are empty if one folder has none."""
    if not len(first):
        return {"first": np.nan, "second": np.nan, "n": 0, "spread": np.nan, "difference": "missing"}
    means = float(first.mean()), float(second.mean())
    both_finite = np.isfinite(first) & np.isfinite(second)
    finite, count = [sample[both_finite] for sample in (first, second)], int(both_finite.sum())
    spread = max(float(sample.std(ddof=1)) for sample in finite) if count > 1 else 0.0
    tolerance = STANDARD_ERRORS * spread * np.sqrt(2 / max(count, 1))
    if np.array_equal(first, second, equal_nan=True):
        difference = "same"
    elif not np.array_equal(np.isfinite(first), np.isfinite(second)):
        difference = "different"
    elif not count or np.isclose(finite[0].mean(), finite[1].mean(), rtol=ROUNDING, atol=tolerance):
        difference = "within spread"
    else:
        difference = "different"
    return {"first": means[0], "second": means[1], "n": len(first), "spread": spread, "difference": difference}
