"""GoogLeNet: nine inception modules and two auxiliary classifiers."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from goodinit.methods.models.caffe import LocalResponseNorm, max_pool, pooled_size, with_published_init

__all__ = ["googlenet"]


class _Widths(NamedTuple):
    """Numbers of channels of the convolutions of an inception module, in the order of Caffe's definition."""

    single: int  # 1 x 1
    reduce3: int  # 1 x 1, before 3 x 3
    three: int  # 3 x 3
    reduce5: int  # 1 x 1, before 5 x 5
    five: int  # 5 x 5
    projection: int  # 1 x 1, after pooling


FIRST: Sequence[_Widths | Literal["pool"]] = (  # modules 3a, 3b and 4a
    _Widths(64, 96, 128, 16, 32, 32),
    _Widths(128, 128, 192, 32, 96, 64),
    "pool",
    _Widths(192, 96, 208, 16, 48, 64),
)
MIDDLE: Sequence[_Widths | Literal["pool"]] = (  # modules 4b, 4c and 4d
    _Widths(160, 112, 224, 24, 64, 64),
    _Widths(128, 128, 256, 24, 64, 64),
    _Widths(112, 144, 288, 32, 64, 64),
)
LAST: Sequence[_Widths | Literal["pool"]] = (  # modules 4e, 5a and 5b
    _Widths(256, 160, 320, 32, 128, 128),
    "pool",
    _Widths(256, 160, 320, 32, 128, 128),
    _Widths(384, 192, 384, 48, 128, 128),
)
MIN_SIZE = 31  # of an image, so that at least one pixel remains after the last pooling
MIN_SIZE_AUXILIARY = 47  # so that at least one pixel remains after the pooling of the auxiliary classifiers

Scale = Callable[[int], int]  # the number of channels, or units, at the model's width


def googlenet(
    shape: Sequence[int], classes: int, *, auxiliary: bool = True, dropout: float = 0.4, width: float = 1.0
) -> nn.Module:
    """GoogLeNet as first published, without batch normalization: 57 convolutions and a classifier.

    In training mode it returns a tuple: the logits, and those of the two auxiliary classifiers. These take the outputs
    of the modules 4a and 4d, and each consists of a 1 x 1 convolution and two fully-connected layers. In evaluation
    mode it returns only the logits. Layers are listed in the order of the forward pass. Rectifiers work in place. With
    inputs of 3 x 224 x 224 and 1,000 classes it has 13,378,280 parameters, 6,998,552 without auxiliary classifiers.

    Deviation: for other image sizes, the last pooling averages over all positions, and the auxiliary classifiers have
    as many inputs as their pooling has outputs.

    Args:
        shape: the shape of an image, (channels, height, width); height and width are at least 47, or 31 without
            auxiliary classifiers.
        classes: number of outputs, logits (N, classes).
        auxiliary: construct the auxiliary classifiers.
        dropout: dropout probability before the classifier; that before the auxiliary classifiers is 0.7, or 0 if
            `dropout` is 0.
        width: factor of the number of channels or units of all layers except the classifiers.

    Raises:
        ValueError: the image is too small, or an option is out of range.

    Reference: Szegedy et al., Going deeper with convolutions (2015), Table 1, as in Caffe's `bvlc_googlenet`.
    """
    min_size = MIN_SIZE_AUXILIARY if auxiliary else MIN_SIZE
    if len(shape) != 3 or min(shape[1:]) < min_size:
        raise ValueError(f"googlenet: images must be at least {min_size} x {min_size}, not of shape {tuple(shape)}")
    if not width > 0 or not 0 <= dropout < 1:
        raise ValueError("googlenet: width must be more than 0, dropout at least 0 and less than 1")
    return _GoogLeNet(shape, classes, auxiliary, dropout, lambda channels: max(round(width * channels), 1))


class _GoogLeNet(nn.Module):
    def __init__(self, shape: Sequence[int], classes: int, auxiliary: bool, dropout: float, scale: Scale) -> None:
        super().__init__()
        channels, *size = shape
        self.stem = nn.Sequential(
            _convolution(channels, scale(64), 7, 2),
            max_pool(),
            LocalResponseNorm(),
            _convolution(scale(64), scale(64), 1),
            _convolution(scale(64), scale(192), 3),
            LocalResponseNorm(),
            max_pool(),
        )
        size = [pooled_size(pooled_size(pooled_size((side - 1) // 2 + 1))) for side in size]  # input of module 4a

        def auxiliary_classifier(channels: int) -> nn.Module | None:
            return _auxiliary_classifier(channels, size, classes, 0.7 if dropout else 0.0, scale) if auxiliary else None

        self.first, channels = _inception_modules(FIRST, scale(192), scale)
        self.auxiliary1 = auxiliary_classifier(channels)
        self.middle, channels = _inception_modules(MIDDLE, channels, scale)
        self.auxiliary2 = auxiliary_classifier(channels)
        self.last, channels = _inception_modules(LAST, channels, scale)
        classifier = with_published_init(nn.Linear(channels, classes), bias=0.0)
        self.classifier = nn.Sequential(nn.Dropout(dropout), classifier)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        first: Tensor = self.first(self.stem(images))
        auxiliary1 = self.auxiliary1(first) if self.training and self.auxiliary1 is not None else None
        middle: Tensor = self.middle(first)
        auxiliary2 = self.auxiliary2(middle) if self.training and self.auxiliary2 is not None else None
        logits: Tensor = self.classifier(self.last(middle).mean((2, 3)))
        return logits if auxiliary1 is None or auxiliary2 is None else (logits, auxiliary1, auxiliary2)


class _Inception(nn.Module):
    """Four parallel branches whose output channels are concatenated."""

    def __init__(self, inputs: int, widths: _Widths) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _convolution(inputs, widths.single, 1),
                nn.Sequential(_convolution(inputs, widths.reduce3, 1), _convolution(widths.reduce3, widths.three, 3)),
                nn.Sequential(_convolution(inputs, widths.reduce5, 1), _convolution(widths.reduce5, widths.five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _convolution(inputs, widths.projection, 1)),
            ]
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([branch(inputs) for branch in self.branches], 1)


def _inception_modules(
    modules: Sequence[_Widths | Literal["pool"]], channels: int, scale: Scale
) -> tuple[nn.Sequential, int]:
    """Return a sequence of inception modules and poolings, and the number of its output channels."""
    layers: list[nn.Module] = []
    for widths in modules:
        if isinstance(widths, str):
            layers.append(max_pool())
        else:
            widths = _Widths(*map(scale, widths))
            layers.append(_Inception(channels, widths))
            channels = widths.single + widths.three + widths.five + widths.projection
    return nn.Sequential(*layers), channels


def _auxiliary_classifier(
    channels: int, size: Sequence[int], classes: int, dropout: float, scale: Scale
) -> nn.Sequential:
    height, width = (pooled_size(side, 5, 3) for side in size)
    return nn.Sequential(
        nn.AvgPool2d(5, 3, ceil_mode=True),
        _convolution(channels, scale(128), 1),
        nn.Flatten(),
        with_published_init(nn.Linear(scale(128) * height * width, scale(1024)), bias=0.2),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        with_published_init(nn.Linear(scale(1024), classes), bias=0.0),
    )


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    return nn.Sequential(with_published_init(convolution, bias=0.2), nn.ReLU(inplace=True))
