"""Summaries and smoothing, against hand-computed values, scipy and a slow transcription."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from goodinit.errors import InputError
from goodinit.report import statistics


def _values(groups):
    """Return a frame with the values of each group."""
    rows = [(name, value) for name, values in groups.items() for value in values]
    return pd.DataFrame(rows, columns=["arm", "value"])


def test_summary_has_the_hand_computed_values():
    summary = statistics.summarize(_values({"a": [1.0, 2.0, 3.0, 6.0], "b": [5.0, 5.0, 5.0]}), ["arm"])
    assert list(summary.columns) == ["arm", "n", "not_finite", "mean", "sd", "low", "high"]
    assert summary["n"].tolist() == [4, 3]
    assert summary["mean"].tolist() == [3, 5]
    assert summary["sd"].tolist() == pytest.approx([np.sqrt((4 + 1 + 0 + 9) / 3), 0])
    assert summary["low"][0] < 3 < summary["high"][0]
    assert summary.loc[1, ["low", "high"]].tolist() == [5, 5]


def test_summary_counts_and_leaves_out_values_that_are_not_finite():
    groups = {"a": [1.0, np.nan, 3.0, np.inf, -np.inf], "b": [np.nan, 4.0], "c": [np.nan, np.nan]}
    summary = statistics.summarize(_values(groups), ["arm"]).set_index("arm")
    assert summary["n"].to_dict() == {"a": 2, "b": 1, "c": 0}
    assert summary["not_finite"].to_dict() == {"a": 3, "b": 1, "c": 2}
    assert summary["mean"].tolist() == pytest.approx([2, 4, np.nan], nan_ok=True)
    assert summary["sd"].tolist() == pytest.approx([np.sqrt(2), np.nan, np.nan], nan_ok=True)
    assert summary[["low", "high"]].isna().all(axis=1).tolist() == [False, True, True]


def test_intervals_are_those_of_students_t_in_groups_of_any_size():
    values = {"a": [1.0, 2.0, 4.0], "b": [3.0, 5.0], "c": [7.0], "d": [0.0, 1.0, 5.0]}
    summary = statistics.summarize(_values(values), ["arm"]).set_index("arm")
    for arm, sample in values.items():
        interval = stats.ttest_1samp(sample, 0).confidence_interval() if len(sample) > 1 else (np.nan, np.nan)
        assert summary.loc[arm, ["low", "high"]].tolist() == pytest.approx(list(interval), nan_ok=True)


def test_intervals_of_shares_are_those_of_clopper_and_pearson():
    values = {"a": [1.0, 0.0, 1.0], "b": [0.0, 0.0], "c": [np.nan, 1.0, 1.0, 1.0]}
    summary = statistics.summarize(_values(values), ["arm"], shares=True).set_index("arm")
    for arm, (count, n) in {"a": (2, 3), "b": (0, 2), "c": (3, 3)}.items():
        interval = stats.binomtest(count, n).proportion_ci(method="exact")
        assert summary.loc[arm, ["low", "high"]].tolist() == pytest.approx(list(interval))
    assert summary["mean"].tolist() == pytest.approx([2 / 3, 0, 1])


def _book_smooth(x):
    """Return what `smooth_curve` of the book returns, one sum after the other."""
    window = np.kaiser(11, 2)
    padded = [*x[10:0:-1], *x, *x[-1:-11:-1]]
    smooth = [
        sum(window[j] * padded[i + j] for j in range(11)) / sum(window) for i in range(len(padded) - len(window) + 1)
    ]
    return np.array(smooth[5:-5])


@pytest.mark.parametrize("length", [11, 12, 40, 101])
def test_smoothing_is_that_of_the_book(length):
    curve = np.random.default_rng(length).normal(size=length).cumsum()
    np.testing.assert_allclose(statistics.smooth(curve, 11), _book_smooth(curve), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 5, 11, 40])
@pytest.mark.parametrize("width", [1, 3, 11])
def test_smoothing_preserves_length_and_constants(length, width):
    np.testing.assert_allclose(statistics.smooth(np.full(length, 2.5), width), np.full(length, 2.5), rtol=1e-14)
    curve = np.random.default_rng(width).normal(size=length)
    smooth = statistics.smooth(curve, width)
    assert smooth.shape == (length,)
    assert smooth.min() >= curve.min() - 1e-12
    assert smooth.max() <= curve.max() + 1e-12


def test_smoothing_with_an_even_width_is_an_error():
    with pytest.raises(InputError, match="10 is even"):
        statistics.smooth(np.ones(40), 10)
