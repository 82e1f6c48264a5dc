"""A small perceptron, its examples, and its training; and the parameters of one layer."""

import functools

import torch
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models, objectives, optimizers, updates
from goodinit.steps import ObservationSteps
from goodinit.studies import Training
from goodinit.training import loop
from goodinit.training.callbacks import Observation, evaluations


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def new_examples(count=200, features=12, seed=0):
    images = torch.randn(count, features, generator=seeded(seed))
    return Examples(images, (images[:, 0] > 0).long() + 2 * (images[:, 1] > 0).long())


def new_model(seed=0, **options):
    model = models.mlp((12,), 4, **{"hidden": [16, 8]} | options)
    initializers.he_normal(model, None, seeded(seed))
    return model


def weight_and_bias(weight, bias):
    """Return named parameters of one layer in float64."""
    return [
        (f"0.{name}", nn.Parameter(torch.tensor(values, dtype=torch.float64)))
        for name, values in (("weight", weight), ("bias", bias))
    ]


def fit_model(model, steps=30, seed=0, lr=0.1, training=None, evaluate=None, diagnostics=()):
    update = updates.synchronous(model, optimizers.sgd(model.named_parameters(), lr=lr), None)
    batches = curricula.full(new_examples(), batch_size=20, steps=steps, generator=seeded(seed))
    training = training or Training(steps=steps)
    steps_observed = ObservationSteps(training.diagnose_every)
    callbacks = [Observation(diagnostic, "diagnosing", steps_observed) for diagnostic in diagnostics]
    callbacks += evaluations(training, functools.partial(evaluate, model)) if evaluate else []
    return loop.fit(model, objectives.cross_entropy, batches, update, training, callbacks)
