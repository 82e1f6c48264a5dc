"""Observation of a copy of a model, so that the model and the random states stay unchanged."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from goodinit.methods.contracts import DrawsRandomNumbers, UpdatedInGroups

__all__ = ["copied_model", "is_dropout", "layer_outputs_of", "stack_layers"]

Kept = TypeVar("Kept")


def is_dropout(module: nn.Module) -> bool:
    """Return whether a module is a dropout layer, of torch or of this package."""
    return isinstance(module, _DropoutNd | DrawsRandomNumbers)


@contextlib.contextmanager
def copied_model(model: nn.Module) -> Iterator[nn.Module]:
    """Provide a copy of the model without gradients, and restore the random states after the block."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices):
        model_copy = copy.deepcopy(model)
        model_copy.zero_grad()
        for module in model_copy.modules():
            if isinstance(module, UpdatedInGroups):
                module.merge_groups()
        yield model_copy


def layer_outputs_of(
    model: nn.Module,
    types: UnionType,
    images: Tensor,
    keep: Callable[[nn.Module, Tensor], Kept],
    propagate: Callable[[Any], None] | None = None,
) -> tuple[list[Kept], Any]:
    """Run a model on images and observe the outputs of its layers.

    Args:
        model: a copy; the function adds hooks to it.
        types: types of the layers that are observed.
        images: inputs of the model.
        keep: a function (layer, output) that returns what is kept of an output.
        propagate: a function of the output of the model that runs the backward pass; the outputs of the layers then
            hold their gradients.

    Returns:
        What is kept of each layer, in the order of the calls, and the output of the model.
    """
    kept = []

    def observe(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if propagate is not None:
            output.retain_grad()
        kept.append(keep(module, output))
        return output.clone() if propagate is not None else None  # a non-linearity may work in place

    for module in model.modules():
        if isinstance(module, types):
            module.register_forward_hook(observe)
    result = model(images)
    if propagate is not None:
        propagate(result)
    return kept, result


def stack_layers(layers: Iterable[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return {name: array, whose first axis is the layer} from {name: value} of each layer.

    The values are numbers, arrays, or tensors (), which become float64; those of all layers are copied together.
    """
    values = list(layers)
    return {name: _to_array([layer[name] for layer in values]) for name in values[0]}


def _to_array(values: Sequence[Any]) -> npt.NDArray[Any]:
    if isinstance(values[0], Tensor):
        return torch.stack(list(values)).double().cpu().numpy()
    return np.array(values)
