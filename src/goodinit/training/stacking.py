"""Several nets of one architecture as one net, so that small ones are trained together.

A stack of S nets maps inputs (S, N, ...) to outputs (S, N, ...), each net its own slice.  Its parameters
are those of the nets, stacked, so every optimizer that works number by number moves each net as if it
were alone; the sum of the nets' losses gives each its own gradient.  A small net spends half its time
starting operations: five at once take little longer than two in turn.
"""

import copy

import torch
from torch import nn

__all__ = ["stack", "stackable"]

ELEMENTWISE = (nn.ReLU, nn.Sigmoid, nn.Tanh)


def stackable(model):
    """Say whether `stack` knows every layer of the model."""
    known = (nn.Flatten, nn.Linear, *ELEMENTWISE)
    return isinstance(model, nn.Sequential) and all(
        isinstance(layer, known) or getattr(layer, "stackable", False) for layer in model
    )


def stack(models):
    """Return one module for S models of the same architecture, with copies of their weights.

    Args:
        models: `nn.Sequential`s, all `stackable`: of flattening, affine and elementwise layers, and of
            others that say `stackable = True`, because they work as they are with stacked parameters and
            buffers and, where they draw, with the `generators` of all nets in a list.

    Returns:
        A module that maps (S, N, ...) to (S, N, ...).
    """
    return nn.Sequential(*(_stack(layers) for layers in zip(*models, strict=True)))


def _stack(layers):
    if isinstance(layers[0], nn.Flatten):
        return nn.Flatten(2)
    if isinstance(layers[0], nn.Linear):
        return _Linear(layers)
    together = copy.deepcopy(layers[0])
    for name, parameter in together.named_parameters():
        parameter.data = torch.stack([layer.get_parameter(name).detach() for layer in layers])
    for name, buffer in together.named_buffers():
        buffer.data = torch.stack([layer.get_buffer(name) for layer in layers])
    if hasattr(together, "generators"):
        together.generators = [generator for layer in copy.deepcopy(layers) for generator in layer.generators]
    return together


class _Linear(nn.Module):
    """S affine layers: weight (S, in, out), bias (S, 1, out) or None."""

    def __init__(self, layers):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().t() for layer in layers]))
        bias = layers[0].bias is not None
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers])) if bias else None

    def forward(self, inputs):
        if self.bias is None:
            return torch.bmm(inputs, self.weight)
        return torch.baddbmm(self.bias, inputs, self.weight)
