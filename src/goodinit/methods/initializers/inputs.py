"""The data that a model is run on, in the forms in which people have it."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from goodinit.errors import InputError

__all__ = ["arguments"]

ACCEPTED = "a tensor, a tuple or dict of the model's arguments, an (inputs, labels) batch, or a DataLoader"

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def arguments(model: nn.Module, data: Any, examples: int) -> Arguments:
    """Return the positional and keyword arguments of a call of the model, on its device and of its dtype.

    Args:
        model: its `forward` says how many arguments it takes.
        data: see `ACCEPTED`.
        examples: number of examples to take from a DataLoader, in whole batches from the first on.

    Raises:
        InputError: `data` has another type, fits no signature, has no examples, or is not finite.
    """
    if isinstance(data, DataLoader):
        data = _first_batches(data, examples)
    args, kwargs = _bound(model, data)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not tensors:
        raise InputError(f"lsuv: data has no tensor: it must be {ACCEPTED}")
    for tensor in tensors:
        if tensor.numel() == 0:
            raise InputError(f"lsuv: data has a tensor without elements, of shape {tuple(tensor.shape)}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError("lsuv: data has elements that are NaN or infinite")
    return _moved(model, (args, kwargs))


def _bound(model: nn.Module, data: Any) -> Arguments:
    """Return the data as positional and keyword arguments of the model's `forward`."""
    if isinstance(data, Tensor):
        return (data,), {}
    parameters = list(inspect.signature(model.forward).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one.name for one in positional if one.default is one.empty]
    if isinstance(data, Mapping):
        if len(required) == 1 and required[0] not in data:
            return (data,), {}  # forward takes the dict itself
        names = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters)
        unknown, missing = set() if open_ended else {*data} - names, {*required} - {*data}
        if unknown or missing:
            wrong = f"has no argument {min(map(str, unknown))!r}" if unknown else f"needs {min(missing)!r}"
            raise InputError(f"lsuv: data: forward of {type(model).__name__} {wrong}; it takes {', '.join(names)}")
        return (), dict(data)
    if not isinstance(data, tuple | list):
        raise InputError(f"lsuv: data must be {ACCEPTED}, not {type(data).__name__}")
    data = tuple(data)
    if len(data) == len(required) + 1 and required:
        return data[:-1], {}  # the last are the labels
    most = len(data) if any(one.kind is one.VAR_POSITIONAL for one in parameters) else len(positional)
    if not len(required) <= len(data) <= most:
        raise InputError(
            f"lsuv: data has {len(data)} elements, but forward of {type(model).__name__} needs {len(required)} and "
            f"takes at most {most}; give {ACCEPTED}"
        )
    return data, {}


def _first_batches(loader: DataLoader, examples: int) -> Any:
    """Return the first batch, joined with as many more as it takes; those of other shapes are left out."""
    batches, count = [], 0
    for batch in loader:
        batches.append(batch)
        count += len(next((leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.dim()), ()))
        if count >= examples or not count:
            break
    if not batches:
        raise InputError("lsuv: the DataLoader gives no batch: its data set is empty or smaller than a batch")
    try:
        return tree_map(lambda *leaves: torch.cat(leaves) if isinstance(leaves[0], Tensor) else leaves[0], *batches)
    except (RuntimeError, TypeError, ValueError):  # sequences of other lengths, say
        return batches[0]


def _moved(model: nn.Module, call: Arguments) -> Arguments:
    """Return arguments on the model's device, floating-point ones of its dtype."""
    parameters = list(model.parameters())
    device = parameters[0].device if parameters else None
    dtype = next((one.dtype for one in parameters if one.is_floating_point()), torch.float32)

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach()
        return leaf.to(device, dtype) if leaf.is_floating_point() else leaf.to(device)

    return tree_map(move, call)
