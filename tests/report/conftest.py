"""Studies with records for the tests of the report."""

import pytest
import sample_results


@pytest.fixture
def study(house):
    """Return a study whose numbers are those of `sample_results.numbers`."""
    return house.study()


@pytest.fixture
def frame(house, study):
    """Return the frame of `study`."""
    return house.frame(study, sample_results.numbers)


@pytest.fixture
def drawn_study(house):
    """Return a study with figures of all kinds but images."""
    return house.study(figures=sample_results.FIGURES)


@pytest.fixture
def drawn_frame(house, drawn_study):
    """Return the frame of `drawn_study`."""
    return house.frame(drawn_study, sample_results.numbers_of_figures)


@pytest.fixture
def claimed_study(house):
    """Return a study with claims and records at laptop scale."""
    study = house.study(
        claims=sample_results.CLAIMS,
        reported=sample_results.REPORTED,
        figures=sample_results.LOSS_FIGURE,
        deviations=["Another batch."],
    )
    house.fill(study, sample_results.decreasing_loss)
    return study
