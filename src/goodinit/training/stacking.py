"""Several models of one architecture as one module, so that small ones are trained together.

A stack of S models maps inputs (S, N, ...) to outputs (S, N, ...), each model its own slice. Its parameters are those
of the models, stacked, so that an elementwise optimizer updates each model as if it were trained alone; the sum of the
losses gives each model its own gradient. A small model spends half of its time on launching operations: five at once
take little longer than two in turn.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from goodinit.methods.contracts import DrawsRandomNumbers, Stackable

__all__ = ["can_stack", "stack"]

ELEMENTWISE = (nn.ReLU, nn.Sigmoid, nn.Tanh)


def can_stack(model: nn.Module) -> bool:
    """Return whether models like this one can be stacked."""
    return isinstance(model, nn.Sequential) and all(
        isinstance(layer, (nn.Flatten, nn.Linear, *ELEMENTWISE)) or (isinstance(layer, Stackable) and layer.stackable)
        for layer in model
    )


def stack(models: Sequence[nn.Module]) -> nn.Module:
    """Return a stack of S models of one architecture, with copies of their weights.

    Args:
        models: `nn.Sequential`s of flattening, affine and elementwise layers and of `Stackable` ones.

    Returns:
        A module that maps (S, N, ...) to (S, N, ...).
    """
    return nn.Sequential(*(_stack(layers) for layers in zip(*map(nn.Module.children, models), strict=True)))


def _stack(layers: Sequence[nn.Module]) -> nn.Module:
    if isinstance(layers[0], nn.Flatten):
        return nn.Flatten(2)
    if linear := [layer for layer in layers if isinstance(layer, nn.Linear)]:
        return _Linear(linear)
    stacked = copy.deepcopy(layers[0])
    for name, parameter in stacked.named_parameters():
        parameter.data = torch.stack([layer.get_parameter(name).detach() for layer in layers])
    for name, buffer in stacked.named_buffers():
        buffer.data = torch.stack([layer.get_buffer(name) for layer in layers])
    if isinstance(stacked, DrawsRandomNumbers):
        copies = [layer for layer in copy.deepcopy(list(layers)) if isinstance(layer, DrawsRandomNumbers)]
        stacked.generators = [generator for layer in copies for generator in layer.generators]
    return stacked


class _Linear(nn.Module):
    """S affine layers: weight (S, in, out), bias (S, 1, out) or None."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().t() for layer in layers]))
        biases = [layer.bias.detach()[None] for layer in layers if layer.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases)) if biases else None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.bias is None:
            return torch.bmm(inputs, self.weight)
        return torch.baddbmm(self.bias, inputs, self.weight)
