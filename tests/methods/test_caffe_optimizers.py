"""Momentum and RMSprop equal those of Caffe, with which LSUV was published."""

import math

import numpy as np
import pytest
import torch
from sample_models import weight_and_bias

from goodinit.methods import optimizers, schedules

LAYER = [2.0, -1.0, 0.5], [1.5, -0.25]  # weights and biases
DROP = 4  # updates after which the learning rate falls to a tenth


def _slope(value):
    """Return the gradient of (value - 0.3)^2 / 2."""
    return value - 0.3


def _descend(optimizer, parameters, steps):
    """Return the values of all parameters after each step, (steps, 5), with a learning rate that decreases."""
    initial = [group["lr"] for group in optimizer.param_groups]
    factor = schedules.step(at=[DROP])
    points = []
    for update in range(steps):
        for group, lr in zip(optimizer.param_groups, initial, strict=True):
            group["lr"] = lr * factor(update)
        for parameter in parameters:
            parameter.grad = _slope(parameter.detach())
        optimizer.step()
        points.append(torch.cat([parameter.detach() for parameter in parameters]).tolist())
    return np.array(points)


def _caffe_momentum(steps):
    """Transcribe Caffe: V <- 0.9 V + lr (g + wd w), w <- w - V, element by element; biases do not decay."""
    paths = []
    for values, decay in zip(LAYER, (0.1, 0.0), strict=True):
        for w in values:
            v, path = 0.0, []
            for update in range(steps):
                lr = 0.05 if update < DROP else 0.005
                v = 0.9 * v + lr * (_slope(w) + decay * w)
                w = w - v
                path.append(w)
            paths.append(path)
    return np.transpose(paths)


def test_momentum_equals_that_of_caffe_when_the_learning_rate_drops():
    named = weight_and_bias(*LAYER)
    optimizer = optimizers.momentum(named, lr=0.05, momentum=0.9, weight_decay=0.1)
    values = _descend(optimizer, [parameter for _, parameter in named], 10)
    np.testing.assert_allclose(values, _caffe_momentum(10), rtol=1e-12)


def test_velocity_drops_with_the_learning_rate_in_torch_but_not_in_caffe():
    weight, bias = (parameter for _, parameter in weight_and_bias(*LAYER))
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias]}]
    with_torch = _descend(torch.optim.SGD(groups, lr=0.05, momentum=0.9), [weight, bias], 10)
    caffe = _caffe_momentum(10)
    np.testing.assert_allclose(with_torch[:DROP], caffe[:DROP], rtol=1e-12)
    before = caffe[DROP - 1]
    assert (abs(with_torch[DROP] - before) < 0.2 * abs(caffe[DROP] - before)).all()


def test_layer_factors_scale_a_learning_rate_that_decreases():
    named = weight_and_bias(*LAYER)
    optimizer = optimizers.momentum(named, lr=0.5, momentum=0.9, weight_decay=0.1, layer_factors={"0": 0.1})
    values = _descend(optimizer, [parameter for _, parameter in named], 10)
    np.testing.assert_allclose(values, _caffe_momentum(10), rtol=1e-12)


@pytest.mark.parametrize("decay_biases", [True, False])
def test_rmsprop_equals_that_of_caffe_when_the_learning_rate_drops(decay_biases):
    """Caffe: g <- g + wd w, h <- d h + (1 - d) g^2, w <- w - lr g / (sqrt(h) + 1e-8), element by element."""
    paths = []
    for values, decay in zip(LAYER, (0.1, 0.1 * decay_biases), strict=True):
        for w in values:
            h, path = 0.0, []
            for update in range(10):
                lr = 0.05 if update < DROP else 0.005
                g = _slope(w) + decay * w
                h = 0.99 * h + 0.01 * g * g
                w = w - lr * g / (math.sqrt(h) + 1e-8)
                path.append(w)
            paths.append(path)
    named = weight_and_bias(*LAYER)
    options = {"decay": 0.99, "epsilon": 1e-8, "weight_decay": 0.1, "decay_biases": decay_biases}
    values = _descend(optimizers.rmsprop(named, lr=0.05, **options), [parameter for _, parameter in named], 10)
    np.testing.assert_allclose(values, np.transpose(paths), rtol=1e-11, atol=1e-14)
