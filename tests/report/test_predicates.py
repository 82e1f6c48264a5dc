"""Predicates reach every decision, lose no run, and contradict what they replicate when the sides are exchanged."""

import math
from typing import get_args

import numpy as np
import pytest
from sample_results import loss_frame

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import evidence, measures, predicates
from goodinit.studies import Reported

LOSS = {"metric": "loss"}
LOW, MIDDLE, HIGH, WIDE = [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, 3.1, 3.2], [0.0, 2.0, 4.5]
SIDES = {"better": {"condition": "A"}, "worse": {"condition": "B"}}
ORDER = {"order": [{"condition": "A"}, {"condition": "B"}, {"condition": "C"}]}
QUOTIENT = {"numerator": {"condition": "A"}, "denominator": {"condition": "B"}}
LAYERS = {"numerator": {"layer": 2}, "denominator": {"layer": 1}, "where": {"condition": "A"}}
ONE = {"where": {"condition": "A"}, "at": 1}
ALL, NONE, SOME = [1.0] * 9, [0.0] * 9, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
NAN, INF = math.nan, math.inf


def _two_layers(first, ratios):
    """Return values (seeds, 1 step, 2 layers) whose layers have these ratios."""
    return [[[value, value * ratio]] for value, ratio in zip(first, ratios, strict=True)]


HALVES = {"A": _two_layers(LOW, [0.48, 0.5, 0.52])}

# predicate, options, {condition: the loss of each seed}, decision.
CASES = [
    ("within", {"above": 0.8, "below": 1.4}, {"A": LOW}, "replicated"),
    ("within", {"above": 0.8}, {"A": LOW}, "replicated"),
    ("within", {"above": 1.4}, {"A": LOW}, "contradicted"),
    ("within", {"below": 0.8}, {"A": LOW}, "contradicted"),
    ("within", {"above": 1.0}, {"A": LOW}, "inconclusive"),
    ("within", {"above": -9.0}, {"A": LOW[:1]}, "inconclusive"),
    ("within", {"above": 0.8}, {"A": LOW, "B": [0.0, 0.1, 0.2]}, "contradicted"),
    ("within", {"above": 0.8, "where": {"condition": "A"}}, {"A": LOW, "B": [0.0, 0.1, 0.2]}, "replicated"),
    ("share", {"above": 0.5}, {"A": ALL}, "replicated"),
    ("share", {"below": 0.5}, {"A": NONE}, "replicated"),
    ("share", {"above": 0.5}, {"A": NONE}, "contradicted"),
    ("share", {"below": 0.5}, {"A": ALL}, "contradicted"),
    ("share", {"below": 0.5}, {"A": SOME}, "inconclusive"),
    ("share", {"above": 0.5}, {"A": ALL[:5]}, "inconclusive"),
    ("share", {"above": 0.5}, {"A": ALL[:3], "B": ALL[:3]}, "replicated"),
    ("share", {"above": 0.5, "between": [1.0, 1.2]}, {"A": LOW * 3}, "replicated"),
    ("share", {"above": 0.5, "between": [None, 1.1]}, {"A": LOW * 3}, "inconclusive"),
    ("share", {"above": 0.5, "between": [1.3, None]}, {"A": LOW * 3}, "contradicted"),
    ("share", {"above": 0.5, "between": [0.7, None]}, {"A": [float(np.float32(0.7))] * 9}, "replicated"),
    ("share", {"above": 0.5, "between": [0.001, 0.1]}, {"A": [0.001, 0.1, float(np.float32(0.1))] * 3}, "replicated"),
    ("share", {"above": 0.5, "between": [0.5, 1e300]}, {"A": [1.0, 1e200] * 5}, "replicated"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": LOW, "B": MIDDLE}, "replicated"),
    ("beats", {**SIDES, "best": "highest"}, {"A": MIDDLE, "B": LOW}, "replicated"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": MIDDLE, "B": LOW}, "contradicted"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": LOW, "B": LOW}, "inconclusive"),
    ("beats", {**SIDES, "best": "lowest"}, {"A": MIDDLE, "B": WIDE}, "inconclusive"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW, "B": MIDDLE, "C": HIGH}, "replicated"),
    ("ranks", {**ORDER, "best": "highest"}, {"A": HIGH, "B": MIDDLE, "C": LOW}, "replicated"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW, "B": HIGH, "C": MIDDLE}, "contradicted"),
    ("ranks", {**ORDER, "best": "lowest"}, {"A": LOW, "B": MIDDLE, "C": WIDE}, "inconclusive"),
    ("ratio", {**LAYERS, "above": 0.4, "below": 0.6}, HALVES, "replicated"),
    ("ratio", {**LAYERS, "above": 0.6}, HALVES, "contradicted"),
    ("ratio", {**LAYERS, "below": 0.4}, HALVES, "contradicted"),
    ("ratio", {**LAYERS, "above": 0.49}, HALVES, "inconclusive"),
    ("agrees", {**ONE, "reported": 3.1, "within": 6.0}, {"A": [1, 2, 3, 4, 5]}, "replicated"),
    ("agrees", {**ONE, "reported": 9.0, "within": 1.0}, {"A": [1, 2, 3, 4, 5]}, "contradicted"),
    ("agrees", {**ONE, "reported": -3.0, "within": 1.0}, {"A": [1, 2, 3, 4, 5]}, "contradicted"),
    ("agrees", {**ONE, "reported": 3.0, "within": 1.0}, {"A": [1, 2, 3, 4, 5]}, "inconclusive"),
    ("agrees", {**ONE, "reported": 99.0, "within": 1.0}, {"A": LOW[:1]}, "inconclusive"),
]


def _test(predicate, frame, options):
    options = dict(options)
    arguments = [Reported("loss", value=options.pop("reported"))] if predicate == "agrees" else []
    return getattr(predicates, predicate)(frame, *arguments, **LOSS, **options)


@pytest.mark.parametrize(("predicate", "options", "losses", "decision"), CASES)
def test_decision(workspace, predicate, options, losses, decision):
    found = _test(predicate, loss_frame(workspace, losses), options)
    assert found.decision == decision
    pooled = sum(map(len, losses.values())) if predicate == "share" else len(losses["A"])
    assert found.n == pooled


def test_every_predicate_reaches_every_decision():
    reached = {(predicate, decision) for predicate, _, _, decision in CASES}
    decisions = get_args(evidence.Decision)
    assert reached == {(predicate, decision) for predicate in predicates.__all__ for decision in decisions}


# A diverged run, NaN, counts as worse than any number, whatever is claimed.
@pytest.mark.parametrize(
    ("predicate", "options", "diverged", "decision"),
    [
        ("within", {"above": 2.0}, 9, "contradicted"),
        ("within", {"below": 2.0}, 9, "contradicted"),
        ("within", {"above": 0.0, "below": 2.0}, 9, "contradicted"),
        ("within", {"above": 0.0}, 1, "replicated"),
        ("within", {"above": 0.0}, 5, "inconclusive"),
        ("share", {"above": 0.5, "between": [0.0, 9.0]}, 9, "contradicted"),
        ("share", {"above": 0.4, "between": [0.0, 9.0]}, 1, "replicated"),
        ("ratio", {**QUOTIENT, "above": 0.1}, 9, "contradicted"),
        ("ratio", {**QUOTIENT, "below": 9.0}, 9, "contradicted"),
        ("ratio", {**QUOTIENT, "above": 0.1}, 1, "replicated"),
        ("beats", {**SIDES, "best": "lowest"}, 9, "contradicted"),
        ("beats", {**SIDES, "best": "highest"}, 9, "contradicted"),
        ("beats", {"better": SIDES["worse"], "worse": SIDES["better"], "best": "highest"}, 9, "replicated"),
        ("ranks", {"order": [{"condition": "B"}, {"condition": "A"}], "best": "lowest"}, 9, "replicated"),
        ("agrees", {**ONE, "reported": 1.0, "within": 0.5}, 9, "contradicted"),
        ("agrees", {**ONE, "reported": 1.0, "within": 0.5}, 1, "inconclusive"),
    ],
)
def test_a_diverged_run_is_worse_than_any_other(workspace, predicate, options, diverged, decision):
    values = np.linspace(0.99, 1.01, 9)
    values[:diverged] = NAN
    frame = loss_frame(workspace, {"A": values, "B": np.linspace(0.98, 1.03, 9)})
    options = {"where": {"condition": "A"}, **options} if predicate in ("within", "share") else options
    found = _test(predicate, frame, options)
    assert (found.decision, found.n) == (decision, 9)


def test_two_sides_that_diverged_are_equal(workspace):
    frame = loss_frame(workspace, {"A": [NAN] * 6, "B": [NAN] * 6})
    found = predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert (found.estimate, found.decision) == (0, "inconclusive")


def test_one_infinite_value_does_not_decide(workspace):
    frame = loss_frame(workspace, {"A": LOW, "B": [INF, 1.1, 1.2]})
    assert predicates.beats(frame, **LOSS, **SIDES, best="lowest").decision == "inconclusive"
    assert predicates.within(frame, **LOSS, below=9).decision == "inconclusive"


@pytest.mark.parametrize("at", [3, "last", {"from": 3}])
def test_a_run_that_stopped_before_the_step_counts_as_diverged_there(workspace, at):
    study = workspace.study(conditions={"A": {"init": "he_normal"}}, compare=None, seeds=9)

    def numbers(run):
        steps = 4 if run.seed else 2
        evaluated = np.array([1, 3]) if run.seed else np.array([1])
        return {
            "loss": records.Series(np.arange(1, steps + 1), np.ones(steps)),
            "accuracy": records.Series(evaluated, np.ones(len(evaluated))),
        }

    status = {True: "finished", False: "diverged"}
    frame = workspace.frame(
        study, numbers, status=lambda run: status[run.seed > 0], steps=lambda run: 4 if run.seed else 2
    )
    values = measures.measure(frame, "accuracy", at)
    assert sorted(values["seed"]) == list(range(9))
    assert values.loc[values["value"].isna(), "seed"].tolist() == [0]
    found = predicates.within(frame, metric="accuracy", at=at, above=0.5)
    assert (found.n, found.method.split(",")[0]) == (9, "median")


def test_unequal_seeds_are_an_error_or_not_run(workspace):
    frame = loss_frame(workspace, {"A": LOW, "B": MIDDLE})
    lost = frame[(frame["condition"] != "B") | (frame["seed"] != 1)]
    lost.attrs.update(frame.attrs)
    order = {"order": [SIDES["better"], SIDES["worse"]], "best": "lowest"}
    for predicate, options in (("beats", {**SIDES, "best": "lowest"}), ("within", {"below": 9}), ("ranks", order)):
        with pytest.raises(InputError, match="seeds differ between conditions: condition A, condition B"):
            _test(predicate, lost, options)
        lost.attrs["complete"] = False
        with pytest.raises(measures.NotRun):
            _test(predicate, lost, options)
        lost.attrs["complete"] = True


def test_within_names_the_layer_that_decides(workspace):
    frame = loss_frame(workspace, {"A": [[[5.0, 1.0, 3.0]], [[5.1, 1.5, 3.1]], [[5.2, 2.6, 3.2]]]})
    found = predicates.within(frame, **LOSS, above=0.5)
    assert (found.estimate, found.decided_by) == (pytest.approx(1.7), "layer 2")
    found = predicates.within(frame, **LOSS, below=4)
    assert (found.decision, found.estimate, found.decided_by) == ("contradicted", pytest.approx(5.1), "layer 1")
    assert predicates.within(frame, **LOSS, above=2, where={"layer": [1, 3]}).decision == "replicated"


def test_sides_must_name_one_label_of_every_axis(workspace):
    frame = loss_frame(workspace, {"A": _two_layers(LOW, LOW), "B": _two_layers(MIDDLE, LOW)})
    with pytest.raises(InputError, match="more than one layer in condition A: name one"):
        predicates.beats(frame, **LOSS, **SIDES, best="lowest")
    assert predicates.beats(frame, **LOSS, **SIDES, best="lowest", where={"layer": 2}).n == 3
    with pytest.raises(InputError, match="ratio: one condition is compared, but the test selects 2"):
        predicates.ratio(frame, **LOSS, numerator={"layer": 2}, denominator={"layer": 1}, below=9)
    with pytest.raises(InputError, match="agrees: one condition is compared, but the test selects 4"):
        predicates.agrees(frame, Reported("loss", value=1), **LOSS, where={}, within=1)


def test_share_pools_the_runs_of_all_conditions(workspace):
    frame = loss_frame(workspace, {"A": ALL, "B": NONE, "C": SOME})
    found = predicates.share(frame, **LOSS, above=0.5)
    assert (found.estimate, found.n) == (14 / 27, 27)
    found = predicates.share(frame, **LOSS, where={"condition": ["A", "C"]}, above=0.5)
    assert (found.estimate, found.n, found.decision) == (14 / 18, 18, "replicated")


def test_ratio_compares_a_condition_with_itself_at_an_earlier_step(workspace):
    frame = loss_frame(workspace, {"A": [[1.0, 3.0, 2.0, 3.0], [2.0, 4.0, 4.0, 2.0], [1.0, 1.0, 1.0, 3.0]]})
    options = {"numerator": {}, "denominator": {}, "denominator_at": {"from": 1, "to": 2}, "at": {"from": 3}}
    assert predicates.ratio(frame, **LOSS, **options, above=1).estimate == pytest.approx((1.25 * 1 * 2) ** (1 / 3))
    same = predicates.ratio(frame, **LOSS, numerator={}, denominator={}, at={"from": 3}, above=0.9, below=1.1)
    assert (same.estimate, same.decision) == (1, "replicated")


def test_ratio_is_the_geometric_mean_of_ratios_so_that_its_inverse_is_its_mirror(workspace):
    frame = loss_frame(workspace, {"A": _two_layers([1.0, 10.0, 1000.0], [0.1, 0.5, 4.0])})
    forth = predicates.ratio(frame, **LOSS, **LAYERS, above=0.6)
    inverse = {**LAYERS, "numerator": LAYERS["denominator"], "denominator": LAYERS["numerator"]}
    back = predicates.ratio(frame, **LOSS, **inverse, below=1 / 0.6)
    assert forth.estimate == pytest.approx(0.2 ** (1 / 3))
    assert back.estimate == pytest.approx(1 / forth.estimate)
    assert (back.low, back.high) == pytest.approx((1 / forth.high, 1 / forth.low))
    assert back.p_value == pytest.approx(forth.p_value)


def test_ratio_needs_values_that_have_a_ratio(workspace):
    frame = loss_frame(workspace, {"A": _two_layers(LOW, [-1, 1, 1])})
    with pytest.raises(InputError, match="values below 0, which have no ratio"):
        predicates.ratio(frame, **LOSS, **LAYERS, above=0.6)


def test_the_share_of_runs_with_other_values_than_0_and_1_needs_a_range(workspace):
    with pytest.raises(InputError, match="loss has values other than 0 and 1: give between"):
        _test("share", loss_frame(workspace, HALVES), {"above": 0.5})


def _accuracies(workspace, steps_of_runs, diverged=(), without=()):
    """Return the frame of conditions whose accuracy is 1 at the steps {condition: steps of each seed}.

    The seeds in `diverged` diverged at their last step, and those in `without` did not record the accuracy.
    """
    conditions = {label: {"init": "he_normal", "optimizer.lr": 2.0**-i} for i, label in enumerate(steps_of_runs)}
    seeds = len(next(iter(steps_of_runs.values())))
    study = workspace.study(conditions=conditions, compare=None, seeds=seeds)

    def steps(run):
        return np.array(steps_of_runs[run.labels["condition"]][run.seed])

    def numbers(run):
        series = records.Series(steps(run), np.ones(len(steps(run))))
        return {"loss": series, **({"accuracy": series} if run.seed not in without else {})}

    def status(run):
        return "diverged" if run.seed in diverged else "finished"

    return workspace.frame(study, numbers, status=status, steps=lambda run: int(steps(run)[-1]))


@pytest.mark.parametrize("at", [55, {"from": 51, "to": 60}])
@pytest.mark.parametrize("predicate", ["share", "within"])
def test_a_step_that_is_not_recorded_is_not_decided_by_the_runs_that_diverged(workspace, predicate, at):
    frame = _accuracies(workspace, {"A": [[0, 20]] + [[0, 50, 100]] * 9}, diverged=(0,))
    with pytest.raises(InputError, match="'accuracy' is not recorded at step"):
        getattr(predicates, predicate)(frame, metric="accuracy", at=at, above=0.5)
    found = getattr(predicates, predicate)(frame, metric="accuracy", at=50, above=0.3)
    assert (found.n, found.decision) == (10, "replicated")


@pytest.mark.parametrize("at", [100, {"from": 60, "to": 100}, {"from": 60}])
def test_a_claim_about_a_step_that_only_some_conditions_or_seeds_reach_is_not_run(workspace, at):
    for steps in ({"A": [[0, 50]] * 3, "B": [[0, 50, 100]] * 3}, {"A": [[0, 50], [0, 50, 100], [0, 50, 100]]}):
        frame = _accuracies(workspace, steps)
        for predicate in ("share", "within"):
            with pytest.raises(measures.NotRun, match="'accuracy'"):
                getattr(predicates, predicate)(frame, metric="accuracy", at=at, above=0.5)


def test_a_condition_that_a_claim_does_not_name_need_not_reach_its_step(workspace):
    frame = _accuracies(workspace, {"A": [[0, 50, 100]] * 3, "B": [[0, 50, 100]] * 3, "C": [[0, 40]] * 3})
    for at in (50, 100):
        assert predicates.beats(frame, metric="accuracy", **SIDES, best="highest", at=at).n == 3
        assert predicates.ratio(frame, metric="accuracy", **QUOTIENT, above=0.5, at=at).n == 3
        with pytest.raises(measures.NotRun):
            predicates.beats(frame, metric="accuracy", better={}, worse={"condition": "B"}, best="highest", at=at)


def test_a_claim_about_a_metric_that_some_runs_of_a_condition_lack_is_not_run(workspace):
    frame = _accuracies(workspace, {"A": [[0, 50]] * 4}, without=(2,))
    for predicate in ("share", "within"):
        with pytest.raises(measures.NotRun, match="'accuracy' has no value in 1 of 4 runs"):
            getattr(predicates, predicate)(frame, metric="accuracy", above=0.5)


def test_a_test_that_selects_no_value_is_an_error(workspace):
    frame = loss_frame(workspace, {"A": _two_layers(LOW, LOW)})
    sides = {"better": {"layer": 9}, "worse": {"layer": 1}}
    for predicate, options in (
        ("beats", {**sides, "best": "lowest"}),
        ("ratio", {"numerator": {"layer": 1}, "denominator": {"layer": 9}, "above": 1}),
    ):
        with pytest.raises(InputError, match="where: the test selects no run"):
            _test(predicate, frame, options)
