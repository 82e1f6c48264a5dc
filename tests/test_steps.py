"""The arithmetic of steps, against counting them one by one."""

import math

import pytest

from goodinit.steps import ObservationSteps, steps_of_epochs, steps_per_epoch


@pytest.mark.parametrize(("examples", "batch_size", "expected"), [(100, 32, 3), (96, 32, 3), (20, 32, 1)])
def test_an_epoch_has_as_many_steps_as_complete_batches(examples, batch_size, expected):
    assert steps_per_epoch(examples, batch_size) == expected


def test_epochs_may_be_fractions():
    assert [steps_of_epochs(epochs, 100, 32) for epochs in (0, 0.5, 1, 2, 10)] == [0, 1, 3, 6, 30]
    assert [steps_of_epochs(hundredths / 100, 100, 1) for hundredths in range(1000)] == list(range(1000))


@pytest.mark.parametrize("steps", [0, 1, 6, 7, 30])
@pytest.mark.parametrize(("every", "first"), [(None, 0), (1, 0), (3, 0), (3, 1), (7, 5), (50, 0), (2, 40)])
def test_the_number_of_observations_is_that_of_the_steps_that_are_included(steps, every, first):
    observations = ObservationSteps(every, first)
    observed = [step for step in range(steps + 1) if step in (0, steps) or observations.includes(step)]
    assert observations.count(steps) == len(observed)


def test_observations_are_counted_from_the_first_step():
    assert [step for step in range(20) if ObservationSteps(5, 3).includes(step)] == [3, 8, 13, 18]
    assert not any(ObservationSteps().includes(step) for step in range(20))


@pytest.mark.parametrize("epochs", [-1, math.nan, math.inf, -math.inf])
def test_epochs_out_of_range_are_rejected(epochs):
    with pytest.raises(ValueError, match=f"^must be at least 0 and finite, not {epochs}"):
        steps_of_epochs(epochs, 100, 10)


@pytest.mark.parametrize(("epochs", "examples", "batch_size"), [(0.5, 1, 50), (0.09, 100, 10), (1e-9, 10**6, 1)])
def test_epochs_of_less_than_one_step_are_rejected(epochs, examples, batch_size):
    steps = steps_per_epoch(examples, batch_size)
    with pytest.raises(ValueError, match=rf"{epochs:g} epochs are less than one step \({steps} per epoch\)"):
        steps_of_epochs(epochs, examples, batch_size)
