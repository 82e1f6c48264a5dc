"""Pages of findings quote the results, and an outdated sentence is an error."""

import re
from pathlib import Path

import pandas as pd
import pytest

from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report.claims import COLUMNS, JudgedClaim
from goodinit.report.findings import findings_page

CLAIM = JudgedClaim("work", "study", "first", "claim", "A is better.", "page 1", "laptop", "beats")
DECIDED = CLAIM._replace(
    estimate=0.25, low=0.125, high=0.5, n=3, p_value=0.011, verdict="replicated", decided_by="A, B"
)


def _page(text, *judged, tables=None):
    """Return the page of a text on verdicts at laptop scale."""
    frame = pd.DataFrame(judged or [DECIDED], columns=COLUMNS)
    return findings_page("work", text, {"laptop": frame}, {"laptop": tables or {}}).strip()


def _table(**columns):
    return {"work/study": pd.DataFrame({"metric": ["loss"], "at": ["last"], "not_finite": ["0"], **columns})}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0.25, 0.125, 0.5), "0.25 [0.125, 0.5]"),
        ((2.29931, 2.29872, 2.29989), "2.2993 [2.2987, 2.2999]"),
        ((0.1168, 0.116245, 0.117355), "0.1168 [0.1162, 0.1174]"),
        ((1.0, 1.0, 1.0), "1 [1, 1]"),
        ((1.0, 0.9761234, 1.0), "1 [0.976, 1]"),
        ((123456.0, -float("inf"), float("inf")), "1.23e+05 [-inf, inf]"),
    ],
)
def test_an_interval_has_the_digits_that_distinguish_its_numbers(numbers, expected):
    claim = DECIDED._replace(estimate=numbers[0], low=numbers[1], high=numbers[2])
    assert _page('{{ estimate("study/first", "replicated") }}', claim) == expected


def test_a_difference_can_be_reversed():
    assert _page('{{ estimate("study/first", "replicated", reverse=True) }}') == "-0.25 [-0.5, -0.125]"
    with pytest.raises(InputError, match=r"study/first: reverse: the estimate is not a difference"):
        _page('{{ estimate("study/first", "replicated", reverse=True) }}', DECIDED._replace(test="within"))


def test_the_condition_that_decides_can_be_a_part_of_the_sentence():
    assert _page('{{ estimate("study/first", "replicated", decided_by="A, B") }}') == "0.25 [0.125, 0.5]"
    with pytest.raises(InputError, match=r"study/first is decided by 'A, B', not 'C': rewrite the sentence"):
        _page('{{ estimate("study/first", "replicated", decided_by="C") }}')


@pytest.mark.parametrize(("others", "mark"), [(0, ""), (4, "†")])
def test_holms_correction_is_for_all_claims_of_the_page(others, mark):
    """Five claims with p = 0.011 and 0.9 leave a factor of 5 for the first, whatever was marked at its scale."""
    claims = [DECIDED._replace(claim=f"other-{index}", p_value=0.9, verdict="inconclusive") for index in range(others)]
    page = _page('{{ estimate("study/first", "replicated") }}', DECIDED._replace(holm="yes"), *claims)
    assert page == f"0.25 [0.125, 0.5]{mark}"


def test_the_mean_is_that_of_all_runs_in_the_table():
    table = _table(mean=["0.12345"], high=["9"])
    assert _page('{{ mean("study", "loss") }}', tables=table) == "0.123"
    table["work/study"]["not_finite"] = "2"
    with pytest.raises(InputError, match="study: 2 runs have no value: the mean is not of all runs"):
        _page('{{ mean("study", "loss") }}', tables=table)


def test_studies_with_few_open_claims_are_counted_together_if_there_are_many():
    numbers = {f"study{index}": 4 if index == 0 else 1 for index in range(9)}
    claims = [
        CLAIM._replace(study=study, claim=f"claim-{index}", verdict="unverified" if index else "not run")
        for study, count in numbers.items()
        for index in range(count)
    ]
    assert _page("{{ unanswered() }}", *claims) == (
        "Claims and questions without an answer: `study0` 4, 8 other studies 8."
    )
    assert _page("{{ unanswered() }}") == "Nothing."


def test_a_page_of_findings_quotes_the_results(readme, workspace):
    file, command = readme
    main(command)
    assert "Findings" not in file.read_text()
    text = 'A page.\n\n{{ counts() }} It is {{ estimate("study/low", "replicated") }}. {{ unanswered() }}\n'
    (file.parent / "findings" / "work.md.j2").write_text(text)
    main(command)
    page = (workspace.results / "work.md").read_text()
    assert page.startswith("A page.\n\n3 claims: 1 ")
    assert " 1 question: 1 yes. It is " in page
    sentence = " ".join(page.split()).partition("It is ")[2]
    assert re.fullmatch(
        r"[\d.e-]+ \[[\d.e-]+, [\d.e-]+\]\. Claims and questions without an answer: `study` 1\.", sentence
    )
    assert "[Findings](results/work.md)" in file.read_text()
    main([*command, "--check"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{{ estimate("study/low", "contradicted") }}',
            "study/low is replicated at laptop scale, but the text says contra",
        ),
        ('{{ estimate("study/lo", "replicated") }}', "no claim 'study/lo'; did you mean study/low?"),
        ('{{ mean("stdy", "loss") }}', "no table of 'stdy'"),
        ('{{ mean("study", "loss") }}', "study: 6 rows with metric loss: select one"),
        ('{{ mean("study", "loss", colour="red") }}', "study: no column 'colour'"),
        ("{{ mean() }}", "work.md.j2: "),
        ("{{ nothing }}", "work.md.j2: 'nothing' is undefined"),
        ("{{ estimate(", "work.md.j2: "),
        ("{{ 1 / 0 }}", "work.md.j2: division by zero"),
    ],
)
def test_a_text_that_does_not_fit_the_results_is_one_line(readme, capsys, text, message):
    file, command = readme
    (file.parent / "findings" / "work.md.j2").write_text(text)
    with pytest.raises(SystemExit):
        main(command)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert file.read_text().startswith("before\n<!--")


def test_pages_of_findings_are_short():
    pages = list((Path(__file__).parents[2] / "results").glob("*.md"))
    assert pages
    for page in pages:
        assert len(page.read_text().splitlines()) <= 40, page
