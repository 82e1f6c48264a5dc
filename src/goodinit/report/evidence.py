"""Evidence: what an estimate says about a claim that bounds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from goodinit.report.distributions import SIGNIFICANCE
from goodinit.report.inference import Estimate

__all__ = ["Decision", "Evidence", "compare_with_bounds", "worst"]

Decision = Literal["replicated", "contradicted", "inconclusive"]


@dataclass(frozen=True)
class Evidence:
    """What a predicate concludes.

    Args:
        estimate: what the predicate estimates, such as a mean or a difference.
        low, high: the bounds of its 95 % interval.
        n: the number of runs.
        method: how the interval is computed.
        p_for: the p-value of the hypothesis that the claim is false; the claim is replicated if it is less than 0.05.
        p_against: the p-value of the hypothesis that the claim is true; the claim is contradicted if it is less than
            0.05.
        supports: whether the estimate is as claimed, be it decided or not.
        tested: the estimate of the parameter that is compared with bounds, such as the logarithm of a ratio.
        bounds: these bounds.
        comparisons: the number of conditions or pairs for which `p_against` is corrected.
        decided_by: which condition or pair the numbers are of, where the claim is about several.
    """

    estimate: float
    low: float
    high: float
    n: int
    method: str
    p_for: float
    p_against: float
    supports: bool
    tested: Estimate
    bounds: Sequence[float]
    comparisons: int = 1
    decided_by: str = ""

    @property
    def decision(self) -> Decision:
        """Whether the interval confirms the claim, contradicts it, or neither."""
        if self.p_for < SIGNIFICANCE:
            return "replicated"
        return "contradicted" if self.p_against < SIGNIFICANCE else "inconclusive"

    @property
    def p_value(self) -> float:
        """The p-value of the decision, or of the one that the estimate is closer to."""
        return min(self.p_for, self.p_against)

    @property
    def runs_needed(self) -> int | None:
        """The number of runs with which it would be decided if the estimate stays.

        None if it is decided, or if no number would decide it.
        """
        significance = SIGNIFICANCE if self.supports else SIGNIFICANCE / self.comparisons
        undecided = [bound for bound in self.bounds if self.tested.p_value(bound) >= significance]
        needed = [self.tested.runs_needed(bound, significance) for bound in undecided]
        if self.decision != "inconclusive" or not needed or None in needed:
            return None
        return max(number for number in needed if number is not None)


def compare_with_bounds(estimate: Estimate, above: float | None = None, below: float | None = None) -> Evidence:
    """Return the evidence that a parameter lies between two bounds.

    Args:
        estimate: of the parameter.
        above, below: the bounds; None for one that the claim does not have.
    """
    p_for, p_against, supports = 0.0, 1.0, True
    for bound, sign in ((above, 1), (below, -1)):
        if bound is None:
            continue
        p_value = estimate.p_value(bound)
        holds = sign * estimate.value > sign * bound
        p_for = max(p_for, p_value if holds else 1.0)
        p_against = min(p_against, 1.0 if holds else p_value)
        supports = supports and holds
    return Evidence(
        estimate.value,
        estimate.low,
        estimate.high,
        estimate.n,
        estimate.method,
        p_for,
        p_against,
        supports,
        tested=estimate,
        bounds=[bound for bound in (above, below) if bound is not None],
    )


def worst(evidence: Mapping[str, Evidence]) -> Evidence:
    """Return the evidence on a claim that must hold of several conditions.

    It is replicated if each condition replicates it.  It is contradicted if one condition does at a significance of
    0.05 divided by the number of conditions (Bonferroni), since each of them could by chance.

    Args:
        evidence: of each condition, by its name.

    Returns:
        The evidence of the condition that decides: the strongest against the claim if it is contradicted, else the
        weakest for it; `decided_by` is its name if there are several.
    """
    p_for = max(item.p_for for item in evidence.values())
    p_against = min(1.0, len(evidence) * min(item.p_against for item in evidence.values()))
    if p_against < SIGNIFICANCE:
        name = min(evidence, key=lambda name: evidence[name].p_against)
    else:
        name = max(evidence, key=lambda name: (evidence[name].p_for, -evidence[name].p_against))
    shown = evidence[name]
    names = [part for part in (name, shown.decided_by) if part]
    decided_by = ": ".join(names) if len(evidence) > 1 else shown.decided_by
    return replace(
        shown,
        p_for=p_for,
        p_against=p_against,
        supports=all(item.supports for item in evidence.values()),
        comparisons=len(evidence) * shown.comparisons,
        decided_by=decided_by,
    )
