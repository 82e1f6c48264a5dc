"""The options of the training of a run."""

import math

import pytest

from goodinit.errors import InputError
from goodinit.studies import Training


def test_the_length_is_given_in_steps_or_epochs():
    assert Training(steps=7).total_steps(100) == 7
    assert Training(epochs=2, batch_size=32).total_steps(100) == 6
    assert Training(epochs=0).total_steps(100) == 0
    for wrong in ({}, {"steps": 1, "epochs": 1}):
        with pytest.raises(InputError, match=r"^training: give either steps or epochs"):
            Training(**wrong)


def test_the_numbers_are_in_their_ranges():
    with pytest.raises(InputError, match=r"^training: epochs: 0.001 epochs are less than one step"):
        Training(epochs=0.001).total_steps(100)
    for epochs in (-1, math.nan, math.inf):
        with pytest.raises(InputError, match=f"^training: epochs must be at least 0 and finite, not {epochs}"):
            Training(epochs=epochs)
    for name, minimum in [
        ("batch_size", 1),
        ("evaluate_every", 1),
        ("evaluate_from", 0),
        ("diagnose_every", 1),
    ]:
        assert getattr(Training(steps=2, **{name: minimum}), name) == minimum
        with pytest.raises(InputError, match=f"^training: {name} must be at least {minimum}, not {minimum - 1}$"):
            Training(steps=2, **{name: minimum - 1})
    with pytest.raises(InputError, match=r"^training: steps must be at least 0, not -30"):
        Training(steps=-30)
    for bound in (0, -1, math.nan):
        with pytest.raises(InputError, match=f"^training: diverged_above must be more than 0, not {bound}"):
            Training(steps=2, diverged_above=bound)
