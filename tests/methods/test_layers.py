"""Fans of transposed convolutions, and shared or computed weights with every initializer."""

import math

import pytest
import torch
from sample_models import seeded
from torch import nn
from torch.nn.utils import parametrizations, prune

from goodinit.methods import initializers
from goodinit.methods.layers import fans, layers_to_initialize, set_weight, unsupported_layer, weight_key

NAMES = sorted({*initializers.__all__} - {"as_built", "lsuv", "published"})


def _terms(layer):
    """Return the mean number of inputs that contribute to an output away from the borders, by adding ones."""
    dimensions = len(layer.kernel_size)
    with torch.no_grad():
        layer.weight.fill_(1)
        output = layer(torch.ones(1, layer.in_channels, *[24] * dimensions))
    inner = tuple(slice(12, 12 + 12 * stride) for stride in layer.stride)  # a multiple of the stride
    return float(output[(0, 0, *inner)].mean())


TRANSPOSED = [
    nn.ConvTranspose1d(6, 4, 5, stride=3, bias=False),
    nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, bias=False),
    nn.ConvTranspose2d(8, 16, 3, stride=2, padding=1, bias=False),
    nn.ConvTranspose2d(8, 16, 2, stride=2, bias=False),
    nn.ConvTranspose2d(8, 16, 2, stride=3, bias=False),
    nn.ConvTranspose2d(8, 12, (3, 5), stride=(1, 2), groups=4, bias=False),
    nn.ConvTranspose2d(8, 12, 3, stride=2, dilation=3, bias=False),
    nn.ConvTranspose3d(2, 3, 3, stride=2, bias=False),
]


@pytest.mark.parametrize("layer", TRANSPOSED, ids=str)
def test_fan_in_of_a_transposed_convolution_is_the_number_of_inputs_of_an_output(layer):
    assert fans(layer)[0] == pytest.approx(_terms(layer))


@pytest.mark.parametrize("layer", TRANSPOSED, ids=str)
def test_fan_out_of_a_transposed_convolution_is_the_number_of_outputs_of_an_input(layer):
    """It is the fan-in of the backward pass, a convolution."""
    inputs = torch.ones(1, layer.in_channels, *[24] * len(layer.kernel_size), requires_grad=True)
    with torch.no_grad():
        layer.weight.fill_(1)
    layer(inputs).sum().backward()
    assert fans(layer)[1] == float(inputs.grad[(0, 0, *[12] * len(layer.kernel_size))])


@pytest.mark.parametrize("layer", TRANSPOSED, ids=str)
def test_he_normal_preserves_the_variance_in_a_transposed_convolution(layer):
    """Equation 10: inputs are rectified standard normal variables, and outputs have variance 1."""
    inputs = torch.randn(100, layer.in_channels, *[10] * len(layer.kernel_size), generator=seeded(1)).relu()
    with torch.no_grad():
        variances = []
        for seed in range(20):
            initializers.he_normal(layer, None, seeded(seed))
            inner = (slice(None), slice(None), *[slice(5, 5 + 2 * stride) for stride in layer.stride])
            variances.append(float(layer(inputs[seed * 5 : seed * 5 + 5])[inner].square().mean()))
    assert sum(variances) / 20 == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(6, 4), (6, 4)),
        (nn.Conv1d(6, 4, 3), (18, 12)),
        (nn.Conv2d(6, 4, 3, stride=2, groups=2), (27, 36)),
        (nn.Conv3d(2, 2, 2), (16, 16)),
    ],
    ids=str,
)
def test_fans_of_other_layers_are_those_of_torch(layer, expected):
    assert fans(layer) == expected


def test_fans_of_transposed_convolutions_differ_from_those_of_torch():
    """Torch exchanges inputs and outputs, and ignores the stride."""
    layer = nn.ConvTranspose2d(16, 30, 4, stride=2)
    assert fans(layer) == (64, 480)
    assert nn.init._calculate_fan_in_and_fan_out(layer.weight) == (480, 256)


COMPUTED = {
    "SpectralNorm": parametrizations.spectral_norm,
    "Orthogonal": parametrizations.orthogonal,
    "L1Unstructured": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("initializer", NAMES)
@pytest.mark.parametrize("name", COMPUTED)
def test_every_initializer_rejects_a_weight_that_cannot_be_set(initializer, name):
    model = nn.Sequential(nn.Linear(12, 20), COMPUTED[name](nn.Linear(20, 6)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"^{initializer}: layer 1: its weight is computed by {name} and cannot"):
        getattr(initializers, initializer)(model, None, seeded())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())


def _old_weight_norm(layer):
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize("initializer", NAMES)
@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, _old_weight_norm])
@pytest.mark.parametrize("build", [lambda: nn.Linear(12, 20), lambda: nn.ConvTranspose2d(4, 6, 3)])
def test_every_initializer_supports_weight_norm(initializer, wrap, build):
    plain, computed = build(), wrap(build())
    for layer in (plain, computed):
        getattr(initializers, initializer)(layer, None, seeded())
    torch.testing.assert_close(computed.weight, plain.weight)
    assert not computed.bias.any()
    computed(torch.randn(2, *((12,) if isinstance(plain, nn.Linear) else (4, 5, 5))))  # recomputes the weight
    torch.testing.assert_close(computed.weight, plain.weight)


@pytest.mark.parametrize("initializer", NAMES)
def test_every_initializer_draws_a_shared_weight_once(initializer):
    model, single = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)), nn.Linear(6, 6)
    model[1].weight = model[0].weight
    getattr(initializers, initializer)(model, None, seeded())
    getattr(initializers, initializer)(single, None, seeded())
    assert torch.equal(model[0].weight, single.weight)
    assert model[1].weight is model[0].weight


class _PlainWeight(nn.Linear):
    """A layer whose weight is a plain tensor."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        del self.weight
        self.weight = torch.zeros(outputs, inputs)


@pytest.mark.parametrize("initializer", NAMES)
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2, device="meta")), "0.weight is on the meta device"),
        (lambda: nn.Sequential(nn.LazyConv2d(2, 3)), "the shape of 0.weight is not known yet"),
        (lambda: nn.Embedding(3, 2), "Embedding has no linear or convolutional layer"),
        (lambda: nn.Linear(3, 2, dtype=torch.complex64), "complex64, not a real"),
        (lambda: _PlainWeight(3, 2), "its weight is not a parameter and cannot be set"),
    ],
)
def test_every_initializer_rejects_unsupported_models(initializer, build, reason):
    with pytest.raises(ValueError, match=f"^{initializer}: .*{reason}"):
        getattr(initializers, initializer)(build(), None, seeded())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_a_scripted_model_is_rejected():
    with pytest.raises(ValueError, match=r"^he_normal: .* scripted or traced model .* before torch\.jit\.script$"):
        initializers.he_normal(torch.jit.script(nn.Sequential(nn.Linear(2, 2))), None, seeded())


class _Positive(nn.Module):
    """A parametrization without an inverse."""

    def forward(self, bias):
        return bias.exp()


class _Shifted(nn.Module):
    def forward(self, bias):
        return bias + 1

    def right_inverse(self, bias):
        return bias - 1


def test_computed_biases_are_set_or_rejected():
    pruned = prune.random_unstructured(nn.Linear(4, 6), "bias", 2)
    shifted = nn.utils.parametrize.register_parametrization(nn.Linear(4, 6), "bias", _Shifted())
    for layer in (pruned, shifted):
        initializers.he_normal(layer, None, seeded())
        layer(torch.zeros(1, 4))
        assert not layer.bias.any()
    with pytest.raises(ValueError, match="its bias cannot be set"):
        initializers.he_normal(
            nn.utils.parametrize.register_parametrization(nn.Linear(4, 6), "bias", _Positive()), None, seeded()
        )


def test_testing_whether_a_weight_can_be_set_preserves_its_storage():
    layer = parametrizations.weight_norm(nn.Linear(4, 6))
    parameters = list(layer.parametrizations["weight"].parameters())
    before = [(parameter.data_ptr(), parameter.clone()) for parameter in parameters]
    assert not unsupported_layer(layer)
    for parameter, (pointer, value) in zip(parameters, before, strict=True):
        assert parameter.data_ptr() == pointer
        assert torch.equal(parameter, value)


def test_setting_a_weight_is_verified():
    layer = parametrizations.spectral_norm(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="cannot be set"):
        set_weight(layer, 5 * torch.eye(4))


def test_weights_that_share_only_a_storage_are_different():
    flat = torch.randn(24)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False))
    model[0].weight.data, model[1].weight.data = flat[:12].view(4, 3), flat[12:].view(3, 4)
    model[2].weight.data = model[0].weight.data
    assert weight_key(model[0]) == weight_key(model[2]) != weight_key(model[1])
    assert [name for name, _ in layers_to_initialize("test", model)] == ["0", "1"]


def test_he_std_by_hand():
    layer = nn.ConvTranspose2d(64, 32, 4, stride=2)  # fan-in 64 x 4 x 4 / 2 / 2 = 256
    initializers.he_normal(layer, None, seeded())
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / 256), rel=0.02)
