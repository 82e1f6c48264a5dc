"""Pages show every claim, and the README counts the verdicts at the largest scale that was run."""

import re

import pytest
from sample_results import ARM_CLAIMS, decreasing_loss, judged_arms

from goodinit import studies
from goodinit.cli.main import main
from goodinit.report import build, claims, pages


@pytest.mark.parametrize("scale", ["demo", "laptop"])
def test_page_shows_every_claim(house, scale):
    study, verdicts = judged_arms(house, scale, deviations=["They draw one net.", "We draw five."])
    page = pages.claims_page([study], verdicts, scale)
    assert page.startswith(f"# Verdicts at {scale} scale\n")
    assert ("demonstration" in page) == ("not a replication" in page) == (scale == "demo")
    assert "## work/study: A title" in page
    rows = {line.split(" |")[0]: line for line in page.splitlines() if line.startswith("|")}
    for claim, verdict in zip(ARM_CLAIMS, verdicts["verdict"], strict=True):
        row = rows[f"| {claim['says']}" + (f" *{claim['note']}*" if "note" in claim else "")]
        assert f"| {claim['source']} |" in row
        assert row.endswith(f"| **{verdict}** |")
        assert row.count("|") == 8
    assert "| 1.1 [1, 1.2] | 3 |" in rows["| A is low."]
    assert "| 1.15 (unverified) | agrees |" in rows["| A has 1.15."]
    assert "| within |  | 0 | **not run** |" in rows["| A stays low."]
    assert "Deviations from the source:\n\n- They draw one net.\n- We draw five.\n" in page


def test_page_leaves_out_studies_without_claims(house):
    study, verdicts = judged_arms(house)
    other = house.study("other", title="Another title")
    page = pages.claims_page([other, study], verdicts, "laptop")
    assert "Another title" not in page
    assert "Deviations" not in page


def test_verdict_table_takes_each_claim_at_the_largest_scale_that_was_run(house, claimed_study):
    frame = house.frame(claimed_study, decreasing_loss)
    laptop, paper = (claims.judge(claimed_study, scale, data) for scale, data in (("laptop", frame), ("paper", None)))
    rows = pages.verdict_table({"laptop": laptop, "paper": paper}).splitlines()
    assert rows[2].split("|")[1:-1] == [" `work` ", " 4 ", " 2 ", " 1 ", "  ", " 1 ", "  ", "  "]
    paper = claims.judge(claimed_study, "paper", frame)
    rows = pages.verdict_table({"laptop": laptop, "paper": paper}).splitlines()
    assert rows[2].split("|")[1:-1] == [" `work` ", " 4 ", " 3 ", " 1 ", "  ", "  ", "  ", "  "]
    assert rows[-1] == rows[2].replace("`work`", "all")


@pytest.fixture
def readme(house, claimed_study, tmp_path):
    """Build what the README shows; return the file, without its sections, and the command that writes them."""
    build.write_all([claimed_study], ["laptop"], house.results, house.figures, processes=1)
    (house.configs / "works.yaml").write_text(
        "work: {about: a work, author: Somebody, title: On Works, year: 2020, figure: study-loss}"
    )
    for scale in studies.SCALES[1:]:
        folders = ["--configs", str(house.configs), "--csv", str(house.results / scale / "costs.csv")]
        main(["estimate", "--scale", scale, "--rate", "20", *folders])
    file = tmp_path / "README.md"
    sections = [f"<!-- {edge} of {name}, which make figures writes -->" for name in ("verdicts", "works", "costs")
                for edge in ("begin", "end")]  # fmt: skip
    file.write_text("before\n" + "\n".join(sections) + "\nafter\n")
    return file, ["readme", "--results", str(house.results), "--configs", str(house.configs), "--file", str(file)]


def test_readme_sections_are_written(readme, capsys):
    file, command = readme
    main(command)
    text = file.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `work` | 4 |" in text
    assert "| laptop | `work` | 18 |" in text
    assert "Somebody, *On Works* (2020)." in text
    assert "![work/study: loss](figures/laptop/work/study-loss.png)" in text
    assert "*Why?* Of its claims: 2 replicated, 1 contradicted, 1 indicative: for." in text
    assert f"18 of 18 runs, {18 * 0.5 / 3600:.2f} |" in text
    assert re.search(r"\| paper \| `work` \| 18 \| .* GiB \|  \|", text)


def test_stale_readme_sections_are_an_error(readme, capsys):
    _, command = readme
    with pytest.raises(SystemExit):
        main([*command, "--check"])
    assert "it is stale: make figures" in capsys.readouterr().err
    main(command)
    main([*command, "--check"])


def test_a_readme_without_sections_is_an_error(readme, capsys):
    file, command = readme
    file.write_text("nothing")
    with pytest.raises(SystemExit):
        main(command)
    assert "must stand in it once each" in capsys.readouterr().err
