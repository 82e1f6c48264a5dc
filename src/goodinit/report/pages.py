"""Markdown pages: the verdicts of a scale, its results, and the generated sections of the README."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from goodinit.errors import InputError, nearest
from goodinit.report import DEMONSTRATION
from goodinit.report.claims import (
    ANSWERS,
    VERDICTS,
    JudgedClaim,
    at_largest_scale,
    count_verdicts,
    judged_claims,
)
from goodinit.report.costs import WorkCost
from goodinit.studies import Study, protocol, summary

__all__ = ["claims_page", "cost_table", "environment", "review_page", "scale_page", "verdict_table", "work_sections"]


class _Work(NamedTuple):
    """What the README says of a work: its entry in configs/works.yaml, its studies, and a figure of one of them.

    `verdicts` tells how often each occurs, by the kind of the claims; `findings` is whether the work has such a page.
    """

    name: str
    entry: Mapping[str, Any]
    studies: Sequence[Study]
    shown: Study
    figure: str
    scale: str | None
    verdicts: Mapping[str, str]
    findings: bool


def claims_page(studies: Iterable[Study], verdicts: pd.DataFrame, scale: str) -> str:
    """Return the verdicts at a scale as a page.

    Args:
        studies: in the order of the page.
        verdicts: from `claims.judge`, of all studies.
        scale: of the verdicts.
    """
    sections = [(study, _claims_of(study, verdicts), protocol.differences(study, scale)) for study in studies]
    return _render("claims", scale=scale, sections=sections) + "\n"


def scale_page(
    studies: Iterable[Study],
    verdicts: pd.DataFrame,
    scale: str,
    figures: Mapping[str, Sequence[str]],
    figure_folder: str,
) -> str:
    """Return the results at a scale as a page: counts of verdicts, and each study with its figures and verdicts.

    Args:
        studies, verdicts, scale: as in `claims_page`; studies that were not run are left out.
        figures: the names of the figures that were drawn of each study, by its full name.
        figure_folder: the path from the page to the figures of the scale.
    """
    sections = [
        (
            study,
            _claims_of(study, verdicts),
            figures[study.full_name],
            summary.lines(study, scale),
            protocol.differences(study, scale),
        )
        for study in studies
        if study.full_name in figures
    ]
    works = list(dict.fromkeys(study.work for study, rows, *_ in sections if rows))
    counts = verdict_table({scale: verdicts}) if len(verdicts) else ""
    page = _render("scale", scale=scale, sections=sections, works=works, counts=counts, figure_folder=figure_folder)
    return page + "\n"


def verdict_table(verdicts: Mapping[str, pd.DataFrame]) -> str:
    """Return the tables that count the verdicts on the claims and the answers to the questions of each work.

    Each counts at the largest scale at which it was run.

    Args:
        verdicts: the verdicts on all works at each scale, the largest scale last.
    """
    latest = at_largest_scale(verdicts)
    works = list(dict.fromkeys(next(iter(verdicts.values()))["work"]))
    tables = []
    for kind, columns in (("claim", VERDICTS), ("question", ANSWERS)):
        rows = latest[latest["kind"] == kind]
        if rows.empty:
            continue
        counts = pd.crosstab(rows["work"], rows["verdict"]).reindex(columns=columns, index=works, fill_value=0)
        named = {f"`{work}`": counts.loc[work] for work in works} | {"all": counts.sum()}
        cells = [(name, row.sum(), [count or "" for count in row]) for name, row in named.items() if row.sum()]
        tables.append(_render("verdict_counts", total_name=f"{kind}s", verdicts=columns, rows=cells))
        if kind == "claim" and (memory := _from_memory(rows)):
            tables.append(memory)
    return "\n\n".join(tables)


def work_sections(
    works: Mapping[str, Mapping[str, Any]],
    studies: Sequence[Study],
    verdicts: Mapping[str, pd.DataFrame],
    findings: Collection[str],
) -> str:
    """Return the sections of the README on the works: what each is, its studies, and a figure with its question.

    The figure is of the scale at which most claims of its study were judged, of several the largest. The claims count
    as in `verdict_table`.

    Args:
        works: the entries of configs/works.yaml, in the order of the page.
        studies: of all works.
        verdicts: as in `verdict_table`.
        findings: the works that have a page of findings.

    Raises:
        InputError: an entry names a figure that its work does not have.
    """
    latest = at_largest_scale(verdicts)
    sections = []
    for name, entry in works.items():
        own = [study for study in studies if study.work == name]
        study_name, _, figure = entry["figure"].partition("-")
        by_name = {study.name: study for study in own}
        if study_name not in by_name or figure not in by_name[study_name].figures:
            choices = [f"{study.name}-{figure}" for study in own for figure in study.figures]
            raise InputError(f"works.yaml: {name}: no figure {entry['figure']!r}{nearest(entry['figure'], choices)}")
        shown = by_name[study_name]
        rows = {scale: _claims_of(shown, frame) for scale, frame in reversed([*verdicts.items()])}
        judged = {scale: sum(claim.verdict != "not run" for claim in claims) for scale, claims in rows.items()}
        scale = max(judged, key=judged.__getitem__) if any(judged.values()) else None
        latest_claims = _claims_of(shown, latest) if scale else []
        decided = {
            kind: count_verdicts([claim.verdict for claim in latest_claims if claim.kind == kind])
            for kind in ("claim", "question")
        }
        sections.append(_Work(name, entry, own, shown, figure, scale, decided, name in findings))
    return _render("works", works=sections)


def review_page(studies: Sequence[Study], reviews: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page that lists each claim with its sentence, its test, and what a review of the two found.

    Args:
        studies: of all works.
        reviews: the content of `docs/claims_review/<work>.yaml` by work: for each `<study>/<claim>`, its `outcome`
            (`right`, `changed`, `new` or `removed`) and a `remark`.

    Raises:
        InputError: a claim has no review, or a review has no claim.
    """
    works, tests = [], {}
    outcomes: Counter[str] = Counter()
    for work, entries in reviews.items():
        rows = []
        for study in studies:
            for claim in study.claims if study.work == work else ():
                name = f"{study.name}/{claim.id}"
                if name not in entries:
                    raise InputError(f"docs/claims_review/{work}.yaml: {name}: no review of this claim: add one")
                rows.append((name, claim, {"remark": "", **entries[name]}))
                tests[name] = json.dumps(claim.options, ensure_ascii=False).replace("|", "\\|")
                outcomes[entries[name]["outcome"]] += 1
        others = {name: entry for name, entry in entries.items() if name not in {row[0] for row in rows}}
        for name, entry in others.items():
            if entry["outcome"] != "removed":
                raise InputError(f"docs/claims_review/{work}.yaml: {name}: no such claim: its outcome is not removed")
        outcomes["removed"] += len(others)
        works.append((work, rows, {name: entry["remark"] for name, entry in others.items()}))
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
    return _render("review", works=works, tests=tests, counts=f"{counts[:1].upper()}{counts[1:]}.") + "\n"


def cost_table(costs: Iterable[WorkCost], rate: float) -> str:
    """Return the table of the README with the cost of each work at each scale.

    Args:
        costs: from `costs.of_works`.
        rate: operations per second of the device for which hours are given.
    """
    return _render("costs", rows=costs, rate=rate)


def environment() -> jinja2.Environment:
    """Return the environment of the templates of Markdown pages, in which an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("goodinit.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _from_memory(verdicts: pd.DataFrame) -> str:
    """Return how many sentences were quoted from memory, in a sentence; empty if none was."""
    quoted = verdicts["source"].str.contains("from memory", regex=False)
    if not quoted.any():
        return ""
    replicated = verdicts["verdict"] == "replicated"
    of_replicated = f"{(quoted & replicated).sum()} of the {replicated.sum()} that are replicated"
    return f"{quoted.sum()} of the {len(verdicts)} claims, and {of_replicated}, are quoted from memory."


def _claims_of(study: Study, verdicts: pd.DataFrame) -> list[JudgedClaim]:
    """Return the judged claims of one study."""
    return judged_claims(verdicts[(verdicts["work"] == study.work) & (verdicts["study"] == study.name)])


def _render(name: str, **values: Any) -> str:
    """Return a template of `templates/` filled in, without empty lines at its end."""
    template = environment().get_template(f"{name}.md.j2")
    return template.render(demonstration=DEMONSTRATION, **values).rstrip("\n")
