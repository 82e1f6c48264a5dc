"""A small convolutional net."""

import itertools

from torch import nn

__all__ = ["convnet3"]


def convnet3(shape, classes, *, channels: list[int] = (32, 64, 128)):
    """Three 3 x 3 convolutions, each with a rectifier and 2 x 2 pooling, and an affine classifier.

    Deviation: of its net the paper says no more than that it has three convolutional layers.

    Args:
        shape: of one image, (channels, height, width), at least 8 x 8.
        classes: length of the output, logits (N, classes).
        channels: of each of the three convolutions.

    Raises:
        ValueError: an image is smaller than 8 x 8, or there are not three numbers of channels, all at least 1.

    Reference: Sato & Kimura, Progressive Data Increasing (2019), section 3.1.
    """
    if len(channels) != 3 or min(channels) < 1:
        raise ValueError(f"convnet3: channels: takes three numbers of at least 1, not {list(channels)}")
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ValueError(f"convnet3: takes images of at least 8 x 8, not of shape {tuple(shape)}")
    layers = []
    for inputs, outputs in itertools.pairwise([shape[0], *channels]):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    features = channels[-1] * (shape[1] // 8) * (shape[2] // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, classes))
