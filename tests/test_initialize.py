"""Initializers: the variance that each promises, and agreement with torch's own."""

import math

import pytest
import torch
from torch import nn

from goodinit.methods import initializers


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _net():
    return nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.Flatten(), nn.Linear(400, 300), nn.Linear(300, 120))


VARIANCE = {  # of a weight, from the fans
    "gaussian": lambda fan_in, fan_out: 0.01**2,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
    "lecun_uniform": lambda fan_in, fan_out: 1 / fan_in,
    "orthonormal": lambda fan_in, fan_out: 1 / fan_in,
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
}
FANS = [(75, 400), (400, 300), (300, 120)]


def test_every_initializer_is_tested():
    assert {*VARIANCE, "as_built", "lsuv", "published"} == set(initializers.__all__)


@pytest.mark.parametrize("name", VARIANCE)
def test_variance_is_the_formula_s_within_its_sampling_error(name):
    net = _net()
    getattr(initializers, name)(net, None, _generator())
    layers = [layer for layer in net if hasattr(layer, "weight")]
    for layer, fans in zip(layers, FANS, strict=True):
        weight = layer.weight.detach().double()
        variance = VARIANCE[name](*fans)
        kurtosis = 1.8 if name.endswith("uniform") else 3.0
        error = math.sqrt((kurtosis - 1) / weight.numel())  # relative, of the sample variance
        assert abs(weight.square().mean() / variance - 1) < 4 * error
        assert abs(weight.mean()) < 4 * math.sqrt(variance / weight.numel())
        if name.endswith("uniform"):
            assert weight.abs().max() <= math.sqrt(3 * variance) * (1 + 1e-6)
        assert (layer.bias == 0).all()


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("glorot_normal", nn.init.xavier_normal_),
        ("glorot_uniform", nn.init.xavier_uniform_),
        ("he_normal", lambda w, generator: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=generator)),
        ("he_uniform", lambda w, generator: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=generator)),
    ],
)
def test_bits_are_those_of_torch(name, theirs):
    net, generator = _net(), _generator(3)
    getattr(initializers, name)(net, None, _generator(3))
    for layer in net:
        if hasattr(layer, "weight"):
            expected = theirs(torch.empty_like(layer.weight), generator=generator)
            assert torch.equal(layer.weight, expected)


def test_gaussian_schemes_differ_in_scale_alone():
    one, other = _net(), _net()
    initializers.gaussian(one, None, _generator(), std=1.0)
    initializers.he_normal(other, None, _generator())
    for first, second, fans in zip((one[0], one[3]), (other[0], other[3]), FANS, strict=False):
        torch.testing.assert_close(first.weight * math.sqrt(2 / fans[0]), second.weight)


def test_as_built_changes_nothing():
    net = _net()
    before = [parameter.clone() for parameter in net.parameters()]
    initializers.as_built(net, None, _generator())
    assert all(map(torch.equal, before, net.parameters()))
    assert any(layer.bias.any() for layer in net if hasattr(layer, "bias"))  # others set it to 0


def test_zero_is_allowed_and_less_is_not():
    net = _net()
    initializers.gaussian(net, None, _generator(), std=0)
    assert all((parameter == 0).all() for parameter in net.parameters())
    with pytest.raises(ValueError, match="std must be at least 0"):
        initializers.gaussian(net, None, _generator(), std=-1)
