"""The predicates beats and ranks compare conditions in pairs, by seed, and the worst pair decides."""

import numpy as np
import pytest
from sample_results import loss_frame

from goodinit.report import predicates

LOSS = {"metric": "loss"}
LOW, MIDDLE, HIGH, WIDE = [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, 3.1, 3.2], [0.0, 2.0, 4.5]
SIDES = {"better": {"condition": "A"}, "worse": {"condition": "B"}}
ORDER = {"order": [{"condition": "A"}, {"condition": "B"}, {"condition": "C"}]}
SPREAD = np.array([0.0, 100.0, -50.0, 30.0, 7.0])  # between seeds
SMALL = np.array([0.010, 0.012, 0.009, 0.011, 0.010])  # between conditions


def test_beats_detects_a_difference_that_is_small_compared_with_the_spread_of_seeds(workspace):
    frame = loss_frame(workspace, {"A": SPREAD, "B": SPREAD + SMALL})
    found = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert found.decision == "replicated"
    assert found.estimate == pytest.approx(SMALL.mean())
    assert predicates.beats(frame, **LOSS, **SIDES, best="highest").decision == "contradicted"
    broken = loss_frame(workspace, {"A": SPREAD, "B": np.roll(SPREAD + SMALL, 1)})
    assert predicates.beats(broken, **LOSS, **SIDES, best="lowest").decision == "inconclusive"


def test_beats_pairs_values_by_seed_not_by_position(workspace):
    frame = loss_frame(workspace, {"A": SPREAD, "B": SPREAD + SMALL})
    other = frame.sample(frac=1, random_state=1)
    assert other["seed"].tolist() != frame["seed"].tolist()
    expected = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert predicates.beats(other, **LOSS, **SIDES, best="lowest").estimate == pytest.approx(expected.estimate)


def test_beats_compares_each_listed_condition_with_each_of_the_other_side(workspace):
    frame = loss_frame(workspace, {"A": LOW, "B": MIDDLE, "C": [3.0, 3.2, 3.1]})
    better, worse = {"condition": ["A", "B"]}, {"condition": "C"}
    found = predicates.beats(frame, **LOSS, better=better, worse=worse, best="lowest")
    assert (found.decision, found.decided_by) == ("replicated", "condition B against condition C")
    found = predicates.beats(frame, **LOSS, better=worse, worse=better, best="lowest")
    assert (found.decision, found.decided_by) == ("contradicted", "condition C against condition A")


def test_the_worst_pair_decides_ranks_and_is_named(workspace):
    frame = loss_frame(workspace, {"A": LOW, "B": MIDDLE, "C": WIDE})
    found = predicates.ranks(frame, **LOSS, **ORDER, best="lowest")
    pair = predicates.beats(frame, **LOSS, better={"condition": "B"}, worse={"condition": "C"}, best="lowest")
    assert (found.estimate, found.low, found.high) == (pair.estimate, pair.low, pair.high)
    assert found.decided_by == "condition B against condition C"


A_OF_ALL = {"order": [{"condition": "A"}, [{"condition": "B"}, {"condition": "C"}]]}
C_OF_ALL = {"order": [[{"condition": "A"}, {"condition": "B"}], {"condition": "C"}]}


@pytest.mark.parametrize(
    ("order", "losses", "decision"),
    [
        (A_OF_ALL, {"A": LOW, "B": MIDDLE, "C": HIGH}, "replicated"),
        (A_OF_ALL, {"A": LOW, "B": HIGH, "C": MIDDLE}, "replicated"),
        (A_OF_ALL, {"A": MIDDLE, "B": HIGH, "C": LOW}, "contradicted"),
        (A_OF_ALL, {"A": MIDDLE, "B": HIGH, "C": WIDE}, "inconclusive"),
        (C_OF_ALL, {"A": MIDDLE, "B": LOW, "C": HIGH}, "replicated"),
        (C_OF_ALL, {"A": HIGH, "B": LOW, "C": MIDDLE}, "contradicted"),
        (C_OF_ALL, {"A": LOW, "B": WIDE, "C": MIDDLE}, "inconclusive"),
    ],
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_ranks_compares_each_condition_of_an_item_with_those_of_the_next(workspace, order, losses, decision, mirrored):
    order = {"order": order["order"][::-1]} if mirrored else order
    found = predicates.ranks(loss_frame(workspace, losses), **LOSS, **order, best="highest" if mirrored else "lowest")
    assert found.decision == decision


@pytest.mark.parametrize("order", [A_OF_ALL, C_OF_ALL])
def test_the_reverse_of_a_replicated_order_is_contradicted(workspace, order):
    frame = loss_frame(workspace, {"A": LOW, "B": MIDDLE, "C": HIGH})
    assert predicates.ranks(frame, **LOSS, **order, best="lowest").decision == "replicated"
    assert predicates.ranks(frame, **LOSS, order=order["order"][::-1], best="lowest").decision == "contradicted"
