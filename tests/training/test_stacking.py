"""A stack trains each of its models as if it were trained alone."""

import itertools

import numpy as np
import pytest
import torch
from sample_models import fit_model, new_examples, new_model, seeded
from torch import nn

from goodinit.datasets import tensors
from goodinit.methods import curricula, objectives, optimizers, updates
from goodinit.studies import Training
from goodinit.training import loop, stacking
from goodinit.training.callbacks import evaluations


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_stack_trains_each_model_as_if_alone(activation):
    models_alone = [new_model(seed, activation=activation) for seed in range(4)]
    stacked = stacking.stack(models_alone)
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    orders = [curricula.full(new_examples(), batch_size=20, steps=40, generator=seeded(seed)) for seed in range(4)]
    joined = map(tensors.stack, zip(*orders, strict=True))
    training = Training(steps=40, loss_after_update=True, evaluate_every=20, evaluate_on=["test"])
    test = [tensors.stack([batch] * 4) for batch in tensors.batches(new_examples(seed=9), 50)]

    def evaluate(parts):
        return {f"{part}_loss": loop.evaluate(stacked, objectives.cross_entropy, test)["loss"] for part in parts}

    callbacks = evaluations(training, evaluate)
    together = loop.fit(stacked, objectives.cross_entropy, joined, update, training, callbacks)
    assert np.array(together.series["test_loss"][1]).shape == (3, 4)
    for seed, model in enumerate(models_alone):
        alone = fit_model(model, 40, seed, training=training)
        losses = np.array(together.series["loss"][1])[:, seed]
        np.testing.assert_allclose(losses, np.array(alone.series["loss"][1]), rtol=1e-4, atol=1e-6)
        for layer, other in zip(model, stacked, strict=True):
            if isinstance(layer, nn.Linear):
                torch.testing.assert_close(other.weight[seed].t(), layer.weight, rtol=1e-3, atol=1e-5)


def test_the_size_of_a_stack_changes_no_bit():
    def trained(size):
        stacked = stacking.stack([new_model(seed) for seed in range(size)])
        update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
        orders = [
            curricula.full(new_examples(), batch_size=20, steps=20, generator=seeded(seed)) for seed in range(size)
        ]
        loop.fit(
            stacked,
            objectives.cross_entropy,
            map(tensors.stack, zip(*orders, strict=True)),
            update,
            Training(steps=20),
        )
        return [parameter[0] for parameter in stacked.parameters()]

    assert all(map(torch.equal, trained(1), trained(5)))


def test_a_stack_continues_if_one_model_diverges():
    stacked = stacking.stack([new_model(0), new_model(1)])
    with torch.no_grad():
        stacked[1].weight[0] = float("nan")
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    batches = itertools.repeat(tensors.stack([new_examples(), new_examples()]), 250)
    history = loop.fit(stacked, objectives.cross_entropy, batches, update, Training(steps=250))
    assert history.diverged_at.tolist() == [1, 0]
    assert history.steps == 250
    assert np.isfinite(np.array(history.series["loss"][1])[:, 1]).all()
