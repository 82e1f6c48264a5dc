"""Semi-synchronous updates with torch.optim.SGD, compared with a slow transcription."""

import copy
import pickle

import pytest
import torch
from semi_synchronous_transcription import (
    BOTH,
    Transcription,
    assert_same,
    groups_of,
    loss_of,
    new_batch,
    new_model,
    train,
)
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


@BOTH
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_sgd_equals_the_slow_transcription(variant, sparse):
    options = {"lr": 0.05} | VARIANTS[variant]
    model, slow = new_model(), new_model()
    start = copy.deepcopy(model)
    updates = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), **options), sparse=sparse)
    transcription = Transcription(slow, groups_of(slow, ("0", "3")), **options)
    train([(model, updates), (slow, transcription)], range(13))  # 3 and 4 groups: every combination
    assert_same(model, slow)
    assert all(not torch.equal(*pair) for pair in zip(model.parameters(), start.parameters(), strict=True))


@BOTH
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_group_is_the_step_of_torch(variant, sparse):
    options = {"lr": 0.05} | VARIANTS[variant]
    model, plain = new_model(), new_model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), **options), groups=1, sparse=sparse)
    optimizer = torch.optim.SGD(plain.parameters(), **options)
    train([(model, update), (plain, optimizer)], range(5))
    assert_same(model, plain)
    for updated, expected in zip(model.parameters(), plain.parameters(), strict=True):  # so checkpoints are the same
        assert update.optimizer.state[updated].keys() == optimizer.state[expected].keys()


@BOTH
def test_without_momentum_inactive_neurons_do_not_change(sparse):
    model = new_model(torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.3)
    update = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    for step in range(6):
        before = model[0].weight.detach().clone()
        loss_of(model, step, torch.float32).backward()
        update.step()
        update.zero_grad()
        changed = (model[0].weight != before).any(1)
        assert changed.nonzero().flatten().tolist() == [3 * (step % 3) + i for i in range(3)]


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
    transcription = Transcription(slow, groups_of(slow, layers), momentum=0.9, weight_decay=0.01)
    train([(model, update), (slow, transcription)], range(11))
    assert_same(model, slow)


@BOTH
def test_frozen_parameters_do_not_change(sparse):
    model = new_model()
    model[0].weight.requires_grad_(False)
    model[3].requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9)
    update = goodinit.semi_synchronous(model, optimizer, layers=["0", "3"], sparse=sparse)
    before = copy.deepcopy(model)
    train([(model, update)], range(4))
    assert torch.equal(model[0].weight, before[0].weight)
    assert torch.equal(model[3].weight, before[3].weight)
    assert (model[0].bias != before[0].bias).all()
    model[3].requires_grad_(True)  # later unfrozen
    update.optimizer.add_param_group({"params": model[3].parameters()})
    loss_of(model, 4).backward()
    update.step()
    assert (model[3].weight != before[3].weight).any(1).tolist() == [True] * 4 + [False] * 12


def test_autocast_and_copies_with_sparse_gradients():
    model = new_model(torch.float32)
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05), sparse=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, 0, torch.float32)
    loss.backward()
    assert model[0].weight.grad.is_sparse
    assert model[0].weight.grad.dtype == torch.float32
    update.step()
    update.zero_grad()
    images = new_batch(0, torch.float32)[0]
    for model_copy in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(model_copy[0]) is nn.Linear
        assert vars(model_copy[0]).keys() == vars(nn.Linear(1, 1)).keys()
        assert torch.equal(model_copy(images), model(images))
        loss_of(model_copy, 0, torch.float32).backward()
        assert model_copy[0].weight.grad.all()
