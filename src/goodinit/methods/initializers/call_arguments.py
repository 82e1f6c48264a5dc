"""Convert data, in any usual form, to the arguments of a call of a model."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from goodinit.errors import InputError

__all__ = ["ACCEPTED", "call_arguments", "mismatch_hint"]

ACCEPTED = "a tensor, a tuple or dict of the model's arguments, an (inputs, labels) batch, or a DataLoader"

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def call_arguments(model: nn.Module, data: Any, examples: int) -> Arguments:
    """Return the positional and keyword arguments of a call of the model, on its device and with its dtype.

    Args:
        model: the model, whose `forward` determines the number of arguments.
        data: the examples, in one of the forms that `ACCEPTED` lists.
        examples: minimum number of examples to take from a DataLoader; whole batches are taken.

    Raises:
        InputError: `data` has another type, does not fit `forward`, has no examples, or is not finite.
    """
    if isinstance(data, DataLoader):
        data = _first_batches(data, examples)
    args, kwargs = _bind(model, data)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not tensors:
        raise InputError(f"lsuv: data contains no tensor: it must be {ACCEPTED}")
    for tensor in tensors:
        if tensor.numel() == 0:
            raise InputError(f"lsuv: data contains a tensor without elements, of shape {tuple(tensor.shape)}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError("lsuv: data contains NaN or infinite elements")
    return _move(model, (args, kwargs))


def _bind(model: nn.Module, data: Any) -> Arguments:
    """Return the data as positional and keyword arguments of the model's `forward`."""
    if isinstance(data, Tensor | PackedSequence):
        return (data,), {}
    parameters = list(inspect.signature(model.forward).parameters.values())
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    required = [item.name for item in positional if item.default is item.empty]
    if isinstance(data, Mapping):
        if len(required) == 1 and required[0] not in data:
            return (data,), {}  # forward takes the dict itself
        names = [item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
        any_name = any(item.kind is item.VAR_KEYWORD for item in parameters)
        unknown, missing = set() if any_name else {*data} - {*names}, {*required} - {*data}
        if unknown or missing:
            error = f"has no argument {min(map(str, unknown))!r}" if unknown else f"requires {min(missing)!r}"
            raise InputError(
                f"lsuv: data: forward of {type(model).__name__} {error}; it takes {', '.join(names)}, and data has the "
                f"keys {', '.join(map(str, data))}"
            )
        return (), dict(data)
    if not isinstance(data, tuple | list):
        raise InputError(f"lsuv: data must be {ACCEPTED}, not {type(data).__name__}")
    data = tuple(data)
    any_number = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    with_labels = {len(names) + 1 for names in (required, positional) if names and (required or not any_number)}
    if len(data) in with_labels:
        return data[:-1], {}  # the last element is the labels
    most = len(data) if any_number else len(positional)
    if not len(required) <= len(data) <= most:
        raise InputError(
            f"lsuv: data has {len(data)} elements, but forward of {type(model).__name__} requires {len(required)} and "
            f"takes at most {most}: pass the inputs alone"
        )
    return data, {}


def mismatch_hint(model: nn.Module, args: tuple[Any, ...]) -> str:
    """Return what to pass instead of arguments that the model could not process, or "" if that is not known."""
    for data in args:
        if isinstance(data, Mapping):
            keys, names = ", ".join(map(str, data)), ", ".join(inspect.signature(model.forward).parameters)
            return f"data has the keys {keys}, but forward takes {names}: pass the inputs"
        if isinstance(data, tuple | list) and not isinstance(data, PackedSequence):
            return f"an argument of forward is a {type(data).__name__}: pass the inputs, a tensor or a tuple of tensors"
    return ""


def _first_batches(loader: DataLoader[Any], examples: int) -> Any:
    """Return the first batches, concatenated; only the first one if they are not examples along the first dimension."""
    batches: list[Any] = []
    count = 0
    for batch in loader:
        batches.append(batch)
        leaves = tree_leaves(batch, is_leaf=lambda item: isinstance(item, PackedSequence))
        lengths = {len(leaf) if leaf.dim() else 0 for leaf in leaves if isinstance(leaf, Tensor)}
        if len(lengths) != 1 or any(isinstance(leaf, PackedSequence) for leaf in leaves):
            return batches[0]  # such as tokens and offsets
        count += min(lengths)
        if count >= examples or not count:
            break
    if not batches:
        raise InputError("lsuv: the DataLoader yields no batch: its data set is empty or smaller than a batch")
    try:
        return tree_map(lambda *leaves: torch.cat(leaves) if isinstance(leaves[0], Tensor) else leaves[0], *batches)
    except (RuntimeError, TypeError, ValueError):  # for example, sequences of different lengths
        return batches[0]


def _move(model: nn.Module, arguments: Arguments) -> Arguments:
    """Move tensors to the model's device, and convert floating-point tensors to its dtype."""
    parameters = list(model.parameters())
    device = parameters[0].device if parameters else None
    dtype = next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), torch.float32)

    def move(leaf: Any) -> Any:
        if isinstance(leaf, PackedSequence):  # whose batch sizes stay on the CPU
            return leaf.to(move(leaf.data))
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach()
        return leaf.to(device, dtype) if leaf.is_floating_point() else leaf.to(device)

    args, kwargs = tree_map(move, arguments, is_leaf=lambda item: isinstance(item, PackedSequence))
    return args, kwargs
