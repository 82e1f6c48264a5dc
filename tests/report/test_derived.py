"""Derived metrics follow from what the records hold."""

import itertools

import numpy as np
import pytest
from sample_results import ACCURACY, numbers

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import measures, predicates


def test_drawn_hyper_parameters_are_metrics_at_step_0(workspace):
    study, frame = workspace.trials({"accuracy": ACCURACY})
    for path in ("optimizer.lr", "optimizer.weight_decay"):
        rows = measures.metric_rows(frame, path)
        assert set(rows["step"]) == {0}
        assert len(rows) == 4 * 2
        for seed, trial in itertools.product((0, 1), (1, 2, 3, 4)):
            drawn = study.draws("laptop", seed)[trial][path]
            assert rows[(rows["trial"] == trial) & (rows["seed"] == seed)]["value"].tolist() == [drawn]


def test_seconds_are_metrics_at_the_last_step_of_each_run(workspace):
    study = workspace.study()
    steps = {run.id: 4 + run.seed for run in study.runs("laptop")}
    seconds = {"initializing": 0.25, "training": 0.5}
    frame = workspace.frame(study, numbers, seconds=seconds, steps=lambda run: steps[run.id])
    for activity, expected in seconds.items():
        rows = measures.metric_rows(frame, f"{activity}_seconds")
        assert dict(zip(rows["run"], rows["step"], strict=True)) == steps
        assert set(rows["value"]) == {expected}
        assert (rows[list(records.AXES)] == -1).all(axis=None)


def test_convergence_and_epochs_are_metrics_at_the_last_step(workspace):
    statuses = ("finished", "diverged", "finished")
    fields = {"status": lambda run: statuses[run.seed], "provenance": {"train_examples": 1024}}
    low = {"loss": records.Series(np.arange(1, 5), np.full(4, 0.1))}
    frame = workspace.frame(workspace.study(), lambda run: low, **fields)
    converged = measures.measure(frame, "converged")
    assert dict(zip(converged["seed"], converged["value"], strict=True)) == {0: 1, 1: 0, 2: 1}
    diverged = measures.measure(frame, "diverged")
    assert dict(zip(diverged["seed"], diverged["value"], strict=True)) == {0: 0, 1: 1, 2: 0}
    epochs = measures.measure(frame, "epochs")
    assert (set(epochs["value"]), set(epochs["step"])) == ({4 * 128 / 1024}, {4})


def test_a_run_converges_if_the_mean_of_its_last_forty_losses_is_below_that_of_guessing(workspace):
    guessing = np.log(10)
    losses = {
        0: np.append(np.full(60, guessing), np.full(40, 0.94 * guessing)),
        1: np.append(np.full(99, guessing), 0.1),  # one mini-batch is below it
        2: np.append(np.full(60, 0.1), np.full(40, guessing)),  # it learned, and forgot
        3: np.append(np.full(99, 0.1), np.nan),
    }
    fields = {
        "status": lambda run: "diverged" if run.seed == 3 else "finished",
        "steps": 100,
        "provenance": {"train_examples": 1280, "classes": 10},
    }
    frame = workspace.frame(
        workspace.study(seeds=4), lambda run: {"loss": records.Series(np.arange(1, 101), losses[run.seed])}, **fields
    )
    converged = measures.measure(frame, "converged")
    assert dict(zip(converged["seed"], converged["value"], strict=True)) == {0: 1, 1: 0, 2: 0, 3: 0}


def test_the_number_of_classes_of_a_published_data_set_is_known(workspace):
    """Earlier records do not tell it."""
    frame = workspace.frame(
        workspace.study(), lambda run: {"loss": records.Series(np.arange(1, 101), np.full(100, 2.29))}
    )
    assert set(measures.measure(frame, "converged")["value"]) == {0}


def test_the_spread_of_gradients_is_that_of_their_logarithms_over_the_layers(workspace):
    variances = np.array([[1e-3, 1e-3, 1e-3], [1e-2, 1e-4, 1e-6], [1e-2, 0.0, 1e-6]])
    series = {"gradient_variance": records.Series(np.arange(3), variances, ("layer",))}
    rows = measures.metric_rows(workspace.frame(workspace.study(), lambda run: series), "gradient_variance_spread")
    spread = rows.groupby("step", observed=True)["value"].mean()
    assert spread.loc[[0, 1]].tolist() == pytest.approx([0, 2])
    assert np.isnan(spread.loc[2])


@pytest.mark.parametrize("stops", [True, False])
def test_the_losses_after_a_run_diverged_are_no_result_if_it_stopped(workspace, stops):
    """A run is ended some updates later, when its losses are fetched, and may have a small loss by then."""
    study = workspace.study(compare=None, conditions={"A": {"init": "he_normal", "training.stop_when_diverged": stops}})
    loss = records.Series(np.arange(1, 5), np.array([2.0, 1e9, 0.1, 0.2]))
    frame = workspace.frame(study, lambda run: {"loss": loss}, status="diverged", diverged_at=2)
    rows = measures.metric_rows(frame, "loss")
    first = rows[rows["seed"] == 0].sort_values("step")["value"]
    np.testing.assert_array_equal(first, [2.0, 1e9, np.nan, np.nan] if stops else [2.0, 1e9, 0.1, 0.2])
    assert predicates.within(frame, metric="loss", below=1.0).decision != "replicated" or not stops


@pytest.mark.parametrize("stops", [True, False])
def test_what_is_observed_after_a_run_diverged_and_stopped_is_nan(workspace, stops):
    study = workspace.study(compare=None, conditions={"A": {"init": "he_normal", "training.stop_when_diverged": stops}})

    def observed(run):
        accuracy = records.Series(np.array([0, 2, 4]), np.array([0.1, 0.3, 0.2]))
        return {"loss": records.Series(np.arange(1, 5), np.array([1.0, 2.0, 1e9, 1e9])), "test_accuracy": accuracy}

    frame = workspace.frame(study, observed, status="diverged", diverged_at=3)
    last = measures.measure(frame, "test_accuracy")["value"]
    assert last.isna().all() if stops else (last == 0.2).all()
    assert (measures.measure(frame, "test_accuracy", 2)["value"] == 0.3).all()
    assert (measures.measure(frame, "loss", 3)["value"] == 1e9).all()
    found = predicates.within(frame, metric="test_accuracy", above=0.15, below=0.5)
    assert found.decision != "replicated" if stops else found.estimate == pytest.approx(0.2)


def test_the_spread_of_the_loss_is_that_of_the_last_fifth_of_updates_on_the_full_data_set(workspace):
    loss = np.arange(20.0) ** 2
    conditions = {
        "full": {"init": "he_normal"},
        "half": {
            "init": "he_normal",
            "curriculum": {"name": "progressive", "fractions": [0.1, 0.5], "stage_steps": [4, 6]},
        },
        "too few": {
            "init": "he_normal",
            "curriculum": {"name": "progressive", "fractions": [0.1], "stage_steps": [11]},
        },
    }
    study = workspace.study(conditions=conditions, compare=None, seeds=1)
    frame = workspace.frame(study, lambda run: {"loss": records.Series(np.arange(1, 21), loss)}, steps=20)
    spread = measures.metric_rows(frame, "loss_spread").set_index("condition")
    assert set(spread["step"]) == {20}
    expected = {"full": loss[16:].std(), "half": loss[18:].std(), "too few": np.nan}
    np.testing.assert_allclose(spread.loc[list(expected), "value"], list(expected.values()))


def test_the_flat_phase_ends_when_the_mean_of_forty_losses_is_below_that_of_guessing(workspace):
    guessing = np.log(10)
    losses = {
        0: np.where(np.arange(1, 101) <= 50, guessing, 0.1 * guessing),
        1: np.full(100, 0.96 * guessing),
        2: np.append([2 * guessing, 0.1], np.full(98, np.inf)),  # the mean of two losses is above 95 %
    }
    fields = {"steps": 100, "provenance": {"train_examples": 1280, "classes": 10}}  # ten updates an epoch
    frame = workspace.frame(
        workspace.study(), lambda run: {"loss": records.Series(np.arange(1, 101), losses[run.seed])}, **fields
    )
    epochs = measures.measure(frame, "flat_epochs")
    assert (epochs.loc[epochs["seed"] == 0, "value"] == 5.3).all()  # (37 + 3 / 10) / 40 is below 95 %
    assert epochs.loc[epochs["seed"] > 0, "value"].isna().all()


def test_the_generalization_gap_is_a_difference_of_accuracies(workspace):
    train, test = [[0.5, 1.0], [0.25, 0.75]], [[0.25, 0.25], [0.5, 0.5]]
    _, frame = workspace.conditions({"train_accuracy": {"a": train}, "test_accuracy": {"a": test}})
    gap = measures.metric_rows(frame, "generalization_gap").sort_values(["seed", "step"])
    assert gap["value"].tolist() == [0.25, 0.75, -0.25, 0.25]
    assert gap["step"].tolist() == [1, 2, 1, 2]


def test_oscillation_is_the_distance_moved_along_each_coordinate_beyond_the_net_displacement(workspace):
    positions = np.array([[0.0, 2.0], [1.0, -1.0], [3.0, 0.5], [4.0, 0.0]])
    series = {"position": records.Series(np.arange(4), positions, ("coordinate",))}
    rows = measures.metric_rows(workspace.frame(workspace.study(), lambda run: series), "oscillation")
    for coordinate, expected in {1: [0, 0, 0, 0], 2: [0, 0, 3, 3]}.items():
        by_step = rows[rows["coordinate"] == coordinate].groupby("step")["value"]
        assert by_step.min().tolist() == by_step.max().tolist() == expected


@pytest.mark.parametrize("metrics", [["train_accuracy", "test_accuracy"], ["train_accuracy"]])
def test_there_is_no_generalization_gap_unless_both_sets_are_evaluated_at_the_same_steps(workspace, metrics):
    series = {
        "train_accuracy": records.Series(np.array([0, 4]), np.ones(2)),
        "test_accuracy": records.Series(np.array([4]), np.ones(1)),
    }
    frame = workspace.frame(workspace.study(), lambda run: {metric: series[metric] for metric in metrics})
    with pytest.raises(InputError, match="'generalization_gap' is not in the records"):
        measures.metric_rows(frame, "generalization_gap")
