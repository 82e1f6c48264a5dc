"""Quantiles, p-values and powers of tests with Student's t and binomial distributions."""

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy import typing as npt

__all__ = [
    "CONFIDENCE",
    "MAX_RUNS",
    "SIGNIFICANCE",
    "min_runs",
    "power_of_difference",
    "power_of_share",
    "power_of_t",
    "share_p_values",
    "t_p_value",
    "t_quantile",
]

CONFIDENCE = 0.95
SIGNIFICANCE = 1 - CONFIDENCE
POWER = 0.9  # the probability of a decision for which numbers of runs are computed
MAX_RUNS = 10_000  # more are not asked for

Values = npt.NDArray[np.float64]


@functools.cache
def t_quantile(freedom: float, significance: float = SIGNIFICANCE) -> float:
    """Return the quantile of Student's t distribution beyond which lies half of the significance.

    With infinite degrees of freedom, it is that of the normal distribution.
    """
    from scipy import special  # a tenth of the time that importing scipy.stats takes, which figures do not need

    probability = 1 - significance / 2
    return float(special.ndtri(probability) if math.isinf(freedom) else special.stdtrit(freedom, probability))


def t_p_value(distance: float, error: float, freedom: float) -> float:
    """Return the two-sided p-value of a distance from 0 with this standard error and these degrees of freedom."""
    from scipy import special

    if error == 0:
        return float(distance == 0)
    if math.isinf(error) or freedom < 1:
        return 1.0
    score = -abs(distance) / error
    return 2 * float(special.ndtr(score) if math.isinf(freedom) else special.stdtr(freedom, score))


def share_p_values(counts: npt.NDArray[np.int64], n: int, share: float) -> Values:
    """Return the p-values of counts: twice the smaller tail, as in the interval of Clopper and Pearson."""
    from scipy import stats

    lower, upper = stats.binom.cdf(counts, n, share), stats.binom.sf(counts - 1, n, share)
    p_values: Values = np.minimum(1.0, 2 * np.minimum(lower, upper))
    return p_values


def power_of_t(difference: float, deviation: float, pilot: int, significance: float, n: int) -> float:
    """Return the probability that n runs distinguish a mean from a bound at a significance level.

    Args:
        difference: between the mean and the bound.
        deviation: the standard deviation of the runs, as estimated from a pilot study; the probability is the mean over
            its posterior distribution.
        pilot: the number of runs of the pilot study.
        significance: the level.
        n: the number of runs.
    """
    from scipy import stats

    quantiles = (np.arange(40) + 0.5) / 40
    deviations = deviation * np.sqrt((pilot - 1) / stats.chi2.ppf(quantiles, pilot - 1))
    power = stats.nct.sf(t_quantile(n - 1, significance), n - 1, difference / deviations * math.sqrt(n))
    return float(np.nan_to_num(power, nan=1.0).mean())  # NaN: a difference of very many deviations


def power_of_difference(
    difference: float, deviation: float, reported_error: float, freedom: float | None, significance: float, n: int
) -> float:
    """Return the probability that n runs distinguish the distance of their mean to a reported number from a bound.

    Args:
        difference: between the mean and the bound.
        deviation: the standard deviation of the runs.
        reported_error: the standard error of the reported number, which more runs do not decrease.
        freedom: its degrees of freedom, or None if it is computed from the standard deviation of the runs.
        significance: of the test.
        n: the number of runs.
    """
    from scipy import special, stats

    error = deviation / math.sqrt(n)
    quantile = t_quantile(n - 1 if freedom is None else min(n - 1, freedom), significance)
    least = quantile * math.hypot(error, reported_error)
    if freedom is None:  # both errors vary with the standard deviation of the runs
        return float(stats.nct.sf(least / error, n - 1, difference / error))
    return float(special.ndtr((difference - least) / error))


def power_of_share(share: float, bound: float, significance: float, n: int) -> float:
    """Return the probability that n runs distinguish a share from a bound at a significance level."""
    from scipy import stats

    counts = np.arange(n + 1)
    beyond = (counts / n > bound) == (share > bound)
    return float(stats.binom.pmf(counts, n, share)[beyond & (share_p_values(counts, n, bound) < significance)].sum())


def min_runs(power: Callable[[int], float], start: int) -> int | None:
    """Return the smallest number of runs, at least `start`, with enough power, or None if there is none."""
    low, high = start - 1, max(start, 2)
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > MAX_RUNS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and power(middle) >= POWER else (middle, high)
    return high
