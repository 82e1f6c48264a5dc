"""Two folders of records are compared number by number."""

import functools

import numpy as np
import pytest
from sample_results import decreasing_loss

from goodinit import records
from goodinit.cli.main import main
from goodinit.report.compare import compare


@pytest.fixture
def study(claimed_study):
    """Return a study with records."""
    return claimed_study


def _write_other(workspace, study, numbers):
    """Write records of the study with other numbers; return their folder."""
    folder = workspace.results.parent / "other"
    for job in study.jobs("laptop"):
        runs = [workspace.run_record(run, numbers(run)) for run in job.runs]
        records.write(records.path(folder, "laptop", study, job), runs)
    return folder


def _compare(workspace, other, capsys):
    """Return the exit code and the output of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(workspace.results), str(other), "--configs", str(workspace.configs)])
    return ended.value.code, capsys.readouterr().out


def test_equal_records_are_the_same(workspace, study, capsys):
    code, output = _compare(workspace, _write_other(workspace, study, decreasing_loss), capsys)
    assert code == 0
    assert output.splitlines() == ["work/study: 6 same", "all: 6 same"]


def test_the_scale_is_that_of_the_folders(workspace, study, capsys):
    for file in workspace.files(study):
        file.unlink()
    workspace.fill(study, decreasing_loss, "paper")
    with pytest.raises(SystemExit, match="0"):
        main(["compare", str(workspace.results / "paper"), str(workspace.results), "--configs", str(workspace.configs)])
    assert "6 same" in capsys.readouterr().out


def test_small_differences_are_within_the_spread_of_seeds(workspace, study, capsys):
    other = _write_other(workspace, study, functools.partial(decreasing_loss, factor=1.003))
    code, output = _compare(workspace, other, capsys)
    assert code == 0
    assert "6 within spread" in output


def test_a_condition_that_one_folder_lacks_is_missing(workspace, study, capsys):
    """Each folder has runs of a condition that the other does not have."""
    other = _write_other(workspace, study, decreasing_loss)
    first, *_, last = workspace.files(study)
    first.unlink()
    (other / last.relative_to(workspace.results)).unlink()
    code, output = _compare(workspace, other, capsys)
    assert code == 1
    assert "  missing: loss at" in output


def test_a_number_changed_by_five_percent_is_different(workspace, study, capsys):
    changed = next(run for run in study.runs("laptop") if run.labels["init"] == "Mu")

    def numbers(run):
        return decreasing_loss(run, 1.05 if run.labels == changed.labels else 1.0)

    code, output = _compare(workspace, _write_other(workspace, study, numbers) / "laptop", capsys)
    assert code == 1
    assert "5 same, 1 different" in output
    assert "different: loss at last, model.activation tanh, init Mu: 4.02 and 4.221, spread 0.021, n 3" in output


@pytest.mark.parametrize(("factor", "difference"), [(1 + 1e-7, "within spread"), (1.05, "different"), (1.0, "same")])
def test_rounding_alone_is_no_difference_even_with_one_seed(workspace, factor, difference):
    study = workspace.study(seeds=1)
    workspace.fill(study, decreasing_loss)
    other = _write_other(workspace, study, functools.partial(decreasing_loss, factor=factor))
    assert set(compare(study, "laptop", workspace.results, other)["difference"]) == {difference}


def test_runs_that_diverged_in_both_folders_are_the_same(workspace, study):
    def numbers(run):
        return {"loss": records.Series(np.arange(1, 3), np.array([2.0, np.nan]))}

    workspace.fill(study, numbers)
    other = _write_other(workspace, study, numbers)
    assert set(compare(study, "laptop", workspace.results, other)["difference"]) == {"same"}


@pytest.mark.parametrize(
    ("factor", "diverged", "difference"),
    [(1 + 1e-7, [0], "within spread"), (1.05, [0], "different"), (1 + 1e-7, [1], "different"), (1, [], "different")],
)
def test_the_same_runs_must_have_diverged(workspace, study, factor, diverged, difference):
    """The first seed diverged in the first folder, and the seeds `diverged` in the second."""

    def numbers(run, factor=1.0, diverged=(0,)):
        series = decreasing_loss(run, factor)["loss"]
        return {"loss": series._replace(values=series.values * (np.nan if run.seed in diverged else 1.0))}

    workspace.fill(study, numbers)
    other = _write_other(workspace, study, functools.partial(numbers, factor=factor, diverged=diverged))
    assert set(compare(study, "laptop", workspace.results, other)["difference"]) == {difference}


def test_folders_without_common_records_are_an_error(workspace, study, capsys):
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "compare",
                str(workspace.results),
                str(workspace.results.parent / "no"),
                "--configs",
                str(workspace.configs),
            ]
        )
    assert ended.value.code == 2
    assert "no study has records at laptop scale in both" in capsys.readouterr().err


def test_a_condition_that_neither_folder_has_is_left_out(workspace, capsys):
    table = [{"metric": "loss"}, {"metric": "loss", "where": {"init": "Mu"}}]
    study = workspace.study(table=table, pack=1)
    workspace.fill(study, decreasing_loss)
    other = _write_other(workspace, study, decreasing_loss)
    for folder in (workspace.results, other):
        for job in study.jobs("laptop"):
            if job.runs[0].labels["init"] == "Mu":
                records.path(folder, "laptop", study, job).unlink()
    code, output = _compare(workspace, other, capsys)
    assert (code, output.splitlines()[0]) == (0, "work/study: 4 same")
