"""Verdicts: every one that a predicate can reach, on numbers of which one knows what follows."""

import math

import numpy as np
import pandas as pd
import pytest

from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import claims, measures, pages, predicates

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
    return [[[one, one * ratio]] for one, ratio in zip(first, ratios, strict=True)]


# predicate, options, {condition: one loss a seed}, verdict.  With three seeds the 95 % interval of the
# bootstrap is from the smallest to the largest value: each is drawn three times with probability 1 / 27.
# That fewer seeds are too few is for `judge` to say; `agrees` alone cannot do with fewer.
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
    """Return the frame of conditions with one value a seed, or more."""
    arms = {label: np.array(values, dtype=float) for label, values in arms.items()}
    arms = {label: values[:, None] if values.ndim == 1 else values for label, values in arms.items()}
    return house.arms({"loss": arms}, **changes)[1]


@pytest.mark.parametrize(("predicate", "options", "arms", "verdict"), CASES)
def test_verdict(house, predicate, options, arms, verdict):
    found = getattr(predicates, predicate)(_frame(house, arms), **LOSS, **options)
    assert found.decision == verdict
    assert found.n == len(arms["A"])


def test_every_verdict_of_every_predicate_is_reached():
    reached = {(predicate, verdict) for predicate, _, _, verdict in CASES}
    verdicts = ("replicated", "contradicted", "inconclusive")
    assert reached == {(predicate, verdict) for predicate in predicates.__all__ for verdict in verdicts}


def test_within_gives_the_mean_and_its_interval(house):
    found = predicates.within(_frame(house, {"A": WIDE}), **LOSS, above=1)
    assert (found.estimate, found.low, found.high) == pytest.approx((6.5 / 3, 0, 4.5))


def test_within_takes_the_worst_layer(house):
    frame = _frame(house, {"A": [[[5.0, 1.0, 3.0]], [[5.1, 1.5, 3.1]], [[5.2, 2.6, 3.2]]]})
    assert predicates.within(frame, **LOSS, above=0.5).decision == "replicated"
    found = predicates.within(frame, **LOSS, above=2)
    assert (found.decision, found.estimate) == ("inconclusive", pytest.approx(1.7))
    found = predicates.within(frame, **LOSS, below=4)
    assert (found.decision, found.estimate) == ("contradicted", pytest.approx(5.1))
    assert predicates.within(frame, **LOSS, above=2, where={"layer": [1, 3]}).decision == "replicated"


SPREAD = np.array([0.0, 100.0, -50.0, 30.0, 7.0])  # between seeds
SMALL = np.array([0.010, 0.012, 0.009, 0.011, 0.010])  # between conditions


def test_beats_finds_a_difference_that_is_tiny_against_the_spread_of_seeds(house):
    frame = _frame(house, {"A": SPREAD, "B": SPREAD + SMALL})
    found = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert found.decision == "replicated"
    assert found.estimate == pytest.approx(SMALL.mean())
    assert 0.009 <= found.low < found.estimate < found.high <= 0.012
    assert predicates.beats(frame, **LOSS, **SIDES, best="highest").decision == "contradicted"
    broken = _frame(house, {"A": SPREAD, "B": np.roll(SPREAD + SMALL, 1)})
    assert predicates.beats(broken, **LOSS, **SIDES, best="lowest").decision == "inconclusive"


@pytest.mark.parametrize("best", ["lowest", "highest"])
def test_a_diverged_run_is_worse_than_any_other(house, best):
    frame = _frame(house, {"A": [1, 2, 3, 4], "B": [np.nan] * 4, "C": [np.nan, np.nan, 3, 4]})
    options = {"metric": "loss", "best": best}
    won = predicates.beats(frame, better={"condition": "A"}, worse={"condition": "B"}, **options)
    assert (won.decision, won.n) == ("replicated", 4)
    lost = predicates.beats(frame, better={"condition": "C"}, worse={"condition": "A"}, **options)
    assert (lost.decision, lost.n) == ("contradicted", 4)
    both = predicates.beats(frame, better={"condition": "B"}, worse={"condition": "B"}, **options)
    assert (both.decision, both.n) == ("inconclusive", 0)


def test_beats_pairs_by_seed_and_not_by_place(house):
    frame = _frame(house, {"A": SPREAD, "B": SPREAD + SMALL})
    other = frame.sample(frac=1, random_state=1)
    assert other["seed"].tolist() != frame["seed"].tolist()
    expected = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert predicates.beats(other, **LOSS, **SIDES, best="lowest").estimate == pytest.approx(expected.estimate)
    lost = frame[(frame["condition"] != "B") | (frame["seed"] != 1)]
    found = predicates.beats(lost, **LOSS, **SIDES, best="lowest")
    assert (found.n, found.decision) == (4, "replicated")
    assert found.estimate == pytest.approx(SMALL[[0, 2, 3, 4]].mean())


def test_sides_must_name_one_condition(house):
    frame = _frame(house, {"A": _two_layers(LOW, LOW), "B": _two_layers(MIDDLE, LOW)})
    with pytest.raises(InputError, match="one condition"):
        predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert predicates.beats(frame, **LOSS, **SIDES, best="lowest", where={"layer": 2}).n == 3
    with pytest.raises(InputError, match="one condition"):
        predicates.trend(frame, **LOSS, start={"layer": 1}, end={"layer": 2}, below=9)


def test_ranks_gives_the_worst_pair(house):
    frame = _frame(house, {"A": LOW, "B": MIDDLE, "C": WIDE})
    found = predicates.ranks(frame, **LOSS, **ORDER, best="lowest")
    assert found == predicates.beats(frame, **LOSS, better={"condition": "B"}, worse={"condition": "C"}, best="lowest")
    frame = _frame(house, {"A": MIDDLE, "B": WIDE, "C": [-3.0, -2.0, -1.0]})  # straddles, then contradicts
    found = predicates.ranks(frame, **LOSS, **ORDER, best="lowest")
    assert (found.decision, found.estimate) == ("contradicted", pytest.approx(-2 - 6.5 / 3))


A_OF_ALL = {"order": [{"condition": "A"}, [{"condition": "B"}, {"condition": "C"}]]}
C_OF_ALL = {"order": [[{"condition": "A"}, {"condition": "B"}], {"condition": "C"}]}


@pytest.mark.parametrize(
    ("order", "arms", "verdict"),
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
def test_ranks_compares_each_of_a_list_with_what_stands_next(house, order, arms, verdict, mirrored):
    order = {"order": order["order"][::-1]} if mirrored else order
    found = predicates.ranks(_frame(house, arms), **LOSS, **order, best="highest" if mirrored else "lowest")
    assert found.decision == verdict


@pytest.mark.parametrize("order", [A_OF_ALL, C_OF_ALL])
def test_an_order_that_is_replicated_is_contradicted_the_other_way_round(house, order):
    frame = _frame(house, {"A": LOW, "B": MIDDLE, "C": HIGH})
    assert predicates.ranks(frame, **LOSS, **order, best="lowest").decision == "replicated"
    assert predicates.ranks(frame, **LOSS, order=order["order"][::-1], best="lowest").decision == "contradicted"


def test_an_order_with_a_condition_that_was_not_run_is_not_judged(house):
    claim = {"id": "a-is-best", "says": "A is best.", "source": "page 1",
             "test": {"ranks": {**LOSS, **A_OF_ALL, "best": "lowest"}}}  # fmt: skip
    study, frame = house.arms({"loss": ARMS}, claims=[claim])
    assert claims.judge(study, "laptop", frame)["verdict"].tolist() != ["not run"]
    assert claims.judge(study, "laptop", frame[frame["condition"] != "C"])["verdict"].tolist() == ["not run"]


def test_an_order_names_conditions_that_there_are(house):
    order = [{"condition": "A"}, [{"condition": "B"}, {"condition": "D"}]]
    claim = {"id": "a-is-best", "says": "A is best.", "source": "page 1",
             "test": {"ranks": {**LOSS, "order": order, "best": "lowest"}}}  # fmt: skip
    with pytest.raises(InputError, match=r"claims\.a-is-best\.order\.condition: unknown value 'D'"):
        house.arms({"loss": ARMS}, claims=[claim])


def test_trend_compares_a_condition_with_itself_at_an_earlier_step(house):
    frame = _frame(house, {"A": [[1.0, 3.0, 2.0, 3.0], [2.0, 4.0, 4.0, 2.0], [1.0, 1.0, 1.0, 3.0]]})
    options = {"start": {}, "end": {}, "start_at": {"from": 1, "to": 2}, "at": {"from": 3}}
    found = predicates.trend(frame, **LOSS, **options, above=1)
    assert (found.estimate, found.low, found.high) == pytest.approx(((1.25 + 1 + 2) / 3, 1, 2))
    same = predicates.trend(frame, **LOSS, start={}, end={}, at={"from": 3}, above=0.9, below=1.1)
    assert (same.estimate, same.decision) == (1, "replicated")


def test_trend_is_the_mean_of_ratios_paired_by_seed(house):
    frame = _frame(house, {"A": _two_layers([1.0, 10.0, 1000.0], [0.4, 0.5, 0.6])})
    found = predicates.trend(frame, **LOSS, **LAYERS, above=0.3, below=0.7)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.4, 0.6))
    assert found.decision == "replicated"


def test_agrees_predicts_one_more_value(house):
    found = predicates.agrees(_frame(house, {"A": [1, 2, 3, 4, 5]}), 3, **LOSS, **ONE_RUN)
    assert (found.estimate, found.low, found.high, found.n) == pytest.approx((3, 3 - HALF, 3 + HALF, 5))
    few = predicates.agrees(_frame(house, {"A": [1, 2]}), 3, **LOSS, **ONE_RUN)
    assert few.estimate == 1.5
    assert math.isnan(few.low)


def test_agrees_looks_back_as_far_as_its_window(house):
    steps = [[90.0, 1.0, 4.0, -70.0], [-80.0, 2.0, 5.0, 60.0], [70.0, 3.0, 6.0, 50.0]]
    frame = _frame(house, {"A": steps})
    found = predicates.agrees(frame, 9, **LOSS, where={"condition": "A"}, at=3, window=2)
    half = 2.5705818366147395 * math.sqrt(3.5) * math.sqrt(1 + 1 / 6)  # t with 5 degrees of freedom; of 1 to 6
    assert (found.estimate, found.low, found.high) == pytest.approx((3.5, 3.5 - half, 3.5 + half))
    assert (found.n, found.decision) == (3, "contradicted")
    narrow = predicates.agrees(frame, 5, **LOSS, where={"condition": "A"}, at=3)
    half = 4.302652729911275 * math.sqrt(1 + 1 / 3)  # t with 2 degrees of freedom; of 4 to 6
    assert (narrow.estimate, narrow.low, narrow.high, narrow.n) == pytest.approx((5, 5 - half, 5 + half, 3))
    with pytest.raises(measures.NotRun):
        predicates.agrees(frame, 5, **LOSS, where={"condition": "A"}, at=3, window=4)


def test_agrees_counts_the_seeds_that_came_so_far(house):
    frame = _frame(house, {"A": [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]})
    early = frame[(frame["seed"] == 0) | (frame["step"] == 1)]
    found = predicates.agrees(early, 99, **LOSS, where={"condition": "A"}, at=2)
    assert (found.n, found.decision) == (1, "inconclusive")


@pytest.mark.parametrize(
    ("predicate", "options", "verdict"),
    [
        ("within", {"above": 2, "where": {"condition": "B"}}, "replicated"),
        ("within", {"below": 2, "where": {"condition": "B"}}, "contradicted"),
        ("within", {"above": 2, "below": 9, "where": {"condition": "B"}}, "contradicted"),
        ("beats", {**SIDES, "best": "lowest"}, "replicated"),
        ("beats", {**SIDES, "best": "highest"}, "contradicted"),
    ],
)
def test_infinite_loss_is_the_largest(house, predicate, options, verdict):
    frame = _frame(house, {"A": LOW, "B": [math.inf, math.inf, 5.0]})
    found = getattr(predicates, predicate)(frame, **LOSS, **options)
    assert found.decision == verdict
    assert math.isinf(found.estimate)


A = {**LOSS, "where": {"condition": "A"}}
PAIR = {"order": ORDER["order"][:2]}
CLAIMS = [
    {"id": "a-is-low", "says": "A is low.", "source": "page 1", "test": {"within": {**A, "below": 2}}},
    {"id": "a-is-high", "says": "A is high.", "source": "page 2", "test": {"within": {**A, "above": 2}},
     "note": "As they say."},
    {"id": "b-beats-c", "says": "B beats C.", "source": "page 3",
     "test": {"beats": {**LOSS, "better": {"condition": "B"}, "worse": {"condition": "C"}, "best": "lowest"}}},
    {"id": "in-order", "says": "A, then B.", "source": "page 4", "needs": "paper",
     "test": {"ranks": {**LOSS, **PAIR, "best": "lowest"}}},
    {"id": "later", "says": "A stays low.", "source": "page 5", "test": {"within": {**A, "at": 1901, "below": 2}}},
    {"id": "as-reported", "says": "A has 1.15.", "source": "page 6", "test": {"agrees": {**A, "at": 1}}},
]  # fmt: skip
REPORTED = [
    {"where": {"condition": "B"}, "metric": "loss", "at": 1, "value": 9.0, "source": "page 7", "verified": True},
    {"where": {"condition": "A"}, "metric": "loss", "at": 1, "value": 1.15, "source": "page 7", "verified": False},
]
ARMS = {"A": [[1.0], [1.1], [1.2]], "B": [[2.0], [2.1], [2.2]], "C": [[0.0], [2.0], [4.5]]}


def _judged(house, scale="laptop", **changes):
    study, frame = house.arms({"loss": ARMS}, **{"claims": CLAIMS, "reported": REPORTED} | changes)
    return study, claims.judge(study, scale, frame).set_index("claim")


FOR, AGAINST = "indicative: for", "indicative: against"


@pytest.mark.parametrize(
    ("scale", "verdicts"),
    [
        ("demo", [FOR, AGAINST, "inconclusive", FOR, "not run", FOR]),
        ("laptop", ["replicated", "contradicted", "inconclusive", FOR, "not run", "replicated"]),
        ("paper", ["replicated", "contradicted", "inconclusive", "replicated", "not run", "replicated"]),
    ],
)
def test_judge_concludes_nothing_below_the_scale_that_a_claim_needs(house, scale, verdicts):
    _, found = _judged(house, scale)
    assert found["verdict"].to_dict() == dict(zip([claim["id"] for claim in CLAIMS], verdicts, strict=True))
    assert set(found["scale"]) == {scale}
    assert found["n"].tolist() == [3, 3, 3, 3, 0, 3]


def test_judge_gives_what_was_said_and_what_was_found(house):
    _, found = _judged(house)
    assert found["says"].tolist() == [claim["says"] for claim in CLAIMS]
    assert found["test"].tolist() == ["within", "within", "beats", "ranks", "within", "agrees"]
    assert set(found["work"]) == {"work"}
    assert found.loc["a-is-low", ["estimate", "low", "high"]].tolist() == pytest.approx([1.1, 1.0, 1.2])
    assert math.isnan(found.loc["a-is-low", "reported"])
    assert found.loc["as-reported", ["reported", "verified"]].tolist() == [1.15, "no"]
    assert found.loc["a-is-high", "note"] == "As they say."
    assert math.isnan(found.loc["later", "estimate"])


FEW = {"A": [1.0, 1.1, 1.2], "B": [2.0, 2.1, 2.2], "C": [9.0, 9.1, 9.2]}


def _judged_few(house, seeds, scale, **changes):
    arms = {label: [[value] for value in values[:seeds]] for label, values in FEW.items()}
    study, frame = house.arms({"loss": arms}, scale, claims=CLAIMS, reported=REPORTED, **changes)
    return claims.judge(study, scale, frame).set_index("claim")


@pytest.mark.parametrize("scale", ["demo", "laptop"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_judge_concludes_nothing_from_few_seeds(house, seeds, scale):
    found = _judged_few(house, seeds, scale).drop(index="later")
    assert set(found["verdict"]) == {"inconclusive"}
    assert set(found["n"]) == {seeds}
    assert found.loc["a-is-low", "estimate"] == pytest.approx(np.mean(FEW["A"][:seeds]))


@pytest.mark.parametrize(
    ("scale", "verdicts"),
    [
        ("demo", [FOR, AGAINST, FOR, FOR]),
        ("laptop", ["replicated", "contradicted", "replicated", FOR]),
        ("paper", ["replicated", "contradicted", "replicated", "replicated"]),
    ],
)
def test_judge_needs_one_run_where_nothing_is_random(house, scale, verdicts):
    found = _judged_few(house, 1, scale, deterministic=True)
    names = ["a-is-low", "a-is-high", "b-beats-c", "in-order"]
    assert found.loc[names, "verdict"].tolist() == verdicts
    for name, value in zip(names, [1, 1, 7, 1], strict=True):
        assert found.loc[name, ["estimate", "low", "high", "n"]].tolist() == [value, value, value, 1]
    assert found.loc["as-reported", "verdict"] == "inconclusive"  # one value has no spread


def test_judge_of_what_was_not_run(house):
    study = _judged(house)[0]
    found = claims.judge(study, "laptop", None)
    assert set(found["verdict"]) == {"not run"}
    assert set(found["n"]) == {0}


def test_judge_of_conditions_that_were_not_run(house):
    study, frame = house.arms({"loss": ARMS}, claims=CLAIMS, reported=REPORTED)
    found = claims.judge(study, "paper", frame[frame["condition"] != "B"]).set_index("claim")["verdict"]
    assert found[["a-is-low", "b-beats-c", "in-order"]].tolist() == ["replicated", "not run", "not run"]


def test_judge_names_the_claim_that_it_cannot_test(house):
    with pytest.raises(InputError, match=r"claims\.as-reported: no reported value"):
        _judged(house, reported=REPORTED[:1])
    wrong = {**CLAIMS[0], "test": {"within": {"metric": "los", "below": 2}}}
    with pytest.raises(InputError, match=r"a-is-low: .*'los'.* did you mean loss"):
        _judged(house, claims=[wrong])


@pytest.mark.parametrize("scale", ["demo", "laptop"])
def test_page_shows_every_claim(house, scale):
    deviations = ["They draw one net.", "We draw five."]
    study, found = _judged(house, scale, deviations=deviations)
    page = pages.claims_page([study], found.reset_index(), scale)
    assert page.startswith(f"# Verdicts at {scale} scale\n")
    assert ("demonstration" in page) == ("not a replication" in page) == (scale == "demo")
    assert "## work/study: A title" in page
    rows = {line.split(" |")[0]: line for line in page.splitlines() if line.startswith("|")}
    for claim in CLAIMS:
        row = rows[f"| {claim['says']}" + (f" *{claim['note']}*" if "note" in claim else "")]
        assert f"| {claim['source']} |" in row
        assert row.endswith(f"| **{found.loc[claim['id'], 'verdict']}** |")
        assert row.count("|") == 8
    assert "| 1.1 [1, 1.2] | 3 |" in rows["| A is low."]
    assert "| 1.15 (unverified) | agrees |" in rows["| A has 1.15."]
    assert "| within |  | 0 | **not run** |" in rows["| A stays low."]
    assert "Deviations from the source:\n\n- They draw one net.\n- We draw five.\n" in page


def test_page_passes_studies_without_claims_over(house):
    study, found = _judged(house)
    other = house.study("other", title="Another title")
    page = pages.claims_page([other, study], found.reset_index(), "laptop")
    assert "Another title" not in page
    assert "Deviations" not in page


def test_command_writes_the_same_verdicts_twice(house, capsys):
    house.arms({"loss": ARMS}, claims=CLAIMS, reported=REPORTED)
    arguments = ["--scale", "laptop", "--configs", str(house.configs), "--results", str(house.results)]
    arguments += ["--figures", str(house.figures)]
    written = []
    for _ in range(2):
        main(["claims", *arguments])
        assert "2 replicated" in capsys.readouterr().out
        files = [house.results / "laptop" / name for name in ("claims.csv", "claims.md")]
        written.append([file.read_bytes() for file in files])
        for file in files:
            file.unlink()
    assert written[0] == written[1]
    (house.results / "read.csv").write_bytes(written[0][0])
    read = pd.read_csv(house.results / "read.csv")
    assert read["claim"].tolist() == [claim["id"] for claim in CLAIMS]
    assert read["verdict"][1] == "contradicted"
