"""CaffeNet: five convolutions and three fully-connected layers."""

from collections import OrderedDict

from torch import nn

from goodinit.methods.models.caffe import LocalResponseNorm, filled, max_pool, pooled

__all__ = ["caffenet"]

# Channels, kernel, stride, padding, groups and published bias of each convolution, and whether pooling and
# normalization follow.
CONVOLUTIONS = (
    (96, 11, 4, 0, 1, 0.0, "both"),
    (256, 5, 1, 2, 2, 1.0, "both"),
    (384, 3, 1, 1, 1, 0.0, "neither"),
    (384, 3, 1, 1, 2, 1.0, "neither"),
    (256, 3, 1, 1, 2, 1.0, "pooling"),
)
SMALLEST = 39  # what leaves a pixel after the last pooling


def caffenet(shape, classes, *, dropout: float = 0.5, width: float = 1.0, units: int = 4096):
    """CaffeNet: AlexNet on one machine, with pooling before normalization.

    Rectifiers work in place.  With inputs of 3 x 227 x 227 and 1,000 classes it has 60,965,224 parameters.  Its layers
    are called `conv1` to `conv5` and `fc6` to `fc8`, the classifier; each says how its authors filled it.

    Deviation: for inputs of other sizes `fc6` takes what the last pooling leaves.

    Args:
        shape: of one image, (channels, height, width), both at least 39.
        classes: length of the output, logits (N, classes).
        dropout: share dropped after each hidden layer, `fc6` and `fc7`.
        width: factor of every convolution's channels, which are kept even.
        units: of each hidden layer.

    Raises:
        ValueError: an image is smaller than 39 x 39, or an option is out of its range.

    Reference: Jia et al., Caffe: convolutional architecture for fast feature embedding (2014), its reference model;
        Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks (2012).
    """
    channels, *size = shape
    if len(size) != 2 or min(size) < SMALLEST:
        raise ValueError(f"caffenet: takes images of at least {SMALLEST} x {SMALLEST}, not of shape {tuple(shape)}")
    if width <= 0 or units < 1 or not 0 <= dropout < 1:
        raise ValueError("caffenet: width must be more than 0, units at least 1, dropout at least 0 and less than 1")
    layers = OrderedDict()
    for number, (outputs, kernel, stride, padding, groups, bias, after) in enumerate(CONVOLUTIONS, 1):
        outputs = 2 * max(round(width * outputs / 2), 1)
        convolution = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups)
        layers[f"conv{number}"] = filled(convolution, std=0.01, bias=bias)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        size = [(side + 2 * padding - kernel) // stride + 1 for side in size]
        if after != "neither":
            layers[f"pool{number}"] = max_pool()
            size = [pooled(side) for side in size]
        if after == "both":
            layers[f"norm{number}"] = LocalResponseNorm()
        channels = outputs
    layers["flatten"] = nn.Flatten()
    inputs = channels * size[0] * size[1]
    for number in (6, 7):
        layers[f"fc{number}"] = filled(nn.Linear(inputs, units), std=0.005, bias=1.0)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        layers[f"dropout{number}"] = nn.Dropout(dropout)
        inputs = units
    layers["fc8"] = filled(nn.Linear(units, classes), std=0.01, bias=0.0)
    return nn.Sequential(layers)
