"""Choice of linear layers, their groups of neurons, and gradients of one group."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from goodinit.methods import neuron_groups


def _model():
    layers = [nn.Linear(6, 9), nn.Tanh(), nn.BatchNorm1d(9), nn.Linear(9, 16, bias=False), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(16, 5))


@pytest.mark.parametrize(("names", "chosen"), [(None, ["0", "3"]), (["5", "0"], ["5", "0"])])
def test_layers_are_those_named_or_all_except_the_last(names, chosen):
    model = _model()
    layers = neuron_groups.choose_layers(model, names)
    assert list(layers) == chosen
    assert all(layer is model.get_submodule(name) for name, layer in layers.items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["fc1"], "layers: no linear layer 'fc1'; the model has 0, 3, 5"),
        (["1"], "layers: no linear layer '1'"),
        ([], "the model has no trainable linear layer except the output layer"),
    ],
)
def test_layers_that_do_not_exist_are_rejected(names, message):
    with pytest.raises(ValueError, match=f"^semi_synchronous: {message}"):
        neuron_groups.choose_layers(_model(), names)


def test_frozen_layers_are_those_of_a_name_alone():
    model = _model()
    model[0].requires_grad_(False)
    assert list(neuron_groups.choose_layers(model)) == ["3"]
    assert list(neuron_groups.choose_layers(model, ["0"])) == ["0"]
    model[3].requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable linear layer except the output layer"):
        neuron_groups.choose_layers(model)


def test_contiguous_groups():
    groups = neuron_groups.group_neurons("fc", 12, 3, "contiguous", None)
    assert torch.equal(groups, torch.arange(12).view(3, 4))


def test_shuffled_groups_partition_the_neurons_and_follow_from_the_generator():
    first, same = (
        neuron_groups.group_neurons("fc", 36, None, "shuffled", torch.Generator().manual_seed(0)) for _ in range(2)
    )
    assert torch.equal(first, same)
    assert first.shape == (6, 6)
    assert torch.equal(first.flatten().sort().values, torch.arange(36))
    assert torch.equal(first, first.sort().values)
    assert not torch.equal(first, torch.arange(36).view(6, 6))


@pytest.mark.parametrize(
    ("neurons", "groups", "members", "message"),
    [
        (5, None, "contiguous", "layer fc has 5 neurons, which is not a perfect square; the nearest are 4 and 9"),
        (9, 2, "contiguous", "groups: 2 does not divide the 9 neurons of layer fc"),
        (9, 0, "contiguous", "groups: 0 does not divide the 9 neurons"),
        (9, None, "random", "members: 'random': allowed: contiguous, shuffled"),
    ],
)
def test_neurons_that_cannot_be_grouped_are_rejected(neurons, groups, members, message):
    with pytest.raises(ValueError, match=message):
        neuron_groups.group_neurons("fc", neurons, groups, members, None)


@pytest.mark.parametrize("bias", [True, False])
def test_row_gradients_are_the_rows_of_the_dense_gradients(bias):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    parameters = [torch.randn(5, 4, dtype=torch.float64, generator=generator).requires_grad_()]
    parameters += [torch.randn(5, dtype=torch.float64, generator=generator).requires_grad_()] if bias else []
    weight, bias_ = parameters[0], parameters[1] if bias else None
    rows = torch.tensor([1, 3])
    output = neuron_groups.linear_with_row_gradients(inputs, weight, bias_, rows)
    expected = functional.linear(inputs, weight, bias_)
    assert torch.equal(output, expected)
    cotangent = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    gradients = torch.autograd.grad((output * cotangent).sum(), [inputs, *parameters])
    of_inputs, *dense = torch.autograd.grad((expected * cotangent).sum(), [inputs, *parameters])
    torch.testing.assert_close(gradients[0], of_inputs)
    for gradient, expected_gradient in zip(gradients[1:], dense, strict=True):
        assert gradient.is_sparse
        assert torch.equal(gradient.indices()[0], rows)
        torch.testing.assert_close(gradient.values(), expected_gradient[rows])
