"""Everything that is made of records at once: pages, the figure of all claims, the README's table, comparisons."""

import re

import numpy as np
import pytest

from goodinit import records, studies
from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import build, claims, compare, costs, pages, verdict_chart
from goodinit.training import cost as estimated

CLAIMS = [
    {"id": "low", "says": "It is low.", "source": "here", "test": {"within": {"metric": "loss", "below": 10.0}}},
    {"id": "high", "says": "It is high.", "source": "here", "test": {"within": {"metric": "loss", "above": 10.0}}},
    {"id": "large", "says": "On paper.", "source": "here", "needs": "paper",
     "test": {"within": {"metric": "loss", "below": 10.0}}},
    {"id": "two", "says": "It is 2.", "source": "here",
     "test": {"agrees": {"where": {"init": "zeta", "model.activation": "tanh"}, "metric": "loss", "at": 4}}},
]  # fmt: skip
REPORTED = [{"where": {"init": "zeta", "model.activation": "tanh"}, "metric": "loss", "at": 4, "value": 2.0,
             "source": "Table 1", "verified": False}]  # fmt: skip
FIGURES = {"loss": {"kind": "curves", "y": "loss", "hue": "init", "col": "model.activation"}}


def _numbers(run, factor=1.0):
    place = ["zeta", "alpha", "Mu"].index(run.labels["init"])
    return {"loss": records.Series(np.arange(1, 5), factor * (2.0 + place + 0.02 * run.seed + np.arange(4.0)[::-1]))}


@pytest.fixture
def study(house):
    made = house.study(claims=CLAIMS, reported=REPORTED, figures=FIGURES, deviations=["Another batch."])
    house.fill(made, _numbers)
    return made


def _command(house, *words):
    main([*words, "--configs", str(house.configs), "--results", str(house.results), "--scale", "laptop"])


def _files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and "runs" not in file.parts}


def test_everything_is_what_the_single_commands_write_and_the_same_twice(house, study, capsys):
    _command(house, "report", "--figures", str(house.figures), "--processes", "2")
    together = _files(house.results) | _files(house.figures)
    for words in (["table"], ["figure", "--figures", str(house.figures)], ["claims", "--figures", str(house.figures)]):
        _command(house, *words)
    assert _files(house.results) | _files(house.figures) == together
    names = sorted(file.relative_to(house.results.parent).as_posix() for file in together)
    assert names == [
        "figures/laptop/work/study-loss.png",
        "figures/laptop/work/study-loss.svg",
        "figures/laptop/work/verdicts.png",
        "figures/laptop/work/verdicts.svg",
        "results/laptop/README.md",
        "results/laptop/claims.csv",
        "results/laptop/claims.md",
        "results/laptop/tables/work/study.csv",
    ]
    _command(house, "report", "--figures", str(house.figures), "--processes", "1")
    assert _files(house.results) | _files(house.figures) == together


def test_the_page_of_a_scale_shows_every_figure_that_there_is(house, study):
    house.study("never", scales={"laptop": {"seeds": 0}}, claims=CLAIMS[:1])
    build.write_all(studies.load_all(house.configs), ["laptop"], house.results, house.figures, processes=1)
    page = (house.results / "laptop" / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert [link for link in links if link.endswith("png")] == ["../../figures/laptop/work/study-loss.png"]
    for link in links:
        assert (house.results / "laptop" / link).exists(), link
    assert "Another batch." in page
    assert "work/never" not in page
    assert "| It is low. | here |" in page
    verdicts = (house.results / "laptop" / "claims.csv").read_text()
    assert "work,never,low" in verdicts
    assert verdicts.count("not run") == 1


def test_a_study_that_is_recorded_in_part_is_shown_in_part(house):
    """What only the other jobs record is left out, until all are recorded: then it is missing."""
    shown = {name: FIGURES["loss"] | {"y": name} for name in ("loss", "rescalings")}
    other = {"loss": FIGURES["loss"] | {"where": {"init": "Mu"}}}
    study = house.study(table=[{"metric": "loss"}, {"metric": "rescalings"}], figures=shown, pack=3, claims=CLAIMS[:2])
    house.study("other", figures=other, pack=3)
    house.fill(study, _numbers, jobs=slice(1))
    house.fill(house.study("other", figures=other, pack=3), _numbers, jobs=slice(1))
    build.write_all(studies.load_all(house.configs), ["laptop"], house.results, house.figures, processes=1)
    drawn = sorted(file.stem for file in (house.figures / "laptop" / "work").glob("*.png"))
    assert drawn == ["study-loss", "verdicts"]
    assert "rescalings" not in (house.results / "laptop" / "tables" / "work" / "study.csv").read_text()
    assert "study-rescalings" not in (house.results / "laptop" / "README.md").read_text()
    house.fill(study, _numbers)
    with pytest.raises(InputError, match="'rescalings' is not in the records"):
        build.write_all(studies.load_all(house.configs), ["laptop"], house.results, house.figures, processes=1)


def test_a_demonstration_says_so_on_every_page(house, study):
    house.fill(study, _numbers, "demo")
    build.write_all([study], ["demo"], house.results, house.figures, processes=1)
    for name in ("README.md", "claims.md"):
        assert "not a replication" in (house.results / "demo" / name).read_text()


def test_studies_without_claims_have_pages_too(house, capsys):
    house.fill(house.study(), _numbers)
    _command(house, "report", "--figures", str(house.figures), "--processes", "1")
    assert (house.results / "laptop" / "README.md").exists()
    assert not list(house.figures.rglob("verdicts*"))
    with pytest.raises(SystemExit):
        _command(house, "report", "--figures", str(house.figures), "--processes", "0")
    assert "processes: 0 is not at least 1" in capsys.readouterr().err


def _judged(house, study, scale="laptop"):
    return claims.judge(study, scale, house.frame(study, _numbers, scale))


def test_the_glance_has_a_row_for_each_claim_and_a_multiple_for_each_reported_number(house, study):
    found = _judged(house, study)
    drawn = verdict_chart.draw(claims.judged_claims(found))
    words = [text.get_text() for text in drawn.axes[0].texts]
    for claim in CLAIMS:
        assert f"study: {claim['id']}" in words
    (point,) = [line for line in drawn.axes[1].lines if line.get_marker() == "o"]
    assert point.get_xdata()[0] == pytest.approx(found["estimate"].iloc[3] / 2.0)
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels[:2] == ["2 replicated", "1 contradicted"]
    assert "1 indicative: for" in labels
    assert "not a replication" in verdict_chart.draw(claims.judged_claims(found.assign(scale="demo"))).texts[0].get_text()


def test_the_summary_takes_each_claim_at_the_largest_scale_that_was_run(house, study):
    laptop, paper = _judged(house, study), claims.judge(study, "paper", None)
    rows = pages.verdict_table({"laptop": laptop, "paper": paper}).splitlines()
    assert rows[2].split("|")[1:-1] == [" `work` ", " 4 ", " 2 ", " 1 ", "  ", " 1 ", "  ", "  "]
    paper = _judged(house, study, "paper")
    rows = pages.verdict_table({"laptop": laptop, "paper": paper}).splitlines()
    assert rows[2].split("|")[1:-1] == [" `work` ", " 4 ", " 3 ", " 1 ", "  ", "  ", "  ", "  "]
    assert rows[-1] == rows[2].replace("`work`", "all")


def _estimate(house):
    for scale in studies.SCALES[1:]:
        folders = ["--configs", str(house.configs), "--csv", str(house.results / scale / "costs.csv")]
        main(["estimate", "--scale", scale, "--rate", "20", *folders])


def test_costs_are_of_the_runs_that_there_are(house, study):
    with pytest.raises(InputError, match=r"laptop/costs.csv: missing: make costs"):
        costs.of_works([study], "laptop", house.results)
    _estimate(house)
    (cost,) = costs.of_works([study], "laptop", house.results)
    found = estimated.estimate(study.runs("laptop"))
    assert (cost.work, cost.runs, cost.operations, cost.memory) == ("work", 18, found.operations, found.memory)
    assert (cost.recorded, cost.seconds) == (18, 18 * 0.5)
    changed = house.study(claims=CLAIMS, seeds=4)
    with pytest.raises(InputError, match=r"no estimate of today's runs of work/study: make costs"):
        costs.of_works([changed], "laptop", house.results)
    file = house.results / "laptop" / "costs.csv"
    file.write_text(file.read_text().replace("18", "many"))
    with pytest.raises(InputError, match=r"costs.csv: damaged .*: make costs"):
        costs.of_works([study], "laptop", house.results)


def test_the_readme_s_tables_are_written_and_found_stale(house, study, tmp_path, capsys):
    page = tmp_path / "README.md"
    marks = [f"<!-- {where} of {what}, which make figures writes -->" for what in ("verdicts", "works", "costs")
             for where in ("begin", "end")]  # fmt: skip
    page.write_text("before\n" + "\n".join(marks) + "\nafter\n")
    build.write_all([study], ["laptop"], house.results, house.figures, processes=1)
    (house.configs / "works.yaml").write_text(
        "work: {about: a work, author: Somebody, title: On Works, year: 2020, figure: study-loss}"
    )
    words = ["readme", "--results", str(house.results), "--configs", str(house.configs), "--file", str(page)]
    _estimate(house)
    with pytest.raises(SystemExit):
        main([*words, "--check"])
    assert "it is stale: make figures" in capsys.readouterr().err
    main(words)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `work` | 4 |" in text
    assert "| laptop | `work` | 18 |" in text
    assert "Somebody, *On Works* (2020)." in text
    assert "![work/study: loss](figures/laptop/work/study-loss.png)" in text
    assert "*Why?* Of its claims: 2 replicated, 1 contradicted, 1 indicative: for." in text
    assert f"18 of 18 runs, {18 * 0.5 / 3600:.2f} |" in text
    assert re.search(r"\| paper \| `work` \| 18 \| .* GiB \|  \|", text)
    main([*words, "--check"])
    page.write_text("nothing")
    with pytest.raises(SystemExit):
        main(words)
    assert "must stand in it once each" in capsys.readouterr().err


def _other(house, study, numbers):
    elsewhere = house.results.parent / "other"
    for job in study.jobs("laptop"):
        made = [house.run_record(run, numbers(run)) for run in job.runs]
        records.write(records.path(elsewhere, "laptop", study, job), made)
    return elsewhere


def _compare(house, other, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(house.results), str(other), "--configs", str(house.configs)])
    return ended.value.code, capsys.readouterr().out


def test_the_same_records_are_the_same(house, study, capsys):
    code, said = _compare(house, _other(house, study, _numbers), capsys)
    assert code == 0
    assert said.splitlines() == ["work/study: 6 same", "all: 6 same"]


def test_seeds_that_fall_otherwise_are_within_the_spread(house, study, capsys):
    code, said = _compare(house, _other(house, study, lambda run: _numbers(run, 1.003)), capsys)
    assert code == 0
    assert "6 within spread" in said


def test_a_number_changed_by_five_percent_is_found(house, study, capsys):
    changed = next(run for run in study.runs("laptop") if run.labels["init"] == "Mu")

    def numbers(run):
        return _numbers(run, 1.05 if run.labels == changed.labels else 1.0)

    other = _other(house, study, numbers)
    code, said = _compare(house, other / "laptop", capsys)
    assert code == 1
    assert "5 same, 1 different" in said
    assert "different: loss at last, model.activation tanh, init Mu: 4.02 and 4.221, spread 0.021, n 3" in said


def test_rounding_alone_is_no_difference_also_with_one_seed(house):
    made = house.study(seeds=1)
    house.fill(made, _numbers)
    for factor, expected in ((1 + 1e-7, "within spread"), (1.05, "different"), (1.0, "same")):
        other = _other(house, made, lambda run, factor=factor: _numbers(run, factor))
        assert set(compare.compare(made, "laptop", house.results, other)["found"]) == {expected}


def test_runs_that_diverged_on_both_machines_are_the_same(house, study):
    def numbers(run):
        return {"loss": records.Series(np.arange(1, 3), np.array([2.0, np.nan]))}

    house.fill(study, numbers)
    assert set(compare.compare(study, "laptop", house.results, _other(house, study, numbers))["found"]) == {"same"}


def test_nothing_to_compare_is_one_line(house, study, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(house.results), str(house.results.parent / "no"), "--configs", str(house.configs)])
    assert ended.value.code == 2
    assert "no study has records at laptop scale in both" in capsys.readouterr().err
