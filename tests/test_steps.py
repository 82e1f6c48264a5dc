"""The arithmetic of steps, against counting them one by one."""

import pytest

from goodinit.steps import Interval, steps_of_epochs, steps_per_epoch


@pytest.mark.parametrize(("examples", "batch_size", "expected"), [(100, 32, 3), (96, 32, 3), (20, 32, 1)])
def test_an_epoch_has_as_many_steps_as_complete_batches(examples, batch_size, expected):
    assert steps_per_epoch(examples, batch_size) == expected


def test_epochs_may_be_fractions():
    assert [steps_of_epochs(epochs, 100, 32) for epochs in (0, 0.5, 1, 2, 10)] == [0, 1, 3, 6, 30]
    assert [steps_of_epochs(hundredths / 100, 100, 1) for hundredths in range(1000)] == list(range(1000))


@pytest.mark.parametrize("steps", [0, 1, 6, 7, 30])
@pytest.mark.parametrize(("every", "first"), [(None, 0), (1, 0), (3, 0), (3, 1), (7, 5), (50, 0), (2, 40)])
def test_the_number_of_observations_is_that_of_the_steps_that_are_included(steps, every, first):
    interval = Interval(every, first)
    observed = [step for step in range(steps + 1) if step in (0, steps) or interval.includes(step)]
    assert interval.count(steps) == len(observed)


def test_an_interval_counts_from_its_first_step():
    assert [step for step in range(20) if Interval(5, 3).includes(step)] == [3, 8, 13, 18]
    assert not any(Interval().includes(step) for step in range(20))
