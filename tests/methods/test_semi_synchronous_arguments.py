"""The arguments of `semi_synchronous`: numbers and names of any usual type, and clear errors for others."""

import numpy as np
import pytest
import torch
from torch import nn

from goodinit import semi_synchronous
from goodinit.errors import InputError


def _model():
    names = {"fc1": nn.Linear(6, 16), "act": nn.ReLU(), "fc2": nn.Linear(16, 4)}
    model = nn.Sequential()
    for name, module in names.items():
        model.add_module(name, module)
    return model


def _update(model=None, **options):
    model = _model() if model is None else model
    return semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def _groups(update):
    return {name: layer["groups"].tolist() for name, layer in update.state_dict()["layers"].items()}


def test_layers_may_be_one_name():
    assert _groups(_update(layers="fc2")) == _groups(_update(layers=["fc2"]))
    with pytest.raises(InputError, match="layers: no linear layer 'fc3'; the model has fc1, fc2"):
        _update(layers="fc3")


@pytest.mark.parametrize("groups", [8.0, np.int64(8), np.float32(8), torch.tensor(8)])
def test_the_number_of_groups_may_be_of_any_type(groups):
    assert _groups(_update(groups=groups)) == _groups(_update(groups=8))


@pytest.mark.parametrize("seed", [3.0, np.int64(3), torch.tensor(3)])
def test_the_seed_may_be_of_any_type(seed):
    expected = _groups(_update(members="shuffled", seed=3))
    assert _groups(_update(members="shuffled", seed=seed)) == expected
    assert expected != _groups(_update(members="shuffled", seed=4))
    assert expected == _groups(_update(members="shuffled", generator=torch.Generator().manual_seed(3)))


def test_a_seed_and_a_generator_cannot_be_combined():
    with pytest.raises(InputError, match=r"^semi_synchronous: give either seed or generator, not both"):
        _update(members="shuffled", seed=3, generator=torch.Generator())


def test_without_a_seed_the_default_generator_shuffles():
    groups = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        groups += [_groups(_update(members="shuffled")), _groups(_update(members="shuffled"))]
    assert groups[:2] == groups[2:4] != groups[4:]
    assert groups[0] != groups[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *[
            ({"groups": groups}, "groups must be a whole number, not ")
            for groups in ("8", 7.5, {"0": 8}, [8], True, float("nan"))
        ],
        ({"layers": 3}, "layers must be a list of names of layers, or one name, not 3"),
        ({"seed": "a"}, "seed must be a whole number of 64 bits, not 'a'"),
        ({"seed": 1.5}, "seed must be a whole number of 64 bits, not 1.5"),
        ({"seed": 2**64}, "seed must be a whole number of 64 bits, not 1844674"),
        ({"generator": 3}, "generator must be a torch.Generator or None, not 3"),
    ],
    ids=str,
)
def test_arguments_of_other_types_are_rejected_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as error:
        _update(**options)
    assert str(error.value).startswith("semi_synchronous: ")
    assert "..." not in str(error.value)


def test_the_model_must_be_a_module():
    model = _model()
    for other in (model.parameters(), list(model.parameters()), model.state_dict(), None):
        with pytest.raises(InputError, match=f"model must be a torch.nn.Module, not {type(other).__name__}"):
            semi_synchronous(other, torch.optim.SGD(model.parameters(), lr=0.1))


class _Distributed(nn.Module):
    """A stand-in for DistributedDataParallel, which needs a process group."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def test_sparse_gradients_of_a_distributed_model_are_rejected(monkeypatch):
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", _Distributed)
    for model in (_Distributed(_model()), torch.compile(_Distributed(_model()), backend="eager")):
        with pytest.raises(InputError, match="DistributedDataParallel takes dense gradients: use sparse=False"):
            _update(model, sparse=True)


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, _Distributed, lambda model: torch.compile(_Distributed(model), backend="eager")]
)
def test_the_layers_of_a_wrapped_model_have_the_names_of_the_plain_one(wrap, monkeypatch):
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", _Distributed)
    wrapped, plain = _update(wrap(_model())), _update(layers="fc1")
    assert _groups(wrapped) == _groups(plain)
    plain.load_state_dict(wrapped.state_dict())
    assert _groups(_update(wrap(_model()), layers="fc2")) == _groups(_update(layers="fc2"))


def test_distributed_tensors_are_rejected():
    model = _model()
    model.fc1.weight.device_mesh = None  # as of a torch.distributed.tensor.DTensor
    with pytest.raises(InputError, match="layer fc1: its weight is a distributed tensor, such as that of FSDP"):
        _update(model)


@pytest.mark.parametrize(
    "state",
    [torch.optim.SGD(_model().parameters(), lr=0.1).state_dict(), {}, None, [1], {"optimizer": 1, "layers": {}}],
)
def test_the_state_of_another_object_is_rejected(state):
    with pytest.raises(InputError, match=r"must be one that SemiSynchronous.state_dict\(\) returned"):
        _update().load_state_dict(state)
