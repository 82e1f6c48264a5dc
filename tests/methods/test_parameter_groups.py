"""Learning rates by layer: the option `layer_factors` of every optimizer."""

import functools
import itertools
import math

import pytest
import torch
from torch import nn

from goodinit.methods import optimizers
from goodinit.training import stacking

FACTORS = {"1": 0.25, "3": 2.0}  # of two of the three layers


def _three_layers(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)]
        return nn.Sequential(*layers).to(dtype)


def _train_on_noise(model, optimizer, steps=6):
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 6, generator=generator, dtype=torch.float64)).square().sum().backward()
        optimizer.step()


class _ByLayer:
    """One optimizer for each layer, each with its own learning rate, to which `layer_factors` must be equal."""

    def __init__(self, model, factors, make, lr):
        self.optimizers = [
            make(
                [(f"{name}.{kind}", parameter) for kind, parameter in layer.named_parameters()],
                lr=lr * factors.get(name, 1.0),
            )
            for name, layer in model.named_children()
            if isinstance(layer, nn.Linear)
        ]

    def zero_grad(self):
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


@pytest.mark.parametrize(
    ("name", "options"),
    [*itertools.product(optimizers.__all__, [{}, {"weight_decay": 0.1}]), ("momentum", {"bias_factor": 2.0})],
)
def test_layer_factors_are_learning_rates_of_each_layer(name, options):
    model, expected = _three_layers(), _three_layers()
    make = functools.partial(getattr(optimizers, name), **options)
    _train_on_noise(model, make(model.named_parameters(), lr=0.01, layer_factors=FACTORS))
    _train_on_noise(expected, _ByLayer(expected, FACTORS, make, 0.01))
    for parameters in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(*parameters, rtol=1e-12, atol=1e-14)


def test_layer_factors_computed_by_hand():
    named = [(f"{layer}.{kind}", nn.Parameter(torch.ones(1))) for layer in ("a", "b") for kind in ("weight", "bias")]
    options = {"momentum": 0.0, "weight_decay": 0.5, "bias_factor": 3.0, "layer_factors": {"a": 0.25}}
    optimizer = optimizers.momentum(named, lr=0.1, **options)
    for _, parameter in named:
        parameter.grad = torch.full((1,), 2.0)
    optimizer.step()  # weights: 1 - lr * factor * (2 + 0.5); biases: 1 - 3 * lr * factor * 2
    expected = [1 - 0.025 * 2.5, 1 - 0.075 * 2, 1 - 0.1 * 2.5, 1 - 0.3 * 2]
    assert [parameter.item() for _, parameter in named] == pytest.approx(expected)


def test_a_key_applies_to_submodules_and_the_innermost_key_takes_precedence():
    names = ["features.0.weight", "features.10.weight", "features.1.weight", "features.1.bias", "features2.weight"]
    named = [(name, nn.Parameter(torch.zeros(1))) for name in names]
    factors = {"features": 0.5, "features.1": 0.25}
    optimizer = optimizers.sgd(named, lr=1.0, layer_factors=factors)
    for _, parameter in named:
        parameter.grad = torch.ones(1)
    optimizer.step()
    assert [-parameter.item() for _, parameter in named] == [0.5, 0.5, 0.25, 0.25, 1.0]


@pytest.mark.parametrize("factors", [None, {}, {"1": 1.0}])
def test_factors_of_1_change_nothing(factors):
    model, expected = _three_layers(), _three_layers()
    _train_on_noise(model, optimizers.momentum(model.named_parameters(), lr=0.01, layer_factors=factors))
    _train_on_noise(expected, optimizers.momentum(expected.named_parameters(), lr=0.01))
    assert all(map(torch.equal, model.parameters(), expected.parameters()))


def test_layer_factors_apply_to_each_model_of_a_stack():
    def train(models):
        model = stacking.stack([model.float() for model in models])
        optimizer = optimizers.momentum(model.named_parameters(), lr=0.01, weight_decay=0.1, layer_factors=FACTORS)
        generator = torch.Generator().manual_seed(2)
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(1, 8, 6, generator=generator).expand(len(models), 8, 6)).square().sum().backward()
            optimizer.step()
        return list(model.parameters())

    for stacked, single in zip(train([_three_layers(), _three_layers()]), train([_three_layers()]), strict=True):
        assert torch.equal(stacked, single.expand_as(stacked))


@pytest.mark.parametrize("name", optimizers.__all__)
@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"fc9": 0.5}, r"layer_factors: no module with parameters is called 'fc9'; did you mean fc[12]\?"),
        ({"fc": 0.5}, r"layer_factors: no module with parameters is called 'fc'"),
        ({"fc1.": 0.5}, r"layer_factors: no module with parameters is called 'fc1\.'"),
        ({"fc1.weight": 0.5}, r"layer_factors: no module with parameters is called 'fc1\.weight'"),
        ({"": 0.5}, r"layer_factors: no module with parameters is called ''"),
        ({"fc1": 0}, r"layer_factors: fc1 must be more than 0 and finite, not 0"),
        ({"fc1": -1.0}, r"layer_factors: fc1 must be more than 0 and finite, not -1\.0"),
        ({"fc1": math.inf}, r"layer_factors: fc1 must be more than 0 and finite, not inf"),
        ({"fc1": math.nan}, r"layer_factors: fc1 must be more than 0 and finite, not nan"),
    ],
)
def test_invalid_factors_are_rejected_in_one_line(name, factors, message):
    named = [("fc1.weight", nn.Parameter(torch.ones(1))), ("fc2.weight", nn.Parameter(torch.ones(1)))]
    with pytest.raises(ValueError, match=rf"^{name}: {message}") as error:
        getattr(optimizers, name)(named, lr=0.1, layer_factors=factors)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300
