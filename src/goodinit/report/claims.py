"""Claims to verdicts."""

import math
from typing import Literal, NamedTuple, get_args

import pandas as pd

from goodinit.errors import InputError
from goodinit.report.measures import NotRun, select
from goodinit.report.predicates import MIN_SEEDS, Decision, Evidence
from goodinit.studies import SCALES, Claim, Reported, Study, Where, components

__all__ = ["VERDICTS", "JudgedClaim", "Verdict", "judge", "judged_claims"]

Verdict = Literal["replicated", "contradicted", "inconclusive", "indicative: for", "indicative: against", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
INDICATIVE: dict[Decision, Verdict] = {"replicated": "indicative: for", "contradicted": "indicative: against"}


class JudgedClaim(NamedTuple):
    """A claim with its verdict at a scale: a row of `claims.csv`.

    Args:
        work, study, claim: the id of the claim, and where it is.
        says, source: the sentence, and where the source says it.
        scale: the scale of the records.
        test: the predicate.
        reported: the number that the source reports, or NaN.
        verified: whether somebody compared that number with the source: `yes`, `no`, or empty without a number.
        estimate, low, high, n: see `predicates.Evidence`.
        verdict: one of `VERDICTS`.
        note: a remark on the verdict.
    """

    work: str
    study: str
    claim: str
    says: str
    source: str
    scale: str
    test: str
    reported: float
    verified: str
    estimate: float
    low: float
    high: float
    n: int
    verdict: Verdict
    note: str


def judge(study: Study, scale: str, frame: pd.DataFrame | None) -> pd.DataFrame:
    """Return the verdicts on the claims of a study, a row for each, with the fields of `JudgedClaim` as columns.

    Args:
        study: which.
        scale: the scale of the frame.
        frame: from `frame.from_records`, or None where nothing was run.

    Raises:
        InputError: the records do not hold what a claim tests, or the study does not have the reported number.
    """
    rows = []
    for claim in study.claims:
        reported = _reported(study, claim) if claim.predicate == "agrees" else None
        evidence = _test(study, claim, frame, reported)
        rows.append(
            JudgedClaim(
                work=study.work,
                study=study.name,
                claim=claim.id,
                says=claim.says,
                source=claim.source,
                scale=scale,
                test=claim.predicate,
                reported=math.nan if reported is None else reported.value,
                verified="" if reported is None else "yes" if reported.verified else "no",
                estimate=evidence.estimate if evidence else math.nan,
                low=evidence.low if evidence else math.nan,
                high=evidence.high if evidence else math.nan,
                n=evidence.n if evidence else 0,
                verdict=_verdict(study, claim, scale, evidence),
                note=claim.note,
            )
        )
    return pd.DataFrame(rows, columns=list(JudgedClaim._fields))


def judged_claims(verdicts: pd.DataFrame) -> list[JudgedClaim]:
    """Return the rows of a frame from `judge`."""
    return [JudgedClaim(*row) for row in verdicts.itertuples(index=False, name=None)]


def _test(study: Study, claim: Claim, frame: pd.DataFrame | None, reported: Reported | None) -> Evidence | None:
    """Return what the predicate of a claim concludes, or None where what it needs was not run."""
    if frame is None or not _was_run(frame, claim):
        return None
    arguments = () if reported is None else (reported.value,)
    try:
        evidence: Evidence = components.resolve("test", claim.predicate)(frame, *arguments, **claim.options)
    except NotRun:
        return None
    except InputError as error:
        raise InputError(f"{study.path}: claims.{claim.id}: {error}") from None
    return evidence


def _verdict(study: Study, claim: Claim, scale: str, evidence: Evidence | None) -> Verdict:
    """Return the verdict that follows from the evidence, the number of seeds and the scale."""
    if evidence is None:
        return "not run"
    if evidence.n and evidence.n < (1 if study.deterministic else MIN_SEEDS):
        return "inconclusive"
    if SCALES.index(scale) < SCALES.index(claim.needs):
        return INDICATIVE.get(evidence.decision, evidence.decision)
    return evidence.decision


def _was_run(frame: pd.DataFrame, claim: Claim) -> bool:
    """Return whether each condition that a test names has records."""
    where: Where = claim.options.get("where") or {}
    sides = [claim.options[key] for key in ("better", "worse") if key in claim.options]
    for item in claim.options.get("order", []):
        sides += item if isinstance(item, list) else [item]
    return all(not select(frame, {**where, **side}).empty for side in sides or [{}])


def _reported(study: Study, claim: Claim) -> Reported:
    """Return the reported number with which the test of a claim compares.

    Raises:
        InputError: the study does not have it.
    """
    measure = claim.options.get("metric"), claim.options.get("at", "last"), claim.options.get("where", {})
    for reported in study.reported:
        if (reported.metric, reported.at, reported.where) == measure:
            return reported
    raise InputError(f"{study.path}: claims.{claim.id}: no reported value for it: add one under reported")
