"""One command builds what the single commands build, and leaves out what was not run."""

import multiprocessing
import os
import re

import pytest
from sample_results import CLAIMS, LOSS_FIGURE, decreasing_loss

from goodinit import studies
from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import build


def _run(workspace, *arguments):
    main([*arguments, "--configs", str(workspace.configs), "--results", str(workspace.results), "--scale", "laptop"])


def _build(workspace, *scales):
    return build.write_all(
        studies.load_all(workspace.configs), scales, workspace.results, workspace.figures, processes=1
    )


def _places(workspace):
    """Return the arguments that name the folders."""
    folders = {name: str(getattr(workspace, name)) for name in ("configs", "results", "figures")}
    return [argument for name, folder in folders.items() for argument in (f"--{name}", folder)]


def _files(workspace):
    """Return {file: bytes} of everything except records."""
    paths = [*workspace.results.rglob("*"), *workspace.figures.rglob("*")]
    return {path: path.read_bytes() for path in paths if path.is_file() and "runs" not in path.parts}


def test_report_writes_what_the_single_commands_write_in_any_number_of_processes(workspace, claimed_study, capsys):
    figures = ["--figures", str(workspace.figures)]
    _run(workspace, "report", *figures, "--processes", "2")
    expected = _files(workspace)
    for arguments in (["table"], ["figure", *figures], ["claims", *figures]):
        _run(workspace, *arguments)
    assert _files(workspace) == expected
    names = sorted(file.relative_to(workspace.results.parent).as_posix() for file in expected)
    assert names == [
        "figures/laptop/verdicts.png",
        "figures/laptop/verdicts.svg",
        "figures/laptop/work/study-loss.png",
        "figures/laptop/work/study-loss.svg",
        "figures/laptop/work/verdicts.png",
        "figures/laptop/work/verdicts.svg",
        "results/laptop/README.md",
        "results/laptop/claims.csv",
        "results/laptop/claims.md",
        "results/laptop/tables/work/study.csv",
    ]
    _run(workspace, "report", *figures, "--processes", "1")
    assert _files(workspace) == expected


def test_a_report_of_some_studies_leaves_the_verdicts_on_all(workspace, claimed_study, capsys):
    """Holm's correction, and the page of a scale, are of all studies."""
    workspace.study("other", claims=CLAIMS[:1])
    _run(workspace, "report", "--figures", str(workspace.figures), "--processes", "1")
    expected = _files(workspace)
    for arguments in (["report", "work/study", "--processes", "1"], ["claims"]):
        _run(workspace, *arguments, "--figures", str(workspace.figures))
        assert _files(workspace) == expected


def test_report_returns_the_files_that_it_writes(workspace, claimed_study):
    written = _build(workspace, "laptop")
    assert sorted(written["laptop"]) == sorted(_files(workspace))


def test_the_page_of_a_scale_shows_every_figure_and_no_study_that_was_not_run(workspace, claimed_study):
    workspace.study("never", scales={"laptop": {"seeds": 0}}, claims=CLAIMS[:1])
    _build(workspace, "laptop")
    page = (workspace.results / "laptop" / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    shown = [link.removeprefix("../../figures/laptop/") for link in links if link.endswith("png")]
    assert shown == ["verdicts.png", "work/verdicts.png", "work/study-loss.png"]
    for link in links:
        assert (workspace.results / "laptop" / link).exists(), link
    assert "Another batch." in page
    assert "work/never" not in page
    assert "| It is low. | here |" in page
    verdicts = (workspace.results / "laptop" / "claims.csv").read_text()
    assert "work,never,low" in verdicts
    assert verdicts.count("not run") == 1


def test_report_of_all_scales_draws_each_claim_at_the_largest_scale_that_was_run(workspace, claimed_study):
    workspace.fill(claimed_study, decreasing_loss, "paper")
    options = _places(workspace)
    main(["report", "--scale", "laptop", *options])
    assert not (workspace.figures / "verdicts.svg").exists()
    main(["report", "--scale", "all", *options])
    text = (workspace.figures / "verdicts.svg").read_text()
    assert text.count("each at the largest scale at which it was run") == 1


def test_a_study_that_is_recorded_in_part_is_shown_in_part(workspace):
    """What only the missing jobs record is left out; once all jobs are recorded, it is an error."""
    figures = {name: LOSS_FIGURE["loss"] | {"y": name} for name in ("loss", "rescalings")}
    other_figures = {"loss": LOSS_FIGURE["loss"] | {"where": {"init": "Mu"}}}
    study = workspace.study(
        table=[{"metric": "loss"}, {"metric": "rescalings"}], figures=figures, pack=3, claims=CLAIMS[:2]
    )
    workspace.fill(study, decreasing_loss, jobs=slice(1))
    workspace.fill(workspace.study("other", figures=other_figures, pack=3), decreasing_loss, jobs=slice(1))
    _build(workspace, "laptop")
    drawn = sorted(file.stem for file in (workspace.figures / "laptop" / "work").glob("*.png"))
    assert drawn == ["study-loss", "verdicts"]
    assert "rescalings" not in (workspace.results / "laptop" / "tables" / "work" / "study.csv").read_text()
    assert "study-rescalings" not in (workspace.results / "laptop" / "README.md").read_text()
    workspace.fill(study, decreasing_loss)
    with pytest.raises(InputError, match="'rescalings' is not in the records"):
        _build(workspace, "laptop")


@pytest.mark.parametrize("name", ["README.md", "claims.md"])
def test_a_demonstration_is_marked_on_every_page(workspace, claimed_study, name):
    workspace.fill(claimed_study, decreasing_loss, "demo")
    _build(workspace, "demo", "laptop")
    for scale in ("demo", "laptop"):
        assert ("not a replication" in (workspace.results / scale / name).read_text()) == (scale == "demo")


def test_studies_without_claims_have_pages_but_no_figure_of_verdicts(workspace):
    workspace.fill(workspace.study(), decreasing_loss)
    _build(workspace, "laptop")
    assert (workspace.results / "laptop" / "README.md").exists()
    assert not list(workspace.figures.rglob("verdicts*"))


def test_fewer_than_one_process_is_an_error(workspace, claimed_study, capsys):
    with pytest.raises(SystemExit):
        _run(workspace, "report", "--figures", str(workspace.figures), "--processes", "0")
    assert "processes must be at least 1, not 0" in capsys.readouterr().err


def test_a_killed_worker_is_reported_in_one_line(workspace, claimed_study, monkeypatch, capsys):
    workspace.fill(workspace.study("other"), decreasing_loss)
    monkeypatch.setattr(build, "_build_study", _end_worker)
    with pytest.raises(SystemExit, match="2"):
        main(["report", "--scale", "all", *_places(workspace), "--processes", "2"])
    assert "report: a worker process was killed" in capsys.readouterr().err


def _end_worker(*arguments, **options):
    assert multiprocessing.parent_process() is not None
    os._exit(9)
