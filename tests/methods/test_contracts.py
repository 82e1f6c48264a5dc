"""Properties that optimizers, updates and curricula declare."""

import pytest
import torch
from torch import nn

from goodinit.methods import curricula, optimizers, updates
from goodinit.methods.contracts import Stackable, UpdateRule

LINEAR = {"sgd", "momentum", "nesterov"}


def _parameters():
    return nn.Linear(2, 2).named_parameters()


@pytest.mark.parametrize("name", optimizers.__all__)
def test_optimizers_declare_their_update_rule(name):
    optimizer = getattr(optimizers, name)(_parameters(), lr=0.1)
    assert isinstance(optimizer, UpdateRule)
    assert optimizer.linear == (name in LINEAR)
    assert optimizer.elementwise
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert {len(state) for state in optimizer.state.values()} == ({optimizer.slots} if optimizer.slots else set())


def test_clipping_is_not_elementwise_and_other_optimizers_declare_nothing():
    assert not optimizers.momentum(_parameters(), lr=0.1, clip_norm=1.0).elementwise
    assert not isinstance(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), UpdateRule)


def test_synchronous_updates_of_all_examples_are_stackable():
    functions = [getattr(module, name) for module in (updates, curricula) for name in module.__all__]
    stackable = {function.__name__ for function in functions if isinstance(function, Stackable) and function.stackable}
    assert stackable == {"synchronous", "full"}
