"""Streamed batches: chunks of neighboring examples, shuffled in a buffer."""

import pytest
import torch
from sample_models import seeded

from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula


def _numbered(count):
    """Return examples whose pixels and labels are their numbers."""
    images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).to(torch.int32).contiguous()
    return Examples(images, torch.arange(count))


def _stream(count, steps, seed=0, batch_size=16, **options):
    schedule = curricula.streamed(
        _numbered(count), batch_size=batch_size, steps=steps, generator=seeded(seed), **options
    )
    batches = list(schedule)
    assert len(batches) == steps
    for batch in batches:
        assert len(batch.labels) == batch_size
        assert (batch.images == batch.labels.view(-1, 1, 1, 1)).all()
    return torch.cat([batch.labels for batch in batches])


@pytest.mark.parametrize(
    ("count", "chunk", "buffer"), [(160, 8, 4), (163, 8, 4), (163, 7, 3), (50, 64, 64), (163, 1, 5)]
)
def test_every_example_is_seen_once_an_epoch(count, chunk, buffer):
    seen = _stream(count, steps=-(-3 * count // 16), chunk=chunk, buffer=buffer)
    for epoch in seen[: 3 * count].view(3, count):
        assert epoch.sort().values.tolist() == list(range(count))
    assert not torch.equal(seen[:count], seen[count : 2 * count])


def test_order_depends_on_the_generator_only():
    orders = [_stream(200, 12, seed, chunk=8, buffer=4) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_buffer_contains_the_shuffled_examples_of_several_chunks():
    seen = _stream(640, 40, chunk=8, buffer=4).view(20, 32)  # two batches a buffer
    for buffer in seen:
        assert len((buffer // 8).unique()) == 4
        assert not torch.equal(buffer, buffer.sort().values)
    assert len({tuple(sorted(set((buffer // 8).tolist()))) for buffer in seen}) == 20
    chunks = (seen // 8)[:, ::8].flatten()
    assert (chunks.diff() > 0).any()
    assert (chunks.diff() < 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk and buffer must be"),
        ({"buffer": 0}, "chunk and"),
        ({"batch_size": 99}, "99 is more than the 50"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=f"streamed: .*{message}"):
        curricula.streamed(_numbered(50), **{"batch_size": 4, "steps": 1, "generator": None} | options)
