"""The multilayer perceptron."""

import itertools
import math
from typing import Literal

from torch import nn

__all__ = ["mlp"]

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def mlp(
    shape,
    classes,
    *,
    hidden: list[int] = (100, 100, 100, 100),
    activation: Literal["relu", "sigmoid", "tanh"] = "relu",
    bias: bool = True,
):
    r"""Multilayer perceptron: :math:`h_l = f(W_l h_{l-1} + b_l)`, then an affine output layer.

    Args:
        shape: of one input, without the batch; it is flattened.
        classes: length of the output, logits (N, classes); 0 leaves the output layer out.
        hidden: units of each hidden layer.
        activation: f.
        bias: whether the layers have b.

    Raises:
        ValueError: a hidden layer has fewer than 1 unit.

    Reference: Saito, Deep Learning from Scratch (2016), `common/multi_layer_net.py`, where "n layers"
        counts the affine ones: hidden layers plus one.
    """
    if any(units < 1 for units in hidden):
        raise ValueError(f"mlp: hidden: every layer needs at least 1 unit, not {list(hidden)}")
    widths = [math.prod(shape), *hidden]
    layers = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), ACTIVATIONS[activation]()]
    if classes:
        layers.append(nn.Linear(widths[-1], classes, bias=bias))
    return nn.Sequential(*layers)
