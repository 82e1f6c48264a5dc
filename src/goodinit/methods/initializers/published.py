"""The initialization that a model's authors published, layer by layer."""

import math
from typing import Literal

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.layers import Batch, layers_of, set_bias, set_weight

__all__ = ["published", "set_biases"]


@torch.no_grad()
def published(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""As the model's authors initialized it: normal or uniform weights and a constant bias, for each layer its own.

    Args:
        model: its linear and convolutional layers are `layers.Published`, see `models.caffenet` and `models.googlenet`.
        batch: not used.
        generator: draws the weights.

    Raises:
        ValueError: a layer is not `layers.Published`.
    """
    for name, layer in list(layers_of("published", model)):
        own = _published("published", name, layer)
        value = torch.empty_like(layer.weight, device=generator.device)
        if own["distribution"] == "normal":
            value.normal_(0, own["std"], generator=generator)
        else:
            bound = math.sqrt(3) * own["std"]
            value.uniform_(-bound, bound, generator=generator)
        set_weight(layer, value)
        set_bias(layer, own["bias"])


def set_biases(initializer: str, layers: list[tuple[str, nn.Module]], biases: Literal["zero", "published"]) -> None:
    """Set the bias of each (name, layer) to 0 or to what the model's authors set it to.

    Raises:
        ValueError: a layer does not say what its bias was; then none is changed.
    """
    zero = biases == "zero"
    values = [0.0 if zero else _published(initializer, name, layer)["bias"] for name, layer in layers]
    for (_, layer), value in zip(layers, values, strict=True):
        set_bias(layer, value)


def _published(initializer: str, name: str, layer: nn.Module) -> dict[str, str | float]:
    if not hasattr(layer, "published"):
        raise InputError(f"{initializer}: the model does not say how its authors filled the layer {name}")
    return layer.published
