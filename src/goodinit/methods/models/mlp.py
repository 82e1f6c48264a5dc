"""The multilayer perceptron."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from goodinit.methods.models.dropout import Dropout

__all__ = ["mlp"]

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def mlp(
    shape,
    classes,
    *,
    hidden: Sequence[int] = (100, 100, 100, 100),
    activation: Literal["relu", "sigmoid", "tanh"] = "relu",
    bias: bool = True,
    batch_norm: bool = False,
    dropout: float = 0.0,
):
    r"""Multilayer perceptron: :math:`h_l = f(W_l h_{l-1} + b_l)`, then an affine output layer.

    Args:
        shape: of one input, without the batch; it is flattened.
        classes: length of the output, logits (N, classes); 0 leaves the output layer out.
        hidden: units of each hidden layer.
        activation: f.
        bias: whether the layers have b.
        batch_norm: normalize every hidden layer before f, see `BatchNorm`.
        dropout: share of every hidden layer's outputs, after f, that is dropped in training, see `Dropout`.

    Raises:
        ValueError: a hidden layer has fewer than 1 unit, or `dropout` is not at least 0 and less than 1.

    Reference: Saito, Deep Learning from Scratch (2016), `common/multi_layer_net.py`, where "n layers"
        counts the affine ones: hidden layers plus one.
    """
    if any(units < 1 for units in hidden):
        raise ValueError(f"mlp: hidden: every layer needs at least 1 unit, not {list(hidden)}")
    if not 0 <= dropout < 1:
        raise ValueError(f"mlp: dropout must be at least 0 and less than 1, not {dropout}")
    widths = [math.prod(shape), *hidden]
    layers = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(nn.Linear(inputs, outputs, bias=bias))
        if batch_norm:
            layers.append(BatchNorm(outputs))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
    if classes:
        layers.append(nn.Linear(widths[-1], classes, bias=bias))
    return nn.Sequential(*layers)


class BatchNorm(nn.Module):
    r"""Batch normalization of (N, features) as the textbook's code has it.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    In training the mean and the variance are those of the batch, in evaluation running ones, which are
    nine parts the old and one part the batch's.  Unlike `nn.BatchNorm1d`, both running ones start at 0 and
    the variance is the biased one throughout; with small weights, torch's start at 1 would outweigh the
    true variance for dozens of updates.

    Args:
        features: length of an input.

    Reference: Ioffe & Szegedy, Batch normalization (2015), Algorithm 1; Saito (2016), equations 6.7 and 6.8,
        and `common/layers.py`, whose epsilon is 10e-7, that is 1e-6.
    """

    stackable = True  # everything here works as well with S nets in front, (S, N, features)

    def __init__(self, features, epsilon=1e-6, keep=0.9):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, features))
        self.shift = nn.Parameter(torch.zeros(1, features))
        self.register_buffer("running_mean", torch.zeros(1, features))
        self.register_buffer("running_variance", torch.zeros(1, features))
        self.epsilon, self.keep = epsilon, keep

    def forward(self, inputs):
        """Return the normalized inputs, of the same shape."""
        if self.training:
            mean = inputs.mean(-2, keepdim=True)
            centered = inputs - mean
            variance = centered.square().mean(-2, keepdim=True)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), 1 - self.keep)
                self.running_variance.lerp_(variance.to(self.running_variance.dtype), 1 - self.keep)
        else:
            centered, variance = inputs - self.running_mean, self.running_variance
        return torch.addcmul(self.shift, centered, torch.rsqrt(variance + self.epsilon) * self.gain)
