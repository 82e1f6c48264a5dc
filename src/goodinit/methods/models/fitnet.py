"""FitNets: thin deep convolutional networks."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from goodinit.methods.models.maxout import maxout

__all__ = ["fitnet1", "fitnet4", "fitnet_mnist", "fitresnet4"]

Activation: TypeAlias = Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"]
BatchNormPosition: TypeAlias = Literal["none", "before", "after"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "vlrelu": functools.partial(nn.LeakyReLU, 0.333),  # "very leaky"
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def fitnet4(
    shape: Sequence[int],
    classes: int,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    batch_norm: Literal["none", "before", "after"] = "none",
    dropout: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """FitNet-4: seventeen 3 x 3 convolutions with 32 to 128 channels, a hidden layer of 500 units, and a classifier.

    With maxout, each convolution has two pieces and the hidden layer five, and the network has 2,742,102 parameters for
    ten classes. With any other activation, the widths are the same and the network has 1,276,806 parameters.

    Deviation: the paper does not specify whether batch normalization precedes or follows maxout, and whether it learns
    a scale and a shift. Here it normalizes each piece (`before`) or the maximum (`after`), and learns neither.

    Args:
        shape: the shape of an image, (channels, height, width).
        classes: number of outputs, logits (N, classes).
        activation: the activation of each layer except the last; `maxout` is the maximum of several pieces, `vlrelu` a
            leaky rectifier with slope 0.333.
        batch_norm: normalize every layer except the last, before or after the activation.
        dropout: dropout probability of the input, after each pooling, and after the hidden layer.
        width: factor of the number of channels of all convolutions and of the units of the hidden layer.

    Raises:
        ValueError: `width` is not more than 0, or `dropout` is not between 0 and 1.

    Reference: Romero et al., FitNets: hints for thin deep nets (2015); Mishkin & Matas, All you need is a good
        init (2016), Table 1, and their released definitions, which this function implements.
    """
    blocks = [[32, 32, 32, 48, 48], [80] * 6, [128] * 6]
    return _cifar_network(shape, classes, blocks, activation, batch_norm, dropout, width)


def fitnet1(
    shape: Sequence[int],
    classes: int,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    dropout: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """FitNet-1: nine convolutions with 16 to 64 channels, otherwise as `fitnet4`.

    Deviation: no available source specifies its last layers; here they equal those of FitNet-4.

    Args:
        shape, classes, activation, dropout, width: as in `fitnet4`.

    Reference: Romero et al. (2015), for the widths of the convolutions.
    """
    return _cifar_network(shape, classes, [[16] * 3, [32] * 3, [48, 48, 64]], activation, "none", dropout, width)


def fitresnet4(
    shape: Sequence[int],
    classes: int,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    dropout: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """FitResNet-4: `fitnet4` with residual connections around every second convolution of a block.

    The input of such a convolution is added to its output before the non-linearity; with maxout, adding it to each
    piece or to the maximum gives the same result. The third convolution has 48 channels, so that the shapes agree.

    Args:
        shape, classes, activation, dropout, width: as in `fitnet4`.

    Deviation: the numbers of channels are from memory, and were not compared with Table 1 of the paper.

    Reference: Mishkin & Matas (2016), Table 1.
    """
    blocks = [[32, 32, 48, 48, 48], [80] * 6, [128] * 6]
    return _cifar_network(shape, classes, blocks, activation, "none", dropout, width, residual=True)


def fitnet_mnist(
    shape: Sequence[int],
    classes: int,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    dropout: float = 0.3,
) -> nn.Sequential:
    """FitNet-MNIST: six 3 x 3 convolutions with 16 or 12 channels in two pieces, and a classifier; 21,426 parameters.

    Args:
        shape, classes, activation: as in `fitnet4`.
        dropout: dropout probability before the classifier.

    Reference: Mishkin & Matas (2016), released definition, whose kernels and pieces differ from those of Romero et al.
    """
    _check_dropout(dropout)
    layers: list[nn.Module] = []
    channels = shape[0]
    for widths, window in (([16, 16], 4), ([16, 16], 4), ([12, 12], 2)):
        for width in widths:
            layers.append(_MaxoutLayer(_convolution, channels, width, 2, activation, "none"))
            channels = width
        layers.append(nn.MaxPool2d(window, 2, ceil_mode=True))
    layers += [nn.Dropout(dropout), nn.Flatten()]
    return _with_classifier(nn.Sequential(*layers), shape, classes)


def _cifar_network(
    shape: Sequence[int],
    classes: int,
    blocks: Sequence[Sequence[int]],
    activation: Activation,
    batch_norm: BatchNormPosition,
    dropout: float,
    width: float,
    residual: bool = False,
) -> nn.Sequential:
    if not width > 0:
        raise ValueError(f"width must be more than 0, not {width}")
    _check_dropout(dropout)
    *blocks, [hidden] = ([max(round(width * outputs), 1) for outputs in block] for block in [*blocks, [500]])
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    channels = shape[0]
    for index, widths in enumerate(blocks):
        for number, outputs in enumerate(widths, 1):
            skip = residual and number % 2 == 0
            layers.append(_MaxoutLayer(_convolution, channels, outputs, 2, activation, batch_norm, skip))
            channels = outputs
        last = index == len(blocks) - 1
        layers += [_GlobalMaxPool() if last else nn.MaxPool2d(2, 2, ceil_mode=True), nn.Dropout(dropout)]
    layers += [nn.Flatten(), _MaxoutLayer(nn.Linear, channels, hidden, 5, activation, batch_norm), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be at least 0 and at most 1, not {dropout}")


def _with_classifier(features: nn.Sequential, shape: Sequence[int], classes: int) -> nn.Sequential:
    """Append a linear layer with as many inputs as the features have outputs."""
    with torch.no_grad():
        width = features.eval()(torch.zeros(1, *shape)).shape[1]
    return features.train().append(nn.Linear(width, classes))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class _GlobalMaxPool(nn.Module):
    """The maximum of each channel, (N, C, 1, 1); that of torch has no deterministic gradient on a GPU."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(2).max(2).values[:, :, None, None]


class _MaxoutLayer(nn.Module):
    """Several linear or convolutional pieces with maxout, or one with another activation.

    Batch normalization and the addition of the input are optional.
    """

    def __init__(
        self,
        affine: Callable[[int, int], nn.Module],
        inputs: int,
        outputs: int,
        pieces: int,
        activation: Activation,
        batch_norm: BatchNormPosition,
        skip: bool = False,
    ) -> None:
        super().__init__()
        pieces = pieces if activation == "maxout" else 1
        norm = nn.BatchNorm1d if affine is nn.Linear else nn.BatchNorm2d

        def normalization(position: BatchNormPosition) -> list[nn.Module]:
            return [norm(outputs, affine=False)] if batch_norm == position else []

        self.pieces = nn.ModuleList(
            nn.Sequential(affine(inputs, outputs), *normalization("before")) for _ in range(pieces)
        )
        non_linearity = [] if activation == "maxout" else [ACTIVATIONS[activation]()]
        self.activation = nn.Sequential(*non_linearity, *normalization("after"))
        self.skip = skip

    def forward(self, inputs: Tensor) -> Tensor:
        maximum = maxout([piece(inputs) for piece in self.pieces])
        outputs: Tensor = self.activation(maximum + inputs if self.skip else maximum)
        return outputs
