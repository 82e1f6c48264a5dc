"""Protocols: what methods require of the models, layers and examples that they receive."""

from dataclasses import dataclass
from typing import Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

__all__ = ["DrawsRandomNumbers", "Examples", "GenerativeModel", "PublishedInit", "PublishedLayer", "Stackable"]


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


@dataclass(frozen=True)
class PublishedInit:
    """How the authors of a model initialized a layer.

    Args:
        distribution: of the weights, which have mean 0.
        std: standard deviation of the weights.
        bias: value of every bias.
    """

    distribution: Literal["normal", "uniform"]
    std: float
    bias: float


@runtime_checkable
class PublishedLayer(Protocol):
    """A layer with a published initialization."""

    published: PublishedInit


@runtime_checkable
class DrawsRandomNumbers(Protocol):
    """A layer that draws random numbers from its own generators: one generator, or one for each model of a stack."""

    generators: list[torch.Generator]


@runtime_checkable
class Stackable(Protocol):
    """A layer that, if `stackable` is true, also computes S models at once.

    Its inputs, parameters and buffers then have an additional first dimension of size S.  If the layer
    `DrawsRandomNumbers`, its `generators` are those of the S models.
    """

    stackable: bool


@runtime_checkable
class GenerativeModel(Protocol):
    """A model that generates images."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` images, (count, C, H, W)."""
