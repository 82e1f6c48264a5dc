"""A stack trains each of its models as if it were trained alone."""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.datasets import tensors
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models, objectives, optimizers, updates
from goodinit.steps import Interval
from goodinit.training import loop, stacking
from goodinit.training.callbacks import Observation, evaluations

torch.set_num_threads(1)  # as the command line does: with more, sums are split by how many there are


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _examples(count=200, features=12, seed=0):
    images = torch.randn(count, features, generator=_generator(seed))
    return Examples(images, (images[:, 0] > 0).long() + 2 * (images[:, 1] > 0).long())


def _model(seed=0, **options):
    model = models.mlp((12,), 4, **{"hidden": [16, 8]} | options)
    initializers.he_normal(model, None, _generator(seed))
    return model


def _fit(model, steps=30, seed=0, lr=0.1, training=None, evaluate=None, diagnostics=()):
    update = updates.synchronous(model, optimizers.sgd(model.named_parameters(), lr=lr), None)
    batches = curricula.full(_examples(), batch_size=20, steps=steps, generator=_generator(seed))
    training = training or loop.Training(steps=steps)
    interval = Interval(training.diagnose_every)
    callbacks = [Observation(diagnostic, "diagnosing", interval) for diagnostic in diagnostics]
    callbacks += evaluations(training, functools.partial(evaluate, model)) if evaluate else []
    return loop.fit(model, objectives.cross_entropy, batches, update, training, callbacks)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_stack_trains_each_model_as_if_alone(activation):
    models_alone = [_model(seed, activation=activation) for seed in range(4)]
    stacked = stacking.stack(models_alone)
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    orders = [curricula.full(_examples(), batch_size=20, steps=40, generator=_generator(seed)) for seed in range(4)]
    joined = map(tensors.stack, zip(*orders, strict=True))
    training = loop.Training(steps=40, loss_after_update=True, evaluate_every=20, evaluate_on=["test"])
    test = [tensors.stack([batch] * 4) for batch in tensors.batches(_examples(seed=9), 50)]

    def evaluate(parts):
        return {f"{part}_loss": loop.evaluate(stacked, objectives.cross_entropy, test)["loss"] for part in parts}

    callbacks = evaluations(training, evaluate)
    together = loop.fit(stacked, objectives.cross_entropy, joined, update, training, callbacks)
    assert np.array(together.series["test_loss"][1]).shape == (3, 4)
    for seed, model in enumerate(models_alone):
        alone = _fit(model, 40, seed, training=training)
        losses = np.array(together.series["loss"][1])[:, seed]
        np.testing.assert_allclose(losses, np.array(alone.series["loss"][1]), rtol=1e-4, atol=1e-6)
        for layer, other in zip(model, stacked, strict=True):
            if isinstance(layer, nn.Linear):
                torch.testing.assert_close(other.weight[seed].t(), layer.weight, rtol=1e-3, atol=1e-5)


def test_the_size_of_a_stack_changes_no_bit():
    def trained(size):
        stacked = stacking.stack([_model(seed) for seed in range(size)])
        update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
        orders = [
            curricula.full(_examples(), batch_size=20, steps=20, generator=_generator(seed)) for seed in range(size)
        ]
        loop.fit(
            stacked,
            objectives.cross_entropy,
            map(tensors.stack, zip(*orders, strict=True)),
            update,
            loop.Training(steps=20),
        )
        return [parameter[0] for parameter in stacked.parameters()]

    assert all(map(torch.equal, trained(1), trained(5)))


def test_a_stack_continues_if_one_model_diverges():
    stacked = stacking.stack([_model(0), _model(1)])
    with torch.no_grad():
        stacked[1].weight[0] = float("nan")
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    batches = itertools.repeat(tensors.stack([_examples(), _examples()]), 250)
    history = loop.fit(stacked, objectives.cross_entropy, batches, update, loop.Training(steps=250))
    assert history.diverged_at.tolist() == [1, 0]
    assert history.steps == 250
    assert np.isfinite(np.array(history.series["loss"][1])[:, 1]).all()
