"""GoogLeNet: nine inception modules, and two auxiliary classifiers on the way."""

import torch
from torch import nn

from goodinit.methods.models.caffe import LocalResponseNorm, filled, max_pool, pooled

__all__ = ["googlenet"]

# Channels of a module's convolutions: 1 x 1; 3 x 3 and its reduction before it; 5 x 5 likewise; that after pooling.
FIRST = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), "pool", (192, 96, 208, 16, 48, 64))  # 3a, 3b, 4a
MIDDLE = ((160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64))  # 4b, 4c, 4d
LAST = ((256, 160, 320, 32, 128, 128), "pool", (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))  # 4e to 5b
SMALLEST = {False: 31, True: 47}  # what leaves a pixel after the last pooling; or after the auxiliary classifiers'


def googlenet(shape, classes, *, auxiliary: bool = True, dropout: float = 0.4, width: float = 1.0):
    """GoogLeNet as first published, without batch normalization: 57 convolutions and a classifier.

    In training it returns a tuple, the logits and those of the two auxiliary classifiers, which stand on the modules 4a
    and 4d, each with a 1 x 1 convolution and two fully-connected layers; in evaluation the logits alone.  Layers are
    listed in the order in which they are gone through.  Rectifiers work in place.  With inputs of 3 x 224 x 224 and
    1,000 classes it has 13,378,280 parameters, 6,998,552 of them without the auxiliary classifiers.

    Deviation: for inputs of other sizes the last pooling averages over whatever is left, and the auxiliary classifiers
    take what their pooling leaves.

    Args:
        shape: of one image, (channels, height, width), both at least 47, or 31 without auxiliary classifiers.
        classes: length of the logits, (N, classes).
        auxiliary: build the auxiliary classifiers.
        dropout: share dropped before the classifier; before the auxiliary ones it is 0.7, or 0 where this is.
        width: factor of every layer's channels and units but the classifiers'.

    Raises:
        ValueError: an image is too small, or an option is out of its range.

    Reference: Szegedy et al., Going deeper with convolutions (2015), Table 1, as in Caffe's `bvlc_googlenet`.
    """
    if len(shape) != 3 or min(shape[1:]) < SMALLEST[auxiliary]:
        least = SMALLEST[auxiliary]
        raise ValueError(f"googlenet: takes images of at least {least} x {least}, not of shape {tuple(shape)}")
    if width <= 0 or not 0 <= dropout < 1:
        raise ValueError("googlenet: width must be more than 0, dropout at least 0 and less than 1")
    return _GoogLeNet(shape, classes, auxiliary, dropout, lambda channels: max(round(width * channels), 1))


class _GoogLeNet(nn.Module):
    def __init__(self, shape, classes, auxiliary, dropout, scaled):
        super().__init__()
        channels, *size = shape
        self.stem = nn.Sequential(
            _convolution(channels, scaled(64), 7, 2),
            max_pool(),
            LocalResponseNorm(),
            _convolution(scaled(64), scaled(64), 1),
            _convolution(scaled(64), scaled(192), 3),
            LocalResponseNorm(),
            max_pool(),
        )
        size = [pooled(pooled(pooled((side - 1) // 2 + 1))) for side in size]  # what the module 4a works on
        head = {"size": size, "classes": classes, "dropout": dropout and 0.7, "scaled": scaled}
        self.first, channels = _modules(FIRST, scaled(192), scaled)
        self.auxiliary1 = _auxiliary(channels, **head) if auxiliary else None
        self.middle, channels = _modules(MIDDLE, channels, scaled)
        self.auxiliary2 = _auxiliary(channels, **head) if auxiliary else None
        self.last, channels = _modules(LAST, channels, scaled)
        self.classifier = nn.Sequential(nn.Dropout(dropout), filled(nn.Linear(channels, classes), bias=0.0))

    def forward(self, images):
        with_auxiliary = self.training and self.auxiliary1 is not None
        first = self.first(self.stem(images))
        others = [self.auxiliary1(first)] if with_auxiliary else []
        middle = self.middle(first)
        others += [self.auxiliary2(middle)] if with_auxiliary else []
        logits = self.classifier(self.last(middle).mean((2, 3)))
        return (logits, *others) if with_auxiliary else logits


class _Inception(nn.Module):
    """Four branches side by side, their channels joined."""

    def __init__(self, inputs, single, reduce3, three, reduce5, five, projection):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _convolution(inputs, single, 1),
                nn.Sequential(_convolution(inputs, reduce3, 1), _convolution(reduce3, three, 3)),
                nn.Sequential(_convolution(inputs, reduce5, 1), _convolution(reduce5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _convolution(inputs, projection, 1)),
            ]
        )

    def forward(self, inputs):
        return torch.cat([branch(inputs) for branch in self.branches], 1)


def _modules(widths, channels, scaled):
    """Return modules and poolings in a row, and how many channels come out."""
    layers = []
    for width in widths:
        if width == "pool":
            layers.append(max_pool())
        else:
            single, reduce3, three, reduce5, five, projection = map(scaled, width)
            layers.append(_Inception(channels, single, reduce3, three, reduce5, five, projection))
            channels = single + three + five + projection
    return nn.Sequential(*layers), channels


def _auxiliary(channels, size, classes, dropout, scaled):
    height, width = (pooled(side, 5, 3) for side in size)
    return nn.Sequential(
        nn.AvgPool2d(5, 3, ceil_mode=True),
        _convolution(channels, scaled(128), 1),
        nn.Flatten(),
        filled(nn.Linear(scaled(128) * height * width, scaled(1024)), bias=0.2),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        filled(nn.Linear(scaled(1024), classes), bias=0.0),
    )


def _convolution(inputs, outputs, kernel, stride=1):
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    return nn.Sequential(filled(convolution, bias=0.2), nn.ReLU(inplace=True))
