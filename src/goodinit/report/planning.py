"""What it would take to answer the claims that have no answer yet: which runs, at which scale, at what cost."""

import functools
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from goodinit import records
from goodinit.report.claims import PILOT_SEEDS, JudgedClaim
from goodinit.report.measures import required_step
from goodinit.studies import SCALES, Claim, Job, Run, Study, as_list, protocol

__all__ = ["Plan", "plan", "within_budget", "without_plan"]

COUNTED = ("training", "evaluating")  # activities whose time is estimated from operations
UNANSWERED = ("inconclusive", "open", "not run")


class Plan(NamedTuple):
    """Runs of one study at one scale that answer claims.

    Args:
        study, scale: whose runs.
        seeds: the number of seeds to which the study must be extended at this scale; None if runs of those that it
            has are missing.
        runs: the number of runs to train.
        seconds: the time that they take.
        claims: the claims that they may answer, each with the reason.
    """

    study: Study
    scale: str
    seeds: int | None
    runs: int
    seconds: float
    claims: Mapping[str, str]


def plan(
    studies: Sequence[Study],
    judged: Mapping[str, Sequence[JudgedClaim]],
    results: Path,
    seconds: Callable[[Sequence[Run]], float],
) -> list[Plan]:
    """Return the runs that would answer each claim without an answer at the lowest cost, the cheapest first.

    Only the largest scale at which a claim was run counts, so smaller scales cannot answer it. A claim is answered by
    runs that are planned and not recorded; or, if those that are recorded do not decide, by as many more seeds as
    `inference.Estimate.runs_needed` says.

    Args:
        studies: the studies that have the claims.
        judged: their claims with verdicts, at each scale, the largest scale last.
        results: the folder of records.
        seconds: the time that training and evaluating some runs takes.
    """
    verdicts = {
        (claim.work, claim.study, claim.claim, scale): claim for scale, rows in judged.items() for claim in rows
    }
    plans: dict[tuple[str, str, int | None], Plan] = {}
    for study in studies:
        costs = _Costs(study, results, seconds)
        for claim in study.claims:
            at_scales = _from_largest_run(
                {scale: row for scale in judged if (row := verdicts.get((study.work, study.name, claim.id, scale)))}
            )
            if any(row.verdict not in UNANSWERED for row in at_scales.values()):
                continue
            judged_runs = {run.id for scale, row in at_scales.items() if row.n for run in study.runs(scale)}
            candidates = [
                item for scale, row in at_scales.items() for item in _candidates(claim, row, scale, costs, judged_runs)
            ]
            if candidates:
                cheapest = min(candidates, key=lambda item: (item.seconds, SCALES.index(item.scale)))
                key = study.full_name, cheapest.scale, cheapest.seeds
                reasons = {**plans[key].claims, **cheapest.claims} if key in plans else cheapest.claims
                plans[key] = cheapest._replace(claims=reasons)
    return sorted(plans.values(), key=lambda item: item.seconds / len(item.claims))


def within_budget(plans: Sequence[Plan], seconds: float) -> Iterator[Plan]:
    """Yield the plans, in their order, for which the time suffices; those that take longer are passed over."""
    for item in plans:
        if item.seconds <= seconds:
            seconds -= item.seconds
            yield item


def without_plan(judged: Mapping[str, Sequence[JudgedClaim]], plans: Sequence[Plan]) -> list[str]:
    """Return the claims that were run and have no answer, and that no plan may answer, as `work/study.claim`.

    Args:
        judged: the claims with verdicts, at each scale, the largest scale last, whose verdict counts.
        plans: all plans.
    """
    verdicts = {
        f"{row.work}/{row.study}.{row.claim}": row.verdict
        for rows in judged.values()
        for row in rows
        if row.verdict != "not run"
    }
    planned = {f"{item.study.full_name}.{claim}" for item in plans for claim in item.claims}
    return [claim for claim, verdict in verdicts.items() if verdict in UNANSWERED and claim not in planned]


class _Costs:
    """The runs of a study at each scale, and what they cost."""

    def __init__(self, study: Study, results: Path, seconds: Callable[[Sequence[Run]], float]) -> None:
        self.study = study
        self.results = results
        self.seconds = seconds

    @functools.cache  # noqa: B019, the few instances are kept until the process ends
    def of_missing(self, scale: str) -> tuple[int, float]:
        """Return the number of runs that have no record, and the time that they take."""
        missing = [job for job in self.study.jobs(scale) if not self._file(scale, job).exists()]
        runs = [run for job in missing for run in job.runs]
        return len(runs), self.seconds(runs) + len(runs) * self._other_seconds(scale)

    @functools.cache  # noqa: B019
    def of_one_seed(self, scale: str) -> tuple[int, float]:
        """Return the number of runs with one seed, and the time that they take."""
        runs = [run for run in self.study.runs(scale) if run.seed == 0]
        return len(runs), self.seconds(runs) + len(runs) * self._other_seconds(scale)

    @functools.cache  # noqa: B019
    def _other_seconds(self, scale: str) -> float:
        """Return the time of initialization and diagnostics of a run, as recorded at this scale or else at another."""
        for recorded_scale in sorted(SCALES, key=lambda other: other != scale):
            files = [self._file(recorded_scale, job) for job in self.study.jobs(recorded_scale)]
            recorded = [run.seconds for file in files if file.exists() for run in records.read(file)]
            if recorded:
                other = (seconds for run in recorded for activity, seconds in run.items() if activity not in COUNTED)
                return sum(other) / len(recorded)
        return 0.0

    def _file(self, scale: str, job: Job) -> Path:
        return records.path(self.results, scale, self.study, job)


def _from_largest_run(rows: Mapping[str, JudgedClaim]) -> Mapping[str, JudgedClaim]:
    """Return the rows of a claim, by scale, from the largest scale at which it was run; all rows if there is none."""
    run = [index for index, row in enumerate(rows.values()) if row.verdict != "not run"]
    return dict(list(rows.items())[max(run, default=0) :])


def _candidates(
    claim: Claim, judged: JudgedClaim, scale: str, costs: _Costs, judged_runs: Container[str]
) -> Iterator[Plan]:
    """Yield the plans that may answer a claim at a scale, unless all their runs were judged at another scale."""
    study = costs.study
    runs = study.runs(scale)
    if not _reaches(claim, runs):
        return
    missing, seconds = costs.of_missing(scale)
    if missing:
        if all(run.id in judged_runs for run in runs):
            return
        yield Plan(study, scale, None, missing, seconds, {claim.id: judged.verdict})
        return
    seeds = len({run.seed for run in runs})
    needed = math.ceil(judged.runs_needed / judged.n * seeds) if judged.n else 0
    needed = needed or (PILOT_SEEDS if judged.n and seeds < PILOT_SEEDS and not study.deterministic else 0)
    if needed > seeds:
        count, seconds = costs.of_one_seed(scale)
        more = needed - seeds
        reason = f"{judged.verdict} with {seeds} seed{'s' if seeds > 1 else ''}, p = {judged.p_value:.2g}"
        yield Plan(study, scale, needed, more * count, more * seconds, {claim.id: reason})


def _reaches(claim: Claim, runs: Sequence[Run]) -> bool:
    """Return whether runs have each label that a claim names, and the step at which it is tested."""
    if not runs or not all(
        any(protocol.matches(run.labels, [{axis: label}]) for run in runs)
        for condition in claim.conditions
        for axis, labels in condition.items()
        for label in as_list(labels)
    ):
        return False
    step = max(required_step(claim.options.get(key, "last")) for key in ("at", "denominator_at"))
    lengths = [run.parts["training"].get("steps") for run in runs]
    return any(length is None or step <= length for length in lengths)
