"""Two roots of records, number by number: did another machine reproduce them?"""

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report import tables

__all__ = ["compare"]

COLUMNS = ("study", "metric", "at", "one", "other", "n", "spread", "found")  # what is no label
ROUNDING = 1e-5  # relative; what other processors make of the same sums, before training has grown it
ERRORS = 3  # standard errors of the difference between two means of so many seeds; hundreds are compared


def compare(study, scale, one, other):
    r"""Return a frame with a row for each measure of the study's table and each condition.

    Args:
        study: a Study.
        scale: of both.
        one, other: the results folders.

    Returns:
        A frame with the labels, `metric`, `at`, `one` and `other` (means over the seeds that both have), `spread`
        (the larger standard deviation between seeds), `n` and `found`: `same`, every number to the bit; `within
        spread`, means that differ by no more than two sets of seeds might, :math:`3 s \sqrt{2 / n}`, or by rounding;
        or `different`.  Seconds are left out.

    Raises:
        NotRun: one of the folders has no records of the study; InputError: as in `tables.frame`.
    """
    frames = [tables.frame(study, scale, results) for results in (one, other)]
    parts = []
    for measure in study.table:
        if measure.metric.endswith("_seconds"):
            continue
        try:
            found = [tables.select(tables.measure(tidy, measure.metric, measure.at), measure.where) for tidy in frames]
        except tables.NotRun:
            continue
        except InputError as error:
            raise InputError(f"{study.path}: table: {error}") from None
        by = tables.condition_columns(found[0])
        keys = [*by, "seed"]
        pair = found[0][[*keys, "value"]].merge(found[1][[*keys, "value"]], on=keys, suffixes=("_one", "_other"))
        rows = [_row(key, group, by) for key, group in pair.groupby(by, observed=True)]
        part = pd.DataFrame(rows)
        part.insert(len(by), "metric", measure.metric)
        part.insert(len(by) + 1, "at", str(measure.at))
        parts.append(part)
    if not parts:
        raise tables.NotRun(f"{study.path}: table: no measure that both have at this scale")
    return pd.concat(parts, ignore_index=True)


def _row(key, group, by):
    one, other = group["value_one"].to_numpy(), group["value_other"].to_numpy()
    row = dict(zip(by, key, strict=True)) | {"one": one.mean(), "other": other.mean(), "n": len(group)}
    row["spread"] = max(one.std(ddof=1), other.std(ddof=1)) if len(group) > 1 else 0.0
    error = np.nan_to_num(row["spread"]) * np.sqrt(2 / len(group))
    close = np.isclose(row["one"], row["other"], rtol=ROUNDING, atol=ERRORS * error)
    if np.array_equal(one, other, equal_nan=True):
        row["found"] = "same"
    else:
        row["found"] = "within spread" if close else "different"
    return row
