"""Markdown pages: the verdicts of a scale, its results, and the generated sections of the README."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from goodinit.report import DEMONSTRATION
from goodinit.report.claims import VERDICTS, JudgedClaim, judged_claims
from goodinit.report.costs import WorkCost
from goodinit.studies import Study, summary

__all__ = ["claims_page", "cost_table", "scale_page", "verdict_table", "work_sections"]


class _Work(NamedTuple):
    """What the README says of a work: its entry in configs/works.yaml, its studies, and a figure of one of them."""

    name: str
    entry: Mapping[str, Any]
    studies: Sequence[Study]
    shown: Study
    figure: str
    scale: str | None
    verdicts: str


def claims_page(studies: Iterable[Study], verdicts: pd.DataFrame, scale: str) -> str:
    """Return the verdicts at a scale as a page.

    Args:
        studies: in the order of the page.
        verdicts: from `claims.judge`, of all studies.
        scale: of the verdicts.
    """
    sections = [(study, _claims_of(study, verdicts)) for study in studies]
    return _render("claims", scale=scale, sections=sections) + "\n"


def scale_page(
    studies: Iterable[Study],
    verdicts: pd.DataFrame,
    scale: str,
    figures: Mapping[str, Sequence[str]],
    figure_folder: str,
) -> str:
    """Return the results at a scale as a page: questions, figures, verdicts, deviations and protocols.

    Args:
        studies, verdicts, scale: as in `claims_page`; studies that were not run are left out.
        figures: the names of the figures that were drawn of each study, by its full name.
        figure_folder: the path from the page to the figures of the scale.
    """
    sections = [
        (study, _claims_of(study, verdicts), figures[study.full_name], summary.lines(study, scale))
        for study in studies
        if study.full_name in figures
    ]
    return _render("scale", scale=scale, sections=sections, figure_folder=figure_folder) + "\n"


def verdict_table(verdicts: Mapping[str, pd.DataFrame]) -> str:
    """Return the table of the README that counts the verdicts on each work, at the largest scale that was run.

    Args:
        verdicts: the verdicts on all works at each scale, the largest scale last.
    """
    frame = pd.concat(verdicts.values())
    frame["was_run"] = frame["verdict"] != "not run"
    latest = frame.sort_values("was_run", kind="stable").drop_duplicates(["work", "study", "claim"], keep="last")
    counts = pd.crosstab(latest["work"], latest["verdict"]).reindex(columns=VERDICTS, fill_value=0)
    works = dict.fromkeys(next(iter(verdicts.values()))["work"])
    rows = {f"`{work}`": counts.loc[work] for work in works} | {"all": counts.sum()}
    cells = [(name, row.sum(), [count or "" for count in row]) for name, row in rows.items()]
    return _render("verdict_counts", verdicts=VERDICTS, rows=cells)


def work_sections(
    works: Mapping[str, Mapping[str, Any]], studies: Sequence[Study], verdicts: Mapping[str, pd.DataFrame]
) -> str:
    """Return the sections of the README on the works: what each is, its studies, and a figure with its question.

    Args:
        works: the entries of configs/works.yaml, in the order of the page.
        studies: of all works.
        verdicts: as in `verdict_table`.
    """
    sections = []
    for name, entry in works.items():
        own = [study for study in studies if study.work == name]
        study_name, _, figure = entry["figure"].partition("-")
        shown = next(study for study in own if study.name == study_name)
        claims = {scale: _claims_of(shown, frame) for scale, frame in verdicts.items()}
        scale = next((scale for scale in reversed(claims) if any(c.verdict != "not run" for c in claims[scale])), None)
        decided = [claim.verdict for claim in claims[scale]] if scale else []
        counts = ", ".join(f"{decided.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in decided)
        sections.append(_Work(name, entry, own, shown, figure, scale, counts))
    return _render("works", works=sections)


def cost_table(costs: Iterable[WorkCost], rate: float) -> str:
    """Return the table of the README with the cost of each work at each scale.

    Args:
        costs: from `costs.of_works`.
        rate: operations per second of the device for which hours are given.
    """
    return _render("costs", rows=costs, rate=rate)


def _claims_of(study: Study, verdicts: pd.DataFrame) -> list[JudgedClaim]:
    """Return the judged claims of one study."""
    return judged_claims(verdicts[(verdicts["work"] == study.work) & (verdicts["study"] == study.name)])


def _render(name: str, **values: Any) -> str:
    """Return a template of `templates/` filled in, without empty lines at its end."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("goodinit.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template(f"{name}.md.j2")
    return template.render(demonstration=DEMONSTRATION, **values).rstrip("\n")
