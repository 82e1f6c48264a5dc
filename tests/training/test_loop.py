"""The training loop: its losses, the steps at which it evaluates, and divergence."""

import contextlib

import pytest
import torch
from sample_models import fit_model, new_examples, new_model, seeded
from torch import nn

from goodinit.datasets import tensors
from goodinit.methods import curricula, diagnostics, objectives
from goodinit.studies import Training
from goodinit.training import loop


def test_sgd_equals_that_of_torch_bit_by_bit():
    ours, theirs = new_model(), new_model()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    fit_model(ours)
    for batch in curricula.full(new_examples(), batch_size=20, steps=30, generator=seeded()):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(batch.images), batch.labels, reduction="none").mean().backward()
        optimizer.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_the_loss_after_an_update_is_that_of_the_updated_model():
    model, model_copy = new_model(), new_model()
    after = fit_model(model, steps=1, training=Training(steps=1, loss_after_update=True)).series["loss"][1][0]
    before = fit_model(model_copy, steps=1).series["loss"][1][0]
    batch = next(curricula.full(new_examples(), batch_size=20, steps=1, generator=seeded()))
    with torch.no_grad():
        assert objectives.cross_entropy(model, batch)[0] == after
        assert objectives.cross_entropy(new_model(), batch)[0] == before


def test_evaluation_is_the_mean_over_all_examples_for_any_batch_size():
    model, examples = new_model(), new_examples(101)
    whole = loop.evaluate(model, objectives.cross_entropy, tensors.batches(examples, 101))
    parts = loop.evaluate(model, objectives.cross_entropy, tensors.batches(examples, 7))
    assert whole.keys() == {"loss", "accuracy"}
    assert all(abs(whole[name] - parts[name]) < 1e-6 for name in whole)


def _norms(model, parts):
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
def test_the_steps_of_evaluation(steps, options, expected):
    training = Training(steps=steps, evaluate_on=["test"], **options)
    history = fit_model(new_model(), steps, training=training, evaluate=_norms)
    assert history.series["test_norm"][0] == expected
    assert history.series["loss"][0] == list(range(1, steps + 1))


@pytest.mark.parametrize(("lr", "last"), [(0.1, 300), (1e12, 100)])
def test_splits_at_the_end_are_evaluated_once(lr, last):
    training = Training(
        steps=300, evaluate_every=60, evaluate_on=["train", "test"], evaluate_at_end_on=["test", "validation"]
    )
    history = fit_model(new_model(), 300, lr=lr, training=training, evaluate=_norms)
    assert history.steps == last
    regular = sorted({*range(0, last + 1, 60), last})
    assert {name: steps for name, (steps, _) in history.series.items() if name.endswith("norm")} == {
        "train_norm": regular,
        "test_norm": regular,
        "validation_norm": [last],
    }


def test_splits_at_the_end_are_evaluated_without_any_update():
    training = Training(steps=0, evaluate_on=["train"], evaluate_at_end_on=["test"])
    history = fit_model(new_model(), 0, training=training, evaluate=_norms)
    assert {name: steps for name, (steps, _) in history.series.items()} == {"train_norm": [0], "test_norm": [0]}


def test_training_is_the_same_twice_and_with_all_diagnostics():
    options = {"gradient_check": {"coordinates": 2}}
    probe = new_examples(seed=1)
    plain, watched, again = new_model(), new_model(), new_model()
    first = fit_model(plain)
    with contextlib.ExitStack() as context:
        every = [
            context.enter_context(getattr(diagnostics, name)(watched, probe, seeded(), **options.get(name, {})))
            for name in diagnostics.__all__
            if name != "reconstructions"  # of a model of another kind, see test_images
        ]
        torch.manual_seed(5)
        state = torch.get_rng_state()
        second = fit_model(watched, training=Training(steps=30, diagnose_every=3), diagnostics=every)
        assert torch.equal(state, torch.get_rng_state())
    fit_model(again)
    for name in {*diagnostics.DIMENSIONS, "batch_loss", "path_length"} - {"reconstructions"}:
        assert second.series[name][0] == list(range(0, 31, 3))
    assert first.series["loss"][1] == second.series["loss"][1]
    for others in (watched, again):
        assert all(map(torch.equal, plain.parameters(), others.parameters()))


def test_divergence_ends_a_training():
    history = fit_model(new_model(), steps=1000, lr=1e12)
    assert 0 < history.diverged_at[0] < 20
    assert history.steps < 1000
    assert fit_model(new_model()).diverged_at[0] == 0
    assert fit_model(new_model(), training=Training(steps=30, diverged_above=1e-9)).diverged_at[0] == 1


def test_a_diverged_training_continues_if_requested():
    training = Training(steps=300, stop_when_diverged=False)
    history = fit_model(new_model(), steps=300, lr=1e12, training=training)
    assert history.steps == 300
    assert 0 < history.diverged_at[0] < 20
