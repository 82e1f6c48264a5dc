"""CaffeNet: five convolutions and three fully-connected layers."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from goodinit.methods.models.caffe import LocalResponseNorm, max_pool, pooled_size, with_published_init

__all__ = ["caffenet"]

MIN_SIZE = 39  # of an image, so that at least one pixel remains after the last pooling


class _Convolution(NamedTuple):
    channels: int
    kernel: int
    stride: int
    padding: int
    groups: int
    bias: float
    pooling: bool
    normalization: bool


CONVOLUTIONS = (
    _Convolution(96, 11, 4, 0, 1, 0.0, True, True),
    _Convolution(256, 5, 1, 2, 2, 1.0, True, True),
    _Convolution(384, 3, 1, 1, 1, 0.0, False, False),
    _Convolution(384, 3, 1, 1, 2, 1.0, False, False),
    _Convolution(256, 3, 1, 1, 2, 1.0, True, False),
)


def caffenet(
    shape: Sequence[int], classes: int, *, dropout: float = 0.5, width: float = 1.0, units: int = 4096
) -> nn.Sequential:
    """CaffeNet: AlexNet for a single GPU, with pooling before normalization.

    Rectifiers work in place. With inputs of 3 x 227 x 227 and 1,000 classes it has 60,965,224 parameters. Its layers
    are `conv1` to `conv5` and `fc6` to `fc8`, the classifier; each has its published initialization.

    Deviation: for other image sizes, `fc6` has as many inputs as the last pooling has outputs.

    Args:
        shape: the shape of an image, (channels, height, width); height and width are at least 39.
        classes: number of outputs, logits (N, classes).
        dropout: dropout probability after each hidden layer, `fc6` and `fc7`.
        width: factor of the number of channels of all convolutions, which remains even.
        units: number of units of each hidden layer.

    Raises:
        ValueError: the image is smaller than 39 x 39, or an option is out of range.

    Reference: Jia et al., Caffe: convolutional architecture for fast feature embedding (2014), its reference model;
        Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks (2012).
    """
    channels, *size = shape
    if len(size) != 2 or min(size) < MIN_SIZE:
        raise ValueError(f"caffenet: images must be at least {MIN_SIZE} x {MIN_SIZE}, not of shape {tuple(shape)}")
    if not width > 0 or units < 1 or not 0 <= dropout < 1:
        raise ValueError("caffenet: width must be more than 0, units at least 1, dropout at least 0 and less than 1")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, spec in enumerate(CONVOLUTIONS, 1):
        outputs = 2 * max(round(width * spec.channels / 2), 1)
        convolution = nn.Conv2d(channels, outputs, spec.kernel, spec.stride, spec.padding, groups=spec.groups)
        layers[f"conv{number}"] = with_published_init(convolution, std=0.01, bias=spec.bias)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        size = [(side + 2 * spec.padding - spec.kernel) // spec.stride + 1 for side in size]
        if spec.pooling:
            layers[f"pool{number}"] = max_pool()
            size = [pooled_size(side) for side in size]
        if spec.normalization:
            layers[f"norm{number}"] = LocalResponseNorm()
        channels = outputs
    layers["flatten"] = nn.Flatten()
    inputs = channels * size[0] * size[1]
    for number in (6, 7):
        layers[f"fc{number}"] = with_published_init(nn.Linear(inputs, units), std=0.005, bias=1.0)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        layers[f"dropout{number}"] = nn.Dropout(dropout)
        inputs = units
    layers["fc8"] = with_published_init(nn.Linear(units, classes), std=0.01, bias=0.0)
    return nn.Sequential(layers)
