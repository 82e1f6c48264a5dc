"""Positions, update sizes and variances of weights, compared with results computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.methods import diagnostics, initializers, models
from goodinit.methods.contracts import Stateful


def _generator():
    return torch.Generator().manual_seed(0)


def test_path_computed_by_hand():
    model = models.quadratic((0,), 0, start=[0.0, 0.0])
    observations = []
    with diagnostics.path(model, None, _generator()) as observe:
        for position in ([0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 16.0]):
            with torch.no_grad():
                model.position.copy_(torch.tensor(position))
            observations.append(observe(0))
    assert [values["position"].tolist() for values in observations] == [[0, 0], [3, 4], [3, 4], [3, 16]]
    assert [values["path_length"] for values in observations] == [0, 5, 5, 17]


def test_update_size_computed_by_hand():
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
        model[2].weight.copy_(torch.tensor([[6.0], [8.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model[2].weight.grad.copy_(torch.tensor([[2.0], [0.0]]))
    sizes = []
    with diagnostics.update_size(model, None, _generator()) as observe:
        sizes.append(observe(0)["update_size"])
        optimizer.step()
        sizes.append(observe(1)["update_size"])
        with torch.no_grad():
            model[0].bias.add_(7)
            model[1].weight.add_(7)
        sizes.append(observe(2)["update_size"])
        optimizer.step()
        optimizer.step()
        last = observe(3)
        sizes.append(last["update_size"])
    assert np.isnan(sizes[0]).all()
    first = 0.5 * 2**0.5 / 5, 1 / 10  # moved by (0.5, 0.5) from (3, 4), and by (1, 0) from (6, 8)
    second = 2**0.5 / (2.5**2 + 3.5**2) ** 0.5, 2 / (5**2 + 8**2) ** 0.5  # twice as far, from the new position
    np.testing.assert_allclose(sizes[1:], [first, (0, 0), second], rtol=1e-6)
    assert last["mean_update_size"] == pytest.approx(np.mean(second))


def test_weight_variance_computed_by_hand():
    model = nn.Sequential(nn.Conv2d(2, 1, 2), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0] * 4).view(1, 2, 2, 2))  # variance 1, fan-in 8
        model[2].weight.copy_(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))  # variance 5, fan-in 2
    with diagnostics.weight_variance(model, None, _generator()) as observe:
        assert observe(0)["weight_variance_ratio"].tolist() == [4, 5]


@pytest.mark.parametrize(
    "model",
    [models.convnet3((3, 32, 32), 10), nn.Sequential(nn.ConvTranspose2d(64, 8, 4, 2))],
    ids=["convnet3", "transposed"],
)
def test_weight_variance_ratio_is_1_after_he_initialization(model):
    initializers.he_normal(model, None, _generator())
    sizes = [layer.weight.numel() for layer in model if hasattr(layer, "weight")]
    with diagnostics.weight_variance(model, None, _generator()) as observe:
        for ratio, size in zip(observe(0)["weight_variance_ratio"], sizes, strict=True):
            assert ratio == pytest.approx(1, abs=5 * (2 / size) ** 0.5)


@pytest.mark.parametrize("name", ["path", "update_size"])
def test_an_observation_with_restored_state_continues(name):
    def move(model):
        with torch.no_grad():
            model.weight.mul_(1.5)

    model = nn.Linear(3, 2)
    with getattr(diagnostics, name)(model, None, _generator()) as observe:
        assert isinstance(observe, Stateful)
        observe(0)
        move(model)
        observe(1)
        saved = [tensor.clone() for tensor in observe.state]
        move(model)
        with getattr(diagnostics, name)(model, None, _generator()) as resumed:
            for tensor, value in zip(resumed.state, saved, strict=True):
                tensor.copy_(value)
            expected, values = observe(2), resumed(2)
    assert values.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(values[key], value)
