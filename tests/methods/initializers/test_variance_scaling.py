"""Initializers with independent weights: their variance, and equality with torch.nn.init."""

import math

import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit.methods import initializers
from goodinit.methods.layers import fans


def _model():
    return nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.Flatten(), nn.Linear(400, 300), nn.Linear(300, 120))


VARIANCE = {  # of a weight, given the fans
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
def test_variance_equals_the_formula_within_its_sampling_error(name):
    model = _model()
    getattr(initializers, name)(model, None, seeded())
    layers = [layer for layer in model if hasattr(layer, "weight")]
    for layer, expected_fans in zip(layers, FANS, strict=True):
        weight = layer.weight.detach().double()
        variance = VARIANCE[name](*expected_fans)
        kurtosis = 1.8 if name.endswith("uniform") else 3.0
        error = math.sqrt((kurtosis - 1) / weight.numel())  # relative, of the sample variance
        assert abs(weight.square().mean() / variance - 1) < 4 * error
        assert abs(weight.mean()) < 4 * math.sqrt(variance / weight.numel())
        if name.endswith("uniform"):
            assert weight.abs().max() <= math.sqrt(3 * variance) * (1 + 1e-6)
        assert (layer.bias == 0).all()


LAYERS = {
    "linear": lambda: nn.Linear(17, 9),
    "single weight": lambda: nn.Linear(1, 1),
    "large linear": lambda: nn.Linear(300, 700),
    "convolution": lambda: nn.Conv2d(3, 16, 5, stride=2),
    "grouped convolution": lambda: nn.Conv2d(8, 12, 3, groups=4),
    "dilated convolution": lambda: nn.Conv2d(8, 12, (3, 5), dilation=2),
    "1-d convolution": lambda: nn.Conv1d(6, 4, 3),
    "3-d convolution": lambda: nn.Conv3d(2, 3, 2),
    "channels last": lambda: nn.Conv2d(8, 12, 3).to(memory_format=torch.channels_last),
    "transposed convolution": lambda: nn.ConvTranspose2d(8, 12, 3, stride=2),
    "grouped transposed convolution": lambda: nn.ConvTranspose2d(8, 12, (3, 5), stride=(1, 2), groups=4),
}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
RECTIFIER = {"nonlinearity": "relu"}
TORCH = {  # the function of torch.nn.init with the same distribution
    "glorot_normal": lambda weight, generator: nn.init.xavier_normal_(weight, generator=generator),
    "glorot_uniform": lambda weight, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "he_normal": lambda weight, generator: nn.init.kaiming_normal_(weight, **RECTIFIER, generator=generator),
    "he_uniform": lambda weight, generator: nn.init.kaiming_uniform_(weight, **RECTIFIER, generator=generator),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", TORCH)
def test_weights_are_bit_equal_to_those_of_torch_except_for_transposed_convolutions(name, kind, dtype):
    layer = LAYERS[kind]().to(dtype)
    expected = TORCH[name](torch.empty_like(layer.weight), seeded(3))
    getattr(initializers, name)(layer, None, seeded(3))
    assert torch.equal(layer.weight, expected) == ("transposed" not in kind)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", ["gaussian", "lecun_normal", "glorot_normal", "he_normal"])
def test_normal_weights_are_those_that_torch_draws_with_the_formula_s_std(name, kind, dtype):
    layer = LAYERS[kind]().to(dtype)
    std = math.sqrt(VARIANCE[name](*fans(layer)))
    expected = nn.init.normal_(torch.empty_like(layer.weight), 0, std, generator=seeded(3))
    getattr(initializers, name)(layer, None, seeded(3))
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_initializers_with_normal_distributions_differ_only_in_scale():
    standard, scaled = _model(), _model()
    initializers.gaussian(standard, None, seeded(), std=1.0)
    initializers.he_normal(scaled, None, seeded())
    for index, (fan_in, _) in zip((0, 3, 4), FANS, strict=True):
        torch.testing.assert_close(standard[index].weight * math.sqrt(2 / fan_in), scaled[index].weight)


def test_as_built_changes_nothing():
    model = _model()
    before = [parameter.clone() for parameter in model.parameters()]
    initializers.as_built(model, None, seeded())
    assert all(map(torch.equal, before, model.parameters()))
    assert any(layer.bias.any() for layer in model if hasattr(layer, "bias"))  # other initializers set them to 0


def test_std_may_be_zero_but_not_negative():
    model = _model()
    initializers.gaussian(model, None, seeded(), std=0)
    assert all((parameter == 0).all() for parameter in model.parameters())
    with pytest.raises(ValueError, match="std must be at least 0"):
        initializers.gaussian(model, None, seeded(), std=-1)
