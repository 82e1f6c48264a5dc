"""Diagnostics change neither the model nor the random states, and observe all groups of neurons."""

import numpy as np
import pytest
import torch
from sample_convnets import new_convnet_with_dropout
from sample_models import seeded
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models, optimizers, updates
from goodinit.methods.diagnostics.model_copy import is_dropout


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", sorted({*diagnostics.__all__} - {"gradient_check", "reconstructions"}))
def test_observing_changes_neither_the_model_nor_the_random_state(name, training):
    """The other two diagnostics, for models without dropout and for auto-encoders, have tests of their own."""
    model = new_convnet_with_dropout().train(training)
    model[3].eval()  # a layer in another mode than the model
    before, modes = {key: value.clone() for key, value in model.state_dict().items()}, [m.training for m in model]
    batch = Examples(torch.randn(12, 2, 6, 6, generator=seeded(3)), torch.arange(12) % 5)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with getattr(diagnostics, name)(model, batch, seeded()) as observe:
        observe(0)
        observe(1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model] == modes
    assert model.training == training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())


def test_all_layers_with_dropout_are_recognized():
    layers = [nn.Dropout(), nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d(), nn.AlphaDropout(), nn.FeatureAlphaDropout()]
    assert all(map(is_dropout, [*layers, models.mlp((2,), 2, dropout=0.5)[3]]))
    assert not any(map(is_dropout, [nn.ReLU(), nn.Linear(2, 2), nn.BatchNorm1d(2)]))


def test_gradients_of_a_semi_synchronous_model_are_those_of_all_neurons():
    model = models.mlp((49,), 0, hidden=[49, 49, 49], activation="tanh", bias=False)
    initializers.gaussian(model, None, seeded(), std=0.2)
    batch = Examples(torch.randn(40, 49, generator=seeded(1)), torch.arange(40))
    with diagnostics.gradients(model, batch, seeded()) as observe:
        expected = observe(0)["weight_gradient_variance"]
    optimizer = optimizers.momentum(model.named_parameters(), lr=0.1)
    updates.semi_synchronous(model, optimizer, seeded(), members="shuffled")
    with diagnostics.gradients(model, batch, seeded()) as observe:
        np.testing.assert_allclose(observe(0)["weight_gradient_variance"], expected, rtol=1e-5)
    assert model[1].groups.shape == (7, 7)
    with diagnostics.gradient_check(model, batch, seeded(), coordinates=3) as observe:
        assert observe(0)["gradient_error"].max() < 1e-6
