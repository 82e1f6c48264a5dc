"""Initializers that draw all weights of a layer independently, with a variance given by the layer's fans or fixed."""

import math
from collections.abc import Callable

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.contracts import Examples
from goodinit.methods.layers import Layer, fans, layers_to_initialize, set_bias, set_weight

__all__ = [
    "as_built",
    "gaussian",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "set_lecun_normal",
    "set_normal",
    "set_uniform",
]


def as_built(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    """Change nothing: all parameters keep the values from the construction of the model.

    Args:
        model, batch, generator: not used.
    """


def gaussian(model: nn.Module, batch: Examples | None, generator: torch.Generator, *, std: float = 0.01) -> None:
    r"""Draw all weights from one normal distribution, :math:`w \sim \mathcal{N}(0, \mathrm{std}^2)`.

    Args:
        model: its linear and convolutional weights are drawn; their biases are set to 0.
        batch: not used.
        generator: draws the weights.
        std: standard deviation, at least 0.

    Raises:
        ValueError: `std` is negative, the model has no layer to initialize, or a weight cannot be set.

    Reference: Saito, Deep Learning from Scratch (2016), section 6.2, with std 1 and 0.01.
    """
    if not std >= 0:
        raise InputError(f"gaussian: std must be at least 0, not {std}")
    _initialize("gaussian", model, generator, set_normal, lambda fan_in, fan_out: std)


def lecun_normal(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Draw weights from :math:`\mathcal{N}(0, 1 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `gaussian`. The fans are computed by `layers.fans`.

    Reference: LeCun, Bottou, Orr & Müller, Efficient BackProp (1998), equation 16. In the code of Saito, Deep Learning
        from Scratch (2016), this is "Xavier"; it equals Glorot's rule if a layer has equal fan-in and fan-out.
    """
    _initialize("lecun_normal", model, generator, set_normal, _lecun_std)


def lecun_uniform(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Draw weights from :math:`\mathcal{U}(\pm\sqrt{3 / n_\mathrm{in}})`, with LeCun's variance.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: LeCun et al. (1998), equation 16, for the variance. Caffe's `xavier` filler uses this distribution.
    """
    _initialize("lecun_uniform", model, generator, set_uniform, _lecun_std)


def glorot_normal(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Draw weights from :math:`\mathcal{N}(0, 2 / (n_\mathrm{in} + n_\mathrm{out}))`; also called Xavier.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
        networks (2010), equation 12.
    """
    _initialize("glorot_normal", model, generator, set_normal, _glorot_std)


def glorot_uniform(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Draw weights from :math:`\mathcal{U}(\pm\sqrt{6 / (n_\mathrm{in} + n_\mathrm{out})})`; also called Xavier.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: Glorot & Bengio (2010), equation 16, the "normalized initialization".
    """
    _initialize("glorot_uniform", model, generator, set_uniform, _glorot_std)


def he_normal(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Draw weights from :math:`\mathcal{N}(0, 2 / n_\mathrm{in})`, for rectifiers; also called Kaiming.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: He, Zhang, Ren & Sun, Delving deep into rectifiers (2015), equation 10.
    """
    _initialize("he_normal", model, generator, set_normal, _he_std)


def he_uniform(model: nn.Module, batch: Examples | None, generator: torch.Generator) -> None:
    r"""Draw weights from :math:`\mathcal{U}(\pm\sqrt{6 / n_\mathrm{in}})`, with He's variance.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: He, Zhang, Ren & Sun (2015), equation 10, for the variance.
    """
    _initialize("he_uniform", model, generator, set_uniform, _he_std)


def set_normal(layer: Layer, std: float, generator: torch.Generator) -> None:
    """Draw the weight of a layer from a normal distribution with mean 0."""
    weight = torch.empty_like(layer.weight, device=generator.device)
    set_weight(layer, nn.init.normal_(weight, 0, std, generator=generator))


def set_uniform(layer: Layer, std: float, generator: torch.Generator) -> None:
    """Draw the weight of a layer from a uniform distribution with mean 0."""
    weight = torch.empty_like(layer.weight, device=generator.device)
    bound = math.sqrt(3) * std
    set_weight(layer, nn.init.uniform_(weight, -bound, bound, generator=generator))


def set_lecun_normal(layer: Layer, generator: torch.Generator) -> None:
    """Draw the weight of one layer as `lecun_normal` does."""
    set_normal(layer, _lecun_std(*fans(layer)), generator)


# These replace torch.nn.init.xavier_* and kaiming_*, which use other fans for transposed convolutions, see `fans`. For
# all other layers the weights are bit-equal, because the order of operations is the same.
def _lecun_std(fan_in: float, fan_out: float) -> float:
    return math.sqrt(1 / fan_in)


def _glorot_std(fan_in: float, fan_out: float) -> float:
    return math.sqrt(2 / (fan_in + fan_out))


def _he_std(fan_in: float, fan_out: float) -> float:
    return math.sqrt(2) / math.sqrt(fan_in)


def _initialize(
    initializer: str,
    model: nn.Module,
    generator: torch.Generator,
    draw: Callable[[Layer, float, torch.Generator], None],
    std: Callable[[float, float], float],
) -> None:
    """Call draw(layer, std(fan_in, fan_out), generator) for every layer, and set its bias to 0."""
    for _, layer in layers_to_initialize(initializer, model):
        draw(layer, std(*fans(layer)), generator)
        set_bias(layer, 0.0)
