"""VGG-16: thirteen convolutions and three fully-connected layers."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from goodinit.methods.models.dropout import Dropout

__all__ = ["vgg16"]

BLOCKS = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)  # channels of the convolutions
MIN_SIZE = 32  # of an image, so that at least one pixel remains after the last pooling


def vgg16(
    shape: Sequence[int],
    classes: int,
    *,
    batch_norm: Literal["none", "conv", "fc", "both"] = "none",
    dropout: float = 0.0,
    inverted_dropout: bool = True,
    width: float = 1.0,
    units: int = 4096,
) -> nn.Sequential:
    """VGG-16, configuration D: five blocks of 3 x 3 convolutions, each followed by pooling, and two hidden layers.

    With inputs of 3 x 224 x 224 and ten classes it has 134,301,514 parameters and equals torchvision's model layer by
    layer. Its fully-connected layers are `fc1`, `fc2` and `fc3`, the classifier.

    Deviation: for other image sizes, `fc1` has as many inputs as the last pooling has outputs, while torchvision's
    model pools or repeats these outputs to 7 x 7.

    Args:
        shape: the shape of an image, (channels, height, width); height and width are at least 32.
        classes: number of outputs, logits (N, classes).
        batch_norm: apply batch normalization before the non-linearity of the convolutions, the hidden layers, or both.
        dropout: dropout probability after the non-linearity of each hidden layer.
        inverted_dropout: scale outputs in training mode, as `nn.Dropout` does; otherwise in evaluation mode, see
            `goodinit.methods.models.dropout.Dropout`.
        width: factor of the number of channels of all convolutions.
        units: number of units of each hidden layer.

    Raises:
        ValueError: the image is smaller than 32 x 32, or an option is out of range.

    Reference: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition (2015), Table 1.
    """
    channels, *size = shape
    if len(size) != 2 or min(size) < MIN_SIZE:
        raise ValueError(f"vgg16: images must be at least {MIN_SIZE} x {MIN_SIZE}, not of shape {tuple(shape)}")
    if not width > 0 or units < 1 or not 0 <= dropout < 1:
        raise ValueError("vgg16: width must be more than 0, units at least 1, dropout at least 0 and less than 1")
    features: list[nn.Module] = []
    for block in BLOCKS:
        for outputs in (max(round(width * base), 1) for base in block):
            features.append(nn.Conv2d(channels, outputs, 3, padding=1))
            features += [nn.BatchNorm2d(outputs)] if batch_norm in ("conv", "both") else []
            features.append(nn.ReLU(inplace=True))
            channels = outputs
        features.append(nn.MaxPool2d(2, 2))
    layers: OrderedDict[str, nn.Module] = OrderedDict(features=nn.Sequential(*features), flatten=nn.Flatten())
    inputs = channels * (size[0] // MIN_SIZE) * (size[1] // MIN_SIZE)
    for number in (1, 2):
        layers[f"fc{number}"] = nn.Linear(inputs, units)
        if batch_norm in ("fc", "both"):
            layers[f"norm{number}"] = nn.BatchNorm1d(units)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"dropout{number}"] = nn.Dropout(dropout) if inverted_dropout or not dropout else Dropout(dropout)
        inputs = units
    layers["fc3"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
