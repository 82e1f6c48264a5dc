"""Mini-batches of a training set that is larger than memory."""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from goodinit.methods.contracts import AnyExamples
from goodinit.methods.curricula.batches import BatchSchedule, gather

__all__ = ["streamed"]


def streamed(
    train: AnyExamples,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    subset_generator: torch.Generator | None = None,
    *,
    chunk: int = 64,
    buffer: int = 64,
) -> BatchSchedule[AnyExamples]:
    """All training examples, read in chunks from the memory-mapped file.

    Chunks of consecutive examples are drawn in random order, `buffer` of them are read into memory, and their examples
    are shuffled. Each epoch contains every example once; the examples left over at its end are the first of the next.

    Deviation: the order is less random than that of `full`, since batches that follow each other come from the same
    chunks. Images are stored in random order, so each chunk is a random sample.

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
    train: AnyExamples, batch_size: int, steps: int, generator: torch.Generator, chunk: int, buffer: int
) -> Iterator[Callable[[], AnyExamples]]:
    """Yield functions that return the batches; the first batch of each buffer fills it.

    Between batches, `rows` are the indices of the examples in the buffer, and `order` is the order in which these rows
    are still to be used.
    """
    count = len(train.labels)
    read = _reader(train, min(chunk * buffer, count) + batch_size)
    chunk_starts = order = rows = torch.empty(0, dtype=torch.int64, device="cpu")
    arange = functools.partial(torch.arange, device="cpu")
    randperm = functools.partial(torch.randperm, generator=generator, device="cpu")
    for _ in range(steps):
        while len(order) < batch_size:
            if not len(chunk_starts):
                chunk_starts = randperm(-(-count // chunk)) * chunk
            next_starts, chunk_starts = chunk_starts[:buffer].tolist(), chunk_starts[buffer:]
            left = rows[order]
            added = torch.cat([arange(start, min(start + chunk, count)) for start in next_starts])
            rows = torch.cat([left, added])
            order = torch.cat([arange(len(left)), len(left) + randperm(len(added))])
            fill = functools.cache(functools.partial(read, rows))
        batch_rows, order = order[:batch_size], order[batch_size:]
        yield functools.partial(_gather_from, fill, batch_rows)


def _reader(train: AnyExamples, rows: int) -> Callable[[Tensor], AnyExamples]:
    """Return a function that reads the examples with given indices into one buffer of `rows` rows."""
    buffers: list[Tensor] = []

    def read(indices: Tensor) -> AnyExamples:
        sources = train.images, train.labels
        if not buffers:
            buffers.extend(source.new_empty(rows, *source.shape[1:]) for source in sources)
        indices = indices.to(train.labels.device)
        images, labels = (
            torch.index_select(source, 0, indices, out=target[: len(indices)])
            for source, target in zip(sources, buffers, strict=True)
        )
        return train.with_tensors(images, labels)

    return read


def _gather_from(fill: Callable[[], AnyExamples], indices: Tensor) -> AnyExamples:
    return gather(fill(), indices)
