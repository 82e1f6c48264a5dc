"""Estimated times, from timing a few updates, and the rate of a device."""

import itertools

import pytest
import torch
from checkout import CONFIGS

from goodinit import studies
from goodinit.training import loop, timing

CPU = torch.device("cpu")
PARTS = {
    "data": {"name": "mnist", "train_examples": 300, "test_examples": 1000},
    "model": {"name": "mlp", "hidden": [100]},
    "objective": {"name": "cross_entropy"},
    "optimizer": {"name": "adam", "lr": 0.1},
    "update": {"name": "synchronous"},
}


def _seconds(steps, evaluate_every=None, test_examples=1000, evaluate_on=("test",)):
    """Return the estimated time; the model is timed once, in the first call."""
    training = {"steps": steps, "batch_size": 50, "evaluate_every": evaluate_every, "evaluate_on": list(evaluate_on)}
    data = PARTS["data"] | {"test_examples": test_examples}
    return timing.measure_seconds([studies.Run(PARTS | {"data": data, "training": training}, 0, {})], CPU, threads=1)


def test_the_rate_is_that_of_three_products_in_the_time_that_they_take(monkeypatch):
    monkeypatch.setattr("time.perf_counter", map(float, itertools.count()).__next__)  # 1 second later in each call
    multiplications = 3 * 2048**3
    assert timing.measure_rate(CPU) == 2 * multiplications  # and as many additions


def test_the_time_is_a_sum_over_updates_and_evaluated_examples():
    update = _seconds(1, evaluate_on=())
    assert update > 0
    assert _seconds(30, evaluate_on=()) == pytest.approx(30 * update)
    assert _seconds(0, evaluate_on=()) == 0
    example = _seconds(0) / 1000  # evaluated once
    assert example > 0
    assert _seconds(30, 10, 700) == pytest.approx(30 * update + 4 * 700 * example)  # at the steps 0, 10, 20 and 30


def test_the_time_of_several_runs_is_the_sum():
    runs = [studies.Run(PARTS | {"training": {"steps": 3, "batch_size": 50}}, seed, {}) for seed in range(2)]
    assert timing.measure_seconds(runs, CPU, threads=1) == 2 * timing.measure_seconds(runs[:1], CPU, threads=1)


def test_all_updates_of_a_model_that_diverges_are_timed(monkeypatch):
    done = []

    def fit(model, objective, batches, *arguments):
        counted = list(batches)
        history = loop.fit(model, objective, counted, *arguments)
        done.append(history.steps == len(counted))
        return history

    monkeypatch.setattr(timing, "fit", fit)
    training = {"steps": 1, "batch_size": 50, "diverged_above": 1e-30}
    run = studies.Run(PARTS | {"optimizer": {"name": "sgd", "lr": 1e30}, "training": training}, 0, {})
    timing.measure_seconds([run], CPU, threads=1)
    assert done
    assert all(done)


@pytest.mark.parametrize("study", ["semisync/table2", "pdi/vae", "textbook/optimizer_paths", "lsuv/initial_state"])
def test_models_of_every_kind_can_be_timed(study):
    runs = studies.find(CONFIGS, study).runs("demo")[:1]
    assert timing.measure_seconds(runs, CPU) > (0 if runs[0].parts["training"]["steps"] else -1)
