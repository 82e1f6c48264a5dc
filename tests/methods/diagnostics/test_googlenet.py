"""Diagnostics of a model with branches and auxiliary classifiers."""

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _googlenet(**options):
    model = models.googlenet((3, 64, 64), 10, width=0.125, **options)
    initializers.published(model, None, _generator())
    return model


def _batch():
    return Examples(torch.randn(16, 3, 64, 64, generator=_generator(1)), torch.arange(16) % 10)


def test_layer_outputs_are_in_the_order_of_the_forward_pass():
    model, batch = _googlenet(dropout=0.0), _batch()
    with diagnostics.layer_outputs(model, batch, _generator()) as observe:
        observed = observe(0)
    layers, variances = [], []

    def record(layer, inputs, output):
        layers.append(layer)
        variances.append(float(output.var(correction=0)))

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(record)
    with torch.no_grad():
        model(batch.images)
    np.testing.assert_allclose(observed["output_variance"], variances, rtol=1e-5)
    stds = [float(layer.weight.detach().std(correction=0)) for layer in layers]
    np.testing.assert_allclose(observed["weight_sd"], stds, rtol=1e-5)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model.eval()(batch.images), batch.labels)
    assert observed["batch_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_gradients_require_a_model_without_auxiliary_classifiers():
    with (
        pytest.raises(ValueError, match="build it without its auxiliary classifiers"),
        diagnostics.gradients(_googlenet(), _batch(), _generator()),
    ):
        pass
    with diagnostics.gradients(_googlenet(auxiliary=False), _batch(), _generator()) as observe:
        assert observe(0)["gradient_variance"].shape == (58,)
