"""Pages of findings: what holds of each work, in texts whose numbers come from the results."""

import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import jinja2
import pandas as pd

from goodinit.errors import InputError, nearest
from goodinit.report.claims import at_largest_scale, count_verdicts, judged_claims, mark_holm
from goodinit.report.pages import environment
from goodinit.report.planning import UNANSWERED

__all__ = ["findings_page", "read_tables"]

WIDTH = 120  # of the lines of a page
MAX_STUDIES = 8  # that are named one by one


def findings_page(
    work: str, text: str, verdicts: Mapping[str, pd.DataFrame], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> str:
    """Return the page of findings on a work: a Jinja template filled in with numbers of the results.

    The template can call these functions, whose results are of the largest scale at which a claim or study was run:

    - `estimate(claim, verdict)`, with a claim `<study>/<id>`: the estimate and its interval, with a dagger if the
      verdict does not survive Holm's correction for all claims and questions on the page. Another verdict on the claim
      is an error, because the sentence explains this one. With `decided_by`, so is another condition that decides; with
      `reverse`, a difference is that in the other direction.
    - `mean(study, metric, at, **labels)`: the mean over seeds, from the table of the study, in which all runs must have
      a value; `at` is not needed if the table has one measure of the metric.
    - `counts()`: how many claims have each verdict, and how many questions each answer.
    - `unanswered()`: how many claims and questions of each study have no answer.

    Args:
        work: the name of the work.
        text: the template, Markdown.
        verdicts: for each scale the frame of `claims.csv`, the largest scale last.
        tables: for each scale the tables by the full names of their studies, in the same order.

    Raises:
        InputError: the template is not valid, or names something that the results do not have.
    """
    results = _Results(work, verdicts, tables)
    functions = {name: getattr(results, name) for name in ("estimate", "mean", "counts", "unanswered")}
    try:
        return _wrap(environment().from_string(text).render(functions))
    except (InputError, jinja2.TemplateError, TypeError, ArithmeticError) as error:
        raise InputError(f"docs/findings/{work}.md.j2: {error}") from None


def read_tables(results: Path, scale: str, work: str) -> dict[str, pd.DataFrame]:
    """Return the tables of a work at a scale, all columns as text, by the full names of the studies."""
    files = sorted((results / scale / "tables" / work).glob("*.csv"))
    return {f"{work}/{file.stem}": pd.read_csv(file, dtype=str) for file in files}


class _Results:
    """The results of a work, of the largest scale at which each claim was judged and each study was run."""

    def __init__(
        self, work: str, verdicts: Mapping[str, pd.DataFrame], tables: Mapping[str, Mapping[str, pd.DataFrame]]
    ) -> None:
        frame = at_largest_scale(verdicts)
        frame = mark_holm(frame[frame["work"] == work])
        self._claims = {f"{claim.study}/{claim.claim}": claim for claim in judged_claims(frame)}
        self._tables = {
            name.removeprefix(f"{work}/"): table for of_scale in tables.values() for name, table in of_scale.items()
        }

    def estimate(self, name: str, verdict: str, *, decided_by: str = "", reverse: bool = False) -> str:
        """Return the estimate and interval of a claim, which must have this verdict, and Holm's mark."""
        if name not in self._claims:
            raise InputError(f"no claim {name!r}{nearest(name, self._claims)}")
        claim = self._claims[name]
        if claim.verdict != verdict:
            raise InputError(
                f"{name} is {claim.verdict} at {claim.scale} scale, but the text says {verdict}: rewrite the sentence"
            )
        if decided_by and claim.decided_by != decided_by:
            raise InputError(f"{name} is decided by {claim.decided_by!r}, not {decided_by!r}: rewrite the sentence")
        if reverse and claim.test not in ("beats", "ranks"):
            raise InputError(f"{name}: reverse: the estimate is not a difference")
        numbers = claim.estimate, claim.low, claim.high
        if reverse:
            numbers = -claim.estimate, -claim.high, -claim.low
        return _interval(*numbers) + ("†" if claim.holm == "no" else "")

    def mean(self, study: str, metric: str, at: object = None, /, **labels: object) -> str:
        """Return the mean of a metric for the condition with these labels."""
        if study not in self._tables:
            raise InputError(f"no table of {study!r}{nearest(study, self._tables)}")
        rows = self._tables[study]
        wanted = {"metric": metric, **labels} | ({} if at is None else {"at": at})
        for column, value in wanted.items():
            if column not in rows:
                raise InputError(f"{study}: no column {column!r}{nearest(column, rows)}")
            rows = rows[rows[column] == str(value)]
        if len(rows) != 1:
            described = ", ".join(f"{column} {value}" for column, value in wanted.items())
            raise InputError(f"{study}: {len(rows)} rows with {described}: select one by its labels and `at`")
        if rows["not_finite"].iloc[0] != "0":
            raise InputError(f"{study}: {rows['not_finite'].iloc[0]} runs have no value: the mean is not of all runs")
        return f"{float(rows['mean'].iloc[0]):.3g}"

    def counts(self) -> str:
        """Return how many claims have each verdict, and how many questions each answer."""
        sentences = []
        for kind in ("claim", "question"):
            verdicts = [claim.verdict for claim in self._claims.values() if claim.kind == kind]
            if verdicts:
                plural = "s" if len(verdicts) > 1 else ""
                sentences.append(f"{len(verdicts)} {kind}{plural}: {count_verdicts(verdicts)}.")
        return " ".join(sentences)

    def unanswered(self) -> str:
        """Return the numbers of claims and questions without an answer by study, in a sentence.

        Studies with only one or two of them are named together if there are many.
        """
        verdicts = (*UNANSWERED, "unverified")
        counts = Counter(claim.study for claim in self._claims.values() if claim.verdict in verdicts).most_common()
        named = [item for item in counts if item[1] > 2] if len(counts) > MAX_STUDIES else counts
        listed = [f"`{study}` {count}" for study, count in named]
        if others := counts[len(named) :]:
            listed.append(f"{len(others)} other studies {sum(count for _, count in others)}")
        return f"Claims and questions without an answer: {', '.join(listed)}." if listed else "Nothing."


def _interval(estimate: float, low: float, high: float) -> str:
    """Return an estimate and its interval with three digits, or as many as distinguish the three numbers."""
    distinct = len({estimate, low, high})
    for digits in range(3, 9):
        texts = [f"{number:.{digits}g}" for number in (estimate, low, high)]
        if len(set(texts)) == distinct:
            break
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _wrap(page: str) -> str:
    """Return a page whose paragraphs and items are wrapped, since the lengths of numbers vary."""
    blocks: list[str] = []
    for line in page.splitlines():
        if blocks and line and not line.startswith(("- ", "#")) and blocks[-1] and not blocks[-1].startswith("#"):
            blocks[-1] += f" {line.strip()}"
        else:
            blocks.append(line)
    filled = (
        textwrap.fill(
            block,
            WIDTH,
            subsequent_indent="  " if block.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for block in blocks
    )
    return "\n".join(filled) + "\n"
