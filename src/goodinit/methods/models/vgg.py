"""VGG-16: thirteen convolutions and three fully-connected layers."""

from collections import OrderedDict
from typing import Literal

from torch import nn

from goodinit.methods.models.dropout import Dropout

__all__ = ["vgg16"]

BLOCKS = ([64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3)


def vgg16(
    shape,
    classes,
    *,
    batch_norm: Literal["none", "conv", "fc", "both"] = "none",
    dropout: float = 0.0,
    inverted_dropout: bool = True,
    width: float = 1.0,
    units: int = 4096,
):
    """VGG-16, configuration D: 3 x 3 convolutions in five blocks, each ended by pooling, and two hidden layers.

    With inputs of 3 x 224 x 224 and ten classes it has 134,301,514 parameters, and is torchvision's, layer by layer.
    Its fully-connected layers are called `fc1`, `fc2` and `fc3`, the classifier.

    Deviation: for inputs of other sizes `fc1` takes what the last pooling leaves, where torchvision's pools, or
    repeats, it to 7 x 7.

    Args:
        shape: of one image, (channels, height, width), both at least 32.
        classes: length of the output, logits (N, classes).
        batch_norm: normalize, before the non-linearity, the convolutions, the hidden layers, or both.
        dropout: share of outputs dropped in training, after each hidden layer's non-linearity.
        inverted_dropout: divide what is kept by the share that is kept, in training, as `nn.Dropout` does; otherwise
            multiply all outputs by it in evaluation, see `goodinit.methods.models.dropout.Dropout`.
        width: factor of every convolution's channels.
        units: of each hidden layer.

    Raises:
        ValueError: an image is smaller than 32 x 32, or an option is out of its range.

    Reference: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition (2015), Table 1.
    """
    channels, *size = shape
    if len(size) != 2 or min(size) < 32:
        raise ValueError(f"vgg16: takes images of at least 32 x 32, not of shape {tuple(shape)}")
    if width <= 0 or units < 1 or not 0 <= dropout < 1:
        raise ValueError("vgg16: width must be more than 0, units at least 1, dropout at least 0 and less than 1")
    features = []
    for block in BLOCKS:
        for outputs in (max(round(width * one), 1) for one in block):
            features.append(nn.Conv2d(channels, outputs, 3, padding=1))
            features += [nn.BatchNorm2d(outputs)] if batch_norm in ("conv", "both") else []
            features.append(nn.ReLU(inplace=True))
            channels = outputs
        features.append(nn.MaxPool2d(2, 2))
    layers = OrderedDict(features=nn.Sequential(*features), flatten=nn.Flatten())
    inputs = channels * (size[0] // 32) * (size[1] // 32)
    for name in ("1", "2"):
        layers[f"fc{name}"] = nn.Linear(inputs, units)
        if batch_norm in ("fc", "both"):
            layers[f"norm{name}"] = nn.BatchNorm1d(units)
        layers[f"relu{name}"] = nn.ReLU()
        layers[f"dropout{name}"] = nn.Dropout(dropout) if inverted_dropout or not dropout else Dropout(dropout)
        inputs = units
    layers["fc3"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
