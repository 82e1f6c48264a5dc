"""Protocols: what methods return, and what they require of the models, layers and examples that they receive."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = [
    "AnyExamples",
    "DrawsRandomNumbers",
    "Examples",
    "GenerativeModel",
    "Metrics",
    "NamedParameters",
    "Objective",
    "Observe",
    "PublishedInit",
    "PublishedLayer",
    "Schedule",
    "Stackable",
    "Stateful",
    "Update",
    "UpdateRule",
    "UpdatedInGroups",
    "requested_examples",
    "stackable",
]

Function = TypeVar("Function", bound=Callable[..., Any])

NamedParameters = Iterable[tuple[str, nn.Parameter]]  # as `model.named_parameters()` yields them
Metrics = dict[str, Tensor]  # each (), or (S,) for a stack of S models
Objective = Callable[[nn.Module, Any], tuple[Tensor, Metrics]]  # (model, batch) -> (loss, metrics)
Schedule = Callable[[int], float]  # the number of updates done -> the factor of the learning rate


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


AnyExamples = TypeVar("AnyExamples", bound=Examples)


def requested_examples(options: Mapping[str, Any]) -> int:
    """Return how many examples an initializer or a diagnostic requests to find in its batch; 0 for any number.

    An initializer or a diagnostic requests them by the names of its options: `batch_size` times `batches`, if it has
    the latter, or `examples`, or `images`. Its batch then has at least this number, unless the training set is smaller;
    without such an option it may be as small as 16 examples, if the images are large.

    Args:
        options: {name: value} of all options, with defaults; None requests nothing.
    """
    in_batches: int = (options.get("batch_size") or 0) * options.get("batches", 1)
    return max(in_batches, options.get("examples") or 0, options.get("images") or 0)


@dataclass(frozen=True)
class PublishedInit:
    """How the authors of a model initialized a layer.

    Args:
        distribution: the distribution of the weights, whose mean is 0.
        std: the standard deviation of the weights.
        bias: the value of every bias.
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
    """A layer, or a function that returns an update or batches, that works with a stack of S models if `stackable`.

    The inputs, parameters and buffers of a stack have an additional first dimension of size S. If a layer
    `DrawsRandomNumbers`, its `generators` are those of the S models. An update changes each model as if it were alone.
    """

    stackable: bool


def stackable(function: Function) -> Function:
    """Decorate a function so that it is `Stackable`."""
    vars(function)["stackable"] = True
    return function


@runtime_checkable
class GenerativeModel(Protocol):
    """A model that generates images."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` images, (count, C, H, W)."""


@runtime_checkable
class UpdatedInGroups(Protocol):
    """A layer of which only one group of neurons at a time receives gradients."""

    def merge_groups(self) -> None:
        """Make all neurons one group, so that they all receive gradients."""


@runtime_checkable
class UpdateRule(Protocol):
    """What an optimizer declares about its update rule.

    Attributes:
        slots: number of state tensors of the size of a parameter that the optimizer keeps for each parameter.
        linear: whether the update is linear in the gradients; such an optimizer also takes sparse gradients.
    """

    slots: int
    linear: bool

    @property
    def elementwise(self) -> bool:
        """Whether each element of a parameter is updated from its own gradient and state alone."""


class Update(Protocol):
    """Applies the gradients of one mini-batch."""

    def step(self) -> None:
        """Update the parameters and clear their gradients."""


class Observe(Protocol):
    """The observing function of a diagnostic."""

    def __call__(self, step: int) -> dict[str, Any]:
        """Return {name: array or number} after `step` updates; the model and all random states stay as they are."""


@runtime_checkable
class Stateful(Protocol):
    """A function whose results depend on earlier calls, such as the observing function of some diagnostics."""

    @property
    def state(self) -> Sequence[Tensor]:
        """The tensors on which its next result depends; they are changed in place."""
