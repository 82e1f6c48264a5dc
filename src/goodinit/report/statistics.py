"""Summaries over seeds, and smoothing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report.inference import Share, t_interval

__all__ = ["smooth", "summarize"]


def summarize(values: pd.DataFrame, by: Sequence[str], *, shares: bool = False) -> pd.DataFrame:
    """Return size, mean, standard deviation and 95 % interval of the finite values in each group.

    The interval is that of Student's t, or for shares, that of Clopper and Pearson.

    Args:
        values: from `measures.measure`.
        by: the columns that identify a group.
        shares: whether each value is 1 for a run that has a property and 0 for one that does not.

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
    if shares:
        estimates = [Share.of(int(sample.sum()), len(sample)) for sample in samples]
        summary["low"], summary["high"] = [item.low for item in estimates], [item.high for item in estimates]
        return summary
    bounds = np.full((2, len(samples)), np.nan)
    for size in np.unique(sizes):
        indices = np.flatnonzero(sizes == size)
        bounds[:, indices] = t_interval(np.stack([samples[index] for index in indices]))
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
