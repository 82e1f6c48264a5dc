"""FitNets: thin deep convolutional nets."""

import functools
from typing import Literal

import torch
from torch import nn

__all__ = ["fitnet1", "fitnet4", "fitnet_mnist", "fitresnet4"]

ACTIVATIONS = {
    "relu": nn.ReLU,
    "vlrelu": functools.partial(nn.LeakyReLU, 0.333),  # "very leaky"
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def fitnet4(
    shape,
    classes,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    batch_norm: Literal["none", "before", "after"] = "none",
    dropout: float = 0.2,
    width: float = 1.0,
):
    """FitNet-4: seventeen 3 x 3 convolutions, 32 to 128 channels, a hidden layer of 500 units, a classifier.

    With maxout each convolution has two pieces and the hidden layer five, and the net 2,742,102 parameters on
    ten classes; with any other activation it has the same widths in one piece and 1,276,806.

    Deviation: where batch normalization stands with maxout, and whether it learns a scale and a shift, the paper
    leaves open; here it stands `before` the maximum in each piece, or `after` it, and learns neither.

    Args:
        shape: of one image, (channels, height, width).
        classes: length of the output, logits (N, classes).
        activation: after each layer but the last; `maxout` is the largest of several pieces, `vlrelu` a
            rectifier with slope 0.333 below 0.
        batch_norm: normalize every layer but the last, before or after the activation.
        dropout: share dropped of the input, after each pooling, and after the hidden layer.
        width: factor of every convolution's channels and of the hidden layer's units.

    Raises:
        ValueError: `width` is not more than 0.

    Reference: Romero et al., FitNets: hints for thin deep nets (2015); Mishkin & Matas, All you need is a good
        init (2016), Table 1, and their released definitions, which are followed.
    """
    blocks = [[32, 32, 32, 48, 48], [80] * 6, [128] * 6]
    return _cifar_net(shape, classes, blocks, activation, batch_norm, dropout, width)


def fitnet1(
    shape,
    classes,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    dropout: float = 0.2,
    width: float = 1.0,
):
    """FitNet-1: nine convolutions of 16 to 64 channels, otherwise as `fitnet4`.

    Deviation: its last layers are in no source that is at hand; here they are those of FitNet-4.

    Args:
        shape, classes, activation, dropout, width: as in `fitnet4`.

    Reference: Romero et al. (2015), for the widths of the convolutions.
    """
    return _cifar_net(shape, classes, [[16] * 3, [32] * 3, [48, 48, 64]], activation, "none", dropout, width)


def fitresnet4(
    shape,
    classes,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    dropout: float = 0.2,
    width: float = 1.0,
):
    """FitResNet-4: as `fitnet4`, but a block's every second convolution adds its input to its output.

    The sum goes into the non-linearity; with maxout it is the same whether it is taken in each piece or of their
    maximum.  The third convolution is widened to 48 channels, so that the shapes agree.

    Args:
        shape, classes, activation, dropout, width: as in `fitnet4`.

    Reference: Mishkin & Matas (2016), Table 1 (from memory).
    """
    blocks = [[32, 32, 48, 48, 48], [80] * 6, [128] * 6]
    return _cifar_net(shape, classes, blocks, activation, "none", dropout, width, residual=True)


def fitnet_mnist(
    shape,
    classes,
    *,
    activation: Literal["maxout", "relu", "vlrelu", "tanh", "sigmoid"] = "maxout",
    dropout: float = 0.3,
):
    """FitNet-MNIST: six 3 x 3 convolutions of 16 and 12 channels in two pieces, a classifier; 21,426 parameters.

    Args:
        shape, classes, activation: as in `fitnet4`.
        dropout: share dropped before the classifier.

    Reference: Mishkin & Matas (2016), released definition, whose kernels and pieces are not those of Romero et al.
    """
    layers, channels = [], shape[0]
    for widths, window in (([16, 16], 4), ([16, 16], 4), ([12, 12], 2)):
        for width in widths:
            layers.append(_Layer(_convolution, channels, width, 2, activation, "none"))
            channels = width
        layers.append(nn.MaxPool2d(window, 2, ceil_mode=True))
    layers += [nn.Dropout(dropout), nn.Flatten()]
    return _classified(nn.Sequential(*layers), shape, classes)


def _cifar_net(shape, classes, blocks, activation, batch_norm, dropout, width, residual=False):
    if width <= 0:
        raise ValueError(f"width must be more than 0, not {width}")
    *blocks, [hidden] = ([max(round(width * outputs), 1) for outputs in block] for block in [*blocks, [500]])
    layers, channels = [nn.Dropout(dropout)], shape[0]
    for place, widths in enumerate(blocks):
        for number, outputs in enumerate(widths, 1):
            skip = residual and number % 2 == 0
            layers.append(_Layer(_convolution, channels, outputs, 2, activation, batch_norm, skip))
            channels = outputs
        last = place == len(blocks) - 1
        layers += [_GlobalMaxPool() if last else nn.MaxPool2d(2, 2, ceil_mode=True), nn.Dropout(dropout)]
    layers += [nn.Flatten(), _Layer(nn.Linear, channels, hidden, 5, activation, batch_norm), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def _classified(features, shape, classes):
    """Return the features followed by an affine layer of as many inputs as they give."""
    with torch.no_grad():
        width = features.eval()(torch.zeros(1, *shape)).shape[1]
    return features.train().append(nn.Linear(width, classes))


def _convolution(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class _GlobalMaxPool(nn.Module):
    """The largest of each channel, (N, C, 1, 1); torch's own has no deterministic gradient on a GPU."""

    def forward(self, inputs):
        return inputs.flatten(2).max(2).values[:, :, None, None]


class _Layer(nn.Module):
    """Affine pieces, one or, with maxout, several; batch normalization; a sum with the input; the activation."""

    def __init__(self, affine, inputs, outputs, pieces, activation, batch_norm, skip=False):
        super().__init__()
        pieces = pieces if activation == "maxout" else 1
        norm = nn.BatchNorm1d if affine is nn.Linear else nn.BatchNorm2d

        def normalized(place):
            return [norm(outputs, affine=False)] if batch_norm == place else []

        self.pieces = nn.ModuleList(
            nn.Sequential(affine(inputs, outputs), *normalized("before")) for _ in range(pieces)
        )
        after = [] if activation == "maxout" else [ACTIVATIONS[activation]()]
        self.activation = nn.Sequential(*after, *normalized("after"))
        self.skip = skip

    def forward(self, inputs):
        outputs = _maxout([piece(inputs) for piece in self.pieces])
        return self.activation(outputs + inputs if self.skip else outputs)


def _maxout(pieces):
    """Return the elementwise maximum of the pieces, tensors of the same shape; at a tie the first has the gradient."""
    if len(pieces) > 1 and torch.is_grad_enabled():
        return _Maxout.apply(*pieces)
    return functools.reduce(torch.maximum, pieces)


class _Maxout(torch.autograd.Function):
    """The maximum of several tensors, which keeps where each of them won.

    The gradient of torch.maximum divides ties, for which it needs four times as many operations.
    """

    @staticmethod
    def forward(ctx, first, *others):
        won = []
        for piece in others:
            won.append(piece > first)
            first = torch.maximum(first, piece)
        ctx.save_for_backward(*won)
        return first

    @staticmethod
    def backward(ctx, gradient):
        gradients = []
        for won in reversed(ctx.saved_tensors):
            gradients.append(gradient * won)  # exact, and faster than torch.where
            gradient = gradient - gradients[-1]
        return gradient, *reversed(gradients)
