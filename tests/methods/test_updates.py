"""Semi-synchronous updates, compared with the ordinary optimizer and a slow transcription."""

import copy

import pytest
import torch
from sample_models import seeded
from torch import nn
from torch.nn import functional

import goodinit
from goodinit.methods import optimizers, updates


def _model(dtype, hidden=(16, 16), dropout=0.0, batch_norm=False):
    layers, inputs = [], 20
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for outputs in hidden:
            norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
            layers += [nn.Linear(inputs, outputs), *norm, nn.Tanh(), nn.Dropout(dropout)]  # tanh: no unit is ever dead
            inputs = outputs
        return nn.Sequential(*layers, nn.Linear(inputs, 5)).to(dtype)


def _train(pairs, steps, dtype=torch.float64, first=0):
    """Train pairs of model and update on the same batches, with the same dropout masks."""
    for step in range(first, first + steps):
        images = torch.randn(8, 20, dtype=dtype, generator=seeded(step))
        labels = torch.randint(5, (8,), generator=seeded(step))
        for model, update in pairs:
            torch.manual_seed(step)
            functional.cross_entropy(model(images), labels).backward()
            update.step()


class _Transcription:
    """Equations 5 and 6 of the paper, neuron by neuron, with the dense gradient and separate groups in each layer."""

    def __init__(self, model, groups, lr, momentum=0.9, decay=0.0, factors=()):
        self.model, self.lr, self.momentum, self.decay, self.updates = model, lr, momentum, decay, 0
        self.factors = {model.get_submodule(name): factor for name, factor in dict(factors).items()}
        self.groups = {model.get_submodule(name): count for name, count in groups.items()}
        self.changes = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}

    @torch.no_grad()
    def step(self):
        for layer in self.model.modules():
            for name, parameter in layer.named_parameters(recurse=False):
                count = self.groups.get(layer, 1)
                size = len(parameter) // count
                for neuron in range(len(parameter)):
                    gradient = parameter.grad[neuron] + self.decay * (name == "weight") * parameter[neuron]
                    change = self.momentum * self.changes[parameter][neuron]
                    if neuron // size == self.updates % count:
                        change = change - self.lr * self.factors.get(layer, 1) * gradient
                    self.changes[parameter][neuron] = change
                    parameter[neuron] += change
                parameter.grad = None
        self.updates += 1


def _semi(model, lr=0.125, decay=0.0, factors=None, **options):
    optimizer = optimizers.momentum(model.named_parameters(), lr=lr, weight_decay=decay, layer_factors=factors)
    return updates.semi_synchronous(model, optimizer, seeded(), **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lr", [2.0**-4, 0.1])
def test_one_group_is_bit_equal_to_the_ordinary_update(dtype, lr):
    model, plain, with_torch = (_model(dtype) for _ in range(3))
    sgd = torch.optim.SGD(with_torch.parameters(), lr=lr, momentum=0.9)
    ordinary = updates.synchronous(plain, optimizers.momentum(plain.named_parameters(), lr=lr), None)
    others = [(plain, ordinary), (with_torch, updates.synchronous(with_torch, sgd, None))]
    _train([(model, _semi(model, lr, groups=1)), *others], 20, dtype)
    assert all(map(torch.equal, model.parameters(), plain.parameters()))
    if lr == 2.0**-4:  # torch multiplies the velocity by the learning rate, exactly for a power of 2
        assert all(map(torch.equal, model.parameters(), with_torch.parameters()))


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
def test_updates_equal_a_slow_transcription(dtype, within, options):
    options = dict(options)
    decay, factors = options.pop("decay", 0.0), options.pop("factors", {})
    model = _model(dtype, **options)
    slow = copy.deepcopy(model)
    linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)][:-1]
    groups = {name: round(layer.out_features**0.5) for name, layer in linear}  # of 16 and 36 neurons: 4 and 6 groups
    start = copy.deepcopy(model)
    transcription = _Transcription(slow, groups, 0.01, decay=decay, factors=factors)
    _train([(model, _semi(model, 0.01, decay, factors)), (slow, transcription)], 24, dtype)
    for updated, expected, initial in zip(model.parameters(), slow.parameters(), start.parameters(), strict=True):
        assert (updated - expected).abs().max() <= within
        assert updated.ndim == 1 or not torch.equal(updated, initial)


@pytest.mark.parametrize("members", ["contiguous", "shuffled"])
def test_inactive_neurons_change_by_momentum_alone(members):
    model = _model(torch.float64)
    update = _semi(model, members=members)
    layer = model[0]
    assert sorted(layer.groups.flatten().tolist()) == list(range(16))
    assert (layer.groups.flatten().tolist() == list(range(16))) == (members == "contiguous")
    previous = torch.zeros_like(layer.weight)
    for step in range(9):
        before = layer.weight.detach().clone()
        active = layer.groups[step % 4]
        _train([(model, update)], 1, first=step)
        change = (layer.weight - before).detach()
        inactive = torch.ones(16, dtype=bool).index_fill(0, active, 0)
        torch.testing.assert_close(change[inactive], 0.9 * previous[inactive], rtol=0, atol=1e-15)
        assert ((change - 0.9 * previous)[active].abs().amax(1) > 1e-5).all()
        previous = change


def test_without_momentum_a_round_equals_synchronous_updates_with_the_rate_divided_by_the_number_of_groups():
    """On a linear loss, semi-synchronous updates are updates with a smaller learning rate."""
    changes = []
    for kind, factors in (("semi_synchronous", None), ("synchronous", {"0": 1 / 4})):
        model = _model(torch.float64, hidden=(16,))
        optimizer = optimizers.sgd(model.named_parameters(), lr=0.1, layer_factors=factors)
        update = getattr(updates, kind)(model, optimizer, seeded())
        before = model[0].weight.detach().clone()
        for _ in range(4):
            model[0](torch.ones(1, 20, dtype=torch.float64)).sum().backward()  # the gradient is 1
            update.step()
        changes.append(model[0].weight.detach() - before)
    torch.testing.assert_close(changes[0], torch.full_like(changes[0], -0.1))
    torch.testing.assert_close(*changes)


def test_all_groups_are_updated_equally_often():
    model = _model(torch.float64, hidden=(16, 36))
    optimizer = optimizers.sgd(model.named_parameters(), lr=0.1)
    update = updates.semi_synchronous(model, optimizer, None)
    counts = {name: torch.zeros(model.get_submodule(name).out_features) for name in ("0", "3")}
    for step in range(12):
        before = {name: model.get_submodule(name).bias.detach().clone() for name in counts}
        _train([(model, update)], 1, first=step)
        for name, count in counts.items():
            count += model.get_submodule(name).bias.detach() != before[name]
    assert counts["0"].unique().tolist() == [3]
    assert counts["3"].unique().tolist() == [2]


def test_gradients_contain_the_active_rows_only():
    model = _model(torch.float32, hidden=(16, 36))
    _semi(model)
    functional.cross_entropy(model(torch.zeros(4, 20)), torch.zeros(4, dtype=torch.int64)).backward()
    assert [(p.grad.is_sparse, len(p.grad._values())) for p in model.parameters() if p.grad.is_sparse] == [
        (True, 4), (True, 4), (True, 6), (True, 6)]  # fmt: skip
    assert not model[-1].weight.grad.is_sparse


def test_checkpoint_restores_the_active_group(tmp_path):
    uninterrupted = _model(torch.float64)
    update = _semi(uninterrupted, members="shuffled")
    _train([(uninterrupted, update)], 6)
    state = {"model": uninterrupted.state_dict(), "optimizer": update.optimizer.state_dict()}
    torch.save(state, tmp_path / "checkpoint")
    _train([(uninterrupted, update)], 7, first=6)

    state = torch.load(tmp_path / "checkpoint", weights_only=True)
    resumed = _model(torch.float64)
    optimizer = optimizers.momentum(resumed.named_parameters(), lr=0.125)
    update = updates.semi_synchronous(resumed, optimizer, seeded(9), members="shuffled")
    resumed.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    _train([(resumed, update)], 7, first=6)
    assert all(map(torch.equal, uninterrupted.parameters(), resumed.parameters()))


def test_outputs_are_unchanged_and_gradients_in_full_precision_under_autocast():
    model = _model(torch.float32)
    plain = copy.deepcopy(model)
    update = _semi(model)
    images = torch.randn(8, 20, generator=seeded())
    assert torch.equal(model(images), plain(images))
    with torch.autocast("cpu", torch.bfloat16):
        loss = functional.cross_entropy(model(images).float(), torch.arange(8) % 5)
    loss.backward()
    assert model[0].weight.grad.dtype == torch.float32
    update.step()
    assert not torch.equal(model(images), plain(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (16, 20)}, "layer 3 has 20 neurons, which is not a perfect square; the nearest are 16 and 25"),
        ({"groups": 3}, "groups: 3 does not divide the 16 neurons of layer 0"),
        ({"groups": 0}, "groups: 0 does not divide"),
        ({"hidden": ()}, "the model has no trainable linear layer except the output layer"),
    ],
)
def test_neurons_that_cannot_be_grouped_are_rejected(options, message):
    options = dict(options)
    model = _model(torch.float32, hidden=options.pop("hidden", (16, 16)))
    with pytest.raises(ValueError, match=message):
        _semi(model, **options)


class _Repeated(nn.Module):
    """A model that applies one hidden layer under each of several names."""

    def __init__(self, names):
        super().__init__()
        self.first, self.names, self.inner = nn.Linear(20, 16), names, nn.Module()
        hidden = nn.Linear(16, 16)
        for name in names:
            self.set_submodule(name, hidden)
        self.last = nn.Linear(16, 5)

    def forward(self, images):
        output = torch.tanh(self.first(images))
        for name in self.names:
            output = torch.tanh(self.get_submodule(name)(output))
        return self.last(output)


@pytest.mark.parametrize("names", [("one", "two"), ("inner.one", "two", "three"), ("one", "inner.two")])
@pytest.mark.parametrize("members", ["contiguous", "shuffled"])
def test_a_layer_with_several_names_is_one_layer(names, members):
    model = _Repeated(names).double()
    expected = copy.deepcopy(model)
    update = _semi(model, members=members)
    layers = [model.get_submodule(name) for name in names]
    assert isinstance(layers[0], updates.SemiSynchronousLinear)
    assert all(layer is layers[0] for layer in layers)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.125, momentum=0.9)
    other = goodinit.semi_synchronous(expected, optimizer, members=members, generator=seeded())
    for step in range(9):
        _train([(model, update), (expected, other)], 1, first=step)
        other.zero_grad()
    assert all(map(torch.allclose, model.parameters(), expected.parameters()))


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (lambda model: setattr(model[3], "weight", model[0].weight), "layer 0 shares its weight with 3"),
        (lambda model: setattr(model[6], "bias", model[3].bias), "layer 3 shares its bias with 6"),
        (
            lambda model: setattr(model, "table", _tied_embedding(model[3].weight)),
            "layer 3 shares its weight with table",
        ),
        (
            lambda model: model.register_parameter("scale", model[3].bias),
            "layer 3 shares its bias with the model itself",
        ),
    ],
)
def test_a_layer_that_shares_a_parameter_with_another_module_is_rejected(share, message):
    model = nn.Sequential(nn.Linear(16, 16), *(nn.Tanh() for _ in range(2)), nn.Linear(16, 16), nn.Tanh(), nn.Tanh())
    model.append(nn.Linear(16, 16))
    share(model)
    with pytest.raises(ValueError, match=f"{message}: give each layer parameters of its own") as error:
        _semi(model)
    assert "\n" not in str(error.value)
    assert not any(isinstance(module, updates.SemiSynchronousLinear) for module in model.modules())


def _tied_embedding(weight):
    table = nn.Embedding(16, 16)
    table.weight = weight
    return table


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rmsprop", "clipped"])
def test_other_optimizers_are_rejected(optimizer):
    model = _model(torch.float32)
    if optimizer == "clipped":
        unsuitable = optimizers.momentum(model.named_parameters(), lr=0.1, clip_norm=1.0)
    else:
        unsuitable = getattr(optimizers, optimizer)(model.named_parameters(), lr=0.1)
    with pytest.raises(ValueError, match="works with the optimizers sgd, momentum and nesterov"):
        updates.semi_synchronous(model, unsuitable, None)
