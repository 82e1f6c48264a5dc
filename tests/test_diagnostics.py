"""Diagnostics against what can be computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.methods import data, diagnostics, initialize, models


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _batch(inputs):
    return data.Examples(inputs, torch.zeros(len(inputs), dtype=torch.int64))


def _net(activation, std, layers=3, units=50):
    net = models.mlp((units,), 0, hidden=[units] * layers, activation=activation, bias=False)
    initialize.gaussian(net, None, _generator(), std=std)
    return net


def _activations(net, inputs, **options):
    with diagnostics.activations(net, _batch(inputs), _generator(), **options) as observe:
        return observe(0)


def _gradients(net, inputs):
    with diagnostics.gradients(net, _batch(inputs), _generator()) as observe:
        return observe(0)


def test_statistics_are_those_of_a_slow_transcription():
    inputs = torch.randn(200, 50, generator=_generator(1))
    net = _net("tanh", 0.3)
    found = _activations(net, inputs, bins=10)
    outputs = inputs
    for layer in range(3):
        outputs = np.tanh(outputs.numpy() @ net[1 + 2 * layer].weight.detach().numpy().T)
        assert np.isclose(found["activation_mean"][layer], outputs.mean(), atol=1e-5)
        assert np.isclose(found["activation_sd"][layer], outputs.std(), atol=1e-5)
        assert np.isclose(found["share_low"][layer], (outputs < -0.98).mean(), atol=1e-3)
        assert np.isclose(found["share_saturated"][layer], (abs(outputs) > 0.98).mean(), atol=1e-3)
        assert abs(found["activation_count"][layer] - np.histogram(outputs, 10, (-1, 1))[0]).max() <= 2
        outputs = torch.from_numpy(outputs)
    assert np.allclose(found["activation_edge"], np.linspace(-1, 1, 11)[:-1])


def test_dead_units_zeros_and_the_range_of_rectifiers():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU())
    net[0].weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    found = _activations(net, torch.tensor([[1.0, -1.0], [2.0, 4.0]]), bins=4)
    assert found["share_dead"].tolist() == pytest.approx([1 / 3])
    assert found["share_zero"].tolist() == pytest.approx([0.5])
    assert found["activation_count"].tolist() == [[3, 1, 1, 1]]
    assert found["activation_edge"].tolist() == [[0, 1, 2, 3]]
    assert np.isnan(found["share_saturated"]).all()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_every_output_is_in_the_histogram(activation):
    found = _activations(_net(activation, 1.0), torch.randn(100, 50, generator=_generator(1)))
    assert (found["activation_count"].sum(1) == 100 * 50).all()
    assert {name: value.shape[1:] for name, value in found.items()} == {
        name: (30,) * (len(diagnostics.DIMENSIONS[name]) - 1) for name in found
    }


def test_gradients_are_those_of_backpropagation_by_hand():
    inputs = torch.randn(300, 50, generator=_generator(1))
    net = _net("tanh", 0.2)
    found = _gradients(net, inputs)
    cotangent = torch.randn(300, 50, generator=_generator()).numpy()
    weights = [net[place].weight.detach().numpy() for place in (1, 3, 5)]
    outputs = [inputs.numpy()]
    for weight in weights:
        outputs.append(np.tanh(outputs[-1] @ weight.T))
    gradient = cotangent
    for layer in (2, 1, 0):
        delta = gradient * (1 - outputs[layer + 1] ** 2)
        assert np.isclose(found["gradient_variance"][layer], (delta**2).mean(), rtol=1e-4)
        assert np.isclose(found["weight_gradient_variance"][layer], ((delta.T @ outputs[layer]) ** 2).mean(), rtol=1e-4)
        gradient = delta @ weights[layer]


def test_zero_weights_stop_every_gradient_but_the_last_layer_s():
    found = _gradients(_net("sigmoid", 0.0), torch.randn(20, 50, generator=_generator(1)))
    assert found["gradient_variance"][:2].tolist() == [0, 0]
    assert found["gradient_variance"][2] == pytest.approx(1 / 16, rel=0.1)


def test_they_leave_the_model_and_the_random_numbers_alone():
    net, inputs = _net("relu", 0.1), torch.randn(20, 50)
    before, state = [parameter.clone() for parameter in net.parameters()], torch.get_rng_state()
    _activations(net, inputs)
    _gradients(net, inputs)
    assert all(map(torch.equal, before, net.parameters()))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for module in net.modules())
