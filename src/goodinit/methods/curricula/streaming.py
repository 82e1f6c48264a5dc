"""Mini-batches of a training set that is larger than memory."""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from goodinit.methods.contracts import Examples
from goodinit.methods.curricula.batches import BatchSchedule, gather

__all__ = ["streamed"]


def streamed(
    train: Examples,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    subset_generator: torch.Generator | None = None,
    *,
    chunk: int = 64,
    buffer: int = 64,
) -> BatchSchedule:
    """All training examples, read chunk by chunk from where they are stored.

    Chunks of consecutive examples are drawn in random order, `buffer` of them are read into memory, and their examples
    are shuffled.  An epoch has every example once; what is left over at its end comes first in the next.

    Deviation: the order is less random than that of `full`: batches that are near each other come from the same
    chunks.  Pictures are stored in random order, so that each chunk is a random sample, too.

    Args:
        train, batch_size, steps, generator, subset_generator: as in `full`.
        chunk: number of consecutive examples that are read together.
        buffer: number of chunks that are shuffled together; memory holds these and two batches.

    Returns:
        A BatchSchedule of `steps` batches of `batch_size` examples.

    Raises:
        ValueError: an option is less than 1, or `batch_size` is larger than the number of examples.
    """
    count = len(train.labels)
    if chunk < 1 or buffer < 1:
        raise ValueError(f"streamed: chunk and buffer must be at least 1, not {chunk}, {buffer}")
    if batch_size > count:
        raise ValueError(f"streamed: batch_size: {batch_size} is more than the {count} training examples")
    return BatchSchedule(_stream(train, batch_size, steps, generator, chunk, buffer))


def _stream(
    train: Examples, batch_size: int, steps: int, generator: torch.Generator, chunk: int, buffer: int
) -> Iterator[Callable[[], Examples]]:
    """Yield functions that make batches from one buffer, which the first of them fills."""
    count = len(train.labels)
    read = _buffered(train, min(chunk * buffer, count) + batch_size)
    starts = order = places = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < batch_size:
            if not len(starts):
                starts = torch.randperm(-(-count // chunk), generator=generator) * chunk
            some, starts = starts[:buffer].tolist(), starts[buffer:]
            left, fresh = places[order], torch.cat([torch.arange(one, min(one + chunk, count)) for one in some])
            places = torch.cat([left, fresh])
            order = torch.cat([torch.arange(len(left)), len(left) + torch.randperm(len(fresh), generator=generator)])
            held = functools.cache(functools.partial(read, places))
        chosen, order = order[:batch_size], order[batch_size:]
        yield functools.partial(_gather_held, held, chosen)


def _buffered(train: Examples, rows: int) -> Callable[[Tensor], Examples]:
    """Return a function that reads the examples at given indices into one buffer of `rows` rows."""
    buffers = []

    def read(places: Tensor) -> Examples:
        if not buffers:
            buffers.extend(whole.new_empty(rows, *whole.shape[1:]) for whole in (train.images, train.labels))
        places = places.to(train.labels.device)
        return train.with_tensors(
            *(
                torch.index_select(whole, 0, places, out=held[: len(places)])
                for whole, held in zip((train.images, train.labels), buffers, strict=True)
            )
        )

    return read


def _gather_held(held: Callable[[], Examples], chosen: Tensor) -> Examples:
    return gather(held(), chosen)
