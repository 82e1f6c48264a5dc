"""Semi-synchronous updates in plain PyTorch code: closures, schedulers, gradient scalers, checkpoints and mistakes."""

import inspect
import itertools

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

import goodinit

OTHER_OPTIMIZERS = [
    kind
    for _, kind in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(kind, torch.optim.Optimizer) and kind not in (torch.optim.SGD, torch.optim.Optimizer)
]


@pytest.mark.parametrize("kind", OTHER_OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_other_optimizers_are_rejected_with_the_reason(kind):
    model = new_model()
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    message = f"{kind.__name__} is not supported.*running mean of squared gradients"
    with pytest.raises(ValueError, match=message) as error:
        goodinit.semi_synchronous(model, kind(weights, lr=0.1))
    assert len(str(error.value)) <= 300


@BOTH
def test_gradients_can_be_accumulated(sparse):
    model, slow = new_model(), new_model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
    transcription = Transcription(slow, groups_of(slow, ("0", "3")), momentum=0.9)
    for step in range(8):
        for trained, stepper in ((model, update), (slow, transcription)):
            for micro_batch in range(3):
                loss_of(trained, 10 * step + micro_batch).backward()
            stepper.step()
            stepper.zero_grad()
    assert_same(model, slow)


@BOTH
def test_a_closure_is_called_once_and_its_loss_returned(sparse):
    model, other = new_model(), new_model()
    updates = [
        goodinit.semi_synchronous(each, torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
        for each in (model, other)
    ]
    calls = []

    def closure():
        updates[0].zero_grad()
        loss = loss_of(model, len(calls))
        loss.backward()
        calls.append(loss.item())
        return loss

    losses = [updates[0].step(closure).item() for _ in range(5)]
    assert losses == calls
    for step in range(5):
        updates[1].zero_grad()
        loss_of(other, step).backward()
        updates[1].step()
    assert_same(model, other, 0)


@BOTH
def test_learning_rate_schedulers_apply(sparse):
    model, slow = new_model(), new_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.08, momentum=0.9)
    update = goodinit.semi_synchronous(model, optimizer, sparse=sparse)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)  # warns if it sees no step of the optimizer
    transcription = Transcription(slow, groups_of(slow, ("0", "3")), lr=0.08, momentum=0.9)
    for step in range(8):
        transcription.lr = 0.08 * 0.5 ** (step // 2)
        train([(model, update), (slow, transcription)], [step])
        scheduler.step()
    assert update.param_groups[0]["lr"] == 0.08 / 16
    assert_same(model, slow)


@BOTH
def test_a_gradient_scaler_unscales_gradients_and_skips_steps(sparse):
    """A skipped step does not activate the next group."""
    model, plain = new_model(torch.float32), new_model(torch.float32)
    updates = [
        goodinit.semi_synchronous(each, torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9), sparse=sparse)
        for each in (model, plain)
    ]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(7):
        loss = loss_of(model, step, torch.float32)
        scaler.scale(loss * float("inf") if step == 3 else loss).backward()
        scaler.unscale_(updates[0])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(updates[0])
        scaler.update()
        updates[0].zero_grad()
        if step != 3:
            loss_of(plain, step, torch.float32).backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
            updates[1].step()
            updates[1].zero_grad()
        else:
            plain(new_batch(3, torch.float32)[0])  # updates the statistics of batch normalization
    assert_same(model, plain, 1e-6)


@pytest.mark.parametrize(("before", "after"), list(itertools.product([False, True], repeat=2)))
def test_state_restores_the_active_groups(before, after, tmp_path):
    def build(seed, sparse):
        model = new_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return model, goodinit.semi_synchronous(model, optimizer, members="shuffled", seed=seed, sparse=sparse)

    model, update = build(1, before)
    train([(model, update)], range(5))
    torch.save({"model": model.state_dict(), "update": update.state_dict()}, tmp_path / "state.pt")
    train([(model, update)], range(5, 12))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["model"].keys() == new_model().state_dict().keys()
    resumed, resumed_update = build(2, after)
    resumed.load_state_dict(state["model"])
    resumed_update.load_state_dict(state["update"])
    train([(resumed, resumed_update)], range(5, 12))
    assert_same(model, resumed)


def _state(update, **changes):
    """Return the state of an update with another entry of layer 0."""
    state = update.state_dict()
    state["layers"]["0"] |= changes
    return state


def test_other_states_are_rejected():
    model = new_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    update = goodinit.semi_synchronous(model, optimizer, layers=["0"])
    other = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05))
    for state, message in (
        ({"optimizer": {}, "layers": {}}, "the state has no layer '0'"),
        (other.state_dict(), "the state has a layer '3', which is not updated here"),
        (_state(update, groups=torch.arange(4).view(2, 2)), "another number of neurons"),
        (_state(update, groups=torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 7]])), "each of the 9 neurons once"),
        (_state(update, groups=torch.arange(9)), r"int64 tensor of shape \(groups, neurons in a group\)"),
        (_state(update, groups=torch.arange(9.0).view(3, 3)), "int64 tensor"),
        (_state(update, groups=[[0, 1, 2], [3, 4, 5], [6, 7, 8]]), "int64 tensor"),
        *[(_state(update, active_group=group), "active_group must be .*at most 2") for group in (3, -1, None, 0.5)],
        ({**update.state_dict(), "layers": {"0": {"groups": torch.arange(9).view(3, 3)}}}, "groups and active_group"),
        ({**update.state_dict(), "layers": {"0": 3}}, "groups and active_group"),
    ):
        with pytest.raises(ValueError, match=message):
            update.load_state_dict(state)
    assert update.state_dict()["layers"]["0"]["groups"].tolist() == torch.arange(9).view(3, 3).tolist()


def test_the_number_of_groups_is_that_of_a_state():
    model = new_model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.05), layers=["0"])
    update.load_state_dict(_state(update, groups=torch.arange(9).view(9, 1), active_group=8))
    assert repr(update) == "SemiSynchronous(0: 9 groups of 1; SGD)"


@pytest.mark.parametrize("parametrize", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.spectral_norm])
def test_computed_weights_are_rejected(parametrize):
    model = new_model()
    parametrize(model[0])
    with pytest.raises(ValueError, match="layer 0: its weight is computed from other parameters"):
        goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_parameters_that_are_not_in_the_optimizer_are_rejected():
    model = new_model()
    with pytest.raises(ValueError, match="layer 0: its bias is not in the optimizer"):
        goodinit.semi_synchronous(model, torch.optim.SGD([model[0].weight], lr=0.1), layers=["0"])
    with pytest.raises(ValueError, match="differentiable"):
        goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1, differentiable=True))


def test_a_step_of_the_wrapped_optimizer_is_rejected():
    model = new_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    update = goodinit.semi_synchronous(model, optimizer)
    loss_of(model, 0).backward()
    with pytest.raises(RuntimeError, match=r"call step\(\) of the returned object, not of the optimizer"):
        optimizer.step()
    update.step()


def test_representation_shows_the_groups():
    model = new_model()
    update = goodinit.semi_synchronous(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert repr(update) == "SemiSynchronous(0: 3 groups of 3, 3: 4 groups of 4; SGD)"
