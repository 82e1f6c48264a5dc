"""The non-linearity that follows a layer, measured with LSUV."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from goodinit import lsuv
from goodinit.methods.initializers.preserve import preserve_random_state


class _Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class _Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(12, 20), nn.LazyLinear(4), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


NON_LINEARITIES = {
    **{
        name: getattr(nn, name)()
        for name in ("ReLU", "LeakyReLU", "Tanh", "GELU", "SiLU", "ELU", "SELU", "CELU", "Mish", "Softplus")
    },
    **{
        name: getattr(nn, name)()
        for name in ("Hardswish", "ReLU6", "Hardtanh", "PReLU", "Softsign", "GLU", "LogSigmoid")
    },
    "Swish": _Swish(),
    "ReLU in place": nn.ReLU(inplace=True),
    "Sequential": nn.Sequential(nn.ReLU(), nn.SiLU()),
    "in a sequence that changes the shape": nn.Sequential(nn.ReLU(), nn.Unflatten(1, (4, 5)), nn.Flatten()),
    "relu": functional.relu,
    "gelu": functional.gelu,
    "torch.tanh": torch.tanh,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "keyword": lambda x: functional.leaky_relu(input=x, negative_slope=0.2),
    "square": lambda x: x**2,
    "glu": functional.glu,
    "after a product": lambda x: torch.relu(x * 0.125),
    "after a product in place": lambda x: torch.relu(x.mul_(3)),
    "after the sum with a number": lambda x: torch.relu(x + 0.5),
    "after conversions": lambda x: torch.relu(x.double()).float(),
    "after a module that changes nothing": nn.Sequential(nn.Flatten(), nn.Identity(), nn.ReLU()),
    "after a comparison": lambda x: torch.relu(x) if (x > 0).any() else x,
}


@pytest.mark.parametrize("name", NON_LINEARITIES)
def test_the_output_of_any_module_or_function_has_unit_variance(name):
    function, data = NON_LINEARITIES[name], torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
    with preserve_random_state(set(), 0):
        model = _Function(function)
        model(data)
    bounded = {"Tanh": 0.1, "torch.tanh": 0.1, "Hardtanh": 0.1, "Softsign": 0.2}  # their variance is less than 1
    tolerance = bounded.get(name, 0.01)
    report = lsuv(model, data, seed=0, measure="after", tolerance=tolerance)
    assert report.rows[0].note.startswith("measured after ")
    assert report.rows[1].note == ""
    measured = function[0] if name == "in a sequence that changes the shape" else function
    with torch.no_grad():
        assert float(measured(model.first(data)).var(correction=0)) == pytest.approx(1, abs=tolerance + 1e-4)


@pytest.mark.parametrize(
    "function",
    [
        nn.BatchNorm1d(20),
        nn.LayerNorm(20),
        nn.Dropout(0.5),
        nn.Unflatten(1, (4, 5)),
        nn.Sequential(nn.Linear(20, 20), nn.ReLU()),
        lambda x: x + torch.ones(20),
        lambda x: functional.layer_norm(x, (20,)),
        functional.dropout,
        lambda x: x.flatten(0),
        lambda x: torch.cat([x, x]),
        lambda x: x.clone().contiguous() * 0.1 @ torch.ones(20, 1),
        lambda x: x * torch.sigmoid(x),
        lambda x: x * nn.Sigmoid()(x),
        lambda x: x * functional.dropout(torch.sigmoid(1.702 * x), 0.1),
        lambda x: x * torch.tanh(functional.softplus(x)),
        lambda x: torch.cat([torch.relu(x), torch.relu(-x)]),
    ],
)
def test_normalization_dropout_reshaping_sums_products_and_layers_are_not_measured(function):
    data = torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(12, 20))
    model.function = function
    model.forward = lambda x: torch.relu(function(model[0](x)))
    report = lsuv(model, data, seed=0, measure="after")
    assert report.rows[0].note == ""
    with torch.no_grad():
        assert float(model[0](data).var(correction=0)) == pytest.approx(1, abs=0.05)


def test_a_non_linearity_in_a_residual_branch_is_measured():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.branch, self.last = nn.Linear(12, 20), nn.Linear(20, 20), nn.Linear(20, 4)

        def forward(self, x):
            hidden = self.first(x)
            return self.last(hidden + self.branch(torch.relu(hidden)))

    report = lsuv(Residual(), torch.randn(64, 12), seed=0, measure="after")
    assert [row.note for row in report.rows] == ["measured after relu", "", ""]


@pytest.mark.parametrize("function", [nn.Sigmoid(), torch.sigmoid, nn.Sequential(nn.ReLU(), nn.Tanh())])
def test_a_layer_is_not_scaled_if_no_scale_gives_unit_variance(function):
    """The variance of a sigmoid is at most 1/4."""
    data = torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
    model = _Function(function)
    model(data)
    report = lsuv(model, data, seed=0, measure="after")
    assert [row.scaled for row in report.rows] == [True, False]
    assert report.rows[1].name == "first"
    assert report.rows[1].note.startswith("initialized but not scaled: no scale of its weight")
    assert "measured after" in report.rows[1].note
    torch.testing.assert_close(model.first.weight.mT @ model.first.weight, torch.eye(12), atol=1e-5, rtol=0)
