"""Optimizers: first steps computed by hand, and the optimizers of torch where the rules are the same."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_models import weight_and_bias
from torch import nn

from goodinit import studies
from goodinit.methods import models, optimizers
from goodinit.training import stacking, trainer

CONFIGS = Path(__file__).parents[2] / "configs"
BOOK = {  # rule: its options in figures 6-3 and 6-5 to 6-7 of the textbook, and the first two points after (-7, 2)
    "sgd": ({"lr": 0.95}, [(-6.335, -1.8), (-5.733175, 1.62)]),
    "momentum": ({"lr": 0.1, "momentum": 0.9}, [(-6.93, 1.6), (-6.7977, 0.92)]),
    "adagrad": (
        {"lr": 1.5},
        [(-5.5, 0.5), (-5.5 + 1.5 * 0.55 / math.sqrt(0.7**2 + 0.55**2), 0.5 - 1.5 / math.sqrt(17))],
    ),
    "adam": (
        {"lr": 0.3},
        [(-6.7, 1.7), (-6.7 + 0.3 * math.sqrt(0.001999) / 0.19 * 0.13 / math.sqrt(0.00093841),
                       1.7 - 0.3 * math.sqrt(0.001999) / 0.19 * 0.7 / math.sqrt(0.027544))],
    ),
}  # fmt: skip


def _path(name, steps, start=(-7.0, 2.0), **options):
    """Return the points on x^2 / 20 + y^2, whose gradient is (x / 10, 2 y), in float64."""
    point = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = getattr(optimizers, name)([("point", point)], **options)
    points = []
    for _ in range(steps):
        point.grad = torch.stack([point[0] / 10, 2 * point[1]]).detach()
        optimizer.step()
        points.append(point.tolist())
    return points


def test_sgd_by_hand():
    assert _path("sgd", 2, lr=0.95) == [
        pytest.approx([-7 * 0.905, 2 * -0.9]),
        pytest.approx([-7 * 0.905**2, 2 * 0.81]),
    ]


def test_momentum_by_hand():
    first, second = _path("momentum", 2, lr=0.1, momentum=0.9)
    assert first == pytest.approx([-6.93, 1.6])  # v = (0.07, -0.4)
    assert second == pytest.approx([-6.93 + 0.9 * 0.07 + 0.0693, 1.6 - 0.36 - 0.32])


def test_momentum_keeps_its_velocity_when_the_learning_rate_decreases():
    point = nn.Parameter(torch.tensor([0.0]))
    optimizer = optimizers.momentum([("point", point)], lr=1.0, momentum=0.5)
    for lr in (1.0, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        point.grad = torch.ones(1)
        optimizer.step()
    assert point.item() == -1.5


def test_adagrad_by_hand():
    first, second = _path("adagrad", 2, lr=1.5)
    assert first == pytest.approx([-5.5, 0.5], rel=1e-6)  # the first step is lr
    x, y = 0.55, 1.0  # gradients at (-5.5, 0.5), the first negative
    expected = [-5.5 + 1.5 * x / math.sqrt(0.49 + x**2), 0.5 - 1.5 * y / math.sqrt(16 + y**2)]
    assert second == pytest.approx(expected, rel=1e-6)


def test_rmsprop_by_hand():
    first, second = _path("rmsprop", 2, lr=0.01, decay=0.99)
    assert first == pytest.approx([-7 + 0.1, 2 - 0.1], rel=1e-6)  # lr / sqrt(1 - decay)
    square = 0.99 * 0.01 * 16 + 0.01 * 3.8**2
    assert second[1] == pytest.approx(1.9 - 0.01 * 3.8 / math.sqrt(square), rel=1e-6)


def test_adam_by_hand():
    first, second = _path("adam", 2, lr=0.3, epsilon=1e-12)
    assert first == pytest.approx([-6.7, 1.7], rel=1e-6)  # the first step is lr
    mean, square = 0.9 * 0.4 + 0.1 * 3.4, 0.999 * 0.016 + 0.001 * 3.4**2
    rate = 0.3 * math.sqrt(1 - 0.999**2) / (1 - 0.9**2)
    assert second[1] == pytest.approx(1.7 - rate * mean / math.sqrt(square), rel=1e-6)


def test_adam_adds_epsilon_to_the_uncorrected_root():
    (first,) = _path("adam", 1, lr=0.3, epsilon=1.0)
    root = math.sqrt(0.001) * 4
    assert first[1] == pytest.approx(2 - 0.3 * math.sqrt(0.001) / 0.1 * 0.4 / (root + 1))


@pytest.mark.parametrize(
    ("name", "options", "torch_optimizer"),
    [
        ("sgd", {}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ("momentum", {}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ("nesterov", {}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ("adagrad", {}, lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-7)),
        ("rmsprop", {}, lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.99, eps=1e-7)),
        ("adam", {"epsilon": 1e-15}, lambda p: torch.optim.Adam(p, lr=0.1, eps=1e-15)),
        ("sgd", {"weight_decay": 0.2}, lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.2)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fifty_steps_equal_those_of_torch(name, options, torch_optimizer):
    generator = torch.Generator().manual_seed(0)
    model, expected = (nn.Linear(5, 3, bias=False).double() for _ in range(2))
    expected.load_state_dict(model.state_dict())
    trained = (
        (model, getattr(optimizers, name)(model.named_parameters(), lr=0.1, **options)),
        (expected, torch_optimizer(expected.parameters())),
    )
    for _ in range(50):
        inputs = torch.randn(8, 5, generator=generator, dtype=torch.float64)
        for each, optimizer in trained:
            optimizer.zero_grad()
            each(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(model.weight, expected.weight, rtol=1e-12, atol=1e-12)


def _positions(name, steps, **options):
    """Return the positions of the model `quadratic`, the start included: (steps + 1, 2)."""
    model = models.quadratic((0,), 0)
    optimizer = getattr(optimizers, name)(model.named_parameters(), **options)
    points = [model.position.tolist()]
    for _ in range(steps):
        optimizer.zero_grad()
        model(None).backward()
        optimizer.step()
        points.append(model.position.tolist())
    return np.array(points)


def _book(name, steps, lr, momentum=0.9):
    """Return the positions by the four rules of the textbook, element by element in float64: (steps + 1, 2)."""
    coordinates = []
    for start, slope in ((-7.0, 0.1), (2.0, 2.0)):
        path, first, second = [start], 0.0, 0.0  # the path and the state of the rule
        for step in range(1, steps + 1):
            g = slope * path[-1]
            if name == "sgd":
                move = -lr * g
            elif name == "momentum":
                move = first = momentum * first - lr * g
            elif name == "adagrad":
                first += g * g
                move = -lr * g / (math.sqrt(first) + 1e-7)
            else:
                first += (1 - 0.9) * (g - first)
                second += (1 - 0.999) * (g * g - second)
                rate = lr * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                move = -rate * first / (math.sqrt(second) + 1e-7)
            path.append(path[-1] + move)
        coordinates.append(path)
    return np.transpose(coordinates)


@pytest.mark.parametrize("name", BOOK)
def test_first_points_of_the_textbook_are_those_computed_by_hand(name):
    options, points = BOOK[name]
    np.testing.assert_allclose(_positions(name, 2, **options), [(-7, 2), *points], rtol=1e-5)


@pytest.mark.parametrize("name", BOOK)
def test_thirty_points_of_the_textbook_equal_a_slow_transcription(name):
    options, _ = BOOK[name]
    np.testing.assert_allclose(_positions(name, 29, **options), _book(name, 29, **options), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_study_of_paths_records_the_thirty_points_of_the_textbook(tmp_path, scale):
    runs = studies.find(CONFIGS, "textbook/optimizer_paths").runs(scale)
    assert {run.parts["optimizer"]["name"]: run.parts["optimizer"] for run in runs} == {
        name: {"name": name, **options} for name, (options, _) in BOOK.items()
    }
    for run, record in zip(runs, trainer.execute(runs, data_root=tmp_path, device=torch.device("cpu")), strict=True):
        name = run.parts["optimizer"]["name"]
        position, length = record.series["position"], record.series["path_length"]
        assert position.steps.tolist() == length.steps.tolist() == list(range(30))
        np.testing.assert_allclose(position.values, _book(name, 29, **BOOK[name][0]), rtol=1e-5, atol=1e-5)
        segments = np.linalg.norm(np.diff(position.values.astype(float), axis=0), axis=1)
        np.testing.assert_allclose(length.values, [0, *segments.cumsum()], rtol=1e-5)
        loss = record.series["loss"]  # after each update
        assert loss.steps.tolist() == list(range(1, 30))
        values = _book(name, 29, **BOOK[name][0]) ** 2 @ [0.05, 1]
        np.testing.assert_allclose(loss.values, values[1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stacked", [False, True])
def test_weights_decay_and_biases_do_not(stacked):
    model = nn.Sequential(nn.Linear(3, 2))
    nn.init.ones_(model[0].bias)
    model = stacking.stack([model, model]) if stacked else model
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = optimizers.sgd(model.named_parameters(), lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    weight, bias = model.parameters()
    torch.testing.assert_close(weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(bias, before[1])


def test_clipping_computed_by_hand():
    named = weight_and_bias([1.0, 2.0], [3.0])
    optimizer = optimizers.momentum(named, lr=0.1, momentum=0.5, weight_decay=0.2, clip_norm=2.5)
    weight, bias = (parameter for _, parameter in named)
    weight.grad, bias.grad = torch.tensor([3.0, 0.0]).double(), torch.tensor([4.0]).double()
    optimizer.step()  # their norm is 5, so they are halved; then the weights decay
    assert weight.tolist() == pytest.approx([1 - 0.1 * (1.5 + 0.2), 2 - 0.1 * 0.4], rel=1e-6)
    assert bias.tolist() == pytest.approx([3 - 0.1 * 2], rel=1e-6)
    weight.grad, bias.grad = torch.tensor([1.5, 0.0]).double(), torch.tensor([2.0]).double()
    optimizer.step()  # a norm of 2.5, which is allowed
    assert weight[0].item() == pytest.approx(0.83 - 0.5 * 0.17 - 0.1 * (1.5 + 0.2 * 0.83), rel=1e-6)
    assert bias.tolist() == pytest.approx([2.8 - 0.5 * 0.2 - 0.1 * 2], rel=1e-6)


def test_bias_factor_computed_by_hand():
    named = weight_and_bias([1.0], [3.0])
    optimizer = optimizers.momentum(named, lr=0.1, momentum=0.5, weight_decay=0.2, bias_factor=2.0)
    weight, bias = (parameter for _, parameter in named)
    for _ in range(2):
        weight.grad, bias.grad = torch.tensor([1.0]).double(), torch.tensor([1.0]).double()
        optimizer.step()
    first = -0.1 * (1 + 0.2)
    assert weight.item() == pytest.approx(1 + first + 0.5 * first - 0.1 * (1 + 0.2 * (1 + first)))
    assert bias.item() == pytest.approx(3 - 0.2 - 0.1 - 0.2)
    with pytest.raises(ValueError, match="momentum: bias_factor must be more than 0"):
        optimizers.momentum(named, lr=0.1, bias_factor=0.0)


def test_smaller_gradients_are_not_clipped():
    results = []
    for clip_norm in (None, 5.1):
        named = weight_and_bias([1.0, 2.0], [3.0])
        optimizer = optimizers.momentum(named, lr=0.1, weight_decay=0.2, clip_norm=clip_norm)
        for _, parameter in named:
            parameter.grad = parameter.detach() * (5 / 14**0.5)
        optimizer.step()
        results.append([parameter for _, parameter in named])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("clip_norm", [0, -1.0])
def test_clip_norm_that_is_not_more_than_0_is_rejected(clip_norm):
    with pytest.raises(ValueError, match="momentum: clip_norm must be more than 0"):
        optimizers.momentum(weight_and_bias([1.0], [1.0]), lr=0.1, clip_norm=clip_norm)


def test_rmsprop_decays_biases_only_with_decay_biases():
    for options, moved in (({}, False), ({"decay_biases": True}, True)):
        named = weight_and_bias([1.0], [1.0])
        optimizer = optimizers.rmsprop(named, lr=0.01, weight_decay=0.5, **options)
        for _, parameter in named:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert [parameter.item() != 1 for _, parameter in named] == [True, moved]


@pytest.mark.parametrize("name", optimizers.__all__)
def test_state_dict_resumes_training(name):
    def train(reload_at):
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        optimizer = getattr(optimizers, name)(model.named_parameters(), lr=0.1)
        for step in range(6):
            if step == reload_at:
                state = optimizer.state_dict()
                optimizer = getattr(optimizers, name)(model.named_parameters(), lr=0.1)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            model(torch.ones(3, 4)).square().sum().backward()
            optimizer.step()
        return model.weight

    assert torch.equal(train(3), train(None))
