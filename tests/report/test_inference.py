"""Intervals cover what they claim to, p-values agree with them, and the numbers of runs asked for decide."""

import math

import numpy as np
import pytest
from scipy import stats

from goodinit.errors import InputError
from goodinit.report import evidence, inference
from goodinit.report.inference import Difference, Exact, Mean, Median, Share

T_975_4 = 2.7764451051977987  # Student's t with 4 degrees of freedom
ONE_TO_FIVE = np.arange(1.0, 6.0)
HALF = T_975_4 * math.sqrt(2.5 / 5)


def test_mean_has_the_interval_of_students_t():
    mean = Mean.of(ONE_TO_FIVE)
    assert (mean.value, mean.low, mean.high, mean.n) == pytest.approx((3, 3 - HALF, 3 + HALF, 5))
    for bound in (0.5, 2.9, 3.0, 7.0):
        assert mean.p_value(bound) == pytest.approx(stats.ttest_1samp(ONE_TO_FIVE, bound).pvalue)


def test_a_single_run_bounds_nothing():
    mean = Mean.of(np.array([4.0]))
    assert (mean.value, mean.low, mean.high, mean.p_value(-1e9)) == (4, -math.inf, math.inf, 1)
    assert mean.runs_needed(0) is None


def test_a_value_that_does_not_depend_on_the_seed_is_exact():
    exact = inference.location([2.0], deterministic=True)
    assert isinstance(exact, Exact)
    assert (exact.low, exact.high, exact.p_value(1.9), exact.p_value(2.0)) == (2, 2, 0, 1)
    assert isinstance(inference.location([2.0]), Mean)
    assert isinstance(inference.location([2.0, 3.0], deterministic=True), Mean)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_coverage_of_the_mean_and_rate_of_false_verdicts(n):
    samples = np.random.default_rng(n).normal(size=(20_000, n))
    low, high = inference.t_interval(samples)
    assert 0.94 < np.mean((low < 0) & (high > 0)) < 0.965
    decisions = [evidence.compare_with_bounds(inference.location(sample), above=0).decision for sample in samples[:800]]
    for decision in ("replicated", "contradicted"):
        assert 0.01 < decisions.count(decision) / 800 < 0.04


def test_intervals_of_many_samples_are_those_of_each():
    samples = np.random.default_rng(3).gamma(2, size=(4, 5))
    bounds = inference.t_interval(samples).T
    for sample, (low, high) in zip(samples, bounds, strict=True):
        assert (low, high) == pytest.approx((Mean.of(sample).low, Mean.of(sample).high))
    assert np.isnan(inference.t_interval(samples[:, :1])).all()


def test_no_run_of_five_is_a_share_below_one_half_by_a_hair():
    share = Share.of(0, 5)
    assert (share.value, share.low, share.high) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 5)))
    assert share.high == pytest.approx(0.5218, abs=1e-4)
    assert share.p_value(0.5) == pytest.approx(2 * 0.5**5)


@pytest.mark.parametrize("n", [3, 5, 10, 40])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_the_interval_of_a_share_covers_at_least_95_percent(n, share):
    covered = [Share.of(count, n).low <= share <= Share.of(count, n).high for count in range(n + 1)]
    assert stats.binom.pmf(np.arange(n + 1), n, share)[covered].sum() >= 0.95


@pytest.mark.parametrize(("n", "bounded"), [(3, False), (5, False), (6, True), (9, True)])
def test_a_median_is_bounded_by_order_statistics_from_six_runs(n, bounded):
    median = Median.of(np.arange(float(n)))
    assert median.value == (n - 1) / 2
    assert (median.low, median.high) == ((median.low, n - 1 - median.low) if bounded else (-math.inf, math.inf))
    assert (median.p_value(-1) < 0.05) == bounded
    if n == 6:
        assert (median.low, median.high) == (0, 5)  # the interval of rank 1 and 6 covers 1 - 2 / 2**6


@pytest.mark.parametrize("n", [6, 7, 10, 21])
def test_coverage_of_the_median_of_a_skewed_distribution(n):
    samples = np.random.default_rng(n).exponential(size=(300, n))
    covered = [median.low <= math.log(2) <= median.high for median in map(Median.of, samples)]
    assert np.mean(covered) > 0.93


def test_one_infinite_value_does_not_decide():
    estimate = inference.location([1.0, 1.1, math.inf])
    assert isinstance(estimate, Median)
    assert (estimate.value, estimate.low, estimate.high) == (1.1, -math.inf, math.inf)
    many = inference.location([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, math.inf])
    assert 1 <= many.low < many.value == 1.4 < many.high < math.inf
    assert math.isnan(inference.location([-math.inf, math.inf]).value)


def test_no_value_is_an_error():
    with pytest.raises(InputError, match="selects no run"):
        inference.location([])


def _estimates(generator):
    """Return estimates of each kind from random runs."""
    for n in (2, 3, 5, 8, 20):
        sample = generator.normal(size=n)
        yield Mean.of(sample)
        yield Median.of(sample)
        yield Share.of(int(generator.integers(n + 1)), n)
        yield Difference.of(Mean.of(sample), 0.1, 0.2, 4, 0.05)
        yield Difference.of(Mean.of(sample), 0.1, 0.0, math.inf, 0.0)


def test_the_p_value_is_below_5_percent_exactly_outside_the_interval():
    generator = np.random.default_rng(1)
    for estimate in _estimates(generator):
        for bound in generator.uniform(-2, 2, size=50) if not isinstance(estimate, Share) else np.linspace(0.01, 0.99):
            inside = estimate.low < bound < estimate.high
            assert (estimate.p_value(bound) >= 0.05) == inside, (estimate, bound)


def test_a_difference_holds_both_uncertainties_and_the_rounding():
    ours = Mean.of(ONE_TO_FIVE)
    alone = Difference.of(ours, 2.0, 0.0, math.inf, 0.0)
    assert (alone.value, alone.low, alone.high) == pytest.approx((1, 1 - HALF, 1 + HALF))
    rounded = Difference.of(ours, 2.0, 0.0, math.inf, 0.5)
    assert (rounded.low, rounded.high) == pytest.approx((1 - HALF - 0.25, 1 + HALF + 0.25))
    both = Difference.of(ours, 2.0, math.sqrt(0.5), 9, 0.0)
    assert both.high - both.value == pytest.approx(T_975_4 * 1.0)  # two errors of sqrt(0.5), the fewer degrees: 4
    exact = Difference.of(Exact.of(3.0), 2.0, 0.0, math.inf, 0.1)
    assert (exact.low, exact.high) == pytest.approx((0.95, 1.05))
    assert (exact.p_value(0.94), exact.p_value(0.96)) == (0, 1)


def test_the_interval_of_a_difference_covers_the_true_difference():
    generator, covered = np.random.default_rng(2), []
    for _ in range(2000):
        ours, theirs = generator.normal(1.0, 1.0, size=5), generator.normal(0.0, 2.0, size=10)
        reported = Difference.of(Mean.of(ours), theirs.mean(), theirs.std(ddof=1) / math.sqrt(10), 9, 0.0)
        covered.append(reported.low < 1 < reported.high)
    assert 0.95 < np.mean(covered) < 0.99  # the smaller degrees of freedom make it too wide


@pytest.mark.parametrize("significance", [0.05, 0.01])
@pytest.mark.parametrize("distance", [0.4, 1.0, 3.0])
def test_nine_of_ten_means_are_decided_with_the_runs_asked_for(distance, significance):
    generator, decided, asked = np.random.default_rng(4), [], []
    for _ in range(300):
        pilot = generator.normal(size=4)
        pilot += distance - pilot.mean()  # the estimate is, and stays, the true mean
        needed = Mean.of(pilot).runs_needed(0.0, significance)
        if needed is None:
            continue
        asked.append(needed)
        sample = np.concatenate([pilot, generator.normal(distance, size=needed - 4)])
        decided.append(Mean.of(sample).p_value(0.0) < significance)
    assert np.mean(decided) > 0.9
    quantiles = stats.norm.ppf(1 - significance / 2) + stats.norm.ppf(0.9)
    assert np.median(asked) < 4 * (quantiles / distance) ** 2 + 10  # not many times what a known spread asks for


@pytest.mark.slow
@pytest.mark.parametrize("significance", [0.05, 0.01])
@pytest.mark.parametrize(("count", "n"), [(0, 3), (3, 4), (8, 10)])
def test_nine_of_ten_shares_are_decided_with_the_runs_asked_for(count, n, significance):
    needed = Share.of(count, n).runs_needed(0.5, significance)
    assert needed > n
    generator, share = np.random.default_rng(5), (count + 0.5) / (n + 1)
    counts = generator.binomial(needed, share, 1000)
    decided = [Share.of(int(found), needed).p_value(0.5) < significance for found in counts]
    assert np.mean(decided) > 0.88


def test_runs_that_cannot_decide_are_not_asked_for():
    assert Mean.of(np.array([1.0, -1.0])).runs_needed(0.0) is None
    assert Mean.of(np.array([1e-4, 2.0, -2.0])).runs_needed(0.0) is None  # more than 10,000
    ours = Mean.of(ONE_TO_FIVE)
    assert Difference.of(ours, 2.9, 0.5, 4, 0.0).runs_needed(0.0) is None  # the source has too few runs
    assert Difference.of(ours, 1.0, 0.1, 9, 0.0).runs_needed(0.0) > 5


@pytest.mark.parametrize(("reported_runs", "distance"), [(None, 2.2), (10, 2.32), (100, 2.2), (5, 2.8)])
def test_nine_of_ten_differences_are_decided_with_the_runs_asked_for(reported_runs, distance):
    """The quantile of Student's t decreases with our runs, so that more of them may decide where a few do not.

    Args:
        reported_runs: None if the error of the reported number is computed from our standard deviation.
        distance: between the two means, in standard errors of the reported number.
    """
    generator, freedom = np.random.default_rng(6), None if reported_runs is None else reported_runs - 1
    pilot = generator.normal(size=10)
    pilot = (pilot - pilot.mean()) / pilot.std(ddof=1)
    undecided = Difference.of(Mean.of(pilot), -distance, 1.0, freedom, 0.0)
    assert undecided.p_value(0.0) >= 0.05
    needed = undecided.runs_needed(0.0)
    decided = []
    for _ in range(400):
        sample = generator.normal(size=needed)
        error = float(sample.std(ddof=1)) if freedom is None else 1.0
        decided.append(Difference.of(Mean.of(sample), -distance, error, freedom, 0.0).p_value(0.0) < 0.05)
    assert 0.86 < np.mean(decided) < 0.96
    assert Median.of(np.array([1.0, 2.0, 3.0])).runs_needed(0.0) > 6
