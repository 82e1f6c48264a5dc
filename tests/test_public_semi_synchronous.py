"""Semi-synchronous updates with torch.optim.SGD, against a slow transcription, on plain PyTorch code."""

import copy
import inspect
import itertools
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

import goodinit

VARIANTS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.5},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "weight decay": {"weight_decay": 0.1},
    "weight decay and momentum": {"momentum": 0.9, "weight_decay": 0.1},
    "weight decay and nesterov": {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    "maximize": {"momentum": 0.5, "dampening": 0.1, "weight_decay": 0.1, "maximize": True},
    "foreach": {"momentum": 0.9, "weight_decay": 0.1, "foreach": True},
    "for loop": {"momentum": 0.9, "weight_decay": 0.1, "foreach": False},
    "fused": {"momentum": 0.9, "weight_decay": 0.1, "fused": True},
    "fused nesterov": {"momentum": 0.9, "nesterov": True, "fused": True},
    "learning rate in a tensor": {"momentum": 0.9, "lr": torch.tensor(0.05, dtype=torch.float64)},
}
BOTH = pytest.mark.parametrize("sparse", [False, True], ids=["whole gradients", "sparse gradients"])


def _net(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(6, 9), nn.Tanh(), nn.BatchNorm1d(9), nn.Linear(9, 16, bias=False), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(16, 5)).to(dtype)


def _batch(step, dtype=torch.float64, size=8):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(size, 6, dtype=dtype, generator=generator)
    return images, torch.randint(5, (size,), generator=generator)


def _loss(net, step, dtype=torch.float64):
    images, labels = _batch(step, dtype)
    return functional.cross_entropy(net(images), labels)


class _Transcription:
    """Equations 5 and 6 with the options of torch.optim.SGD, neuron by neuron; {parameter: number of groups}."""

    def __init__(self, net, counts, lr=0.05, momentum=0.0, dampening=0.0, weight_decay=0.0, **flags):
        self.parameters, self.counts, self.lr = list(net.parameters()), counts, float(lr)
        self.momentum, self.dampening, self.decay = momentum, dampening, weight_decay
        self.sign = -1 if flags.get("maximize") else 1
        self.nesterov = flags.get("nesterov", False)
        self.moved, self.updates = {}, 0

    @torch.no_grad()
    def step(self):
        for parameter in self.parameters:
            if parameter.grad is None:
                continue
            count = self.counts.get(parameter, 1)
            first = parameter not in self.moved
            moved = self.moved.setdefault(parameter, torch.zeros_like(parameter))
            for neuron in range(len(parameter)):
                active = neuron // (len(parameter) // count) == self.updates % count
                gradient = active * (self.sign * parameter.grad[neuron] + self.decay * parameter[neuron])
                share = 1 if first else 1 - self.dampening
                moved[neuron] = self.momentum * moved[neuron] + share * gradient
                nesterov = gradient + self.momentum * moved[neuron]
                parameter[neuron] -= self.lr * (nesterov if self.nesterov else moved[neuron])
        self.updates += 1

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None


def _groups(net, layers):
    """Return {parameter: number of groups} of the layers with these names."""
    found = {}
    for name in layers:
        layer = net.get_submodule(name)
        found |= {one: math.isqrt(layer.out_features) for one in layer.parameters(recurse=False)}
    return found


def _same(net, other, within=1e-12):
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=within)


@BOTH
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_sgd_is_the_slow_transcription(variant, sparse):
    options = {"lr": 0.05} | VARIANTS[variant]
    net, slow = _net(), _net()
    start = copy.deepcopy(net)
    updates = goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), **options), sparse=sparse)
    transcription = _Transcription(slow, _groups(slow, ("0", "3")), **options)
    for step in range(13):  # of 3 and of 4 groups: every combination
        for model, update in ((net, updates), (slow, transcription)):
            _loss(model, step).backward()
            update.step()
            update.zero_grad()
    _same(net, slow)
    assert all(not torch.equal(*pair) for pair in zip(net.parameters(), start.parameters(), strict=True))


@BOTH
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_group_is_torch_s_own_step(variant, sparse):
    options = {"lr": 0.05} | VARIANTS[variant]
    net, plain = _net(), _net()
    update = goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), **options), groups=1, sparse=sparse)
    optimizer = torch.optim.SGD(plain.parameters(), **options)
    for step in range(5):
        for model, stepper in ((net, update), (plain, optimizer)):
            _loss(model, step).backward()
            stepper.step()
            stepper.zero_grad()
    _same(net, plain)
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):  # also the momentum that is saved
        assert update.optimizer.state[mine].keys() == optimizer.state[theirs].keys()


@BOTH
def test_neurons_out_of_turn_without_momentum_stay_as_they_are_to_the_bit(sparse):
    net = _net(torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.3)
    update = goodinit.semi_synchronous(net, optimizer, sparse=sparse)
    for step in range(6):
        before = net[0].weight.detach().clone()
        _loss(net, step, torch.float32).backward()
        update.step()
        update.zero_grad()
        changed = (net[0].weight != before).any(1)
        assert changed.nonzero().flatten().tolist() == [3 * (step % 3) + i for i in range(3)]


OTHERS = [
    one
    for _, one in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(one, torch.optim.Optimizer) and one not in (torch.optim.SGD, torch.optim.Optimizer)
]


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.__name__)
def test_other_optimizers_are_refused_with_the_reason(kind):
    net = _net()
    weights = [parameter for parameter in net.parameters() if parameter.ndim == 2]
    with pytest.raises(ValueError, match=f"{kind.__name__} cannot serve.*running mean of squared gradients") as error:
        goodinit.semi_synchronous(net, kind(weights, lr=0.1))
    assert len(str(error.value)) <= 300


@BOTH
def test_gradients_may_be_accumulated(sparse):
    net, slow = _net(), _net()
    update = goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
    transcription = _Transcription(slow, _groups(slow, ("0", "3")), momentum=0.9)
    for step in range(8):
        for model, stepper in ((net, update), (slow, transcription)):
            for part in range(3):
                _loss(model, 10 * step + part).backward()
            stepper.step()
            stepper.zero_grad()
    _same(net, slow)


@BOTH
def test_a_closure_is_called_once_and_its_loss_returned(sparse):
    net, other = _net(), _net()
    updates = [
        goodinit.semi_synchronous(one, torch.optim.SGD(one.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
        for one in (net, other)
    ]
    calls = []

    def closure():
        updates[0].zero_grad()
        loss = _loss(net, len(calls))
        loss.backward()
        calls.append(loss.item())
        return loss

    losses = [updates[0].step(closure).item() for _ in range(5)]
    assert losses == calls
    for step in range(5):
        updates[1].zero_grad()
        _loss(other, step).backward()
        updates[1].step()
    _same(net, other, 0)


@BOTH
def test_schedulers_of_the_optimizer_set_the_learning_rate(sparse):
    net, slow = _net(), _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.08, momentum=0.9)
    update = goodinit.semi_synchronous(net, optimizer, sparse=sparse)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)  # would warn if no step had been counted
    transcription = _Transcription(slow, _groups(slow, ("0", "3")), lr=0.08, momentum=0.9)
    for step in range(8):
        transcription.lr = 0.08 * 0.5 ** (step // 2)
        for model, stepper in ((net, update), (slow, transcription)):
            _loss(model, step).backward()
            stepper.step()
            stepper.zero_grad()
        scheduler.step()
    assert update.param_groups[0]["lr"] == 0.08 / 16
    _same(net, slow)


@BOTH
def test_a_gradient_scaler_unscales_clips_and_skips(sparse):
    """A step that overflowed is skipped, and the turn is not passed on."""
    net, plain = _net(torch.float32), _net(torch.float32)
    made = [
        goodinit.semi_synchronous(one, torch.optim.SGD(one.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
        for one in (net, plain)
    ]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(7):
        loss = _loss(net, step, torch.float32)
        scaler.scale(loss * float("inf") if step == 3 else loss).backward()
        scaler.unscale_(made[0])
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        scaler.step(made[0])
        scaler.update()
        made[0].zero_grad()
        if step != 3:
            _loss(plain, step, torch.float32).backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
            made[1].step()
            made[1].zero_grad()
        else:
            plain(_batch(3, torch.float32)[0])  # batch normalization saw the batch
    _same(net, plain, 1e-6)


@pytest.mark.parametrize(("before", "after"), list(itertools.product([False, True], repeat=2)))
def test_state_is_saved_and_loaded_in_the_middle_of_a_round(before, after, tmp_path):
    def build(seed, sparse):
        net = _net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        return net, goodinit.semi_synchronous(net, optimizer, members="shuffled", generator=seed, sparse=sparse)

    def train(net, update, steps):
        for step in steps:
            _loss(net, step).backward()
            update.step()
            update.zero_grad()

    net, update = build(1, before)
    train(net, update, range(5))
    torch.save({"net": net.state_dict(), "update": update.state_dict()}, tmp_path / "state.pt")
    train(net, update, range(5, 12))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["net"].keys() == _net().state_dict().keys()
    again, resumed = build(2, after)
    again.load_state_dict(state["net"])
    resumed.load_state_dict(state["update"])
    train(again, resumed, range(5, 12))
    _same(net, again)


def test_the_state_of_something_else_is_refused():
    net = _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    update = goodinit.semi_synchronous(net, optimizer, layers=["0"])
    other = goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.05))
    for state, message in (
        (optimizer.state_dict(), "the state has no layer '0'"),
        (other.state_dict(), "the state has a layer '3'"),
        ({"layers": {"0": {"groups": torch.arange(4).view(2, 2), "turn": 0}}}, "another number of neurons"),
    ):
        with pytest.raises(ValueError, match=message):
            update.load_state_dict(state)


class _Attention(nn.Module):
    """A transformer's layer on sequences, whose first linear layer is used through functional attention."""

    def __init__(self):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(16, 2, 25, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, images):
        tokens = functional.pad(images, (0, 10)).view(-1, 1, 16) * torch.arange(1, 4, dtype=images.dtype)[:, None]
        return self.head(self.body(tokens).mean(1))


class _Tied(nn.Module):
    """An auto-encoder with one weight, used by two layers and an embedding."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(9, 9), nn.Linear(9, 9)
        self.second.weight = self.first.weight
        self.embed = nn.Embedding(9, 9)
        self.embed.weight = self.first.weight
        self.head = nn.Linear(9, 5)

    def forward(self, images):
        words = self.embed(images.argmax(1) + 1)
        return self.head(self.second(torch.tanh(self.first(functional.pad(images, (0, 3)) + words))))


@BOTH
@pytest.mark.parametrize(
    ("kind", "layers"),
    [(_Attention, ("body.self_attn.out_proj", "body.linear1", "body.linear2")), (_Tied, ("first", "second"))],
)
def test_any_net_is_the_slow_transcription(kind, layers, sparse):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = kind().double()
    slow = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    update = goodinit.semi_synchronous(net, optimizer, sparse=sparse)
    assert list(update.state_dict()["layers"]) == [one for one in layers if one != "second"]  # its weight is first's
    transcription = _Transcription(slow, _groups(slow, layers), momentum=0.9, weight_decay=0.01)
    for step in range(11):
        for model, stepper in ((net, update), (slow, transcription)):
            _loss(model, step).backward()
            stepper.step()
            stepper.zero_grad()
    _same(net, slow)


@BOTH
def test_frozen_parameters_stay(sparse):
    net = _net()
    net[0].weight.requires_grad_(False)
    net[3].requires_grad_(False)
    trained = [one for one in net.parameters() if one.requires_grad]
    update = goodinit.semi_synchronous(net, torch.optim.SGD(trained, lr=0.05, momentum=0.9), sparse=sparse)
    before = copy.deepcopy(net)
    for step in range(4):
        _loss(net, step).backward()
        update.step()
        update.zero_grad()
    assert torch.equal(net[0].weight, before[0].weight)
    assert torch.equal(net[3].weight, before[3].weight)
    assert (net[0].bias != before[0].bias).all()
    net[3].requires_grad_(True)  # and later thawed
    update.optimizer.add_param_group({"params": net[3].parameters()})
    _loss(net, 4).backward()
    update.step()
    assert (net[3].weight != before[3].weight).any(1).tolist() == [True] * 4 + [False] * 12


def test_low_precision_and_copies_of_a_net_with_sparse_gradients():
    net = _net(torch.float32)
    update = goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.05), sparse=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(net, 0, torch.float32)
    loss.backward()
    assert net[0].weight.grad.is_sparse
    assert net[0].weight.grad.dtype == torch.float32
    update.step()
    images = _batch(0, torch.float32)[0]
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(images), net(images))


@pytest.mark.parametrize("parametrize", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.spectral_norm])
def test_computed_weights_are_refused_by_name(parametrize):
    net = _net()
    parametrize(net[0])
    with pytest.raises(ValueError, match="layer 0: its weight is computed from other parameters"):
        goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["fc1"]}, "no linear layer 'fc1'; the model has 0, 3, 5"),
        ({"layers": ["1"]}, "no linear layer '1'"),
        ({"layers": []}, "no linear layer but the last"),
        ({"layers": ["5"]}, "layer 5 has 5 neurons, which is no square: the nearest are 4 and 9"),
        ({"groups": 2}, "groups: 2 does not divide the 9 neurons of layer 0"),
        ({"members": "random"}, "'random': allowed: contiguous, shuffled"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    net = _net()
    with pytest.raises(ValueError, match=message):
        goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.1), **options)


def test_what_the_optimizer_does_not_have_is_refused():
    net = _net()
    with pytest.raises(ValueError, match="layer 0: its bias is not in the optimizer"):
        goodinit.semi_synchronous(net, torch.optim.SGD([net[0].weight], lr=0.1), layers=["0"])
    with pytest.raises(ValueError, match="differentiable"):
        goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.1, differentiable=True))


def test_a_step_of_the_optimizer_itself_is_refused():
    net = _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    update = goodinit.semi_synchronous(net, optimizer)
    _loss(net, 0).backward()
    with pytest.raises(RuntimeError, match=r"step\(\) what it returned, not the optimizer"):
        optimizer.step()
    update.step()


def test_it_prints_its_groups():
    net = _net()
    update = goodinit.semi_synchronous(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert repr(update) == "SemiSynchronous(0: 3 groups of 3, 3: 4 groups of 4; SGD)"
