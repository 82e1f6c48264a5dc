"""The initialization that the authors of a model published for each layer."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.contracts import Examples, PublishedInit, PublishedLayer
from goodinit.methods.initializers.variance_scaling import set_normal, set_uniform
from goodinit.methods.layers import Layer, layers_to_initialize, set_bias

__all__ = ["published", "set_biases"]


def published(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Initialize each layer as the authors of the model did: normal or uniform weights and a constant bias.

    Args:
        model: its linear and convolutional layers have the attribute `published`, see `contracts.PublishedLayer`, as
            in `models.caffenet` and `models.googlenet`.
        batch: not used.
        generator: draws the weights.

    Raises:
        ValueError: a layer has no published initialization.
    """
    for name, layer in layers_to_initialize("published", model):
        init = _published_init("published", name, layer)
        draw = set_normal if init.distribution == "normal" else set_uniform
        draw(layer, init.std, generator)
        set_bias(layer, init.bias)


def set_biases(initializer: str, layers: Iterable[tuple[str, Layer]], biases: Literal["zero", "published"]) -> None:
    """Set the biases of (name, layer) pairs to 0 or to the values that the authors of the model published.

    Raises:
        ValueError: a layer has no published initialization; then no bias is changed.
    """
    layers = list(layers)
    values = [0.0 if biases == "zero" else _published_init(initializer, name, layer).bias for name, layer in layers]
    for (_, layer), value in zip(layers, values, strict=True):
        set_bias(layer, value)


def _published_init(initializer: str, name: str, layer: nn.Module) -> PublishedInit:
    if not isinstance(layer, PublishedLayer):
        raise InputError(f"{initializer}: the model has no published initialization of the layer {name}")
    return layer.published
