"""Mini-batches of the whole training set, with and without replacement."""

import functools

import pytest
import torch
from sample_models import seeded

from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula


def test_an_epoch_without_replacement_is_a_permutation():
    train_set = Examples(torch.arange(10.0)[:, None], torch.arange(10))
    batches = list(curricula.full(train_set, batch_size=3, steps=6, generator=seeded()))
    for epoch in (batches[:3], batches[3:]):
        assert len(torch.cat([batch.labels for batch in epoch]).unique()) == 9
    assert all(torch.equal(batch.images[:, 0].long(), batch.labels) for batch in batches)


def test_epochs_are_in_different_random_orders():
    train_set = Examples(torch.zeros(100, 1), torch.arange(100))
    orders = [
        [batch.labels.tolist() for batch in curricula.full(train_set, 100, 2, seeded(seed))] for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1]
    distinct = [list(range(100)), *orders[0], *orders[2]]
    for i, order in enumerate(distinct):
        for other in distinct[:i]:
            agreements = sum(a == b for a, b in zip(order, other, strict=True))
            assert agreements < 10  # 1 on average


def test_draws_with_replacement_are_independent():
    train_set = Examples(torch.zeros(5, 1), torch.arange(5))
    drawn = torch.stack([batch.labels for batch in curricula.full(
        train_set, batch_size=8, steps=500, generator=seeded(), replacement=True)])  # fmt: skip
    assert drawn.shape == (500, 8)  # more than there are examples
    share = drawn.flatten().bincount() / drawn.numel()
    assert (share - 0.2).abs().max() < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert abs((drawn[:, 0] == drawn[:, 1]).float().mean() - 0.2) < 4 * (0.2 * 0.8 / 500) ** 0.5


@pytest.mark.parametrize(
    "curriculum",
    [
        curricula.full,
        functools.partial(curricula.full, replacement=True),
        functools.partial(curricula.streamed, chunk=2, buffer=2),
        *[
            functools.partial(curricula.progressive, fractions=[0.5], stage_steps=[2], selection=selection)
            for selection in curricula.SELECTIONS
        ],
    ],
)
def test_indices_are_drawn_on_the_cpu_whatever_the_default_device(curriculum):
    train_set = Examples(torch.randn(9, 2, generator=seeded()), torch.arange(9) % 3)
    expected = [batch.images for batch in curriculum(train_set, 4, 5, seeded(), seeded())]
    with torch.device("meta"):
        drawn = [batch.images for batch in curriculum(train_set, 4, 5, seeded(), seeded())]
    assert all(map(torch.equal, drawn, expected))
