"""What methods expect of the objects that they are given: protocols, for type checkers and for readers."""

from typing import Protocol, Self

from torch import Tensor

__all__ = ["Examples"]


class Examples(Protocol):
    """Labeled examples: a whole set or a mini-batch."""

    @property
    def images(self) -> Tensor:
        """Inputs: uint8 or float32 (N, C, H, W), or float32 (N, features)."""

    @property
    def labels(self) -> Tensor:
        """Classes, int64 (N,)."""

    def with_tensors(self, images: Tensor, labels: Tensor) -> Self:
        """Return examples of the same type with other images and labels."""
