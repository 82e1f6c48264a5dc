"""Runs on augmented images: reproducible, and evaluated on images that are not augmented."""

import numpy as np
import pytest
import torch

from goodinit.datasets import sets
from goodinit.methods import curricula, initializers, models
from goodinit.seeds import stream_seed
from goodinit.training import trainer


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _runs(workspace, **options):
    fixed = {
        "data": {"name": "shapes", "train_examples": 200, "validation_examples": 40, "test_examples": 60} | options,
        "model": {"name": "mlp", "hidden": [16]},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"steps": 8, "batch_size": 20, "evaluate_every": 8, "evaluate_on": ["train", "validation", "test"]},
    }
    inits = {"He": "he_normal", "small": {"name": "gaussian", "std": 0.01}}
    return workspace.study(fixed=fixed, compare={"init": inits}, seeds=2).runs("laptop")


def _execute(runs, data_root):
    return list(trainer.execute(runs, data_root=data_root, device=torch.device("cpu")))


@pytest.mark.parametrize("options", [{"pad": 4}, {"pad": 4, "contrast": 55.0}])
def test_augmented_runs_are_bit_equal_when_repeated_and_when_trained_alone(workspace, data_root, options):
    runs = _runs(workspace, **options)
    stacked = _execute(runs, data_root)
    assert [record.provenance["trained_together"] for record in stacked] == [4] * 4
    alone = [record for run in runs for record in _execute([run], data_root)]
    for others in (_execute(runs, data_root), alone):
        for record, other in zip(stacked, others, strict=True):
            assert record.series.keys() == other.series.keys()
            for name, series in record.series.items():
                np.testing.assert_array_equal(series.values, other.series[name].values)


def test_evaluated_images_are_not_augmented(workspace, data_root):
    plain, padded = (_execute(_runs(workspace, **options), data_root)[0] for options in ({}, {"pad": 4}))
    for split in ("train", "validation", "test"):
        losses = [record.series[f"{split}_loss"].values for record in (plain, padded)]
        assert losses[0][0] == losses[1][0]  # of the same model, before any update
        assert losses[0][1] != losses[1][1]
    assert (plain.series["loss"].values != padded.series["loss"].values).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_equal_those_of_windows_in_training_and_of_whole_images_in_evaluation(workspace, data_root, seed):
    run = _runs(workspace, contrast=55.0, pad=4)[seed]
    assert run.seed == seed
    streams = {purpose: _generator(stream_seed(seed, purpose)) for purpose in ("split", "init", "order", "augment")}
    options = {key: value for key, value in run.parts["data"].items() if key != "name"}
    splits = sets.shapes(data_root, streams["split"], **options)
    model = models.mlp((3, 32, 32), 10, hidden=[16])
    initializers.he_normal(model, None, streams["init"])
    batch = next(curricula.full(splits.train, batch_size=20, steps=1, generator=streams["order"]))
    inputs = {
        split: splits.preprocessing.normalize(getattr(splits, split)) for split in ("train", "validation", "test")
    }
    inputs["loss"] = splits.preprocessing.augment(batch, streams["augment"])
    (record,) = _execute([run], data_root)
    for name, examples in inputs.items():
        with torch.no_grad():
            expected = torch.nn.functional.cross_entropy(model(examples.images), examples.labels)
        series = record.series[name if name == "loss" else f"{name}_loss"]
        assert series.values[0] == pytest.approx(float(expected), rel=1e-5)
