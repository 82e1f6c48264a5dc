"""Estimates of means, medians and shares: their 95 % intervals, p-values, and the number of runs that would decide."""

import abc
import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import typing as npt

from goodinit.errors import InputError
from goodinit.report.distributions import (
    CONFIDENCE,
    SIGNIFICANCE,
    min_runs,
    power_of_difference,
    power_of_share,
    power_of_t,
    share_p_values,
    t_p_value,
    t_quantile,
)

__all__ = ["Difference", "Estimate", "Exact", "Mean", "Median", "Share", "location", "t_interval"]

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimate(abc.ABC):
    """An estimate of a parameter, from independent runs.

    Args:
        value: the estimate.
        low, high: the bounds of its 95 % interval, infinite where the runs do not bound it.
        n: the number of runs.
        method: how the interval is computed.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    @abc.abstractmethod
    def p_value(self, bound: float) -> float:
        """Return the two-sided p-value of the hypothesis that the parameter is `bound`.

        It is less than 0.05 where `bound` lies outside the interval.
        """

    @abc.abstractmethod
    def runs_needed(self, bound: float, significance: float = SIGNIFICANCE) -> int | None:
        """Return the total number of runs with which the p-value is below the significance in nine of ten repetitions.

        It assumes that the estimate stays as it is, except that a share of 0 or 1 is not taken as certain; None if it
        cannot be determined or is more than 10,000.
        """


@dataclass(frozen=True, eq=False)
class Exact(Estimate):
    """A value that does not depend on the seed, so that one run determines it."""

    @classmethod
    def of(cls, value: float, n: int = 1) -> "Exact":
        """Return the estimate of n equal values."""
        return cls(value, value, value, n, "exact")

    def p_value(self, bound: float) -> float:  # noqa: D102
        return float(self.value == bound)

    def runs_needed(self, bound: float, significance: float = SIGNIFICANCE) -> int | None:  # noqa: D102
        return None if self.value == bound else self.n


@dataclass(frozen=True, eq=False)
class Mean(Estimate):
    r"""A mean, with the interval of Student's t, :math:`\bar x \pm t_{n-1} s / \sqrt n`.

    Args:
        error: the standard error; infinite for a single run.
    """

    error: float

    @classmethod
    def of(cls, sample: Values) -> "Mean":
        """Return the estimate of the mean of one value for each run, shape (n,)."""
        n, mean = len(sample), float(sample.mean())
        error = float(sample.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
        half = t_quantile(n - 1) * error if n > 1 else math.inf
        return cls(mean, mean - half, mean + half, n, "Student's t", error)

    def p_value(self, bound: float) -> float:  # noqa: D102
        return t_p_value(self.value - bound, self.error, self.n - 1)

    def runs_needed(self, bound: float, significance: float = SIGNIFICANCE) -> int | None:  # noqa: D102
        if self.n < 2 or self.value == bound:
            return None
        if self.error == 0:
            return self.n
        deviation = self.error * math.sqrt(self.n)
        power = functools.partial(power_of_t, abs(self.value - bound), deviation, self.n, significance)
        return min_runs(power, self.n)


@dataclass(frozen=True, eq=False)
class Median(Estimate):
    """A median, with the interval of order statistics.

    At a confidence of 95 %, five runs or fewer do not bound a median.

    Args:
        sample: one value for each run, shape (n,), which may be infinite.
    """

    sample: Values

    @classmethod
    def of(cls, sample: Values) -> "Median":
        """Return the estimate of the median of one value for each run, shape (n,), which may be infinite."""
        from scipy import stats

        n, ordered = len(sample), np.sort(sample)
        middle = ordered[(n - 1) // 2], ordered[n // 2]
        with np.errstate(invalid="ignore"):  # NaN between the two infinities
            median = float(middle[0] if middle[0] == middle[1] else np.mean(middle))
        interval: Any = stats.quantile_test(sample, p=0.5).confidence_interval(CONFIDENCE)
        low = -math.inf if math.isnan(interval.low) else float(interval.low)
        high = math.inf if math.isnan(interval.high) else float(interval.high)
        return cls(median, low, high, n, "median, order statistics", sample)

    def p_value(self, bound: float) -> float:  # noqa: D102
        from scipy import stats

        return float(stats.quantile_test(self.sample, q=bound, p=0.5).pvalue)

    def runs_needed(self, bound: float, significance: float = SIGNIFICANCE) -> int | None:  # noqa: D102
        return Share.of(int((self.sample > bound).sum()), self.n).runs_needed(0.5, significance)


@dataclass(frozen=True, eq=False)
class Share(Estimate):
    """A share of runs, with the exact interval of Clopper and Pearson.

    Args:
        count: the number of runs that have the property.
    """

    count: int

    @classmethod
    def of(cls, count: int, n: int) -> "Share":
        """Return the estimate of the share of runs that have a property, which `count` of `n` have."""
        from scipy import stats

        low, high = stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="exact")
        return cls(count / n, float(low), float(high), n, "Clopper-Pearson", count)

    def p_value(self, bound: float) -> float:  # noqa: D102
        return float(share_p_values(np.array([self.count]), self.n, bound)[0])

    def runs_needed(self, bound: float, significance: float = SIGNIFICANCE) -> int | None:  # noqa: D102
        share = (self.count + 0.5) / (self.n + 1)  # an observed share of 0 or 1 is not taken as certain
        return min_runs(functools.partial(power_of_share, share, bound, significance), self.n)


@dataclass(frozen=True, eq=False)
class Difference(Estimate):
    """The mean of our runs minus a reported number, whose uncertainty and rounding widen the interval.

    Args:
        ours: the mean of our runs.
        reported_error: the standard error of the reported number.
        reported_freedom: its degrees of freedom; None if it is computed from the standard deviation of our runs.
        error: that of the difference.
        freedom: its degrees of freedom.
        rounding: half of the unit to which the reported number is rounded.
    """

    ours: Mean | Exact
    reported_error: float
    reported_freedom: float | None
    error: float
    freedom: float
    rounding: float

    @classmethod
    def of(
        cls,
        ours: Mean | Exact,
        reported: float,
        reported_error: float,
        reported_freedom: float | None,
        rounded_to: float,
    ) -> "Difference":
        """Return the estimate of the difference.

        The degrees of freedom are the smaller ones of the two standard errors, with which the interval is too wide
        rather than too narrow.

        Args:
            ours: the mean of our runs.
            reported: the reported number.
            reported_error: its standard error.
            reported_freedom: its degrees of freedom; None if it is computed from the standard deviation of our runs.
            rounded_to: the unit of its last digit, 0 if it is not rounded.
        """
        own_error = ours.error if isinstance(ours, Mean) else 0.0
        error = math.hypot(own_error, reported_error)
        freedom = ours.n - 1.0 if own_error or reported_freedom is None else math.inf
        if reported_error and reported_freedom is not None:
            freedom = min(freedom, reported_freedom)
        half = (0.0 if error == 0 else math.inf if math.isinf(error) else t_quantile(freedom) * error) + rounded_to / 2
        value = ours.value - reported
        method = "Student's t, with the uncertainty of the reported number"
        rounding = rounded_to / 2
        return cls(
            value,
            value - half,
            value + half,
            ours.n,
            method,
            ours,
            reported_error,
            reported_freedom,
            error,
            freedom,
            rounding,
        )

    def p_value(self, bound: float) -> float:  # noqa: D102
        return t_p_value(max(abs(self.value - bound) - self.rounding, 0.0), self.error, self.freedom)

    def runs_needed(self, bound: float, significance: float = SIGNIFICANCE) -> int | None:
        """Return the number of our runs; None where more of them do not suffice, since the source has too few."""
        distance = abs(self.value - bound) - self.rounding
        if isinstance(self.ours, Exact) or self.ours.n < 2 or distance <= 0:
            return None
        if not self.reported_error:
            return self.ours.runs_needed(self.ours.value - distance, significance)
        deviation = self.ours.error * math.sqrt(self.n)
        power = functools.partial(
            power_of_difference, distance, deviation, self.reported_error, self.reported_freedom, significance
        )
        return min_runs(power, self.n)


def location(sample: npt.ArrayLike, *, deterministic: bool = False) -> Exact | Mean | Median:
    """Return the estimate of where the values of the runs lie.

    Args:
        sample: one value for each run, shape (n,) with n at least 1; infinite for a run that is worse than any other.
        deterministic: whether the values do not depend on the seed.

    Raises:
        InputError: the sample is empty.
    """
    sample = np.asarray(sample, dtype=np.float64)
    if not len(sample):
        raise InputError("a claim's test selects no run")
    if deterministic and (sample == sample[0]).all() and np.isfinite(sample[0]):
        return Exact.of(float(sample[0]), len(sample))
    return Mean.of(sample) if np.isfinite(sample).all() else Median.of(sample)


def t_interval(samples: Values) -> Values:
    r"""Return the 95 % interval of the mean of each sample.

    Args:
        samples: shape :math:`(G, n)`, one sample in each row.

    Returns:
        The lower and the upper bounds, shape :math:`(2, G)`; NaN where a sample has fewer than two values.
    """
    count = samples.shape[1]
    if count < 2:
        return np.full((2, len(samples)), np.nan)
    mean, half = samples.mean(axis=1), t_quantile(count - 1) * samples.std(axis=1, ddof=1) / math.sqrt(count)
    return np.stack([mean - half, mean + half])
