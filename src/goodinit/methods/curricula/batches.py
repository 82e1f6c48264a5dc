"""Mini-batches of a whole training set in random order, and what every curriculum returns."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Self

import torch
from torch import Tensor

from goodinit.methods.contracts import AnyExamples, stackable
from goodinit.transfer import to_device

__all__ = ["BatchSchedule", "draw_indices", "full", "gather"]


@dataclass
class BatchSchedule(Generic[AnyExamples]):
    """An iterator over mini-batches.

    Args:
        batches: functions that return the mini-batches; those of skipped mini-batches are not called.
        reset_steps: numbers of updates after which the optimizer is reset; the learning-rate schedule continues.
        subset: indices, int64 (M,), of the training examples used before the last stage, in the order of their
            selection; None if all examples are used from the beginning.
    """

    batches: Iterator[Callable[[], AnyExamples]]
    reset_steps: tuple[int, ...] = ()
    subset: Tensor | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AnyExamples:
        return next(self.batches)()

    def skip(self, steps: int) -> None:
        """Skip the next `steps` mini-batches without assembling them."""
        for _ in itertools.islice(self.batches, steps):
            pass


@stackable
def full(
    train: AnyExamples,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    subset_generator: torch.Generator | None = None,
    *,
    replacement: bool = False,
) -> BatchSchedule[AnyExamples]:
    """All training examples, in random order.

    Args:
        train: the training examples.
        batch_size: examples in a batch; without replacement, at most the number of training examples.
        steps: number of batches.
        generator: draws the order.
        subset_generator: not used.
        replacement: draw each batch independently from the whole set. Otherwise an epoch is a random permutation of
            the examples, cut into batches; it omits the examples left over at its end.

    Returns:
        A BatchSchedule of `steps` batches of `batch_size` examples.

    Raises:
        ValueError: without replacement, `batch_size` is larger than the number of examples.
    """
    count = len(train.labels)
    if not replacement and batch_size > count:
        raise ValueError(f"full: batch_size: {batch_size} is more than the {count} training examples")
    batches = draw_indices(torch.arange(count, device="cpu"), batch_size, steps, generator, replacement)
    return BatchSchedule(functools.partial(gather, train, indices) for indices in batches)


def draw_indices(
    members: Tensor, batch_size: int, steps: int, generator: torch.Generator, replacement: bool = False
) -> Iterator[Tensor]:
    """Yield the indices, int64 (batch_size,), of `steps` batches drawn from the `members`, int64 (M,)."""
    count, order = len(members), torch.empty(0, dtype=torch.int64, device="cpu")
    for _ in range(steps):
        if replacement:
            chosen = torch.randint(count, (batch_size,), generator=generator, device="cpu")
        else:
            if len(order) < batch_size:
                order = torch.randperm(count, generator=generator, device="cpu")
            chosen, order = order[:batch_size], order[batch_size:]
        yield members[chosen]


def gather(examples: AnyExamples, indices: Tensor) -> AnyExamples:
    """Return the examples with these indices, on the device of `examples`."""
    indices = to_device(indices, examples.labels.device)
    return examples.with_tensors(examples.images.index_select(0, indices), examples.labels.index_select(0, indices))
