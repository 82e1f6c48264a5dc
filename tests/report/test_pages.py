"""Pages show every claim, and the README counts the verdicts at the largest scale that was run."""

import json
import re

import pytest
from sample_results import CONDITION_CLAIMS, decreasing_loss, judged_conditions

from goodinit.cli.main import main
from goodinit.report import claims, pages


@pytest.mark.parametrize("scale", ["demo", "laptop"])
def test_page_shows_every_claim(workspace, scale):
    study, verdicts = judged_conditions(workspace, scale, deviations=["They draw one net.", "We draw five."])
    page = pages.claims_page([study], verdicts, scale)
    assert page.startswith(f"# Verdicts at {scale} scale\n")
    assert ("demonstration" in page) == ("not a replication" in page) == (scale == "demo")
    assert "## work/study: A title" in page
    rows = {line.split(" |")[0]: line for line in page.splitlines() if line.startswith("|")}
    for claim, verdict in zip(CONDITION_CLAIMS, verdicts["verdict"], strict=True):
        question = "Question: " if claim.get("kind") == "question" else ""
        row = rows[f"| {question}{claim['says']}" + (f" *{claim['note']}*" if "note" in claim else "")]
        assert f"| {claim['source']} |" in row
        assert f"| **{verdict}**" in row
        assert row.count("|") == 9
    assert "| 1.1 [0.8516, 1.348] (Student's t) | 3 | 0.0041 | **replicated** |" in rows["| A is low."]
    assert "| 1.15 ± 0.5 (unverified) | agrees |" in rows["| A has 1.15."]
    assert "| within |  | 0 |  | **not run** |" in rows["| A stays low."]
    needed = verdicts.set_index("claim").loc["b-beats-c", "runs_needed"]
    assert rows["| B beats C."].endswith(f"| **inconclusive**, {needed} runs of each condition would decide |")
    assert "Differences from the published protocol" not in page
    assert "Deviations from the source:\n\n- They draw one net.\n- We draw five.\n" in page


def test_an_undecided_claim_says_what_it_needs(workspace):
    verdicts = judged_conditions(workspace)[1].set_index("claim", drop=False)[list(claims.JudgedClaim._fields)]

    def needed(claim, **changes):
        (row,) = claims.judged_claims(verdicts.loc[[claim]])
        return row._replace(**changes).needed

    assert needed("a-is-low") == needed("later") == needed("as-checked") == ""
    assert needed("b-beats-c", runs_needed=12) == "12 runs of each condition would decide"
    assert needed("b-beats-c", runs_needed=0, n=1) == "at least 3 seeds are needed"
    assert needed("b-beats-c", runs_needed=0) == "how many runs would decide is unknown, or more than 10,000"
    too_few = "more runs here would not decide: the source has too few"
    assert needed("as-checked", verdict="inconclusive", runs_needed=0, p_value=0.2) == too_few
    assert needed("in-order", verdict="open", runs_needed=7, p_value=0.2) == "7 runs of each condition would decide"


def test_page_lists_differences_and_marks_what_does_not_survive_holms_correction(workspace):
    study, verdicts = judged_conditions(workspace, scales={"laptop": {"training.batch_size": 3}})
    p_values = verdicts["p_value"].where(verdicts["claim"] != "a-is-low", 0.04)
    page = pages.claims_page([study], claims.mark_holm(verdicts.assign(p_value=p_values)), "laptop")
    assert "which make verdicts indicative:\n\n- training.batch_size: 3 instead of 128\n" in page
    assert "does not survive Holm's correction" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| A is low.")]
    assert row.endswith("| **indicative: for** † |")


def test_page_names_the_pair_that_decides(workspace):
    order = [{"condition": "A"}, {"condition": "B"}, {"condition": "C"}]
    claim = CONDITION_CLAIMS[3] | {"test": {"ranks": {"metric": "loss", "order": order, "best": "lowest"}}}
    study, verdicts = judged_conditions(workspace, claims=[claim])
    page = pages.claims_page([study], verdicts, "laptop")
    assert "]: condition B against condition C (Student's t) | 3 |" in page


def test_page_of_a_scale_begins_with_the_counts_and_figures_of_verdicts(workspace):
    study, verdicts = judged_conditions(workspace)
    page = pages.scale_page([study], verdicts, "laptop", {"work/study": []}, "figures")
    first = page.split("## work/study")[0]
    assert "| `work` | 6 | 2 |  |  | 1 | 1 | 1 | 1 |" in first
    assert "| work | questions | yes |" in first
    assert "![Verdicts at laptop scale](figures/verdicts.png)" in first
    assert "![work: evidence on each claim](figures/work/verdicts.png)" in first


def test_page_leaves_out_studies_without_claims(workspace):
    study, verdicts = judged_conditions(workspace)
    other = workspace.study("other", title="Another title")
    page = pages.claims_page([other, study], verdicts, "laptop")
    assert "Another title" not in page
    assert "Deviations" not in page


def test_verdict_table_takes_each_claim_at_the_largest_scale_that_was_run(workspace, claimed_study):
    frame = workspace.frame(claimed_study, decreasing_loss)
    laptop, paper = (claims.judge(claimed_study, scale, data) for scale, data in (("laptop", frame), ("paper", None)))
    rows = pages.verdict_table({"laptop": laptop, "paper": paper}).splitlines()
    assert rows[0].startswith("| work | claims | replicated | indicative: for | indicative: against | contradicted |")
    assert rows[2].split("|")[1:-1] == [" `work` ", " 3 ", " 1 ", "  ", "  ", " 1 ", "  ", " 1 ", "  "]
    assert rows[3] == rows[2].replace("`work`", "all")
    assert rows[7].split("|")[1:-1] == [" `work` ", " 1 ", " 1 ", "  ", "  ", "  ", "  ", "  "]
    remembered = laptop.assign(source=["Table 1, from memory", "Table 2", "here", "here (from memory)"])
    counted = pages.verdict_table({"laptop": remembered}).splitlines()[5]
    assert counted.startswith("2 of the 3 claims, and 1 of the 1 that are replicated, are quoted from memory")
    paper = paper.assign(verdict=["contradicted", "contradicted", "no", "unverified"])
    rows = pages.verdict_table({"laptop": laptop, "paper": paper}).splitlines()
    assert rows[2].split("|")[1:-1] == [" `work` ", " 3 ", "  ", "  ", "  ", " 2 ", "  ", " 1 ", "  "]
    assert rows[7].split("|")[1:-1] == [" `work` ", " 1 ", "  ", "  ", "  ", " 1 ", "  ", "  "]


def test_the_readme_shows_a_study_at_the_scale_at_which_most_of_its_claims_were_run(workspace):
    study, laptop = judged_conditions(workspace, figures={"loss": {"kind": "curves", "y": "loss", "hue": "condition"}})
    entry = {"about": "a work", "author": "Somebody", "title": "On Works", "year": 2020, "figure": "study-loss"}
    entry["caption"] = "It falls."
    partial = laptop.assign(scale="paper")
    partial.loc[partial.index[1:], "verdict"] = "not run"
    for verdicts, scale in (({"laptop": laptop, "paper": partial}, "laptop"), ({"paper": partial}, "paper")):
        section = pages.work_sections({"work": entry}, [study], verdicts, [])
        assert f"(figures/{scale}/work/study-loss.png)" in section
    laptop = laptop.assign(verdict="not run")
    assert "figures/" not in pages.work_sections({"work": entry}, [study], {"laptop": laptop}, [])


def test_readme_sections_are_written(readme, capsys):
    file, command = readme
    main(command)
    text = file.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `work` | 3 |" in text
    assert "| laptop | `work` | 18 |" in text
    assert "Somebody, *On Works*, 2020." in text
    assert "![work/study: loss](figures/laptop/work/study-loss.png)" in text
    assert "*Why?* It falls. Claims: 1 replicated, 1 contradicted, 1 unverified. Questions: 1 yes." in text
    assert f"18 of 18 runs, {18 * 0.5 / 3600:.2f} |" in text
    assert re.search(r"\| paper \| `work` \| 18 \| .* GiB \|  \|", text)


def test_the_review_of_claims_is_written_beside_its_folder(readme, capsys):
    file, command = readme
    main(command)
    page = (file.parent / "claims_review.md").read_text()
    assert "\n4 right, 1 removed.\n" in page
    assert '| `study/low` | It is low. | `within` {"metric": "loss", "below": 10.0} | right |  |' in page
    assert "| `study/asked` | Question: Is it low? |" in page
    assert "- `study/older`: Nobody says so." in page
    main([*command, "--check"])
    (file.parent / "claims_review.md").write_text("stale")
    with pytest.raises(SystemExit):
        main([*command, "--check"])
    assert "claims_review.md: it is stale: run `make figures`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.pop("study/low"), "work.yaml: study/low: no review of this claim: add one"),
        (
            lambda entries: entries.update({"study/x": {"outcome": "right"}}),
            "study/x: no such claim: its outcome is not",
        ),
        (
            lambda entries: entries["study/low"].update(outcome="rihgt"),
            "work.yaml: study/low.outcome: 'rihgt' is not known",
        ),
        (lambda entries: entries.update({"study/low": {"outcom": "right"}}), "work.yaml: study/low"),
    ],
)
def test_a_claim_without_a_review_or_a_review_without_a_claim_is_an_error(readme, capsys, change, message):
    file, command = readme
    reviews = file.parent / "claims_review" / "work.yaml"
    entries = json.loads(reviews.read_text())
    change(entries)
    reviews.write_text(json.dumps(entries))
    with pytest.raises(SystemExit):
        main(command)
    assert message in capsys.readouterr().err
    assert file.read_text().startswith("before\n<!--")


def test_stale_readme_sections_are_an_error(readme, capsys):
    _, command = readme
    with pytest.raises(SystemExit):
        main([*command, "--check"])
    assert "it is stale: run `make figures`" in capsys.readouterr().err
    main(command)
    main([*command, "--check"])


def test_a_readme_without_sections_is_an_error(readme, capsys):
    file, command = readme
    file.write_text("nothing")
    with pytest.raises(SystemExit):
        main(command)
    assert "must occur exactly once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("configs/works.yaml", "figure: study-loss, ", "", "works.yaml: work: 'figure' is a required property"),
        ("configs/works.yaml", "study-loss", "study-los", "works.yaml: work: no figure 'study-los'; did you mean"),
        ("configs/works.yaml", "2020", "MMXX", "works.yaml: work.year: "),
        ("results/laptop/claims.csv", "estimate", "value", "claims.csv: its columns are not those of claims"),
        ("results/laptop/claims.csv", None, "", "claims.csv: "),
    ],
)
def test_an_edited_file_of_the_readme_is_reported_in_one_line(readme, workspace, capsys, name, old, new, message):
    file = workspace.configs.parent / name
    text = file.read_text()
    assert old is None or old in text
    file.write_text(new if old is None else text.replace(old, new))
    with pytest.raises(SystemExit):
        main(readme[1])
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
