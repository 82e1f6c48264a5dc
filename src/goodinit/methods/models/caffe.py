"""What CaffeNet and GoogLeNet share: Caffe's layers, each with the initialization that was published for it.

A layer says how its authors filled it in its attribute `published`: `distribution`, normal or uniform, the `std`
of its weights, and the value of its `bias`.  `initializers.published` reads it.
"""

import math

import torch
from torch import nn
from torch.nn import functional

__all__ = ["LocalResponseNorm", "filled", "max_pool", "pooled"]


def filled(layer, *, bias, std=None):
    """Return the layer with its `published` start: normal weights, or where `std` is missing Caffe's `xavier`."""
    fan_in = layer.weight[0].numel()
    distribution, std = ("uniform", math.sqrt(1 / fan_in)) if std is None else ("normal", std)
    layer.published = {"distribution": distribution, "std": std, "bias": bias}
    return layer


def max_pool():
    """Pool 3 x 3 windows, 2 apart; the last one may reach over the edge."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def pooled(size, window=3, stride=2):
    """Return the height that pooling makes of a height; less than 1 where no window begins within it."""
    return math.ceil((size - window) / stride) + 1


class LocalResponseNorm(nn.Module):
    r"""Normalize across five neighboring channels: :math:`x_c / (1 + \frac{\alpha}{5} \sum_{c'} x_{c'}^2)^\beta`.

    With :math:`\alpha = 0.0001` and :math:`\beta = 0.75`; beyond the first and the last channel there are zeros.
    Torch's own has no deterministic gradient on a GPU.

    Reference: Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks (2012),
        section 3.3, with Caffe's constants and its division by the number of channels.
    """

    def forward(self, inputs):
        """Return the inputs, (N, C, H, W), normalized."""
        squares = functional.pad(inputs.square(), (0, 0, 0, 0, 2, 2))
        total = sum(torch.narrow(squares, 1, first, inputs.shape[1]) for first in range(5))
        return inputs / (1 + 1e-4 / 5 * total) ** 0.75
