"""The weights, and the distances by which they move."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from goodinit.methods.contracts import Examples, Observe
from goodinit.methods.layers import Layer, fans

__all__ = ["path", "update_size", "weight_variance"]


@contextlib.contextmanager
def update_size(model: nn.Module, batch: Examples, generator: torch.Generator) -> Iterator[Observe]:
    r"""Relative change of the weights of each layer: :math:`\lVert W - W' \rVert / \lVert W' \rVert`.

    W' are the weights at the previous observation, so this is the relative size of an update if every step is
    observed; NaN at first.

    Args:
        model: its linear and convolutional layers are observed, in the order of `model.modules()`.
        batch, generator: not used.

    Yields:
        A function of the step that returns `update_size` (L,), and `mean_update_size` (), its mean over the layers.

    Deviation: the paper does not state how the layers are averaged.

    Reference: Mishkin & Matas (2016), figure 1.
    """
    yield _UpdateSize(_weights(model))


class _UpdateSize:
    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = weights
        self.state = [torch.full_like(weight, math.nan) for weight in weights]

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, Any]:
        pairs = list(zip(self._weights, self.state, strict=True))
        sizes = torch.stack([(weight - previous).norm() / previous.norm() for weight, previous in pairs])
        for weight, previous in pairs:
            previous.copy_(weight)
        array = sizes.double().cpu().numpy()  # one copy from a GPU for all layers
        return {"update_size": array, "mean_update_size": float(array.mean())}


@contextlib.contextmanager
def weight_variance(model: nn.Module, batch: Examples, generator: torch.Generator) -> Iterator[Observe]:
    r"""Variance of the weights of each layer relative to that of He: :math:`\mathrm{Var}(W) / (2 / n)`, n the fan-in.

    Args:
        model: its linear and convolutional layers are observed, in the order of `model.modules()`.
        batch, generator: not used.

    Yields:
        A function of the step that returns `weight_variance_ratio` (L,).

    Reference: Sato & Kimura, Progressive Data Increasing (2019), figure 1.
    """
    weights = [weight.detach() for weight in _weights(model)]
    fan_in = np.array([fans(module)[0] for module in model.modules() if isinstance(module, Layer)])

    def observe(step: int) -> dict[str, Any]:
        variances = torch.stack([weight.var(correction=0) for weight in weights]).double().cpu().numpy()
        return {"weight_variance_ratio": variances * fan_in / 2}

    yield observe


@contextlib.contextmanager
def path(model: nn.Module, batch: Examples, generator: torch.Generator) -> Iterator[Observe]:
    """Positions of the parameters of a small model.

    Args:
        model: with few parameters, since all are recorded at each observation.
        batch, generator: not used.

    Yields:
        A function of the step that returns `position` (D,), all parameters as one vector, and `path_length` (), the
        sum of the distances between all positions observed so far.
    """
    yield _Path(model)


class _Path:
    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.state = [torch.zeros((), dtype=torch.float64), self._position().clone()]  # length, last position

    def __call__(self, step: int) -> dict[str, Any]:
        length, last = self.state
        position = self._position()
        length.add_(float((position - last).norm()))
        last.copy_(position)
        return {"position": position.cpu().numpy().copy(), "path_length": float(length)}

    def _position(self) -> Tensor:
        return nn.utils.parameters_to_vector(self._model.parameters()).detach()


def _weights(model: nn.Module) -> list[Tensor]:
    """Return the weights of the linear and convolutional layers."""
    return [module.weight for module in model.modules() if isinstance(module, Layer)]
