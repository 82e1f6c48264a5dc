"""Initializers: each fills the weights of a model in place and sets its biases to zero; but for `as_built`.

All take the same arguments, `(model, batch, generator, **options)`: the data-dependent ones look at
`batch`, the others do not.  Layers are filled in the order in which the model lists them, so at one
seed two Gaussian schemes draw the same standard normal numbers and differ in scale alone.
"""

import math

import torch
from torch import nn

__all__ = ["as_built", "gaussian", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal"]


def as_built(model, batch, generator):
    """Nothing: parameters stay what the model was built with, as where a starting point is part of the model.

    Args:
        model, batch, generator: not used.
    """


def gaussian(model, batch, generator, *, std: float = 0.01):
    r"""One scale for every layer: :math:`w \sim \mathcal{N}(0, \mathrm{std}^2)`.

    Args:
        model: its linear and convolutional weights are filled, its biases set to 0.
        batch: not used.
        generator: draws the weights.
        std: standard deviation, at least 0.

    Raises:
        ValueError: `std` is negative.

    Reference: Saito, Deep Learning from Scratch (2016), section 6.2, where std is 1 and 0.01.
    """
    if std < 0:
        raise ValueError(f"gaussian: std must be at least 0, not {std}")
    _normal(model, generator, lambda fan_in, fan_out: std)


def lecun_normal(model, batch, generator):
    r"""Fan-in alone: :math:`w \sim \mathcal{N}(0, 1 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: LeCun, Bottou, Orr & Müller, Efficient BackProp (1998), equation 16.  It is what the code
        of Saito, Deep Learning from Scratch (2016) calls "Xavier"; equal to Glorot's rule where a
        layer has as many inputs as outputs.
    """
    _normal(model, generator, lambda fan_in, fan_out: math.sqrt(1 / fan_in))


def glorot_normal(model, batch, generator):
    r"""Both fans: :math:`w \sim \mathcal{N}(0, 2 / (n_\mathrm{in} + n_\mathrm{out}))`; also called Xavier.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
        networks (2010), equation 12.
    """
    _normal(model, generator, _glorot_std)


def glorot_uniform(model, batch, generator):
    r"""Uniform with Glorot's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{6 / (n_\mathrm{in} + n_\mathrm{out})})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: Glorot & Bengio (2010), equation 16, the "normalized initialization".
    """
    _uniform(model, generator, _glorot_std)


def he_normal(model, batch, generator):
    r"""Fan-in, doubled for rectifiers: :math:`w \sim \mathcal{N}(0, 2 / n_\mathrm{in})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: He, Zhang, Ren & Sun, Delving deep into rectifiers (2015), equation 10.
    """
    _normal(model, generator, _he_std)


def he_uniform(model, batch, generator):
    r"""Uniform with He's variance: :math:`w \sim \mathcal{U}(\pm\sqrt{6 / n_\mathrm{in}})`.

    Args:
        model, batch, generator: as in `gaussian`.

    Reference: He, Zhang, Ren & Sun (2015), equation 10, for the variance.
    """
    _uniform(model, generator, _he_std)


# The roundings of these two are those of torch.nn.init, which the tests hold them to bit by bit.
def _glorot_std(fan_in, fan_out):
    return math.sqrt(2 / (fan_in + fan_out))


def _he_std(fan_in, fan_out):
    return math.sqrt(2) / math.sqrt(fan_in)


def _normal(model, generator, std):
    _fill(model, std, lambda weight, scale: weight.normal_(0, scale, generator=generator))


def _uniform(model, generator, std):
    def draw(weight, scale):
        bound = math.sqrt(3) * scale
        weight.uniform_(-bound, bound, generator=generator)

    _fill(model, std, draw)


@torch.no_grad()
def _fill(model, std, draw):
    """Call draw(weight, std(fan_in, fan_out)) for every layer, and set its bias to zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            draw(layer.weight, std(*nn.init._calculate_fan_in_and_fan_out(layer.weight)))
            if layer.bias is not None:
                layer.bias.zero_()
