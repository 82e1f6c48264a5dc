"""Initializers that draw every weight independently, with a variance that depends on the layer's fans at most."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.layers import Batch, fans, layers_of, set_bias, set_weight

__all__ = [
    "as_built",
    "gaussian",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
]


def as_built(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    """Change nothing: the parameters keep the values that the model was built with.

    Args:
        model, batch, generator: not used.
    """


def gaussian(model: nn.Module, batch: Batch | None, generator: torch.Generator, *, std: float = 0.01) -> None:
    r"""The same scale in every layer: :math:`w \sim \mathcal{N}(0, \mathrm{std}^2)`.

    Args:
        model: its linear and convolutional weights are drawn, its biases set to 0.
        batch: not used.
        generator: draws the weights.
        std: standard deviation, at least 0.

    Raises:
        ValueError: `std` is negative, or the model has no layer or one whose weight cannot be set.

    Reference: Saito, Deep Learning from Scratch (2016), section 6.2, where std is 1 and 0.01.
    """
    if std < 0:
        raise InputError(f"gaussian: std must be at least 0, not {std}")
    _normal("gaussian", model, generator, lambda fan_in, fan_out: std)


def lecun_normal(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""Fan-in alone: :math:`w \sim \mathcal{N}(0, 1 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `gaussian`; the fans are those of `layers.fans`.

    Reference: LeCun, Bottou, Orr & Müller, Efficient BackProp (1998), equation 16.  The code of Saito, Deep Learning
        from Scratch (2016) calls it "Xavier"; it equals Glorot's rule if a layer has as many inputs as outputs.
    """
    _normal("lecun_normal", model, generator, lambda fan_in, fan_out: math.sqrt(1 / fan_in))


def lecun_uniform(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""Uniform with LeCun's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{3 / n_\mathrm{in}})`.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: LeCun et al. (1998), equation 16, for the variance.  It is what Caffe's `xavier` filler draws.
    """
    _uniform("lecun_uniform", model, generator, lambda fan_in, fan_out: math.sqrt(1 / fan_in))


def glorot_normal(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""Both fans: :math:`w \sim \mathcal{N}(0, 2 / (n_\mathrm{in} + n_\mathrm{out}))`; also called Xavier.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
        networks (2010), equation 12.
    """
    _normal("glorot_normal", model, generator, _glorot_std)


def glorot_uniform(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""Uniform with Glorot's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{6 / (n_\mathrm{in} + n_\mathrm{out})})`.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: Glorot & Bengio (2010), equation 16, the "normalized initialization".
    """
    _uniform("glorot_uniform", model, generator, _glorot_std)


def he_normal(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""Fan-in, doubled for rectifiers: :math:`w \sim \mathcal{N}(0, 2 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: He, Zhang, Ren & Sun, Delving deep into rectifiers (2015), equation 10.
    """
    _normal("he_normal", model, generator, _he_std)


def he_uniform(model: nn.Module, batch: Batch | None, generator: torch.Generator) -> None:
    r"""Uniform with He's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{6 / n_\mathrm{in}})`.

    Args:
        model, batch, generator: as in `lecun_normal`.

    Reference: He, Zhang, Ren & Sun (2015), equation 10, for the variance.
    """
    _uniform("he_uniform", model, generator, _he_std)


@torch.no_grad()
def set_lecun_normal(layer: nn.Module, generator: torch.Generator) -> None:
    """Set the weight of one layer as `lecun_normal` does."""
    value = torch.empty_like(layer.weight, device=generator.device)
    set_weight(layer, value.normal_(0, math.sqrt(1 / fans(layer)[0]), generator=generator))


# The order of the operations is that of torch.nn.init, so that the weights are equal bit by bit.
def _glorot_std(fan_in: float, fan_out: float) -> float:
    return math.sqrt(2 / (fan_in + fan_out))


def _he_std(fan_in: float, fan_out: float) -> float:
    return math.sqrt(2) / math.sqrt(fan_in)


def _normal(
    initializer: str, model: nn.Module, generator: torch.Generator, std: Callable[[float, float], float]
) -> None:
    _fill(initializer, model, generator, std, lambda weight, scale: weight.normal_(0, scale, generator=generator))


def _uniform(
    initializer: str, model: nn.Module, generator: torch.Generator, std: Callable[[float, float], float]
) -> None:
    def draw(weight: Tensor, scale: float) -> None:
        bound = math.sqrt(3) * scale
        weight.uniform_(-bound, bound, generator=generator)

    _fill(initializer, model, generator, std, draw)


@torch.no_grad()
def _fill(
    initializer: str,
    model: nn.Module,
    generator: torch.Generator,
    std: Callable[[float, float], float],
    draw: Callable[[Tensor, float], object],
) -> None:
    """Set every layer's weight to draw(empty tensor, std(fan_in, fan_out)), and its bias to zero."""
    for _, layer in list(layers_of(initializer, model)):
        value = torch.empty_like(layer.weight, device=generator.device)
        draw(value, std(*fans(layer)))
        set_weight(layer, value)
        set_bias(layer, 0.0)
