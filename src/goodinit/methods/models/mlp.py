"""The multilayer perceptron."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from goodinit.methods.models.dropout import Dropout

__all__ = ["BatchNorm", "mlp"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def mlp(
    shape: Sequence[int],
    classes: int,
    *,
    hidden: Sequence[int] = (100, 100, 100, 100),
    activation: Literal["relu", "sigmoid", "tanh"] = "relu",
    bias: bool = True,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    r"""Multilayer perceptron: :math:`h_l = f(W_l h_{l-1} + b_l)`, followed by a linear output layer.

    Args:
        shape: the shape of an input, without the batch; inputs are flattened.
        classes: number of outputs, logits (N, classes); 0 omits the output layer.
        hidden: number of units of each hidden layer.
        activation: f.
        bias: whether the layers have biases b.
        batch_norm: normalize the inputs of f in every hidden layer, see `BatchNorm`.
        dropout: probability of dropping an output of f in training mode, see `Dropout`.

    Raises:
        ValueError: a hidden layer has fewer than 1 unit, or `dropout` is not at least 0 and less than 1.

    Reference: Saito, Deep Learning from Scratch (2016), `common/multi_layer_net.py`, where the number of layers is that
        of the linear ones, the hidden layers plus one.
    """
    if any(units < 1 for units in hidden):
        raise ValueError(f"mlp: hidden: every layer must have at least 1 unit, not {list(hidden)}")
    if not 0 <= dropout < 1:
        raise ValueError(f"mlp: dropout must be at least 0 and less than 1, not {dropout}")
    widths = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
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
    r"""Batch normalization of (N, features), as in the textbook's code.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    The mean and the variance are those of the batch in training mode, and running averages in evaluation mode; an
    update of these multiplies the old value by `keep` and adds 1 - `keep` times the value of the batch. Unlike those of
    `nn.BatchNorm1d`, both averages start at 0, and the variance is always the biased one; with small weights, torch's
    initial variance of 1 would dominate the running average for dozens of updates.

    Args:
        features: number of features of an input.
        epsilon: added to the variance.
        keep: decay of the running averages.

    Reference: Ioffe & Szegedy, Batch normalization (2015), Algorithm 1; Saito (2016), equations 6.7 and 6.8,
        and `common/layers.py`, where epsilon is 10e-7, that is, 1e-6.
    """

    stackable = True  # all operations also work with S models in the first dimension, (S, N, features)
    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, features: int, epsilon: float = 1e-6, keep: float = 0.9) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, features))
        self.shift = nn.Parameter(torch.zeros(1, features))
        self.register_buffer("running_mean", torch.zeros(1, features))
        self.register_buffer("running_variance", torch.zeros(1, features))
        self.epsilon, self.keep = epsilon, keep

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalized inputs, of the same shape, computed in the type of the running averages."""
        inputs = inputs.to(self.running_mean.dtype)
        if self.training:
            mean = inputs.mean(-2, keepdim=True)
            centered = inputs - mean
            variance = centered.square().mean(-2, keepdim=True)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 1 - self.keep)
                self.running_variance.lerp_(variance, 1 - self.keep)
        else:
            centered, variance = inputs - self.running_mean, self.running_variance
        return torch.addcmul(self.shift, centered, torch.rsqrt(variance + self.epsilon) * self.gain)
