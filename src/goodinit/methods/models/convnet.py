"""A small convolutional network."""

import itertools
from collections.abc import Sequence

from torch import nn

__all__ = ["convnet3"]


def convnet3(shape: Sequence[int], classes: int, *, channels: Sequence[int] = (32, 64, 128)) -> nn.Sequential:
    """Three 3 x 3 convolutions, each followed by a rectifier and 2 x 2 max pooling, and a linear classifier.

    Deviation: the paper specifies only a convolutional network of three layers, which may count the classifier.

    Args:
        shape: the shape of an image, (channels, height, width); height and width are at least 8.
        classes: number of outputs, logits (N, classes).
        channels: number of channels of each of the three convolutions.

    Raises:
        ValueError: the image is smaller than 8 x 8, or `channels` are not three numbers of at least 1.

    Reference: Sato & Kimura, Progressive Data Increasing (2019), section 3, Figure 1.
    """
    if len(channels) != 3 or min(channels) < 1:
        raise ValueError(f"convnet3: channels must be three numbers of at least 1, not {list(channels)}")
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ValueError(f"convnet3: images must be at least 8 x 8, not of shape {tuple(shape)}")
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([shape[0], *channels]):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    features = channels[-1] * (shape[1] // 8) * (shape[2] // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, classes))
