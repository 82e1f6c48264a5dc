"""Labeled examples as tensors, and their batches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit.transfer import to_device

__all__ = ["Examples", "batches", "stack"]


class Examples(NamedTuple):
    """Images, uint8 or float32 (N, C, H, W), or float32 (N, features); labels, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "Examples":
        """Return the same examples on `device`; a copy to a GPU does not wait for it."""
        return Examples(to_device(self.images, device), to_device(self.labels, device))

    def with_tensors(self, images: Tensor, labels: Tensor) -> "Examples":
        """Return examples with other images and labels."""
        return Examples(images, labels)


def batches(examples: Examples, size: int) -> Iterator[Examples]:
    """Yield consecutive batches of at most `size` examples."""
    for start in range(0, len(examples.labels), size):
        batch = slice(start, start + size)
        yield Examples(examples.images[batch], examples.labels[batch])


def stack(batches: Sequence[Examples]) -> Examples:
    """Join S batches of the same size into one: images (S, N, ...), labels (S, N).

    If all are the same memory, the result is an expanded view of it.
    """
    first, count = batches[0], len(batches)
    if all(batch.images.data_ptr() == first.images.data_ptr() for batch in batches):
        return Examples(first.images.expand(count, *first.images.shape), first.labels.expand(count, -1))
    return Examples(torch.stack([batch.images for batch in batches]), torch.stack([batch.labels for batch in batches]))
