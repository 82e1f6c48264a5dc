"""Optimizers: their first steps by hand, and torch's own where the rules are the same."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from goodinit import studies
from goodinit.methods import models, optimizers, schedules
from goodinit.training import stacking, trainer

CONFIGS = Path(__file__).parents[1] / "configs"
BOOK = {  # rule: its options in the book's figures 6-3 and 6-5 to 6-7, the first two points after (-7, 2)
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


def test_momentum_keeps_its_speed_when_the_learning_rate_falls():
    point = nn.Parameter(torch.tensor([0.0]))
    optimizer = optimizers.momentum([("point", point)], lr=1.0, momentum=0.5)
    for lr in (1.0, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        point.grad = torch.ones(1)
        optimizer.step()
    assert point.item() == -1.5


def test_adagrad_by_hand():
    first, second = _path("adagrad", 2, lr=1.5)
    assert first == pytest.approx([-5.5, 0.5], rel=1e-6)  # each moves by lr at first
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
    assert first == pytest.approx([-6.7, 1.7], rel=1e-6)  # each moves by lr at first
    mean, square = 0.9 * 0.4 + 0.1 * 3.4, 0.999 * 0.016 + 0.001 * 3.4**2
    rate = 0.3 * math.sqrt(1 - 0.999**2) / (1 - 0.9**2)
    assert second[1] == pytest.approx(1.7 - rate * mean / math.sqrt(square), rel=1e-6)


def test_adam_adds_epsilon_to_the_uncorrected_root():
    (first,) = _path("adam", 1, lr=0.3, epsilon=1.0)
    root = math.sqrt(0.001) * 4
    assert first[1] == pytest.approx(2 - 0.3 * math.sqrt(0.001) / 0.1 * 0.4 / (root + 1))


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
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
def test_agrees_with_torch_over_fifty_steps(name, options, theirs):
    generator = torch.Generator().manual_seed(0)
    one, other = (nn.Linear(5, 3, bias=False).double() for _ in range(2))
    other.load_state_dict(one.state_dict())
    ours, theirs = getattr(optimizers, name)(one.named_parameters(), lr=0.1, **options), theirs(other.parameters())
    for _ in range(50):
        inputs = torch.randn(8, 5, generator=generator, dtype=torch.float64)
        for net, optimizer in ((one, ours), (other, theirs)):
            optimizer.zero_grad()
            net(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(one.weight, other.weight, rtol=1e-12, atol=1e-12)


def _way(name, steps, **options):
    """Return where a rule takes the model `quadratic`, the start included: (steps + 1, 2)."""
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
    """Transcribe the book's four rules, number by number, in float64: (steps + 1, 2)."""
    ways = []
    for place, slope in ((-7.0, 0.1), (2.0, 2.0)):
        way, one, two = [place], 0.0, 0.0
        for step in range(1, steps + 1):
            g = slope * way[-1]
            if name == "sgd":
                move = -lr * g
            elif name == "momentum":
                move = one = momentum * one - lr * g
            elif name == "adagrad":
                one += g * g
                move = -lr * g / (math.sqrt(one) + 1e-7)
            else:
                one += (1 - 0.9) * (g - one)
                two += (1 - 0.999) * (g * g - two)
                rate = lr * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                move = -rate * one / (math.sqrt(two) + 1e-7)
            way.append(way[-1] + move)
        ways.append(way)
    return np.transpose(ways)


@pytest.mark.parametrize("name", BOOK)
def test_the_book_s_way_begins_as_by_hand(name):
    options, points = BOOK[name]
    np.testing.assert_allclose(_way(name, 2, **options), [(-7, 2), *points], rtol=1e-5)


@pytest.mark.parametrize("name", BOOK)
def test_the_book_s_thirty_points_are_those_of_a_slow_transcription(name):
    options, _ = BOOK[name]
    np.testing.assert_allclose(_way(name, 29, **options), _book(name, 29, **options), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_the_study_of_paths_records_the_book_s_thirty_points(tmp_path, scale):
    runs = studies.find(CONFIGS, "textbook/optimizer_paths").runs(scale)
    assert {run.parts["optimizer"]["name"]: run.parts["optimizer"] for run in runs} == {
        name: {"name": name, **options} for name, (options, _) in BOOK.items()
    }
    for run, found in zip(runs, trainer.execute(runs, data_root=tmp_path, device=torch.device("cpu")), strict=True):
        name = run.parts["optimizer"]["name"]
        position, length = found.series["position"], found.series["path_length"]
        assert position.steps.tolist() == length.steps.tolist() == list(range(30))
        np.testing.assert_allclose(position.values, _book(name, 29, **BOOK[name][0]), rtol=1e-5, atol=1e-5)
        segments = np.linalg.norm(np.diff(position.values.astype(float), axis=0), axis=1)
        np.testing.assert_allclose(length.values, [0, *segments.cumsum()], rtol=1e-5)
        loss = found.series["loss"]  # after each update
        assert loss.steps.tolist() == list(range(1, 30))
        values = _book(name, 29, **BOOK[name][0]) ** 2 @ [0.05, 1]
        np.testing.assert_allclose(loss.values, values[1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stacked", [False, True])
def test_weights_decay_and_biases_do_not(stacked):
    net = nn.Sequential(nn.Linear(3, 2))
    nn.init.ones_(net[0].bias)
    net = stacking.stack([net, net]) if stacked else net
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = optimizers.sgd(net.named_parameters(), lr=0.1, weight_decay=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    weight, bias = net.parameters()
    torch.testing.assert_close(weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(bias, before[1])


def _weight_and_bias(weight, bias):
    """Return named parameters in float64."""
    return [
        (f"0.{name}", nn.Parameter(torch.tensor(values, dtype=torch.float64)))
        for name, values in (("weight", weight), ("bias", bias))
    ]


def test_clipping_by_hand():
    named = _weight_and_bias([1.0, 2.0], [3.0])
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


def test_biases_get_their_own_learning_rate_by_hand():
    named = _weight_and_bias([1.0], [3.0])
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


FACTORS = {"1": 0.25, "3": 2.0}  # of two of the three layers


def _three_layers(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)]
        return nn.Sequential(*layers).to(dtype)


def _train_on_noise(net, optimizer, steps=6):
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 6, generator=generator, dtype=torch.float64)).square().sum().backward()
        optimizer.step()


class _ByLayer:
    """One optimizer for each layer, with its own learning rate: what `layer_factors` must be equal to."""

    def __init__(self, net, factors, make, lr):
        self.all = [
            make([(f"{name}.{kind}", one) for kind, one in layer.named_parameters()], lr=lr * factors.get(name, 1.0))
            for name, layer in net.named_children()
            if isinstance(layer, nn.Linear)
        ]

    def zero_grad(self):
        for one in self.all:
            one.zero_grad()

    def step(self):
        for one in self.all:
            one.step()


@pytest.mark.parametrize("name", optimizers.__all__)
@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.1}, {"bias_factor": 2.0}])
def test_layer_factors_are_learning_rates_of_each_layer(name, more):
    if "bias_factor" in more and name != "momentum":
        pytest.skip("only momentum has bias_factor")
    together, apart = _three_layers(), _three_layers()
    make = functools.partial(getattr(optimizers, name), **more)
    _train_on_noise(together, make(together.named_parameters(), lr=0.01, layer_factors=FACTORS))
    _train_on_noise(apart, _ByLayer(apart, FACTORS, make, 0.01))
    for one, other in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_layer_factors_by_hand():
    named = [(f"{layer}.{kind}", nn.Parameter(torch.ones(1))) for layer in ("a", "b") for kind in ("weight", "bias")]
    options = {"momentum": 0.0, "weight_decay": 0.5, "bias_factor": 3.0, "layer_factors": {"a": 0.25}}
    optimizer = optimizers.momentum(named, lr=0.1, **options)
    for _, parameter in named:
        parameter.grad = torch.full((1,), 2.0)
    optimizer.step()  # weights: 1 - lr * factor * (2 + 0.5); biases: 1 - 3 * lr * factor * 2
    expected = [1 - 0.025 * 2.5, 1 - 0.075 * 2, 1 - 0.1 * 2.5, 1 - 0.3 * 2]
    assert [parameter.item() for _, parameter in named] == pytest.approx(expected)


def test_a_name_is_of_a_module_with_all_below_it_and_the_innermost_decides():
    names = ["features.0.weight", "features.10.weight", "features.1.weight", "features.1.bias", "features2.weight"]
    named = [(name, nn.Parameter(torch.zeros(1))) for name in names]
    factors = {"features": 0.5, "features.1": 0.25}
    optimizer = optimizers.sgd(named, lr=1.0, layer_factors=factors)
    for _, parameter in named:
        parameter.grad = torch.ones(1)
    optimizer.step()
    assert [-parameter.item() for _, parameter in named] == [0.5, 0.5, 0.25, 0.25, 1.0]


@pytest.mark.parametrize("factors", [None, {}, {"1": 1.0}])
def test_factors_of_1_change_no_bit(factors):
    one, other = _three_layers(), _three_layers()
    _train_on_noise(one, optimizers.momentum(one.named_parameters(), lr=0.01))
    _train_on_noise(other, optimizers.momentum(other.named_parameters(), lr=0.01, layer_factors=factors))
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_layer_factors_of_a_stack_are_those_of_each_net():
    def train(nets):
        net = stacking.stack([net.float() for net in nets])
        optimizer = optimizers.momentum(net.named_parameters(), lr=0.01, weight_decay=0.1, layer_factors=FACTORS)
        generator = torch.Generator().manual_seed(2)
        for _ in range(4):
            optimizer.zero_grad()
            net(torch.randn(1, 8, 6, generator=generator).expand(len(nets), 8, 6)).square().sum().backward()
            optimizer.step()
        return list(net.parameters())

    for together, alone in zip(train([_three_layers(), _three_layers()]), train([_three_layers()]), strict=True):
        assert torch.equal(together, alone.expand_as(together))


def test_layer_factors_are_a_share_of_a_rate_that_falls():
    named = _weight_and_bias(*LAYER)
    optimizer = optimizers.momentum(named, lr=0.5, momentum=0.9, weight_decay=0.1, layer_factors={"0": 0.1})
    found = _descend(optimizer, [parameter for _, parameter in named], 10)
    np.testing.assert_allclose(found, _caffe_momentum(10), rtol=1e-12)


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
def test_factors_that_cannot_be_are_refused_in_one_line(name, factors, message):
    named = [("fc1.weight", nn.Parameter(torch.ones(1))), ("fc2.weight", nn.Parameter(torch.ones(1)))]
    with pytest.raises(ValueError, match=rf"^{name}: {message}") as caught:
        getattr(optimizers, name)(named, lr=0.1, layer_factors=factors)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_below_the_norm_nothing_is_clipped():
    found = []
    for clip_norm in (None, 5.1):
        named = _weight_and_bias([1.0, 2.0], [3.0])
        optimizer = optimizers.momentum(named, lr=0.1, weight_decay=0.2, clip_norm=clip_norm)
        for _, parameter in named:
            parameter.grad = parameter.detach() * (5 / 14**0.5)
        optimizer.step()
        found.append([parameter for _, parameter in named])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("clip_norm", [0, -1.0])
def test_a_norm_that_is_not_more_than_0_is_refused(clip_norm):
    with pytest.raises(ValueError, match="momentum: clip_norm must be more than 0"):
        optimizers.momentum(_weight_and_bias([1.0], [1.0]), lr=0.1, clip_norm=clip_norm)


LAYER = [2.0, -1.0, 0.5], [1.5, -0.25]  # weights and biases
DROP = 4  # updates after which the learning rate falls to a tenth


def _slope(value):
    return value - 0.3  # of a bowl about 0.3


def _descend(optimizer, parameters, steps):
    """Return where an optimizer takes the parameters, all in a row, with a learning rate that falls: (steps, 5)."""
    first = [group["lr"] for group in optimizer.param_groups]
    factor = schedules.step(at=[DROP])
    points = []
    for update in range(steps):
        for group, lr in zip(optimizer.param_groups, first, strict=True):
            group["lr"] = lr * factor(update)
        for parameter in parameters:
            parameter.grad = _slope(parameter.detach())
        optimizer.step()
        points.append(torch.cat([parameter.detach() for parameter in parameters]).tolist())
    return np.array(points)


def _caffe_momentum(steps):
    """Caffe's: V <- 0.9 V + lr (g + wd w), w <- w - V, number by number; biases do not decay."""
    ways = []
    for values, decay in zip(LAYER, (0.1, 0.0), strict=True):
        for w in values:
            v, way = 0.0, []
            for update in range(steps):
                lr = 0.05 if update < DROP else 0.005
                v = 0.9 * v + lr * (_slope(w) + decay * w)
                w = w - v
                way.append(w)
            ways.append(way)
    return np.transpose(ways)


def test_momentum_is_caffe_s_across_a_drop_of_the_learning_rate():
    named = _weight_and_bias(*LAYER)
    optimizer = optimizers.momentum(named, lr=0.05, momentum=0.9, weight_decay=0.1)
    found = _descend(optimizer, [parameter for _, parameter in named], 10)
    np.testing.assert_allclose(found, _caffe_momentum(10), rtol=1e-12)


def test_torch_s_momentum_slows_down_at_the_drop_and_caffe_s_does_not():
    weight, bias = (parameter for _, parameter in _weight_and_bias(*LAYER))
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias]}]
    theirs = _descend(torch.optim.SGD(groups, lr=0.05, momentum=0.9), [weight, bias], 10)
    caffe = _caffe_momentum(10)
    np.testing.assert_allclose(theirs[:DROP], caffe[:DROP], rtol=1e-12)
    before = caffe[DROP - 1]
    assert (abs(theirs[DROP] - before) < 0.2 * abs(caffe[DROP] - before)).all()


@pytest.mark.parametrize("decay_biases", [True, False])
def test_rmsprop_is_caffe_s_across_a_drop_of_the_learning_rate(decay_biases):
    """Caffe's: g <- g + wd w, h <- d h + (1 - d) g^2, w <- w - lr g / (sqrt(h) + 1e-8), number by number."""
    ways = []
    for values, decay in zip(LAYER, (0.1, 0.1 * decay_biases), strict=True):
        for w in values:
            h, way = 0.0, []
            for update in range(10):
                lr = 0.05 if update < DROP else 0.005
                g = _slope(w) + decay * w
                h = 0.99 * h + 0.01 * g * g
                w = w - lr * g / (math.sqrt(h) + 1e-8)
                way.append(w)
            ways.append(way)
    named = _weight_and_bias(*LAYER)
    options = {"decay": 0.99, "epsilon": 1e-8, "weight_decay": 0.1, "decay_biases": decay_biases}
    found = _descend(optimizers.rmsprop(named, lr=0.05, **options), [parameter for _, parameter in named], 10)
    np.testing.assert_allclose(found, np.transpose(ways), rtol=1e-11, atol=1e-14)


def test_rmsprop_leaves_biases_undecayed_unless_told_otherwise():
    for more, moved in (({}, False), ({"decay_biases": True}, True)):
        named = _weight_and_bias([1.0], [1.0])
        optimizer = optimizers.rmsprop(named, lr=0.01, weight_decay=0.5, **more)
        for _, parameter in named:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert [parameter.item() != 1 for _, parameter in named] == [True, moved]


@pytest.mark.parametrize("name", optimizers.__all__)
def test_state_is_saved_and_loaded(name):
    def run(pause):
        torch.manual_seed(0)
        net = nn.Linear(4, 2)
        optimizer = getattr(optimizers, name)(net.named_parameters(), lr=0.1)
        for step in range(6):
            if step == pause:
                state = optimizer.state_dict()
                optimizer = getattr(optimizers, name)(net.named_parameters(), lr=0.1)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            net(torch.ones(3, 4)).square().sum().backward()
            optimizer.step()
        return net.weight

    assert torch.equal(run(3), run(None))
