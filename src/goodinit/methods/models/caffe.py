"""Layers of Caffe that CaffeNet and GoogLeNet share, and their published initialization."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.methods.contracts import PublishedInit
from goodinit.methods.layers import Layer, fans

__all__ = ["LocalResponseNorm", "max_pool", "pooled_size", "with_published_init"]

AnyLayer = TypeVar("AnyLayer", bound=Layer)


def with_published_init(layer: AnyLayer, *, bias: float, std: float | None = None) -> AnyLayer:
    """Set and return a layer's attribute `published`, which `initializers.published` uses.

    Args:
        layer: linear or convolutional.
        bias: value of the biases.
        std: standard deviation of normal weights; None stands for Caffe's `xavier` filler, which draws uniform weights
            with variance 1 / fan-in.
    """
    if std is None:
        init = PublishedInit("uniform", math.sqrt(1 / fans(layer)[0]), bias)
    else:
        init = PublishedInit("normal", std, bias)
    object.__setattr__(layer, "published", init)  # nn.Module declares only tensors and modules as attributes
    return layer


def max_pool() -> nn.MaxPool2d:
    """Return 3 x 3 max pooling with stride 2; the last window may extend beyond the border."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def pooled_size(size: int, window: int = 3, stride: int = 2) -> int:
    """Return the height, or width, after pooling with ceil mode; less than 1 if the input is too small."""
    return math.ceil((size - window) / stride) + 1


class LocalResponseNorm(nn.Module):
    r"""Normalization over five neighboring channels: :math:`x_c / (1 + \frac{\alpha}{5} \sum_{c'} x_{c'}^2)^\beta`.

    :math:`\alpha` is 0.0001 and :math:`\beta` is 0.75; channels beyond the first and the last count as 0. It replaces
    `nn.LocalResponseNorm`, whose gradient is not deterministic on a GPU.

    Reference: Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks (2012),
        section 3.3, with Caffe's constants and its division by the number of channels.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalized inputs, (N, C, H, W)."""
        squares = functional.pad(inputs.square(), (0, 0, 0, 0, 2, 2))
        total = sum(torch.narrow(squares, 1, first, inputs.shape[1]) for first in range(5))
        return inputs / (1 + 1e-4 / 5 * total) ** 0.75
