"""Semi-synchronous updates, against the ordinary optimizer and a slow transcription."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from goodinit.methods import optimizers, updates


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _net(dtype, hidden=(16, 16), dropout=0.0, batch_norm=False):
    layers, inputs = [], 20
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for outputs in hidden:
            norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
            layers += [nn.Linear(inputs, outputs), *norm, nn.Tanh(), nn.Dropout(dropout)]  # no unit is ever dead
            inputs = outputs
        return nn.Sequential(*layers, nn.Linear(inputs, 5)).to(dtype)


def _train(nets, steps, dtype=torch.float64, first=0):
    """Train pairs of net and update on the same batches, with the same masks of dropout."""
    for step in range(first, first + steps):
        images = torch.randn(8, 20, dtype=dtype, generator=_generator(step))
        labels = torch.randint(5, (8,), generator=_generator(step))
        for net, update in nets:
            torch.manual_seed(step)
            functional.cross_entropy(net(images), labels).backward()
            update.step()


class _Transcription:
    """The paper's text, neuron by neuron: the whole gradient, equations 5 and 6, each layer its own groups."""

    def __init__(self, net, groups, lr, momentum=0.9, decay=0.0, factors=()):
        self.net, self.lr, self.momentum, self.decay, self.updates = net, lr, momentum, decay, 0
        self.factors = {net.get_submodule(name): factor for name, factor in dict(factors).items()}
        self.groups = {net.get_submodule(name): count for name, count in groups.items()}
        self.moved = {one: torch.zeros_like(one) for one in net.parameters()}

    @torch.no_grad()
    def step(self):
        for layer in self.net.modules():
            for name, parameter in layer.named_parameters(recurse=False):
                count = self.groups.get(layer, 1)
                size = len(parameter) // count
                for neuron in range(len(parameter)):
                    gradient = parameter.grad[neuron] + self.decay * (name == "weight") * parameter[neuron]
                    change = self.momentum * self.moved[parameter][neuron]
                    if neuron // size == self.updates % count:
                        change = change - self.lr * self.factors.get(layer, 1) * gradient
                    self.moved[parameter][neuron] = change
                    parameter[neuron] += change
                parameter.grad = None
        self.updates += 1


def _semi(net, lr=0.125, decay=0.0, factors=None, **options):
    optimizer = optimizers.momentum(net.named_parameters(), lr=lr, weight_decay=decay, layer_factors=factors)
    return updates.semi_synchronous(net, optimizer, _generator(), **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lr", [2.0**-4, 0.1])
def test_one_group_is_the_ordinary_update_to_the_bit(dtype, lr):
    net, plain, torch_s = (_net(dtype) for _ in range(3))
    sgd = torch.optim.SGD(torch_s.parameters(), lr=lr, momentum=0.9)
    ordinary = updates.synchronous(plain, optimizers.momentum(plain.named_parameters(), lr=lr), None)
    others = [(plain, ordinary), (torch_s, updates.synchronous(torch_s, sgd, None))]
    _train([(net, _semi(net, lr, groups=1)), *others], 20, dtype)
    assert all(map(torch.equal, net.parameters(), plain.parameters()))
    if lr == 2.0**-4:  # torch's learning rate is outside the velocity, which a power of 2 does not round
        assert all(map(torch.equal, net.parameters(), torch_s.parameters()))


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout": 0.5},
        {"batch_norm": True},
        {"hidden": (16, 36)},
        {"decay": 0.01},
        {"hidden": (64,)},
        {"decay": 0.01, "factors": {"0": 0.25, "6": 3.0}},
    ],
)
def test_groups_in_turn_are_the_slow_transcription(dtype, within, options):
    options = dict(options)
    decay, factors = options.pop("decay", 0.0), options.pop("factors", {})
    net = _net(dtype, **options)
    slow = copy.deepcopy(net)
    linear = [(name, one) for name, one in net.named_modules() if isinstance(one, nn.Linear)][:-1]
    groups = {name: round(one.out_features**0.5) for name, one in linear}  # with 16 and 36 neurons the turns differ
    start = copy.deepcopy(net)
    transcription = _Transcription(slow, groups, 0.01, decay=decay, factors=factors)
    _train([(net, _semi(net, 0.01, decay, factors)), (slow, transcription)], 24, dtype)
    for mine, theirs, first in zip(net.parameters(), slow.parameters(), start.parameters(), strict=True):
        assert (mine - theirs).abs().max() <= within
        assert mine.ndim == 1 or not torch.equal(mine, first)


@pytest.mark.parametrize("members", ["contiguous", "shuffled"])
def test_the_others_move_by_their_momentum_alone(members):
    net = _net(torch.float64)
    update = _semi(net, members=members)
    layer = net[0]
    assert sorted(layer.groups.flatten().tolist()) == list(range(16))
    assert (layer.groups.flatten().tolist() == list(range(16))) == (members == "contiguous")
    moved = torch.zeros_like(layer.weight)
    for step in range(9):
        before = layer.weight.detach().clone()
        active = layer.groups[step % 4]
        _train([(net, update)], 1, first=step)
        change = (layer.weight - before).detach()
        idle = torch.ones(16, dtype=bool).index_fill(0, active, 0)
        torch.testing.assert_close(change[idle], 0.9 * moved[idle], rtol=0, atol=1e-15)
        assert ((change - 0.9 * moved)[active].abs().amax(1) > 1e-5).all()
        moved = change


def test_without_momentum_a_round_moves_as_far_as_synchronous_updates_slowed_by_the_number_of_groups():
    """The control for the question whether semi-synchronous updates are a smaller learning rate, on a linear loss."""
    moved = []
    for kind, factors in (("semi_synchronous", None), ("synchronous", {"0": 1 / 4})):
        net = _net(torch.float64, hidden=(16,))
        optimizer = optimizers.sgd(net.named_parameters(), lr=0.1, layer_factors=factors)
        update = getattr(updates, kind)(net, optimizer, _generator())
        before = net[0].weight.detach().clone()
        for _ in range(4):
            net[0](torch.ones(1, 20, dtype=torch.float64)).sum().backward()  # a gradient of 1, wherever the net is
            update.step()
        moved.append(net[0].weight.detach() - before)
    torch.testing.assert_close(moved[0], torch.full_like(moved[0], -0.1))
    torch.testing.assert_close(*moved)


def test_every_group_has_as_many_turns():
    net = _net(torch.float64, hidden=(16, 36))
    optimizer = optimizers.sgd(net.named_parameters(), lr=0.1)
    update = updates.semi_synchronous(net, optimizer, None)
    turns = {name: torch.zeros(net.get_submodule(name).out_features) for name in ("0", "3")}
    for step in range(12):
        before = {name: net.get_submodule(name).bias.detach().clone() for name in turns}
        _train([(net, update)], 1, first=step)
        for name, count in turns.items():
            count += net.get_submodule(name).bias.detach() != before[name]
    assert turns["0"].unique().tolist() == [3]
    assert turns["3"].unique().tolist() == [2]


def test_no_whole_gradient_ever_exists():
    net = _net(torch.float32, hidden=(16, 36))
    _semi(net)
    functional.cross_entropy(net(torch.zeros(4, 20)), torch.zeros(4, dtype=torch.int64)).backward()
    assert [(p.grad.is_sparse, len(p.grad._values())) for p in net.parameters() if p.grad.is_sparse] == [
        (True, 4), (True, 4), (True, 6), (True, 6)]  # fmt: skip
    assert not net[-1].weight.grad.is_sparse


def test_the_turn_survives_a_checkpoint_in_the_middle_of_a_round(tmp_path):
    whole = _net(torch.float64)
    update = _semi(whole, members="shuffled")
    _train([(whole, update)], 6)
    torch.save({"model": whole.state_dict(), "optimizer": update.optimizer.state_dict()}, tmp_path / "checkpoint")
    _train([(whole, update)], 7, first=6)

    state = torch.load(tmp_path / "checkpoint", weights_only=True)
    again = _net(torch.float64)
    optimizer = optimizers.momentum(again.named_parameters(), lr=0.125)
    later = updates.semi_synchronous(again, optimizer, _generator(9), members="shuffled")
    again.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    _train([(again, later)], 7, first=6)
    assert all(map(torch.equal, whole.parameters(), again.parameters()))


def test_evaluation_and_low_precision():
    net = _net(torch.float32)
    plain = copy.deepcopy(net)
    update = _semi(net)
    images = torch.randn(8, 20, generator=_generator())
    assert torch.equal(net(images), plain(images))
    with torch.autocast("cpu", torch.bfloat16):
        loss = functional.cross_entropy(net(images).float(), torch.arange(8) % 5)
    loss.backward()
    assert net[0].weight.grad.dtype == torch.float32
    update.step()
    assert not torch.equal(net(images), plain(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (16, 20)}, "layer 3 has 20 neurons, which is no square: the nearest are 16 and 25"),
        ({"groups": 3}, "groups: 3 does not divide the 16 neurons of layer 0"),
        ({"groups": 0}, "groups: 0 does not divide"),
        ({"layers": ["fc1"]}, "no linear layer 'fc1'; the model has 0, 3, 6"),
        ({"layers": []}, "no linear layer but the last"),
        ({"hidden": ()}, "no linear layer but the last"),
    ],
)
def test_what_cannot_be_grouped_is_refused(options, message):
    options = dict(options)
    net = _net(torch.float32, hidden=options.pop("hidden", (16, 16)))
    with pytest.raises(ValueError, match=message):
        _semi(net, **options)


def test_layers_may_be_named():
    net = _net(torch.float32, hidden=(16, 20))
    _semi(net, layers=["0"])
    assert type(net[3]) is nn.Linear
    assert net[0].groups.shape == (4, 4)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rmsprop", "clipped"])
def test_other_optimizers_are_refused(optimizer):
    net = _net(torch.float32)
    if optimizer == "clipped":
        made = optimizers.momentum(net.named_parameters(), lr=0.1, clip_norm=1.0)
    else:
        made = getattr(optimizers, optimizer)(net.named_parameters(), lr=0.1)
    with pytest.raises(ValueError, match="works with the optimizers sgd, momentum and nesterov"):
        updates.semi_synchronous(net, made, None)
