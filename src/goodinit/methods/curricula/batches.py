"""Mini-batches of a whole training set in random order, and what every curriculum returns."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from goodinit.methods.contracts import Examples

__all__ = ["BatchSchedule", "draw_indices", "full", "gather"]


@dataclass
class BatchSchedule:
    """An iterator over mini-batches.

    Args:
        batches: functions that make the mini-batches, so that skipped ones are never made.
        starts: the numbers of updates after which the optimizer is reset; the learning-rate schedule continues.
        subset: indices, int64 (M,), of the training examples seen before the last stage, in the order of their
            selection; None if all examples are seen from the beginning.
    """

    batches: Iterator[Callable[[], Examples]]
    starts: tuple[int, ...] = ()
    subset: Tensor | None = None

    def __iter__(self) -> "BatchSchedule":
        return self

    def __next__(self) -> Examples:
        return next(self.batches)()

    def skip(self, steps: int) -> None:
        """Skip the next `steps` mini-batches without making them."""
        for _ in itertools.islice(self.batches, steps):
            pass


def full(
    train: Examples,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    subset_generator: torch.Generator | None = None,
    *,
    replacement: bool = False,
) -> BatchSchedule:
    """All training examples, in random order.

    Args:
        train: the training examples.
        batch_size: examples in a batch; without replacement, at most the number of training examples.
        steps: number of batches.
        generator: draws the order.
        subset_generator: not used.
        replacement: draw each batch independently from the whole set.  Otherwise an epoch is a random permutation of
            the examples, cut into batches; the examples left over at its end are not seen in it.

    Returns:
        A BatchSchedule of `steps` batches of `batch_size` examples.

    Raises:
        ValueError: without replacement, `batch_size` is larger than the number of examples.
    """
    count = len(train.labels)
    if not replacement and batch_size > count:
        raise ValueError(f"full: batch_size: {batch_size} is more than the {count} training examples")
    indices = draw_indices(torch.arange(count), batch_size, steps, generator, replacement)
    return BatchSchedule(functools.partial(gather, train, chosen) for chosen in indices)


def draw_indices(
    members: Tensor, batch_size: int, steps: int, generator: torch.Generator, replacement: bool = False
) -> Iterator[Tensor]:
    """Yield the indices, int64 (batch_size,), of `steps` batches drawn from the `members`, int64 (M,)."""
    count, order = len(members), torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if replacement:
            chosen = torch.randint(count, (batch_size,), generator=generator)
        else:
            if len(order) < batch_size:
                order = torch.randperm(count, generator=generator)
            chosen, order = order[:batch_size], order[batch_size:]
        yield members[chosen]


def gather(examples: Examples, indices: Tensor) -> Examples:
    """Return the Examples at the indices, on the device where `examples` are."""
    indices = indices.to(examples.labels.device, non_blocking=True)
    return examples.with_tensors(examples.images.index_select(0, indices), examples.labels.index_select(0, indices))
