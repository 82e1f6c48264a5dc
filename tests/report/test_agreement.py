"""Agreement with a number of the source is an equivalence test with the uncertainty of both sides."""

import math

import numpy as np
import pytest
from sample_results import loss_frame

from goodinit.errors import InputError
from goodinit.report import measures, predicates
from goodinit.studies import Reported

LOSS = {"metric": "loss"}
ONE = {"where": {"condition": "A"}, "at": 1}


def _agreement(workspace, values, within=1.0, **reported):
    frame = loss_frame(workspace, {"A": values})
    return predicates.agrees(frame, Reported("loss", **reported), **LOSS, **ONE, within=within)


def test_agrees_uses_the_spread_of_the_source_where_it_is_given(workspace):
    values = np.linspace(-1, 1, 10) + 5
    error, t = values.std(ddof=1) / math.sqrt(10), 2.2621571628540993  # t with 9 degrees of freedom
    found = _agreement(workspace, values, value=5.2, sd=0.6, runs=10)
    half = t * math.hypot(error, 0.6 / math.sqrt(10))
    assert (found.estimate, found.low, found.high) == pytest.approx((5, 5 - half, 5 + half))
    one_run = _agreement(workspace, values, value=5.2)
    half = t * error * math.sqrt(11)
    assert (one_run.low, one_run.high) == pytest.approx((5 - half, 5 + half))
    rounded = _agreement(workspace, values, value=5.2, sd=0.6, runs=10, rounded_to=0.2)
    assert rounded.high - rounded.low == pytest.approx(found.high - found.low + 0.2)


@pytest.mark.parametrize("noise", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_more_noise_never_makes_agreement_more_likely(workspace, noise, shift):
    values = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    quiet, noisy = (_agreement(workspace, values * factor + shift, value=0.0) for factor in (1.0, noise))
    assert noisy.p_for >= quiet.p_for
    wide = _agreement(workspace, values + shift, value=0.0, sd=noise, runs=5)
    assert wide.p_for >= _agreement(workspace, values + shift, value=0.0, sd=1.0, runs=5).p_for
    assert _agreement(workspace, values + shift, value=0.0, rounded_to=noise).p_for >= quiet.p_for


def test_a_reported_number_of_a_deterministic_study_is_compared_as_it_is(workspace):
    frame = loss_frame(workspace, {"A": [2.0]}, deterministic=True, seeds=1)
    near, far = Reported("loss", value=2.04, rounded_to=0.1), Reported("loss", value=2.5, rounded_to=0.1)
    assert predicates.agrees(frame, near, **LOSS, **ONE, within=0.1).decision == "replicated"
    assert predicates.agrees(frame, far, **LOSS, **ONE, within=0.1).decision == "contradicted"
    assert predicates.within(frame, **LOSS, above=1.9).decision == "replicated"


def test_agrees_uses_the_last_steps_of_its_window(workspace):
    steps = [[90.0, 1.0, 4.0, -70.0], [-80.0, 2.0, 5.0, 60.0], [70.0, 3.0, 6.0, 50.0]]
    frame = loss_frame(workspace, {"A": steps})
    options = {"where": {"condition": "A"}, "at": 3, "within": 1.0}
    found = predicates.agrees(frame, Reported("loss", value=9), **LOSS, **options, window=2)
    half = 4.302652729911275 * math.sqrt(1 / 3 + 3.5)  # t with 2 degrees of freedom; means 2.5 to 4.5; one of 1 to 6
    assert (found.estimate, found.low, found.high) == pytest.approx((3.5, 3.5 - half, 3.5 + half))
    with pytest.raises(InputError, match="'loss' is not recorded at step 0, but at 1"):
        predicates.agrees(frame, Reported("loss", value=9), **LOSS, **options, window=4)
    with pytest.raises(measures.NotRun):
        predicates.agrees(frame, Reported("loss", value=9), **LOSS, **options | {"at": 5}, window=2)
    with pytest.raises(InputError, match="window needs a step"):
        predicates.agrees(frame, Reported("loss", value=9), **LOSS, **options | {"at": "last"}, window=2)
