"""Evidence follows from an estimate and the bounds of a claim."""

import numpy as np
import pytest

from goodinit.report.evidence import Evidence, compare_with_bounds, worst
from goodinit.report.inference import Mean

NARROW = Mean.of(np.array([1.0, 1.1, 1.2]))  # 1.1, from 0.85 to 1.35


@pytest.mark.parametrize(
    ("bounds", "decision"),
    [
        ({"above": 0.8}, "replicated"),
        ({"below": 1.4}, "replicated"),
        ({"above": 0.8, "below": 1.4}, "replicated"),
        ({"above": 1.4}, "contradicted"),
        ({"below": 0.8}, "contradicted"),
        ({"above": 1.4, "below": 2}, "contradicted"),
        ({"above": 1.0}, "inconclusive"),
        ({"above": 1.2}, "inconclusive"),
        ({"above": 0.8, "below": 1.3}, "inconclusive"),
    ],
)
def test_decision_follows_from_the_bounds(bounds, decision):
    evidence = compare_with_bounds(NARROW, **bounds)
    assert evidence.decision == decision
    assert (evidence.runs_needed is not None) == (decision == "inconclusive")
    assert evidence.supports == (bounds.get("above", 0) < 1.1 < bounds.get("below", 2))


@pytest.mark.parametrize("bound", [0.8, 1.0, 1.4])
def test_the_mirrored_claim_has_the_mirrored_decision(bound):
    mirrored = {"replicated": "contradicted", "contradicted": "replicated", "inconclusive": "inconclusive"}
    above, below = compare_with_bounds(NARROW, above=bound), compare_with_bounds(NARROW, below=bound)
    assert below.decision == mirrored[above.decision]
    assert (above.p_for, above.p_against) == (below.p_against, below.p_for)


def _evidence(p_for, p_against):
    return Evidence(0, 0, 0, 3, "t", p_for, p_against, p_for < 1, NARROW, [])


def test_a_claim_about_several_conditions_is_replicated_if_each_replicates_it():
    together = worst({"a": _evidence(0.01, 1), "b": _evidence(0.04, 1)})
    assert (together.decision, together.decided_by, together.p_value) == ("replicated", "b", 0.04)
    together = worst({"a": _evidence(0.01, 1), "b": _evidence(0.2, 1)})
    assert (together.decision, together.decided_by) == ("inconclusive", "b")


def test_a_contradiction_by_one_of_several_conditions_is_corrected_for_their_number():
    weak, strong = _evidence(1, 0.03), _evidence(1, 0.02)
    assert worst({"a": weak}).decision == "contradicted"
    assert worst({"a": _evidence(0.01, 1), "b": weak}).decision == "inconclusive"
    together = worst({"a": _evidence(0.01, 1), "b": strong})
    assert (together.decision, together.decided_by, together.p_against) == ("contradicted", "b", 0.04)


def test_runs_are_asked_for_where_only_the_correction_leaves_a_claim_open():
    below_one = Mean.of(np.array([0.9, 0.95, 0.92]))  # p = 0.033 that the mean is 1
    alone = compare_with_bounds(below_one, above=1)
    assert (alone.decision, alone.runs_needed) == ("contradicted", None)
    together = worst({"a": compare_with_bounds(NARROW, above=0.8), "b": alone})
    assert (together.decision, together.decided_by, together.supports) == ("inconclusive", "b", False)
    assert together.runs_needed == below_one.runs_needed(1, 0.025) > 3
    nested = worst({"x": together, "y": compare_with_bounds(NARROW, above=0.8)})
    assert nested.runs_needed == below_one.runs_needed(1, 0.0125) > together.runs_needed


def test_an_estimate_against_a_claim_about_many_conditions_does_not_support_it():
    against = {str(number): compare_with_bounds(NARROW, above=1.2) for number in range(10)}
    together = worst(against)
    assert (together.p_against, together.supports) == (1, False)
    assert worst({**against, "0": compare_with_bounds(NARROW, above=0.8)}).supports is False


def test_a_claim_about_one_condition_names_none():
    assert worst({"a": _evidence(0.01, 1)}).decided_by == ""


def test_false_contradictions_of_claims_about_ten_conditions_are_rare():
    generator = np.random.default_rng(6)
    decisions = [
        worst({str(row): compare_with_bounds(Mean.of(sample), above=0) for row, sample in enumerate(samples)}).decision
        for samples in generator.normal(size=(400, 10, 5))
    ]
    assert decisions.count("contradicted") / 400 < 0.05
