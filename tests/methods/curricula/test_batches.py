"""Mini-batches of the whole training set, with and without replacement."""

import pytest
import torch

from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_epoch_without_replacement_is_a_permutation():
    train_set = Examples(torch.arange(10.0)[:, None], torch.arange(10))
    batches = list(curricula.full(train_set, batch_size=3, steps=6, generator=_generator()))
    for epoch in (batches[:3], batches[3:]):
        assert len(torch.cat([batch.labels for batch in epoch]).unique()) == 9
    assert all(torch.equal(batch.images[:, 0].long(), batch.labels) for batch in batches)


def test_draws_with_replacement_are_independent():
    train_set = Examples(torch.zeros(5, 1), torch.arange(5))
    drawn = torch.stack([batch.labels for batch in curricula.full(
        train_set, batch_size=8, steps=500, generator=_generator(), replacement=True)])  # fmt: skip
    assert drawn.shape == (500, 8)  # more than there are examples
    share = drawn.flatten().bincount() / drawn.numel()
    assert (share - 0.2).abs().max() < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert abs((drawn[:, 0] == drawn[:, 1]).float().mean() - 0.2) < 4 * (0.2 * 0.8 / 500) ** 0.5


@pytest.mark.parametrize("replacement", [False, True])
def test_indices_are_drawn_on_the_cpu_whatever_the_default_device(replacement):
    train_set = Examples(torch.zeros(9, 1), torch.arange(9))
    expected = [b.labels for b in curricula.full(train_set, 4, 5, _generator(), _generator(), replacement=replacement)]
    with torch.device("meta"):
        drawn = [b.labels for b in curricula.full(train_set, 4, 5, _generator(), _generator(), replacement=replacement)]
    assert all(map(torch.equal, drawn, expected))
