"""A measure is one value of each run, at the steps of interest."""

import numpy as np
import pandas as pd
import pytest
from sample_results import ACCURACY, HIGHEST, numbers

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import measures


def _pick(frame, **where):
    """Return the rows with these labels."""
    axes = {"activation": "model.activation"}
    return measures.select(frame, {axes.get(name, name): value for name, value in where.items()})


def test_select_takes_one_label_or_several(frame):
    rows = measures.select(frame, {"init": ["zeta", "Mu"], "seed": 1})
    assert set(rows["init"]) == {"zeta", "Mu"}
    assert set(rows["seed"]) == {1}
    assert len(rows) == len(frame) * 2 // 9
    assert len(measures.select(frame, None)) == len(frame)


@pytest.mark.parametrize(
    ("metric", "at", "expected"),
    [
        ("loss", "last", 10 + 16),
        ("loss", 2, 10 + 4),
        ("loss", {"last": 3}, 10 + (4 + 9 + 16) / 3),
        ("loss", {"last": 1}, 10 + 16),
        ("loss", {"last": 99}, 10 + (1 + 4 + 9 + 16) / 4),
        ("accuracy", "last", 4),
        ("accuracy", 0, 1),
        ("accuracy", {"last": 2}, 3),
        ("accuracy", {"last": 3}, 3),  # the recorded steps are 0, 3 and 4; step 0 is before training
        ("loss", {"from": 2, "to": 3}, 10 + (4 + 9) / 2),
        ("loss", {"from": 4, "to": 4}, 10 + 16),
        ("loss", {"from": 3}, 10 + (9 + 16) / 2),
        ("accuracy", {"from": 1, "to": 3}, 2),
        ("accuracy", {"from": 0}, 7 / 3),
    ],
)
def test_measure_is_the_value_at_the_steps(frame, metric, at, expected):
    values = measures.measure(frame, metric, at)
    assert len(values) == 18
    assert not {"layer", "bin"} & set(values.columns)
    condition = _pick(values, init="zeta", activation="tanh").sort_values("seed")
    assert condition["value"].to_numpy() == pytest.approx(np.array([0, 1, 2]) + expected)


def test_measure_has_a_value_for_each_layer(frame):
    values = _pick(measures.measure(frame, "spread"), init="zeta", activation="tanh", seed=0)
    assert dict(zip(values["layer"], values["value"], strict=True)) == pytest.approx({1: 10.4, 2: 10.5, 3: 10.6})
    values = _pick(measures.measure(frame, "spread", {"from": 0}), init="zeta", activation="tanh", seed=0)
    assert dict(zip(values["layer"], values["value"], strict=True)) == pytest.approx({1: 10.25, 2: 10.35, 3: 10.45})


def test_the_last_step_is_that_of_each_run(workspace):
    study = workspace.study()

    def numbers(run):
        length = 2 + run.seed
        return {"loss": records.Series(np.arange(1, length + 1), 10.0 * np.arange(1, length + 1))}

    frame = workspace.frame(study, numbers, steps=lambda run: 2 + run.seed)
    last = measures.measure(frame, "loss")
    assert set(zip(last["seed"], last["value"], strict=True)) == {(0, 20), (1, 30), (2, 40)}
    assert set(measures.measure(frame, "loss", {"last": 2})["value"]) == {15, 25, 35}
    assert set(measures.measure(frame, "loss", 3)["seed"]) == {1, 2}


@pytest.mark.parametrize("at", [{"from": 5}, {"from": 2, "to": 5}, {"from": 5, "to": 6}])
def test_steps_that_were_not_reached_are_an_error(frame, at):
    with pytest.raises(measures.NotRun, match="no value at steps"):
        measures.measure(frame, "loss", at)


def test_a_run_that_diverged_before_the_steps_has_its_last_value(workspace):
    study, _ = workspace.conditions({"loss": {"a": [[1, 2, 3, 5], [1, 2, 3, 5]]}})

    def numbers(run):
        values = np.array([1.0, 2.0, 3.0, 5.0]) if run.seed else np.array([1.0, np.nan])
        return {"loss": records.Series(np.arange(1, len(values) + 1), values)}

    frame = workspace.frame(study, numbers, status=lambda run: "finished" if run.seed else "diverged")
    values = measures.measure(frame, "loss", {"from": 3, "to": 4}).set_index("seed")["value"]
    assert np.isnan(values[0])
    assert values[1] == 4


def test_the_mean_over_steps_is_nan_if_a_value_is(workspace):
    _, frame = workspace.conditions({"loss": {"a": [[1, 2, 3], [1, 2, np.nan]], "b": [[1, np.inf, 3], [3, 3, 3]]}})
    means = measures.measure(frame, "loss", {"last": 2}).set_index(["condition", "seed"])["value"]
    assert means["a", 0] == 2.5
    assert np.isnan(means["a", 1])
    assert np.isinf(means["b", 0])
    assert means["b", 1] == 3


def _evaluated(workspace, accuracies, diverged=(), losses=4):
    """Return the frame of one condition whose accuracies are {seed: {step: value}}, with a loss at the steps from 1.

    The loss of a run ends with its last accuracy if it diverged, else at the step `losses`.
    """
    study = workspace.study(conditions={"A": {"init": "he_normal"}}, compare=None, seeds=len(accuracies))

    def length(run):
        return max(accuracies[run.seed]) if run.seed in diverged else losses

    def numbers(run):
        steps = list(accuracies[run.seed])
        return {
            "loss": records.Series(np.arange(1, length(run) + 1), np.ones(length(run))),
            "accuracy": records.Series(
                np.array(steps), np.array([float(accuracies[run.seed][step]) for step in steps])
            ),
        }

    def status(run):
        return "diverged" if run.seed in diverged else "finished"

    return workspace.frame(study, numbers, status=status, steps=length)


NINE_FINISHED = {seed: {0: 0.1, 50: 0.5, 100: 0.9} for seed in range(9)}


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (55, "'accuracy' is not recorded at step 55, but at 50 and 100"),
        (1, "'accuracy' is not recorded at step 1, but at 0 and 50"),
        ({"from": 51, "to": 60}, "'accuracy' is not recorded at steps 51 to 60, but at 50 and 100"),
        ({"from": 51, "to": 51}, "'accuracy' is not recorded at steps 51 to 51, but at 50 and 100"),
    ],
)
@pytest.mark.parametrize("diverged", [(), (9,)])
def test_a_step_that_was_passed_without_a_record_is_an_error(workspace, at, message, diverged):
    """The runs that finished are not left out, so that those that diverged decide."""
    last = {0: 0.1, 20: np.nan} if diverged else NINE_FINISHED[0]
    frame = _evaluated(workspace, NINE_FINISHED | {9: last}, diverged, 100)
    with pytest.raises(InputError, match=message) as caught:
        measures.measure(frame, "accuracy", at)
    assert not isinstance(caught.value, measures.NotRun)


@pytest.mark.parametrize("at", [3, {"from": 3}, {"from": 2, "to": 4}])
def test_a_metric_of_the_start_alone_is_not_recorded_later(workspace, at):
    frame = _evaluated(workspace, {seed: {0: 0.1} for seed in range(3)})
    with pytest.raises(InputError, match=r"'accuracy' is not recorded at .*, but at 0: ") as caught:
        measures.measure(frame, "accuracy", at)
    assert not isinstance(caught.value, measures.NotRun)


@pytest.mark.parametrize("at", [55, 101, {"from": 55}, {"from": 55, "to": 100}, {"from": 100, "to": 101}])
@pytest.mark.parametrize("diverged", [(), (2,)])
def test_a_step_that_no_run_reaches_is_not_run(workspace, at, diverged):
    steps = 50 if at in (55, {"from": 55}) else 99
    frame = _evaluated(workspace, {seed: {0: 0.1, 20 if seed in diverged else steps: 0.5} for seed in range(3)},
                       diverged, steps)  # fmt: skip
    with pytest.raises(measures.NotRun, match=f"no value at .*; the last is {steps}"):
        measures.measure(frame, "accuracy", at)


@pytest.mark.parametrize("at", [50, 55, {"from": 55}, {"from": 30, "to": 60}, {"last": 2}, "last", "lowest"])
def test_a_run_that_diverged_by_then_has_no_value_however_good_its_last_one(workspace, at):
    accuracies = {0: {0: 0.1, 20: 0.2, 40: 0.95}, 1: {0: 0.1, 50: 0.5, 55: 0.6, 100: 0.9}}
    frame = _evaluated(workspace, accuracies, (0,), 100)
    ended = frame[frame["metric"] == "loss"].assign(step=lambda rows: rows["step"] + 5)  # at step 45
    frame = pd.concat([frame, ended[(ended["seed"] == 0) & (ended["step"] == 45)]])
    values = measures.measure(frame, "accuracy", at).set_index("seed")["value"]
    assert sorted(values.index) == [0, 1]
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


@pytest.mark.parametrize(
    ("at", "value"), [(20, 0.2), (40, 0.4), ({"from": 20, "to": 40}, 0.3), ({"from": 0, "to": 20}, 0.15)]
)
def test_a_run_that_diverged_later_has_its_value(workspace, at, value):
    accuracies = {0: {0: 0.1, 20: 0.2, 40: 0.4, 60: np.nan}, 1: {0: 0.1, 20: 0.2, 40: 0.4, 60: 0.9, 100: 0.9}}
    values = measures.measure(_evaluated(workspace, accuracies, (0,), 100), "accuracy", at)["value"]
    assert values.tolist() == pytest.approx([value, value])


def test_runs_that_all_diverged_before_the_steps_have_no_value(workspace):
    frame = _evaluated(workspace, {seed: {0: 0.1, 20: 0.2} for seed in range(3)}, (0, 1, 2))
    for at in (50, {"from": 50}, {"from": 50, "to": 60}):
        values = measures.measure(frame, "accuracy", at)["value"]
        assert (len(values), values.isna().all()) == (3, True)


def test_the_lowest_value_of_a_run_that_diverged_is_none(workspace):
    losses = {0: [2.0, 0.5, np.inf], 1: [2.0, 1.5, 1.2], 2: [2.0, 0.1, 1e30], 3: [np.nan, 1.0, 3.0]}
    study = workspace.study(conditions={"A": {"init": "he_normal"}}, compare=None, seeds=4)
    frame = workspace.frame(
        study,
        lambda run: {"loss": records.Series(np.arange(1, 4), np.array(losses[run.seed]))},
        status=lambda run: "finished" if run.seed % 2 else "diverged",
    )
    lowest = measures.measure(frame, "loss", "lowest").set_index("seed")["value"]
    assert lowest[[1, 3]].tolist() == [1.2, 1.0]
    assert lowest[[0, 2]].isna().all()


def test_the_last_step_of_several_metrics_is_that_of_each(workspace):
    frame = _evaluated(workspace, {seed: {0: 0.1, 3: 0.5} for seed in range(3)})
    last = measures.measure(frame, ["loss", "accuracy"])
    assert set(zip(last["metric"], last["step"], strict=True)) == {("loss", 4), ("accuracy", 3)}


def test_lowest_is_the_smallest_value_of_a_run(workspace):
    _, frame = workspace.conditions({"loss": {"a": [[3, 1, 2], [5, 6, np.nan]], "b": [[4, 4, 4], [7, 8, 9]]}})
    lowest = measures.measure(frame, "loss", "lowest")
    assert {(row.condition, row.seed): row.value for row in lowest.itertuples()} == {
        ("a", 0): 1, ("a", 1): 5, ("b", 0): 4, ("b", 1): 7}  # fmt: skip


def test_a_metric_or_step_that_was_not_recorded_is_an_error(frame):
    with pytest.raises(InputError, match="'los' is not in the records; did you mean loss") as caught:
        measures.measure(frame, "los")
    assert not isinstance(caught.value, measures.NotRun)
    with pytest.raises(measures.NotRun, match="no value at step 5; the last is 4"):
        measures.measure(frame, "loss", 5)


def test_each_update_uses_an_equal_share_of_a_resource(workspace):
    frame = workspace.frame(
        workspace.study(), numbers, seconds=lambda run: {"training": run.seed + len(run.labels["init"])}
    )
    losses = measures.metric_against(frame, "loss", "training_seconds")
    for init in ("zeta", "alpha"):  # the mean over the seeds 0, 1 and 2 of the seconds of 4 updates
        rows = losses[losses["init"] == init]
        np.testing.assert_allclose(rows["training_seconds"], rows["step"] * (1 + len(init)) / 4)


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (
            HIGHEST,
            [{1: 2, 2: 1, 3: 3, 4: 4}, {1: 3, 2: 2, 3: 1, 4: 4}],
        ),  # the first of equal trials is before the others
        (HIGHEST | {"best": "lowest"}, [{3: 1, 4: 2, 1: 3, 2: 4}, {4: 1, 1: 2, 2: 3, 3: 4}]),
        ({"metric": "accuracy", "best": "highest"}, [{1: 1, 4: 2, 3: 3, 2: 4}] * 2),
        ({"metric": "accuracy", "best": "lowest"}, [{2: 1, 3: 2, 4: 3, 1: 4}] * 2),
    ],
)
def test_trials_are_ranked_among_those_of_their_seed(workspace, choose, expected):
    _, frame = workspace.trials({"accuracy": ACCURACY}, choose)
    assert list(frame["rank"].cat.categories) == [1, 2, 3, 4]
    for seed, ranks in enumerate(expected):
        pairs = frame.loc[frame["seed"] == seed, ["trial", "rank"]].drop_duplicates()
        assert dict(zip(pairs["trial"], pairs["rank"], strict=True)) == ranks
    assert frame["rank"].notna().all()


def test_trials_are_ranked_under_each_label_of_the_other_axes(workspace):
    study, _ = workspace.trials({"accuracy": ACCURACY}, HIGHEST, compare={"training.batch_size": [10, 20]})

    def numbers(run):
        sign = 1 if run.labels["training.batch_size"] == 10 else -1
        return {"accuracy": records.Series(np.array([1]), np.array([1.0 * sign * run.labels["trial"]]))}

    trials = workspace.frame(study, numbers)[["training.batch_size", "trial", "rank"]].drop_duplicates()
    for size, ranks in ((10, [4, 3, 2, 1]), (20, [1, 2, 3, 4])):
        assert trials.loc[trials["training.batch_size"] == size].sort_values("trial")["rank"].tolist() == ranks


def test_trials_have_no_rank_unless_the_study_defines_it(workspace):
    assert "rank" not in workspace.trials({"accuracy": ACCURACY})[1]


def test_a_trial_that_diverged_before_the_step_is_ranked_last(workspace):
    study, _ = workspace.trials({"accuracy": ACCURACY}, HIGHEST | {"at": 2})

    def numbers(run):
        return {"accuracy": records.Series(np.arange(1, length(run) + 1), np.ones(length(run)))}

    def length(run):
        return 1 if run.labels["trial"] == 2 else 2

    frame = workspace.frame(
        study, numbers, steps=length, status=lambda run: "diverged" if length(run) == 1 else "finished"
    )
    assert set(frame[frame["trial"] == 2]["rank"]) == {4}


def test_ranking_at_a_step_that_was_not_reached_is_an_error(workspace):
    with pytest.raises(measures.NotRun, match="no value at step 99"):
        workspace.trials({"accuracy": ACCURACY}, HIGHEST | {"at": 99})


def test_an_unknown_place_is_rejected(workspace):
    _, frame = workspace.conditions({"loss": {"a": [[2, 1]] * 3}})
    with pytest.raises(InputError, match="at: 'lsat' is not a step, last or lowest"):
        measures.measure(frame, "loss", "lsat")
