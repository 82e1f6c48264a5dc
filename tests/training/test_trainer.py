"""Training of runs: their numbers are the same twice, and alone or in a stack."""

import numpy as np
import pytest
import torch
from checkout import CONFIGS, RESULTS
from sample_training import assert_equal_numbers, execute

from goodinit import records, studies
from goodinit.training import trainer

OBSERVERS = [{"name": name} for name in ("activations", "gradients", "layer_outputs", "update_size")]


def test_the_numbers_are_the_same_twice_and_alone_or_in_a_stack(study, data_root):
    runs = study.runs("paper")
    together = execute(runs, data_root)
    for first, second in zip(together, execute(runs, data_root), strict=True):
        assert_equal_numbers(first, second)
    for record, run in zip(together, runs, strict=True):
        assert_equal_numbers(record, execute([run], data_root)[0])


def test_dropout_masks_are_the_same_alone_or_in_a_stack(study, data_root, monkeypatch):
    runs = [
        studies.Run(run.parts | {"model": run.parts["model"] | {"dropout": 0.2}}, run.seed, run.labels)
        for run in study.runs("paper")[3:]
    ]
    assert [run.seed for run in runs] == [0, 1, 2]
    trained = {}
    for together in (3, 1):
        monkeypatch.setitem(trainer.MAX_STACK_SIZE, "cpu", together)
        trained[together] = execute(runs, data_root)
        assert [record.provenance["trained_together"] for record in trained[together]] == [together] * 3
    for first, second in zip(trained[3], trained[1], strict=True):
        assert_equal_numbers(first, second)
    plain = execute(study.runs("paper")[3:4], data_root)[0]
    assert plain.series["test_loss"].values[0] != trained[1][0].series["test_loss"].values[0]  # times 1 - ratio


@pytest.mark.parametrize(
    "parts",
    [
        {
            "data": {"name": "shapes", "train_examples": 60, "test_examples": 20},
            "model": {"name": "resnet_vae", "blocks": 6, "width": 4, "latent": 4},
            "objective": {"name": "elbo"},
        },
        {"model": {"name": "mlp", "hidden": [16], "dropout": 0.2}},
        {"init": {"name": "as_built"}},
    ],
    ids=["auto-encoder", "dropout", "as built"],
)
def test_the_numbers_do_not_depend_on_the_random_state_of_the_process(study, data_root, parts):
    parts = study.runs("paper")[-1].parts | {"training": {"steps": 5, "batch_size": 10}} | parts
    trained = []
    for state in (1, 2):
        torch.manual_seed(state)
        trained += execute([studies.Run(parts, 0, {})], data_root)
    assert_equal_numbers(*trained)


def test_seeds_differ(study, data_root):
    first, second = execute(study.runs("paper")[:2], data_root)
    assert (first.series["loss"].values != second.series["loss"].values).any()


def test_diagnostics_change_no_number(study, data_root):
    run = study.runs("paper")[-1]
    watched = studies.Run(run.parts | {"diagnostics": OBSERVERS}, run.seed, {})
    plain, other = execute([run], data_root)[0], execute([watched], data_root)[0]
    for name in ("gradient_variance", "output_variance", "weight_sd", "update_size"):
        assert other.series[name].dimensions == ("layer",)
        assert other.series[name].values.shape == (2, 3)  # before the first update and after the last
    assert other.series["batch_loss"].dimensions == ()
    for name, series in plain.series.items():
        np.testing.assert_allclose(series.values, other.series[name].values, rtol=1e-5, atol=1e-6)


def test_learning_rates_of_layers_are_the_same_alone_or_in_a_stack(study, data_root):
    """The last layer, `5`, moves a thousand times less than it would."""
    optimizer = {"name": "momentum", "lr": 0.05, "layer_factors": {"5": 0.001}}
    runs = [studies.Run(run.parts | {"optimizer": optimizer}, run.seed, {}) for run in study.runs("paper")[3:]]
    together, (alone,) = execute(runs, data_root), execute(runs[1:2], data_root)
    assert [record.provenance["trained_together"] for record in together] == [3] * 3
    assert np.array_equal(together[1].series["loss"].values, alone.series["loss"].values)
    plain = studies.Run(runs[1].parts | {"optimizer": {"name": "momentum", "lr": 0.05}}, runs[1].seed, {})
    assert not np.array_equal(execute([plain], data_root)[0].series["loss"].values, alone.series["loss"].values)


@pytest.mark.parametrize(("clip", "together"), [({}, 3), ({"clip_norm": 1e9}, 1)])
def test_runs_with_clipping_are_not_stacked(study, data_root, clip, together):
    """The norm is that of a net, and a stack has several."""
    optimizer = {"name": "momentum", "lr": 0.05}
    runs = [studies.Run(run.parts | {"optimizer": optimizer | clip}, run.seed, {}) for run in study.runs("paper")[3:]]
    trained = execute(runs, data_root)
    assert [record.provenance["trained_together"] for record in trained] == [together] * 3
    plain = execute([studies.Run(runs[0].parts | {"optimizer": optimizer}, 0, {})], data_root)[0]
    np.testing.assert_allclose(trained[0].series["loss"].values, plain.series["loss"].values, rtol=1e-4)


def test_clipping_bounds_the_length_of_an_update(study, data_root):
    run = study.runs("paper")[-1]
    optimizer = {"name": "momentum", "lr": 1.0, "momentum": 0.0, "clip_norm": 1e-3}
    parts = run.parts | {"optimizer": optimizer, "diagnostics": [{"name": "path"}]}
    short = studies.Run(parts | {"training": run.parts["training"] | {"steps": 5, "diagnose_every": 1}}, run.seed, {})
    length = execute([short], data_root)[0].series["path_length"].values
    np.testing.assert_allclose(length, 1e-3 * np.arange(6), rtol=1e-2)


def test_semi_synchronous_runs_are_not_stacked(study, data_root):
    parts = study.runs("paper")[-1].parts | {
        "model": {"name": "mlp", "hidden": [16, 25]},
        "optimizer": {"name": "momentum", "lr": 0.01},
        "update": {"name": "semi_synchronous"},
    }
    runs = [studies.Run(parts, seed, {}) for seed in range(3)]
    together = execute(runs, data_root)
    assert [record.provenance["trained_together"] for record in together] == [1, 1, 1]
    (alone,) = execute(runs[2:], data_root)
    np.testing.assert_array_equal(alone.series["loss"].values, together[2].series["loss"].values)
    plain = studies.Run(parts | {"update": {"name": "synchronous"}}, 2, {})
    assert (execute([plain], data_root)[0].series["loss"].values != alone.series["loss"].values)[1:].all()


@pytest.mark.parametrize("objective", ["cross_entropy", "hinge"])
@pytest.mark.parametrize("update", ["synchronous", "semi_synchronous"])
def test_low_precision_learns(study, data_root, objective, update):
    parts = study.runs("paper")[-1].parts | {
        "model": {"name": "mlp", "hidden": [64]},
        "objective": {"name": objective},
        "optimizer": {"name": "momentum", "lr": 0.005},
        "update": {"name": update},
    }
    training = {"steps": 200, "batch_size": 50, "evaluate_on": ["test"], "precision": "bf16"}
    (record,) = execute([studies.Run(parts | {"training": training}, 0, {})], data_root)
    losses = record.series["loss"].values
    assert losses[-10:].mean() < 0.6 * losses[:10].mean()
    assert record.series["test_accuracy"].values[-1] > 0.7


def test_a_data_set_without_classes_can_be_trained_on(data_root):
    parts = {"data": {"name": "gaussian"}, "model": {"name": "mlp", "hidden": [10]}, "init": {"name": "he_normal"},
             "optimizer": {"name": "sgd", "lr": 0.1}, "training": {"steps": 3, "batch_size": 10}}  # fmt: skip
    (record,) = execute([studies.Run(studies.DEFAULTS | parts, 0, {})], data_root)
    assert record.status == "finished"


@pytest.mark.real_data
def test_the_first_updates_on_mnist_equal_the_committed_records(real_data):
    study = studies.find(CONFIGS, "xavier_he/mnist")
    job = study.jobs("laptop")[0]
    file = records.path(RESULTS, "laptop", study, job)
    if not file.exists():
        pytest.skip("no committed records")
    recorded = {run.id: run for run in records.read(file)}
    run = job.runs[-1]
    short = studies.Run(run.parts | {"training": run.parts["training"] | {"steps": 50}}, run.seed, {})
    losses = execute([short], real_data)[0].series["loss"].values
    np.testing.assert_allclose(losses, recorded[run.id].series["loss"].values[:50], rtol=1e-4)
