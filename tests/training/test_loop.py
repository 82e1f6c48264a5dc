"""The loop and the pieces that it is given: optimizer, curriculum, objective, stack."""

import contextlib
import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.datasets import tensors
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, diagnostics, initializers, models, objectives, optimizers, updates
from goodinit.steps import Interval
from goodinit.training import loop, stacking
from goodinit.training.callbacks import Observation, evaluations

torch.set_num_threads(1)  # as the command line does: with more, sums are split by how many there are


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _examples(count=200, features=12, seed=0):
    images = torch.randn(count, features, generator=_generator(seed))
    return Examples(images, (images[:, 0] > 0).long() + 2 * (images[:, 1] > 0).long())


def _net(seed=0, **options):
    net = models.mlp((12,), 4, **{"hidden": [16, 8]} | options)
    initializers.he_normal(net, None, _generator(seed))
    return net


def _fit(net, steps=30, seed=0, lr=0.1, training=None, evaluate=None, diagnostics=()):
    update = updates.synchronous(net, optimizers.sgd(net.named_parameters(), lr=lr), None)
    batches = curricula.full(_examples(), batch_size=20, steps=steps, generator=_generator(seed))
    training = training or loop.Training(steps=steps)
    interval = Interval(training.diagnose_every)
    callbacks = [Observation(diagnostic, "diagnosing", interval) for diagnostic in diagnostics]
    callbacks += evaluations(training, functools.partial(evaluate, net)) if evaluate else []
    return loop.fit(net, objectives.cross_entropy, batches, update, training, callbacks)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    loss, metrics = objectives.cross_entropy(lambda images: images, Examples(logits, torch.tensor([0, 1])))
    expected = (np.log(1 + np.exp(-2)) + np.log(2)) / 2
    assert abs(loss - expected) < 1e-6
    assert metrics["accuracy"] == 0.5


def _hinge(scores, labels):
    return objectives.hinge(lambda images: images, Examples(scores, labels))


def test_hinge_by_hand():
    scores = torch.tensor([[2.0, 0.5, -3.0], [0.0, -1.0, 0.25]], requires_grad=True)
    loss, metrics = _hinge(scores, torch.tensor([0, 1]))
    assert loss.item() == ((0 + 1.5 + 0) + (1 + 2 + 1.25)) / 2
    assert metrics["accuracy"] == 0.5
    loss.backward()
    assert scores.grad.tolist() == [[0, 0.5, 0], [0.5, -0.5, 0.5]]


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_hinge_of_scores_of_0_is_the_number_of_classes(classes):
    loss, _ = _hinge(torch.zeros(64, classes), torch.arange(64) % classes)
    assert loss == classes


def test_hinge_of_a_stack_is_that_of_each_net():
    scores = torch.randn(3, 20, 10, generator=_generator())
    labels = torch.randint(10, (3, 20), generator=_generator(1))
    losses, metrics = _hinge(scores, labels)
    assert losses.shape == metrics["accuracy"].shape == (3,)
    for place in range(3):
        loss, alone = _hinge(scores[place], labels[place])
        assert losses[place] == loss
        assert metrics["accuracy"][place] == alone["accuracy"]


def test_sgd_is_torch_s_bit_by_bit():
    ours, theirs = _net(), _net()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    _fit(ours)
    for batch in curricula.full(_examples(), batch_size=20, steps=30, generator=_generator()):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(batch.images), batch.labels, reduction="none").mean().backward()
        optimizer.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_an_epoch_without_replacement_is_a_permutation():
    train_set = Examples(torch.arange(10.0)[:, None], torch.arange(10))
    batches = list(curricula.full(train_set, batch_size=3, steps=6, generator=_generator()))
    for epoch in (batches[:3], batches[3:]):
        assert len(torch.cat([batch.labels for batch in epoch]).unique()) == 9
    assert all(torch.equal(batch.images[:, 0].long(), batch.labels) for batch in batches)


def test_with_replacement_every_draw_is_independent():
    train_set = Examples(torch.zeros(5, 1), torch.arange(5))
    drawn = torch.stack([batch.labels for batch in curricula.full(
        train_set, batch_size=8, steps=500, generator=_generator(), replacement=True)])  # fmt: skip
    assert drawn.shape == (500, 8)  # more than there are examples
    share = drawn.flatten().bincount() / drawn.numel()
    assert (share - 0.2).abs().max() < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert abs((drawn[:, 0] == drawn[:, 1]).float().mean() - 0.2) < 4 * (0.2 * 0.8 / 500) ** 0.5


def test_loss_after_the_update_is_that_of_the_updated_net():
    net, twin = _net(), _net()
    after = _fit(net, steps=1, training=loop.Training(steps=1, loss_after_update=True)).series["loss"][1][0]
    before = _fit(twin, steps=1).series["loss"][1][0]
    batch = next(curricula.full(_examples(), batch_size=20, steps=1, generator=_generator()))
    with torch.no_grad():
        assert objectives.cross_entropy(net, batch)[0] == after
        assert objectives.cross_entropy(_net(), batch)[0] == before


def test_evaluation_is_the_mean_over_all_examples_whatever_the_batches():
    net, examples = _net(), _examples(101)
    whole = loop.evaluate(net, objectives.cross_entropy, tensors.batches(examples, 101))
    parts = loop.evaluate(net, objectives.cross_entropy, tensors.batches(examples, 7))
    assert whole.keys() == {"loss", "accuracy"}
    assert all(abs(whole[name] - parts[name]) < 1e-6 for name in whole)


def _parts(net, parts):
    """Evaluate nothing, and say of which parts."""
    return {f"{part}_norm": 1.0 for part in parts}


@pytest.mark.parametrize(
    ("steps", "options", "expected"),
    [
        (30, {}, [0, 30]),
        (30, {"evaluate_every": 10}, [0, 10, 20, 30]),
        (30, {"evaluate_every": 7}, [0, 7, 14, 21, 28, 30]),
        # The book counts updates from 0 and evaluates after the first of every epoch: 201, 301, 20 and 50 points;
        # here there are two more, before any update and after the last.
        (601, {"evaluate_every": 3, "evaluate_from": 1}, [0, *(1 + 3 * epoch for epoch in range(201))]),
        (903, {"evaluate_every": 3, "evaluate_from": 1}, [0, *(1 + 3 * epoch for epoch in range(301)), 903]),
        (191, {"evaluate_every": 10, "evaluate_from": 1}, [0, *(1 + 10 * point for point in range(20))]),
        (200, {"evaluate_every": 4, "evaluate_from": 1}, [0, *(1 + 4 * epoch for epoch in range(50)), 200]),
    ],
)
def test_when_it_evaluates(steps, options, expected):
    training = loop.Training(steps=steps, evaluate_on=["test"], **options)
    history = _fit(_net(), steps, training=training, evaluate=_parts)
    assert history.series["test_norm"][0] == expected
    assert history.series["loss"][0] == list(range(1, steps + 1))


@pytest.mark.parametrize(("lr", "last"), [(0.1, 300), (1e12, 100)])
def test_further_parts_are_evaluated_once_at_the_end(lr, last):
    training = loop.Training(
        steps=300, evaluate_every=60, evaluate_on=["train", "test"], evaluate_at_end_on=["test", "validation"]
    )
    history = _fit(_net(), 300, lr=lr, training=training, evaluate=_parts)
    assert history.steps == last
    regular = sorted({*range(0, last + 1, 60), last})
    assert {name: steps for name, (steps, _) in history.series.items() if name.endswith("norm")} == {
        "train_norm": regular,
        "test_norm": regular,
        "validation_norm": [last],
    }


def test_further_parts_are_evaluated_without_any_update_too():
    training = loop.Training(steps=0, evaluate_on=["train"], evaluate_at_end_on=["test"])
    history = _fit(_net(), 0, training=training, evaluate=_parts)
    assert {name: steps for name, (steps, _) in history.series.items()} == {"train_norm": [0], "test_norm": [0]}


def test_training_is_the_same_twice_and_with_every_diagnostic_on():
    options = {"gradient_check": {"coordinates": 2}}
    probe = _examples(seed=1)
    plain, watched, again = _net(), _net(), _net()
    first = _fit(plain)
    with contextlib.ExitStack() as context:
        every = [
            context.enter_context(getattr(diagnostics, name)(watched, probe, _generator(), **options.get(name, {})))
            for name in diagnostics.__all__
            if name != "reconstructions"  # of a net of another kind, see test_vae
        ]
        torch.manual_seed(5)
        state = torch.get_rng_state()
        second = _fit(watched, training=loop.Training(steps=30, diagnose_every=3), diagnostics=every)
        assert torch.equal(state, torch.get_rng_state())
    _fit(again)
    for name in {*diagnostics.DIMENSIONS, "batch_loss", "path_length"} - {"reconstructions"}:
        assert second.series[name][0] == list(range(0, 31, 3))
    assert first.series["loss"][1] == second.series["loss"][1]
    for others in (watched, again):
        assert all(map(torch.equal, plain.parameters(), others.parameters()))


def test_divergence_ends_the_run_and_is_a_result():
    history = _fit(_net(), steps=1000, lr=1e12)
    assert 0 < history.diverged_at[0] < 20
    assert history.steps < 1000
    assert _fit(_net()).diverged_at[0] == 0
    assert _fit(_net(), training=loop.Training(steps=30, diverged_above=1e-9)).diverged_at[0] == 1


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_stack_trains_each_net_as_if_alone(activation):
    nets = [_net(seed, activation=activation) for seed in range(4)]
    stacked = stacking.stack(nets)
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    orders = [curricula.full(_examples(), batch_size=20, steps=40, generator=_generator(seed)) for seed in range(4)]
    joined = map(tensors.stack, zip(*orders, strict=True))
    training = loop.Training(steps=40, loss_after_update=True, evaluate_every=20, evaluate_on=["test"])
    test = [tensors.stack([batch] * 4) for batch in tensors.batches(_examples(seed=9), 50)]

    def evaluate(parts):
        return {f"{part}_loss": loop.evaluate(stacked, objectives.cross_entropy, test)["loss"] for part in parts}

    callbacks = evaluations(training, evaluate)
    together = loop.fit(stacked, objectives.cross_entropy, joined, update, training, callbacks)
    assert np.array(together.series["test_loss"][1]).shape == (3, 4)
    for seed, net in enumerate(nets):
        alone = _fit(net, 40, seed, training=training)
        losses = np.array(together.series["loss"][1])[:, seed]
        np.testing.assert_allclose(losses, np.array(alone.series["loss"][1]), rtol=1e-4, atol=1e-6)
        for layer, other in zip(net, stacked, strict=True):
            if isinstance(layer, nn.Linear):
                torch.testing.assert_close(other.weight[seed].t(), layer.weight, rtol=1e-3, atol=1e-5)


def test_the_size_of_a_stack_changes_no_bit():
    def trained(size):
        stacked = stacking.stack([_net(seed) for seed in range(size)])
        update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
        orders = [
            curricula.full(_examples(), batch_size=20, steps=20, generator=_generator(seed)) for seed in range(size)
        ]
        loop.fit(
            stacked,
            objectives.cross_entropy,
            map(tensors.stack, zip(*orders, strict=True)),
            update,
            loop.Training(steps=20),
        )
        return [parameter[0] for parameter in stacked.parameters()]

    assert all(map(torch.equal, trained(1), trained(5)))


def test_one_diverging_net_does_not_end_the_stack():
    stacked = stacking.stack([_net(0), _net(1)])
    with torch.no_grad():
        stacked[1].weight[0] = float("nan")
    update = updates.synchronous(stacked, optimizers.sgd(stacked.named_parameters(), lr=0.1), None)
    batches = itertools.repeat(tensors.stack([_examples(), _examples()]), 250)
    history = loop.fit(stacked, objectives.cross_entropy, batches, update, loop.Training(steps=250))
    assert history.diverged_at.tolist() == [1, 0]
    assert history.steps == 250
    assert np.isfinite(np.array(history.series["loss"][1])[:, 1]).all()


def test_length_in_steps_and_epochs():
    assert loop.Training(steps=7).total_steps(100) == 7
    assert loop.Training(epochs=2, batch_size=32).total_steps(100) == 6
    for wrong in ({}, {"steps": 1, "epochs": 1}, {"steps": -1}, {"steps": 1, "batch_size": 0}):
        with pytest.raises(ValueError, match="training"):
            loop.Training(**wrong).total_steps(100)


def test_a_diverged_run_may_go_on():
    training = loop.Training(steps=300, stop_when_diverged=False)
    history = _fit(_net(), steps=300, lr=1e12, training=training)
    assert history.steps == 300
    assert 0 < history.diverged_at[0] < 20
