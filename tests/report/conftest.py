"""Studies with records for the tests of the report."""

import json

import pytest
import sample_results

from goodinit import studies
from goodinit.cli.main import main
from goodinit.report import build


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


@pytest.fixture
def readme(workspace, claimed_study, tmp_path):
    """Build what the README shows; return the file, without its sections, and the command that writes them."""
    build.write_all([claimed_study], ["laptop"], workspace.results, workspace.figures, processes=1)
    (workspace.configs / "works.yaml").write_text(
        "work: {about: a work, author: Somebody, title: On Works, year: 2020, figure: study-loss, caption: It falls.}"
    )
    for scale in studies.SCALES[1:]:
        folders = ["--configs", str(workspace.configs), "--csv", str(workspace.results / scale / "costs.csv")]
        main(["estimate", "--scale", scale, "--rate", "20", *folders])
    file = tmp_path / "README.md"
    sections = [f"<!-- {edge} of {name}, which make figures writes -->" for name in ("verdicts", "works", "costs")
                for edge in ("begin", "end")]  # fmt: skip
    file.write_text("before\n" + "\n".join(sections) + "\nafter\n")
    reviews = tmp_path / "claims_review"
    reviews.mkdir()
    entries = {f"study/{claim['id']}": {"outcome": "right"} for claim in sample_results.CLAIMS}
    entries["study/older"] = {"outcome": "removed", "remark": "Nobody says so."}
    (reviews / "work.yaml").write_text(json.dumps(entries))
    findings = tmp_path / "findings"
    findings.mkdir()
    folders = ["--results", str(workspace.results), "--configs", str(workspace.configs), "--reviews", str(reviews)]
    folders += ["--findings", str(findings)]
    return file, ["readme", *folders, "--file", str(file)]
