"""Curricula: which examples a run sees, in what order."""

import torch

__all__ = ["full"]


def full(train, *, batch_size, steps, generator, replacement: bool = False):
    """Every example from the first step on.

    Args:
        train: the training Examples; batches are of the same type.
        batch_size: examples in a batch; more than there are is refused without replacement.
        steps: how many batches to yield.
        generator: draws the order.
        replacement: draw each batch independently, an example possibly twice.  Otherwise an epoch is a
            permutation of the examples, cut into batches, and what is left over is not seen in it.

    Returns:
        An iterator over `steps` batches of `batch_size` examples.

    Raises:
        ValueError: without replacement, `batch_size` is larger than the number of examples.
    """
    count = len(train.labels)
    if not replacement and batch_size > count:
        raise ValueError(f"full: batch_size: {batch_size} is more than the {count} training examples")
    return _draw(train, count, batch_size, steps, generator, replacement)


def _draw(train, count, batch_size, steps, generator, replacement):
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if replacement:
            chosen = torch.randint(count, (batch_size,), generator=generator)
        else:
            if len(order) < batch_size:
                order = torch.randperm(count, generator=generator)
            chosen, order = order[:batch_size], order[batch_size:]
        chosen = chosen.to(train.labels.device, non_blocking=True)
        yield type(train)(train.images.index_select(0, chosen), train.labels.index_select(0, chosen))
