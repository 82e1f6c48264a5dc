"""Interval estimates, summaries over seeds, and smoothing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from goodinit.errors import InputError

__all__ = ["CONFIDENCE", "Interval", "bootstrap_interval", "prediction_interval", "smooth", "summarize"]

CONFIDENCE = 0.95
RESAMPLES = 2000


class Interval(NamedTuple):
    """The lower and upper bound of an interval."""

    low: float
    high: float


def bootstrap_interval(samples: np.ndarray) -> np.ndarray:
    r"""Return the 95 % percentile-bootstrap interval of the mean of each sample, from 2000 resamples.

    Args:
        samples: shape :math:`(G, n)`, one sample in each row.

    Returns:
        The lower and the upper bounds, shape :math:`(2, G)`; NaN where a sample has fewer than two values.
    """
    from scipy import stats  # its import takes half a second, which figures do not need

    samples = np.asarray(samples, dtype=float)
    if samples.shape[1] < 2:
        return np.full((2, len(samples)), np.nan)
    interval = stats.bootstrap(
        (samples,),
        np.mean,
        axis=1,
        n_resamples=RESAMPLES,
        batch=200,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=0,
    ).confidence_interval
    return np.stack([interval.low, interval.high])


def prediction_interval(sample: np.ndarray) -> Interval:
    r"""Return the 95 % prediction interval, within which one more observation of a normal distribution would lie.

    .. math:: \bar{x} \pm t_{n-1} \, s \sqrt{1 + 1 / n}

    Args:
        sample: shape :math:`(n,)`, with at least two values.
    """
    from scipy import stats

    count, mean = len(sample), float(sample.mean())
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    half = float(quantile * sample.std(ddof=1) * np.sqrt(1 + 1 / count))
    return Interval(mean - half, mean + half)


def summarize(values: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return size, mean, standard deviation and interval of the finite values in each group.

    Args:
        values: from `measures.measure`.
        by: the columns that identify a group.

    Returns:
        A frame with `by`, `n`, `not_finite` (the number of values that are not finite), `mean`, `sd` (of the sample),
        `low` and `high`.
    """
    keys, samples, not_finite = [], [], []
    for key, group in values.groupby(list(by), observed=True)["value"]:
        sample = group[np.isfinite(group)].to_numpy()
        keys.append(key)
        samples.append(sample)
        not_finite.append(len(group) - len(sample))
    sizes = np.array([len(sample) for sample in samples])
    summary = pd.DataFrame(keys, columns=list(by))
    summary["n"] = sizes
    summary["not_finite"] = not_finite
    summary["mean"] = [sample.mean() if len(sample) else np.nan for sample in samples]
    summary["sd"] = [sample.std(ddof=1) if len(sample) > 1 else np.nan for sample in samples]
    bounds = np.full((2, len(samples)), np.nan)
    for size in np.unique(sizes):
        indices = np.flatnonzero(sizes == size)
        bounds[:, indices] = bootstrap_interval(np.stack([samples[index] for index in indices]))
    summary["low"], summary["high"] = bounds
    return summary


def smooth(curve: np.ndarray, width: int) -> np.ndarray:
    """Smooth a curve with a normalized Kaiser window, beta 2, whose ends are reflected.

    Args:
        curve: shape (T,).
        width: of the window, odd.

    Returns:
        Shape (T,).

    Raises:
        InputError: the width is even.

    Reference: Saito, Deep Learning from Scratch (2016), `common/util.py`, where the width is 11; as there, the last
        value is repeated in its reflection and the first is not.
    """
    if width % 2 == 0:
        raise InputError(f"smooth: {width} is even: give an odd width, so that the window has a middle")
    window, half = np.kaiser(width, 2), width // 2
    padded = np.pad(np.pad(curve, (half, 0), mode="reflect"), (0, half), mode="symmetric")
    return np.convolve(padded, window / window.sum(), mode="valid")
