"""Claims to verdicts."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from goodinit.errors import InputError
from goodinit.report.distributions import MAX_RUNS, SIGNIFICANCE
from goodinit.report.evidence import Decision, Evidence
from goodinit.report.measures import NotRun, select
from goodinit.studies import Claim, Reported, Study, as_list, components, protocol

__all__ = [
    "ALL_VERDICTS",
    "ANSWERS",
    "COLUMNS",
    "PILOT_SEEDS",
    "VERDICTS",
    "JudgedClaim",
    "Verdict",
    "at_largest_scale",
    "count_verdicts",
    "judge",
    "judged_claims",
    "mark_holm",
]

Verdict = Literal[
    "replicated",
    "indicative: for",
    "indicative: against",
    "contradicted",
    "inconclusive",
    "unverified",
    "yes",
    "indicative: yes",
    "indicative: no",
    "no",
    "open",
    "not run",
]
ALL_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
VERDICTS: tuple[Verdict, ...] = (*ALL_VERDICTS[:6], "not run")  # on claims
ANSWERS: tuple[Verdict, ...] = ALL_VERDICTS[6:]  # to questions

PILOT_SEEDS = 3  # the fewest that tell a spread, and from it how many are needed

# The verdict that follows from a decision, by the kind of the claim and whether the protocol is the published one.
DECIDED: Mapping[tuple[str, bool], Mapping[Decision, Verdict]] = {
    ("claim", True): {"replicated": "replicated", "contradicted": "contradicted", "inconclusive": "inconclusive"},
    ("claim", False): {
        "replicated": "indicative: for",
        "contradicted": "indicative: against",
        "inconclusive": "inconclusive",
    },
    ("question", True): {"replicated": "yes", "contradicted": "no", "inconclusive": "open"},
    ("question", False): {"replicated": "indicative: yes", "contradicted": "indicative: no", "inconclusive": "open"},
}

# The decision that shorter training than published does not allow.
NEEDS_FULL_TRAINING: Mapping[str | None, Decision] = {"for": "replicated", "against": "contradicted"}


class JudgedClaim(NamedTuple):
    """A claim with its verdict at a scale: a row of `claims.csv`.  The defaults are those of a claim that was not run.

    Args:
        work, study, claim: the id of the claim, and where it is.
        kind: `claim` or `question`.
        says, source: the sentence, and where the source says it.
        scale: the scale of the records.
        test: the predicate.
        reported: the number that the source reports, or NaN.
        verified: whether somebody compared that number with the source: `yes`, `no`, or empty without a number.
        within: the difference from that number that would matter, or NaN.
        estimate, low, high, n, method, decided_by: see `evidence.Evidence`.
        p_value: of the verdict, or of the one that the estimate is closer to; NaN if it was not run.
        supports: whether the estimate is as claimed: `yes`, `no`, or empty if it was not run.
        holm: whether the verdict survives Holm's correction within its work: `yes`, `no`, or empty if undecided.
        runs_needed: the number of runs, as `n` counts them, that would decide; 0 if it is decided or if none would.
        differences: how the protocol at this scale differs from the published one, separated by semicolons.
        verdict: one of `VERDICTS`, or for a question one of `ANSWERS`.
        note: a remark on the verdict.
    """

    work: str
    study: str
    claim: str
    kind: str
    says: str
    source: str
    scale: str
    test: str
    reported: float = math.nan
    verified: str = ""
    within: float = math.nan
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    method: str = ""
    decided_by: str = ""
    p_value: float = math.nan
    supports: str = ""
    holm: str = ""
    runs_needed: int = 0
    differences: str = ""
    verdict: Verdict = "not run"
    note: str = ""

    @property
    def needed(self) -> str:
        """What would decide a claim that was run and is undecided; empty for any other."""
        if self.verdict not in ("inconclusive", "open"):
            return ""
        if self.p_value < SIGNIFICANCE:  # the runs suffice, their number of updates does not
            return "the published number of updates is needed"
        if self.runs_needed:
            which = "in all" if self.test == "share" else "of each condition"  # a share is that of all runs together
            return f"{self.runs_needed} runs {which} would decide"
        if self.n < PILOT_SEEDS:
            return f"at least {PILOT_SEEDS} seeds are needed"
        if self.test == "agrees":
            return "more runs here would not decide: the source has too few"
        return f"how many runs would decide is unknown, or more than {MAX_RUNS:,}"


COLUMNS = [*JudgedClaim._fields]  # of a frame of verdicts and of claims.csv


def judge(study: Study, scale: str, frame: pd.DataFrame | None) -> pd.DataFrame:
    """Return the verdicts on the claims of a study, a row for each, with the fields of `JudgedClaim` as columns.

    Args:
        study: the study that has the claims.
        scale: the scale of the frame.
        frame: from `frame.from_records`, or None where nothing was run.

    Raises:
        InputError: the records do not hold what a claim tests, or the study does not have the reported number.
    """
    rows = [_judge(study, claim, scale, frame) for claim in study.claims]
    return pd.DataFrame(rows, columns=COLUMNS)


def judged_claims(verdicts: pd.DataFrame) -> list[JudgedClaim]:
    """Return the rows of a frame from `judge`."""
    return [JudgedClaim(*row) for row in verdicts.itertuples(index=False, name=None)]


def at_largest_scale(verdicts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the verdict on each claim at the largest scale at which it was run.

    Args:
        verdicts: from `judge`, at each scale, the largest scale last.
    """
    frame = pd.concat(verdicts.values(), ignore_index=True)
    order = (frame["verdict"] != "not run").sort_values(kind="stable").index
    return frame.loc[order].drop_duplicates(["work", "study", "claim"], keep="last").sort_index()


def count_verdicts(verdicts: Sequence[str]) -> str:
    """Return how often each verdict or answer occurs, such as `2 replicated, 1 open`."""
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ALL_VERDICTS if verdict in verdicts)


def mark_holm(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return verdicts with the column `holm` filled in: which survive Holm's correction for the claims of their work.

    Reference: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).

    Args:
        verdicts: from `judge`, of all studies of some works.
    """
    verdicts = verdicts.copy()
    tested = verdicts[verdicts["p_value"].notna() & (verdicts["verdict"] != "unverified")]
    for _, rows in tested.groupby("work"):
        ordered = rows["p_value"].sort_values()
        factors = np.arange(len(ordered), 0, -1)
        adjusted = np.maximum.accumulate(ordered.to_numpy() * factors)
        verdicts.loc[ordered.index, "holm"] = np.where(adjusted < SIGNIFICANCE, "yes", "no")
    undecided = verdicts["verdict"].isin(("inconclusive", "open", "not run"))
    verdicts.loc[undecided | ~(verdicts["p_value"] < SIGNIFICANCE), "holm"] = ""
    return verdicts


def _judge(study: Study, claim: Claim, scale: str, frame: pd.DataFrame | None) -> JudgedClaim:
    """Return a claim with its verdict."""
    judged = JudgedClaim(
        study.work, study.name, claim.id, claim.kind, claim.says, claim.source, scale, claim.predicate, note=claim.note
    )
    reported = None
    if claim.predicate == "agrees":
        reported = study.reported_number(claim)
        verified = "yes" if reported.verified else "no"
        judged = judged._replace(reported=reported.value, verified=verified, within=claim.options["within"])
    evidence = _test(study, claim, scale, frame, reported)
    if evidence is None:
        return judged
    differences = protocol.differences(study, scale, claim.conditions, at_fixed_step=claim.at_fixed_step)
    decision = evidence.decision
    if decision == NEEDS_FULL_TRAINING.get(claim.needs_full_training) and protocol.has_other_length(differences):
        decision = "inconclusive"
    verdict = DECIDED[claim.kind, not differences][decision]
    return judged._replace(
        estimate=evidence.estimate,
        low=evidence.low,
        high=evidence.high,
        n=evidence.n,
        method=evidence.method,
        decided_by=evidence.decided_by,
        p_value=evidence.p_value,
        supports="yes" if evidence.supports else "no",
        runs_needed=evidence.runs_needed or 0,
        differences="; ".join(differences),
        verdict="unverified" if judged.verified == "no" else verdict,
    )


def _test(
    study: Study, claim: Claim, scale: str, frame: pd.DataFrame | None, reported: Reported | None
) -> Evidence | None:
    """Return what the predicate of a claim concludes, or None where what it needs was not run."""
    if frame is None or not _was_run(study, claim, scale, frame):
        return None
    arguments = () if reported is None else (reported,)
    try:
        evidence: Evidence = components.resolve("test", claim.predicate)(frame, *arguments, **claim.options)
    except NotRun:
        return None
    except InputError as error:
        raise InputError(f"{study.path}: claims.{claim.id}: {error}") from None
    return evidence


def _was_run(study: Study, claim: Claim, scale: str, frame: pd.DataFrame) -> bool:
    """Return whether each label that a test names, and each condition of the scale that it selects, has records."""
    if not frame.attrs.get("complete", True):
        recorded = set(frame["run"].unique())
        selected = [run for run in study.runs(scale) if protocol.matches(run.labels, claim.conditions)]
        if study.ranking is not None:  # a rank is among all trials of a seed
            return all(run.id in recorded for run in selected)
        with_records = {tuple(run.labels.values()) for run in selected if run.id in recorded}
        if any(tuple(run.labels.values()) not in with_records for run in selected):
            return False
    for condition in claim.conditions:
        rows = select(frame, condition)
        for axis, chosen in condition.items():
            labels = as_list(chosen)
            if not set(labels) <= set(rows[axis].unique()):
                return False
        if rows.empty:
            return False
    return True
