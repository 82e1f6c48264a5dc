"""Semi-synchronous updates that are set up again, as when the cell of a notebook is run again, removed or copied."""

import copy
import itertools
import pickle

import pytest
import torch
from semi_synchronous_transcription import BOTH, Transcription, assert_same, groups_of, loss_of, new_model, train
from torch import nn

import goodinit


def _sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


@pytest.mark.parametrize(("first", "second"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("new_optimizer", [False, True], ids=["same optimizer", "new optimizer"])
def test_a_second_call_replaces_the_first(first, second, new_optimizer):
    """The groups start again; an optimizer that is used again keeps its momentum."""
    model, expected = new_model(), new_model()
    optimizer, expected_optimizer = _sgd(model), _sgd(expected)
    pairs = [
        (model, goodinit.semi_synchronous(model, optimizer, sparse=first)),
        (expected, goodinit.semi_synchronous(expected, expected_optimizer)),
    ]
    train(pairs, range(2))
    if new_optimizer:
        optimizer = _sgd(model)
        transcription = Transcription(expected, groups_of(expected, ("0", "3")), momentum=0.9)
    else:
        transcription = Transcription(expected, groups_of(expected, ("0", "3")), momentum=0.9)
        transcription.velocities = {
            parameter: state["momentum_buffer"].clone() for parameter, state in expected_optimizer.state.items()
        }
    update = goodinit.semi_synchronous(model, optimizer, sparse=second)
    train([(model, update), (expected, transcription)], range(2, 9))
    assert_same(model, expected)
    loss_of(model, 9).backward()
    assert model[0].weight.grad.is_sparse == second


@BOTH
def test_layers_that_the_second_call_does_not_name_are_updated_as_a_whole(sparse):
    model, expected = new_model(), new_model()
    optimizer = _sgd(model)
    goodinit.semi_synchronous(model, optimizer, sparse=True)
    update = goodinit.semi_synchronous(model, optimizer, layers=["3"], groups=2, sparse=sparse)
    transcription = Transcription(expected, {expected[3].weight: 2}, momentum=0.9)
    train([(model, update), (expected, transcription)], range(5))
    assert_same(model, expected)
    assert type(model[0]) is nn.Linear
    assert list(update.state_dict()["layers"]) == ["3"]


def test_a_layer_that_shares_a_weight_with_one_of_the_second_call_gets_its_groups():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), *(nn.Linear(16, 16) for _ in range(2)), nn.Linear(16, 5))
    model = model.double()
    model[3].weight = model[2].weight
    expected = copy.deepcopy(model)
    goodinit.semi_synchronous(model, _sgd(model), layers=["2", "3"], groups=4, sparse=True)
    update = goodinit.semi_synchronous(model, _sgd(model), layers=["2"], groups=2, sparse=True)
    other = goodinit.semi_synchronous(expected, _sgd(expected), layers=["2"], groups=2)
    train([(model, update), (expected, other)], range(5))
    assert_same(model, expected)


@BOTH
def test_a_step_of_the_replaced_object_is_rejected(sparse):
    model = new_model()
    optimizer = _sgd(model)
    replaced = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    update = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    loss_of(model, 0).backward()
    before = copy.deepcopy(model)
    with pytest.raises(RuntimeError, match=r"a later call has replaced this object.*use the one that it returned"):
        replaced.step()
    with pytest.raises(RuntimeError, match=r"call step\(\) of the returned object, not of the optimizer"):
        optimizer.step()
    assert_same(model, before, 0)
    update.step()
    assert not torch.equal(model[0].weight, before[0].weight)


@BOTH
def test_a_step_is_rejected_if_another_optimizer_has_taken_over_sparse_layers(sparse):
    """The gradient has no longer the rows of the active group."""
    model = new_model()
    first = goodinit.semi_synchronous(model, _sgd(model), sparse=True)
    goodinit.semi_synchronous(model, _sgd(model), layers=["3"], sparse=sparse)
    loss_of(model, 0).backward()
    with pytest.raises(RuntimeError, match="a later call has replaced this object"):
        first.step()


def test_two_optimizers_may_have_layers_of_their_own():
    model, expected = new_model(), new_model()
    updates = []
    for sparse, each in ((True, model), (False, expected)):
        parts = [[*each[:3].parameters()], [*each[3:].parameters()]]
        optimizers = [torch.optim.SGD(parameters, lr=0.05, momentum=0.9) for parameters in parts]
        updates.append(
            [
                goodinit.semi_synchronous(each, optimizer, layers=[name], sparse=sparse)
                for name, optimizer in zip(("0", "3"), optimizers, strict=True)
            ]
        )
    for step in range(7):
        for each, pair in zip((model, expected), updates, strict=True):
            loss_of(each, step).backward()
            for update in pair:
                update.step()
                update.zero_grad()
    assert_same(model, expected)


def test_a_second_call_with_a_mistake_leaves_the_first_in_force():
    model, expected = new_model(), new_model()
    optimizer = _sgd(model)
    update = goodinit.semi_synchronous(model, optimizer, sparse=True)
    with pytest.raises(ValueError, match="groups: 5 does not divide"):
        goodinit.semi_synchronous(model, optimizer, groups=5)
    other = goodinit.semi_synchronous(expected, _sgd(expected), sparse=True)
    train([(model, update), (expected, other)], range(5))
    assert_same(model, expected, 0)


@BOTH
def test_after_removal_an_optimizer_trains_all_neurons(sparse):
    model, expected = new_model(), new_model()
    update = goodinit.semi_synchronous(model, _sgd(model), sparse=sparse)
    loss_of(model, 0).backward()
    update.zero_grad()
    update.remove()
    model[2].load_state_dict(new_model()[2].state_dict())
    train([(model, update.optimizer), (expected, _sgd(expected))], range(2))
    assert_same(model, expected, 0)
    assert type(model[0]) is nn.Linear
    with pytest.raises(RuntimeError, match=r"remove\(\) was called"):
        update.step()


def test_the_removal_of_a_replaced_object_does_not_change_that_which_replaces_it():
    model = new_model()
    replaced = goodinit.semi_synchronous(model, _sgd(model), sparse=True)
    update = goodinit.semi_synchronous(model, replaced.optimizer, sparse=True)
    replaced.remove()
    loss_of(model, 0).backward()
    assert model[0].weight.grad.is_sparse
    with pytest.raises(RuntimeError, match=r"call step\(\) of the returned object"):
        update.optimizer.step()


@BOTH
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_a_model_and_its_update_is_trained_alone(copied, sparse):
    """The layers of the copy have dense gradients."""
    model = new_model()
    update = goodinit.semi_synchronous(model, _sgd(model), sparse=sparse)
    model_copy, update_copy = copied((model, update))
    train([(model, update)], range(5))
    goodinit.semi_synchronous(model, update.optimizer, sparse=sparse)
    train([(model_copy, update_copy)], range(5))
    assert_same(model_copy, model)
    update_copy.remove()
