"""A slow transcription of semi-synchronous updates, and the model and batches with which others are compared."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

BOTH = pytest.mark.parametrize("sparse", [False, True], ids=["dense gradients", "sparse gradients"])


def new_model(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(6, 9), nn.Tanh(), nn.BatchNorm1d(9), nn.Linear(9, 16, bias=False), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(16, 5)).to(dtype)


def new_batch(step, dtype=torch.float64, size=8):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(size, 6, dtype=dtype, generator=generator)
    return images, torch.randint(5, (size,), generator=generator)


def loss_of(model, step, dtype=torch.float64):
    images, labels = new_batch(step, dtype)
    return functional.cross_entropy(model(images), labels)


class Transcription:
    """Equations 5 and 6 with the options of torch.optim.SGD, neuron by neuron; counts: {parameter: groups}."""

    def __init__(self, model, counts, lr=0.05, momentum=0.0, dampening=0.0, weight_decay=0.0, **flags):
        self.parameters, self.counts, self.lr = list(model.parameters()), counts, float(lr)
        self.momentum, self.dampening, self.decay = momentum, dampening, weight_decay
        self.sign = -1 if flags.get("maximize") else 1
        self.nesterov = flags.get("nesterov", False)
        self.velocities, self.updates = {}, 0

    @torch.no_grad()
    def step(self):
        for parameter in self.parameters:
            if parameter.grad is None:
                continue
            count = self.counts.get(parameter, 1)
            first = parameter not in self.velocities
            velocity = self.velocities.setdefault(parameter, torch.zeros_like(parameter))
            for neuron in range(len(parameter)):
                active = neuron // (len(parameter) // count) == self.updates % count
                gradient = active * (self.sign * parameter.grad[neuron] + self.decay * parameter[neuron])
                scale = 1 if first else 1 - self.dampening
                velocity[neuron] = self.momentum * velocity[neuron] + scale * gradient
                nesterov = gradient + self.momentum * velocity[neuron]
                parameter[neuron] -= self.lr * (nesterov if self.nesterov else velocity[neuron])
        self.updates += 1

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None


def groups_of(model, layers):
    """Return {parameter: number of groups} of the layers with these names."""
    counts = {}
    for name in layers:
        layer = model.get_submodule(name)
        counts |= {parameter: math.isqrt(layer.out_features) for parameter in layer.parameters(recurse=False)}
    return counts


def train(pairs, steps):
    """Train pairs of model and update on the same batches."""
    for step in steps:
        for model, update in pairs:
            loss_of(model, step).backward()
            update.step()
            update.zero_grad()


def assert_same(model, expected, within=1e-12):
    for parameters in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(*parameters, rtol=0, atol=within)
