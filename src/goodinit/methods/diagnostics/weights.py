"""Where the weights are, and how far they have moved."""

import contextlib
import math

import numpy as np
import torch
from torch import nn

from goodinit.methods.layers import Layer

__all__ = ["path", "update_size", "weight_variance"]


@contextlib.contextmanager
def update_size(model, batch, generator):
    r"""How far each layer's weights have moved: :math:`\lVert W - W' \rVert / \lVert W' \rVert`.

    W' are the weights when this was last called, so that, called after every step, it is the relative size of
    an update; NaN at first.

    Args:
        model: its linear and convolutional layers are watched, in the order in which it lists them.
        batch, generator: not used.

    Yields:
        A function of the step that gives `update_size` (L,), and `mean_update_size` (), its mean over the layers.

    Deviation: the paper does not say how the layers of a net are made one number.

    Reference: Mishkin & Matas (2016), figure 1.
    """
    weights = [module.weight for module in model.modules() if isinstance(module, Layer)]
    last = [torch.full_like(weight, math.nan) for weight in weights]

    def observe(step):
        with torch.no_grad():
            sizes = [float((now - then).norm() / then.norm()) for now, then in zip(weights, last, strict=True)]
            for now, then in zip(weights, last, strict=True):
                then.copy_(now)
        return {"update_size": np.array(sizes), "mean_update_size": float(np.mean(sizes))}

    observe.state = last
    yield observe


@contextlib.contextmanager
def weight_variance(model, batch, generator):
    r"""Variance of each layer's weights as a multiple of He's: :math:`\mathrm{Var}(W) / (2 / n)`, n the fan-in.

    Args:
        model: its linear and convolutional layers are watched, in the order in which it lists them.
        batch, generator: not used.

    Yields:
        A function of the step that gives `weight_variance_ratio` (L,).

    Reference: Sato & Kimura, Progressive Data Increasing (2019), figure 1.
    """
    weights = [module.weight.detach() for module in model.modules() if isinstance(module, Layer)]
    yield lambda step: {
        "weight_variance_ratio": np.array([float(one.var(correction=0)) * one[0].numel() / 2 for one in weights])
    }


@contextlib.contextmanager
def path(model, batch, generator):
    """Where a small model's parameters go.

    Args:
        model: of few parameters, since all are recorded each time.
        batch: not used.
        generator: not used.

    Yields:
        A function of the step that gives `position` (D,), all parameters in a row, and `path_length` (), the
        length of the way so far, as the sum of the distances between the steps at which it was called.
    """
    length = torch.zeros((), dtype=torch.float64)
    last = nn.utils.parameters_to_vector(model.parameters()).detach().clone()

    def observe(step):
        position = nn.utils.parameters_to_vector(model.parameters()).detach()
        length.add_(float((position - last).norm()))
        last.copy_(position)
        return {"position": position.cpu().numpy().copy(), "path_length": float(length)}

    observe.state = [length, last]
    yield observe
