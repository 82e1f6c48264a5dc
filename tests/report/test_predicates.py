"""Predicates reach every decision, on numbers whose decision is known."""

import math
from typing import get_args

import numpy as np
import pytest

from goodinit.errors import InputError
from goodinit.report import measures, predicates

LOSS = {"metric": "loss"}
LOW, MIDDLE, HIGH, WIDE = [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, 3.1, 3.2], [0.0, 2.0, 4.5]
SIDES = {"better": {"condition": "A"}, "worse": {"condition": "B"}}
ORDER = {"order": [{"condition": "A"}, {"condition": "B"}, {"condition": "C"}]}
LAYERS = {"start": {"layer": 1}, "end": {"layer": 2}, "where": {"condition": "A"}}
T_975_4 = 2.7764451051977987  # Student's t with 4 degrees of freedom
HALF = T_975_4 * math.sqrt(2.5) * math.sqrt(1 + 1 / 5)  # of 1 to 5, whose variance is 2.5
ONE_RUN = {"where": {"condition": "A"}, "at": 1}


def _two_layers(first, ratios):
    """Return values (seeds, 1 step, 2 layers) whose layers have these ratios."""
    return [[[value, value * ratio]] for value, ratio in zip(first, ratios, strict=True)]


# predicate, options, {condition: the loss of each seed}, decision.  With three seeds the 95 % interval of the bootstrap
# extends from the smallest to the largest value: each is drawn three times with probability 1 / 27.  Only `agrees`
# needs three seeds; for the others, `claims.judge` decides whether there are enough.
CASES = [
    ("within", {"above": 0.9, "below": 1.3}, {"A": LOW}, "replicated"),
    ("within", {"above": 0.9}, {"A": LOW}, "replicated"),
    ("within", {"below": 1.3}, {"A": LOW}, "replicated"),
    ("within", {"above": 1.3}, {"A": LOW}, "contradicted"),
    ("within", {"above": 1.2}, {"A": LOW}, "contradicted"),
    ("within", {"below": 0.9}, {"A": LOW}, "contradicted"),
    ("within", {"above": 1.15}, {"A": LOW}, "inconclusive"),
    ("within", {"below": 1.05}, {"A": LOW}, "inconclusive"),
    ("within", {"above": 1.0}, {"A": LOW}, "inconclusive"),
    ("within", {"above": 0.9}, {"A": LOW[:2]}, "replicated"),
    ("within", {"above": 9.0}, {"A": LOW[:1]}, "contradicted"),
    ("within", {"above": 0.9}, {"A": LOW, "B": [0.0, 0.1, 0.2]}, "contradicted"),
    ("within", {"above": 0.9, "where": {"condition": "A"}}, {"A": LOW, "B": [0.0, 0.1, 0.2]}, "replicated"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": LOW, "B": MIDDLE}, "replicated"),
    ("beats", {**SIDES, "best": "highest"}, {"A": MIDDLE, "B": LOW}, "replicated"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": MIDDLE, "B": LOW}, "contradicted"),
    ("beats", {**SIDES, "best": "highest"}, {"A": LOW, "B": MIDDLE}, "contradicted"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": LOW, "B": LOW}, "contradicted"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": MIDDLE, "B": WIDE}, "inconclusive"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": LOW[:2], "B": MIDDLE[:2]}, "replicated"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW, "B": MIDDLE, "C": HIGH}, "replicated"),
    ("ranks", {**ORDER, "best": "highest"}, {"A": HIGH, "B": MIDDLE, "C": LOW}, "replicated"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW, "B": HIGH, "C": MIDDLE}, "contradicted"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": MIDDLE, "B": LOW, "C": HIGH}, "contradicted"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW, "B": MIDDLE, "C": WIDE}, "inconclusive"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": WIDE, "B": MIDDLE, "C": LOW}, "contradicted"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW[:2], "B": MIDDLE[:2], "C": HIGH[:2]}, "replicated"),
    ("trend", {**LAYERS, "above": 0.3, "below": 0.6}, {"A": _two_layers(LOW, [0.4, 0.5, 0.55])}, "replicated"),
    ("trend", {**LAYERS, "below": 0.6}, {"A": _two_layers(LOW, [0.4, 0.5, 0.55])}, "replicated"),
    ("trend", {**LAYERS, "above": 0.6}, {"A": _two_layers(LOW, [0.4, 0.5, 0.55])}, "contradicted"),
    ("trend", {**LAYERS, "below": 0.3}, {"A": _two_layers(LOW, [0.4, 0.5, 0.55])}, "contradicted"),
    ("trend", {**LAYERS, "above": 0.45}, {"A": _two_layers(LOW, [0.4, 0.5, 0.55])}, "inconclusive"),
    ("trend", {**LAYERS, "above": 0.1}, {"A": _two_layers(LOW[:2], [0.4, 0.5])}, "replicated"),
    ("agrees", {**ONE_RUN, "reported": 3 + 0.99 * HALF}, {"A": [1, 2, 3, 4, 5]}, "replicated"),
    ("agrees", {**ONE_RUN, "reported": 3 - 0.99 * HALF}, {"A": [1, 2, 3, 4, 5]}, "replicated"),
    ("agrees", {**ONE_RUN, "reported": 3 + 1.01 * HALF}, {"A": [1, 2, 3, 4, 5]}, "contradicted"),
    ("agrees", {**ONE_RUN, "reported": 3 - 1.01 * HALF}, {"A": [1, 2, 3, 4, 5]}, "contradicted"),
    ("agrees", {**ONE_RUN, "reported": 1.05}, {"A": LOW[:2]}, "inconclusive"),
    ("agrees", {**ONE_RUN, "reported": 99}, {"A": LOW[:2], "B": LOW[:2]}, "inconclusive"),
]


def _frame(house, arms, **changes):
    """Return the frame of conditions with one or more values for each seed."""
    arms = {label: np.array(values, dtype=float) for label, values in arms.items()}
    arms = {label: values[:, None] if values.ndim == 1 else values for label, values in arms.items()}
    return house.arms({"loss": arms}, **changes)[1]


@pytest.mark.parametrize(("predicate", "options", "arms", "decision"), CASES)
def test_decision(house, predicate, options, arms, decision):
    evidence = getattr(predicates, predicate)(_frame(house, arms), **LOSS, **options)
    assert evidence.decision == decision
    assert evidence.n == len(arms["A"])


def test_every_predicate_reaches_every_decision():
    reached = {(predicate, decision) for predicate, _, _, decision in CASES}
    decisions = get_args(predicates.Decision)
    assert reached == {(predicate, decision) for predicate in predicates.__all__ for decision in decisions}


def test_within_estimates_the_mean_and_its_interval(house):
    evidence = predicates.within(_frame(house, {"A": WIDE}), **LOSS, above=1)
    assert (evidence.estimate, evidence.low, evidence.high) == pytest.approx((6.5 / 3, 0, 4.5))


def test_the_worst_layer_decides_within(house):
    frame = _frame(house, {"A": [[[5.0, 1.0, 3.0]], [[5.1, 1.5, 3.1]], [[5.2, 2.6, 3.2]]]})
    assert predicates.within(frame, **LOSS, above=0.5).decision == "replicated"
    evidence = predicates.within(frame, **LOSS, above=2)
    assert (evidence.decision, evidence.estimate) == ("inconclusive", pytest.approx(1.7))
    evidence = predicates.within(frame, **LOSS, below=4)
    assert (evidence.decision, evidence.estimate) == ("contradicted", pytest.approx(5.1))
    assert predicates.within(frame, **LOSS, above=2, where={"layer": [1, 3]}).decision == "replicated"


SPREAD = np.array([0.0, 100.0, -50.0, 30.0, 7.0])  # between seeds
SMALL = np.array([0.010, 0.012, 0.009, 0.011, 0.010])  # between conditions


def test_beats_detects_a_difference_that_is_small_compared_with_the_spread_of_seeds(house):
    frame = _frame(house, {"A": SPREAD, "B": SPREAD + SMALL})
    evidence = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert evidence.decision == "replicated"
    assert evidence.estimate == pytest.approx(SMALL.mean())
    assert 0.009 <= evidence.low < evidence.estimate < evidence.high <= 0.012
    assert predicates.beats(frame, **LOSS, **SIDES, best="highest").decision == "contradicted"
    broken = _frame(house, {"A": SPREAD, "B": np.roll(SPREAD + SMALL, 1)})
    assert predicates.beats(broken, **LOSS, **SIDES, best="lowest").decision == "inconclusive"


@pytest.mark.parametrize("best", ["lowest", "highest"])
def test_a_diverged_run_is_worse_than_any_other_run(house, best):
    frame = _frame(house, {"A": [1, 2, 3, 4], "B": [np.nan] * 4, "C": [np.nan, np.nan, 3, 4]})
    options = {"metric": "loss", "best": best}
    win = predicates.beats(frame, better={"condition": "A"}, worse={"condition": "B"}, **options)
    assert (win.decision, win.n) == ("replicated", 4)
    lost = predicates.beats(frame, better={"condition": "C"}, worse={"condition": "A"}, **options)
    assert (lost.decision, lost.n) == ("contradicted", 4)
    both = predicates.beats(frame, better={"condition": "B"}, worse={"condition": "B"}, **options)
    assert (both.decision, both.n) == ("inconclusive", 0)


def test_beats_pairs_values_by_seed_not_by_position(house):
    frame = _frame(house, {"A": SPREAD, "B": SPREAD + SMALL})
    other = frame.sample(frac=1, random_state=1)
    assert other["seed"].tolist() != frame["seed"].tolist()
    expected = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert predicates.beats(other, **LOSS, **SIDES, best="lowest").estimate == pytest.approx(expected.estimate)
    lost = frame[(frame["condition"] != "B") | (frame["seed"] != 1)]
    evidence = predicates.beats(lost, **LOSS, **SIDES, best="lowest")
    assert (evidence.n, evidence.decision) == (4, "replicated")
    assert evidence.estimate == pytest.approx(SMALL[[0, 2, 3, 4]].mean())


def test_sides_must_name_one_condition(house):
    frame = _frame(house, {"A": _two_layers(LOW, LOW), "B": _two_layers(MIDDLE, LOW)})
    with pytest.raises(InputError, match="one condition"):
        predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert predicates.beats(frame, **LOSS, **SIDES, best="lowest", where={"layer": 2}).n == 3
    with pytest.raises(InputError, match="one condition"):
        predicates.trend(frame, **LOSS, start={"layer": 1}, end={"layer": 2}, below=9)


def test_the_worst_pair_decides_ranks(house):
    frame = _frame(house, {"A": LOW, "B": MIDDLE, "C": WIDE})
    evidence = predicates.ranks(frame, **LOSS, **ORDER, best="lowest")
    assert evidence == predicates.beats(
        frame, **LOSS, better={"condition": "B"}, worse={"condition": "C"}, best="lowest"
    )
    frame = _frame(house, {"A": MIDDLE, "B": WIDE, "C": [-3.0, -2.0, -1.0]})  # straddles, then contradicts
    evidence = predicates.ranks(frame, **LOSS, **ORDER, best="lowest")
    assert (evidence.decision, evidence.estimate) == ("contradicted", pytest.approx(-2 - 6.5 / 3))


A_OF_ALL = {"order": [{"condition": "A"}, [{"condition": "B"}, {"condition": "C"}]]}
C_OF_ALL = {"order": [[{"condition": "A"}, {"condition": "B"}], {"condition": "C"}]}


@pytest.mark.parametrize(
    ("order", "arms", "decision"),
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
def test_ranks_compares_each_condition_of_an_item_with_those_of_the_next(house, order, arms, decision, mirrored):
    order = {"order": order["order"][::-1]} if mirrored else order
    evidence = predicates.ranks(_frame(house, arms), **LOSS, **order, best="highest" if mirrored else "lowest")
    assert evidence.decision == decision


@pytest.mark.parametrize("order", [A_OF_ALL, C_OF_ALL])
def test_the_reverse_of_a_replicated_order_is_contradicted(house, order):
    frame = _frame(house, {"A": LOW, "B": MIDDLE, "C": HIGH})
    assert predicates.ranks(frame, **LOSS, **order, best="lowest").decision == "replicated"
    assert predicates.ranks(frame, **LOSS, order=order["order"][::-1], best="lowest").decision == "contradicted"


def test_trend_compares_a_condition_with_itself_at_an_earlier_step(house):
    frame = _frame(house, {"A": [[1.0, 3.0, 2.0, 3.0], [2.0, 4.0, 4.0, 2.0], [1.0, 1.0, 1.0, 3.0]]})
    options = {"start": {}, "end": {}, "start_at": {"from": 1, "to": 2}, "at": {"from": 3}}
    evidence = predicates.trend(frame, **LOSS, **options, above=1)
    assert (evidence.estimate, evidence.low, evidence.high) == pytest.approx(((1.25 + 1 + 2) / 3, 1, 2))
    same = predicates.trend(frame, **LOSS, start={}, end={}, at={"from": 3}, above=0.9, below=1.1)
    assert (same.estimate, same.decision) == (1, "replicated")


def test_trend_is_the_mean_of_ratios_paired_by_seed(house):
    frame = _frame(house, {"A": _two_layers([1.0, 10.0, 1000.0], [0.4, 0.5, 0.6])})
    evidence = predicates.trend(frame, **LOSS, **LAYERS, above=0.3, below=0.7)
    assert (evidence.estimate, evidence.low, evidence.high) == pytest.approx((0.5, 0.4, 0.6))
    assert evidence.decision == "replicated"


def test_agrees_predicts_one_more_value(house):
    evidence = predicates.agrees(_frame(house, {"A": [1, 2, 3, 4, 5]}), 3, **LOSS, **ONE_RUN)
    assert (evidence.estimate, evidence.low, evidence.high, evidence.n) == pytest.approx((3, 3 - HALF, 3 + HALF, 5))
    few = predicates.agrees(_frame(house, {"A": [1, 2]}), 3, **LOSS, **ONE_RUN)
    assert few.estimate == 1.5
    assert math.isnan(few.low)


def test_agrees_uses_the_last_steps_of_its_window(house):
    steps = [[90.0, 1.0, 4.0, -70.0], [-80.0, 2.0, 5.0, 60.0], [70.0, 3.0, 6.0, 50.0]]
    frame = _frame(house, {"A": steps})
    evidence = predicates.agrees(frame, 9, **LOSS, where={"condition": "A"}, at=3, window=2)
    half = 2.5705818366147395 * math.sqrt(3.5) * math.sqrt(1 + 1 / 6)  # t with 5 degrees of freedom; of 1 to 6
    assert (evidence.estimate, evidence.low, evidence.high) == pytest.approx((3.5, 3.5 - half, 3.5 + half))
    assert (evidence.n, evidence.decision) == (3, "contradicted")
    narrow = predicates.agrees(frame, 5, **LOSS, where={"condition": "A"}, at=3)
    half = 4.302652729911275 * math.sqrt(1 + 1 / 3)  # t with 2 degrees of freedom; of 4 to 6
    assert (narrow.estimate, narrow.low, narrow.high, narrow.n) == pytest.approx((5, 5 - half, 5 + half, 3))
    with pytest.raises(measures.NotRun):
        predicates.agrees(frame, 5, **LOSS, where={"condition": "A"}, at=3, window=4)


def test_agrees_counts_the_seeds_that_reached_the_steps(house):
    frame = _frame(house, {"A": [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]})
    early = frame[(frame["seed"] == 0) | (frame["step"] == 1)]
    evidence = predicates.agrees(early, 99, **LOSS, where={"condition": "A"}, at=2)
    assert (evidence.n, evidence.decision) == (1, "inconclusive")


@pytest.mark.parametrize(
    ("predicate", "options", "decision"),
    [
        ("within", {"above": 2, "where": {"condition": "B"}}, "replicated"),
        ("within", {"below": 2, "where": {"condition": "B"}}, "contradicted"),
        ("within", {"above": 2, "below": 9, "where": {"condition": "B"}}, "contradicted"),
        ("beats", {**SIDES, "best": "lowest"}, "replicated"),
        ("beats", {**SIDES, "best": "highest"}, "contradicted"),
    ],
)
def test_an_infinite_loss_is_the_largest(house, predicate, options, decision):
    frame = _frame(house, {"A": LOW, "B": [math.inf, math.inf, 5.0]})
    evidence = getattr(predicates, predicate)(frame, **LOSS, **options)
    assert evidence.decision == decision
    assert math.isinf(evidence.estimate)
