"""Costs of works are sums of the estimates of their studies, and of recorded seconds."""

import pytest
from sample_results import CLAIMS, decreasing_loss

from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import costs
from goodinit.training import cost


@pytest.fixture
def estimates(workspace, claimed_study):
    """Write the estimates of a study; return the file."""
    return _write_estimates(workspace)


def _write_estimates(workspace):
    """Write the estimates of all studies; return the file."""
    file = workspace.results / "laptop" / "costs.csv"
    main(["estimate", "--scale", "laptop", "--rate", "20", "--configs", str(workspace.configs), "--csv", str(file)])
    return file


def test_missing_estimates_are_an_error(workspace, claimed_study):
    with pytest.raises(InputError, match=r"laptop/costs.csv: missing: run `make costs`"):
        costs.of_works([claimed_study], "laptop", workspace.results)


def test_costs_are_those_of_the_runs(workspace, claimed_study, estimates):
    (work,) = costs.of_works([claimed_study], "laptop", workspace.results)
    estimate = cost.estimate(claimed_study.runs("laptop"))
    assert (work.work, work.runs, work.operations, work.memory) == ("work", 18, estimate.operations, estimate.memory)
    assert (work.recorded, work.seconds) == (18, 18 * 0.5)


def test_the_seconds_of_a_run_that_studies_share_count_once(workspace, claimed_study):
    other = workspace.study("other")
    workspace.fill(other, decreasing_loss)
    _write_estimates(workspace)
    (work,) = costs.of_works([claimed_study, other], "laptop", workspace.results)
    assert (work.runs, work.recorded, work.seconds) == (36, 36, 18 * 0.5)


def test_estimates_of_other_runs_are_an_error(workspace, estimates):
    changed = workspace.study(claims=CLAIMS[:3], seeds=4)
    with pytest.raises(InputError, match=r"no estimate of the current runs of work/study: run `make costs`"):
        costs.of_works([changed], "laptop", workspace.results)


@pytest.mark.parametrize(("text", "replacement"), [("18", "many"), ("memory", "size"), (",18,", ",")])
def test_damaged_estimates_are_an_error(workspace, claimed_study, estimates, text, replacement):
    estimates.write_text(estimates.read_text().replace(text, replacement))
    with pytest.raises(InputError, match=r"costs.csv: damaged .*: run `make costs`"):
        costs.of_works([claimed_study], "laptop", workspace.results)
