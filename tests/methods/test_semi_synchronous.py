"""Semi-synchronous updates with torch.optim.SGD, compared with a slow transcription, in plain PyTorch code."""

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
    "not foreach": {"momentum": 0.9, "weight_decay": 0.1, "foreach": False},
    "fused": {"momentum": 0.9, "weight_decay": 0.1, "fused": True},
    "fused nesterov": {"momentum": 0.9, "nesterov": True, "fused": True},
    "learning rate as a tensor": {"momentum": 0.9, "lr": torch.tensor(0.05, dtype=torch.float64)},
}
BOTH = pytest.mark.parametrize("sparse", [False, True], ids=["dense gradients", "sparse gradients"])


def _model(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(6, 9), nn.Tanh(), nn.BatchNorm1d(9), nn.Linear(9, 16, bias=False), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(16, 5)).to(dtype)


def _batch(step, dtype=torch.float64, size=8):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(size, 6, dtype=dtype, generator=generator)
    return images, torch.randint(5, (size,), generator=generator)


def _loss(model, step, dtype=torch.float64):
    images, labels = _batch(step, dtype)
    return functional.cross_entropy(model(images), labels)


class _Transcription:
    """Equations 5 and 6 with the options of torch.optim.SGD, neuron by neuron; counts: {parameter: groups}."""

    def __init__(self, model, counts, lr=0.05, momentum=0.0, dampening=0.0, weight_decay=0.0, **flags):
        self.parameters, self.counts, self.lr = list(model.parameters()), counts, float(lr)
        self.momentum, self.dampening, self.decay = momentum, dampening, weight_decay
        self.sign = -1 if flags.get("maximize") else 1
        self.nesterov = flags.get("nesterov", False)
        self.velocities, self.updates = {}, 0

    @torch.no_grad()
    def step(self):
        for parameter in self.parameters:
            if parameter.grad is None:
                continue
            count = self.counts.get(parameter, 1)
            first = parameter not in self.velocities
            velocity = self.velocities.setdefault(parameter, torch.zeros_like(parameter))
            for neuron in range(len(parameter)):
                active = neuron // (len(parameter) // count) == self.updates % count
                gradient = active * (self.sign * parameter.grad[neuron] + self.decay * parameter[neuron])
                scale = 1 if first else 1 - self.dampening
                velocity[neuron] = self.momentum * velocity[neuron] + scale * gradient
                nesterov = gradient + self.momentum * velocity[neuron]
                parameter[neuron] -= self.lr * (nesterov if self.nesterov else velocity[neuron])
        self.updates += 1

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None


def _groups(model, layers):
    """Return {parameter: number of groups} of the layers with these names."""
    counts = {}
    for name in layers:
        layer = model.get_submodule(name)
        counts |= {parameter: math.isqrt(layer.out_features) for parameter in layer.parameters(recurse=False)}
    return counts


def _train(pairs, steps):
    """Train pairs of model and update on the same batches."""
    for step in steps:
        for model, update in pairs:
            _loss(model, step).backward()
            update.step()
            update.zero_grad()


def _assert_same(model, expected, within=1e-12):
    for parameters in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(*parameters, rtol=0, atol=within)


@BOTH
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_sgd_equals_the_slow_transcription(variant, sparse):
    options = {"lr": 0.05} | VARIANTS[variant]
    model, slow = _model(), _model()
    start = copy.deepcopy(model)
    updates = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), **options), sparse=sparse)
    transcription = _Transcription(slow, _groups(slow, ("0", "3")), **options)
    _train([(model, updates), (slow, transcription)], range(13))  # 3 and 4 groups: every combination
    _assert_same(model, slow)
    assert all(not torch.equal(*pair) for pair in zip(model.parameters(), start.parameters(), strict=True))


@BOTH
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_group_is_the_step_of_torch(variant, sparse):
    options = {"lr": 0.05} | VARIANTS[variant]
    model, plain = _model(), _model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), **options), groups=1, sparse=sparse)
    optimizer = torch.optim.SGD(plain.parameters(), **options)
    _train([(model, update), (plain, optimizer)], range(5))
    _assert_same(model, plain)
    for updated, expected in zip(model.parameters(), plain.parameters(), strict=True):  # so checkpoints are the same
        assert update.optimizer.state[updated].keys() == optimizer.state[expected].keys()


@BOTH
def test_without_momentum_inactive_neurons_do_not_change(sparse):
    model = _model(torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.3)
    update = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    for step in range(6):
        before = model[0].weight.detach().clone()
        _loss(model, step, torch.float32).backward()
        update.step()
        update.zero_grad()
        changed = (model[0].weight != before).any(1)
        assert changed.nonzero().flatten().tolist() == [3 * (step % 3) + i for i in range(3)]


OTHER_OPTIMIZERS = [
    kind
    for _, kind in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(kind, torch.optim.Optimizer) and kind not in (torch.optim.SGD, torch.optim.Optimizer)
]


@pytest.mark.parametrize("kind", OTHER_OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_other_optimizers_are_rejected_with_the_reason(kind):
    model = _model()
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    message = f"{kind.__name__} is not supported.*running mean of squared gradients"
    with pytest.raises(ValueError, match=message) as error:
        goodinit.semi_synchronous(model, kind(weights, lr=0.1))
    assert len(str(error.value)) <= 300


@BOTH
def test_gradients_can_be_accumulated(sparse):
    model, slow = _model(), _model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
    transcription = _Transcription(slow, _groups(slow, ("0", "3")), momentum=0.9)
    for step in range(8):
        for trained, stepper in ((model, update), (slow, transcription)):
            for micro_batch in range(3):
                _loss(trained, 10 * step + micro_batch).backward()
            stepper.step()
            stepper.zero_grad()
    _assert_same(model, slow)


@BOTH
def test_a_closure_is_called_once_and_its_loss_returned(sparse):
    model, other = _model(), _model()
    updates = [
        goodinit.semi_synchronous(each, torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
        for each in (model, other)
    ]
    calls = []

    def closure():
        updates[0].zero_grad()
        loss = _loss(model, len(calls))
        loss.backward()
        calls.append(loss.item())
        return loss

    losses = [updates[0].step(closure).item() for _ in range(5)]
    assert losses == calls
    for step in range(5):
        updates[1].zero_grad()
        _loss(other, step).backward()
        updates[1].step()
    _assert_same(model, other, 0)


@BOTH
def test_learning_rate_schedulers_apply(sparse):
    model, slow = _model(), _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.08, momentum=0.9)
    update = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)  # warns if it sees no step of the optimizer
    transcription = _Transcription(slow, _groups(slow, ("0", "3")), lr=0.08, momentum=0.9)
    for step in range(8):
        transcription.lr = 0.08 * 0.5 ** (step // 2)
        _train([(model, update), (slow, transcription)], [step])
        scheduler.step()
    assert update.param_groups[0]["lr"] == 0.08 / 16
    _assert_same(model, slow)


@BOTH
def test_a_gradient_scaler_unscales_gradients_and_skips_steps(sparse):
    """A skipped step does not activate the next group."""
    model, plain = _model(torch.float32), _model(torch.float32)
    updates = [
        goodinit.semi_synchronous(each, torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
        for each in (model, plain)
    ]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(7):
        loss = _loss(model, step, torch.float32)
        scaler.scale(loss * float("inf") if step == 3 else loss).backward()
        scaler.unscale_(updates[0])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(updates[0])
        scaler.update()
        updates[0].zero_grad()
        if step != 3:
            _loss(plain, step, torch.float32).backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
            updates[1].step()
            updates[1].zero_grad()
        else:
            plain(_batch(3, torch.float32)[0])  # updates the statistics of batch normalization
    _assert_same(model, plain, 1e-6)


@pytest.mark.parametrize(("before", "after"), list(itertools.product([False, True], repeat=2)))
def test_state_restores_the_active_groups(before, after, tmp_path):
    def build(seed, sparse):
        model = _model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return model, goodinit.semi_synchronous(model, optimizer, members="shuffled", generator=seed, sparse=sparse)

    model, update = build(1, before)
    _train([(model, update)], range(5))
    torch.save({"model": model.state_dict(), "update": update.state_dict()}, tmp_path / "state.pt")
    _train([(model, update)], range(5, 12))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["model"].keys() == _model().state_dict().keys()
    resumed, resumed_update = build(2, after)
    resumed.load_state_dict(state["model"])
    resumed_update.load_state_dict(state["update"])
    _train([(resumed, resumed_update)], range(5, 12))
    _assert_same(model, resumed)


def test_a_state_of_other_layers_is_rejected():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    update = goodinit.semi_synchronous(model, optimizer, layers=["0"])
    other = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05))
    for state, message in (
        (optimizer.state_dict(), "the state has no layer '0'"),
        (other.state_dict(), "the state has a layer '3', which is not updated here"),
        ({"layers": {"0": {"groups": torch.arange(4).view(2, 2), "active_group": 0}}}, "another number of neurons"),
    ):
        with pytest.raises(ValueError, match=message):
            update.load_state_dict(state)


class _Attention(nn.Module):
    """A transformer layer, which uses the weight of its first linear layer through functional attention."""

    def __init__(self):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(16, 2, 25, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, images):
        tokens = functional.pad(images, (0, 10)).view(-1, 1, 16) * torch.arange(1, 4, dtype=images.dtype)[:, None]
        return self.head(self.body(tokens).mean(1))


class _Tied(nn.Module):
    """Two linear layers and an embedding that share one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(9, 9), nn.Linear(9, 9)
        self.second.weight = self.first.weight
        self.embed = nn.Embedding(9, 9)
        self.embed.weight = self.first.weight
        self.head = nn.Linear(9, 5)

    def forward(self, images):
        embedded = self.embed(images.argmax(1) + 1)
        return self.head(self.second(torch.tanh(self.first(functional.pad(images, (0, 3)) + embedded))))


@BOTH
@pytest.mark.parametrize(
    ("kind", "layers"),
    [(_Attention, ("body.self_attn.out_proj", "body.linear1", "body.linear2")), (_Tied, ("first", "second"))],
)
def test_other_architectures_equal_the_slow_transcription(kind, layers, sparse):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind().double()
    slow = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    update = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    assert list(update.state_dict()["layers"]) == [name for name in layers if name != "second"]  # it shares a weight
    transcription = _Transcription(slow, _groups(slow, layers), momentum=0.9, weight_decay=0.01)
    _train([(model, update), (slow, transcription)], range(11))
    _assert_same(model, slow)


@BOTH
def test_frozen_parameters_do_not_change(sparse):
    model = _model()
    model[0].weight.requires_grad_(False)
    model[3].requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    update = goodinit.semi_synchronous(model, torch.optim.SGD(trained, lr=0.05, momentum=0.9), sparse=sparse)
    before = copy.deepcopy(model)
    _train([(model, update)], range(4))
    assert torch.equal(model[0].weight, before[0].weight)
    assert torch.equal(model[3].weight, before[3].weight)
    assert (model[0].bias != before[0].bias).all()
    model[3].requires_grad_(True)  # later unfrozen
    update.optimizer.add_param_group({"params": model[3].parameters()})
    _loss(model, 4).backward()
    update.step()
    assert (model[3].weight != before[3].weight).any(1).tolist() == [True] * 4 + [False] * 12


def test_autocast_and_copies_with_sparse_gradients():
    model = _model(torch.float32)
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05), sparse=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(model, 0, torch.float32)
    loss.backward()
    assert model[0].weight.grad.is_sparse
    assert model[0].weight.grad.dtype == torch.float32
    update.step()
    images = _batch(0, torch.float32)[0]
    for model_copy in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(model_copy(images), model(images))


@pytest.mark.parametrize("parametrize", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.spectral_norm])
def test_computed_weights_are_rejected(parametrize):
    model = _model()
    parametrize(model[0])
    with pytest.raises(ValueError, match="layer 0: its weight is computed from other parameters"):
        goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_parameters_that_are_not_in_the_optimizer_are_rejected():
    model = _model()
    with pytest.raises(ValueError, match="layer 0: its bias is not in the optimizer"):
        goodinit.semi_synchronous(model, torch.optim.SGD([model[0].weight], lr=0.1), layers=["0"])
    with pytest.raises(ValueError, match="differentiable"):
        goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1, differentiable=True))


def test_a_step_of_the_wrapped_optimizer_is_rejected():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    update = goodinit.semi_synchronous(model, optimizer)
    _loss(model, 0).backward()
    with pytest.raises(RuntimeError, match=r"call step\(\) of the returned object, not of the optimizer"):
        optimizer.step()
    update.step()


def test_representation_shows_the_groups():
    model = _model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert repr(update) == "SemiSynchronous(0: 3 groups of 3, 3: 4 groups of 4; SGD)"
