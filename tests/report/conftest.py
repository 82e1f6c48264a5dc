"""Studies with records for the tests of the report."""

import pytest
import sample_results


@pytest.fixture
def study(workspace):
    """Return a study whose numbers are those of `sample_results.numbers`."""
    return workspace.study()


@pytest.fixture
def frame(workspace, study):
    """Return the frame of `study`."""
    return workspace.frame(study, sample_results.numbers)


@pytest.fixture
def drawn_study(workspace):
    """Return a study with figures of all kinds but images."""
    return workspace.study(figures=sample_results.FIGURES)


@pytest.fixture
def drawn_frame(workspace, drawn_study):
    """Return the frame of `drawn_study`."""
    return workspace.frame(drawn_study, sample_results.numbers_of_figures)


@pytest.fixture
def claimed_study(workspace):
    """Return a study with claims and records at laptop scale."""
    study = workspace.study(
        claims=sample_results.CLAIMS,
        reported=sample_results.REPORTED,
        figures=sample_results.LOSS_FIGURE,
        deviations=["Another batch."],
    )
    workspace.fill(study, sample_results.decreasing_loss)
    return study
