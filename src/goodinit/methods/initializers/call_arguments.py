"""Convert data, in any usual form, to the arguments of a call of a model."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from goodinit.errors import InputError

__all__ = ["ACCEPTED", "call_arguments", "mismatch_hint"]

ACCEPTED = "a tensor, a tuple or dict of the model's arguments, an (inputs, labels) batch, or a DataLoader"


class Arguments(NamedTuple):
    """Positional and keyword arguments of a call, and a note on an element of the data that is not among them."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    note: str = ""


def call_arguments(model: nn.Module, data: Any, examples: int) -> Arguments:
    """Return the arguments of a call of the model, on its device and with its dtype.

    Args:
        model: the model, whose `forward` determines the number of arguments.
        data: the examples, in one of the forms that `ACCEPTED` lists.
        examples: minimum number of examples to take from a DataLoader; whole batches are taken.

    Raises:
        InputError: `data` has another type, does not fit `forward`, has no examples, or contains NaN.
    """
    data = _first_batches(data, examples) if isinstance(data, DataLoader) else _with_dicts(data)
    arguments = _bind(model, data)
    tensors = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
    if not tensors:
        raise InputError(f"lsuv: data contains no tensor: it must be {ACCEPTED}")
    if not any(tensor.numel() for tensor in tensors):
        raise InputError(f"lsuv: data contains a tensor without elements, of shape {tuple(tensors[0].shape)}")
    if any(tensor.is_floating_point() and tensor.isnan().any() for tensor in tensors):  # a mask may be infinite
        raise InputError("lsuv: data contains NaN")
    return _move(model, arguments)


def _bind(model: nn.Module, data: Any) -> Arguments:
    """Return the data as arguments of the model's `forward`."""
    if isinstance(data, Tensor | PackedSequence):
        return Arguments((data,), {})
    parameters = list(inspect.signature(model.forward).parameters.values())
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    required = [item.name for item in positional if item.default is item.empty]
    if isinstance(data, Mapping):
        if len(required) == 1 and required[0] not in data:
            return Arguments((data,), {})  # forward takes the dict itself
        names = [item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
        any_name = any(item.kind is item.VAR_KEYWORD for item in parameters)
        unknown, missing = set() if any_name else {*data} - {*names}, {*required} - {*data}
        if unknown or missing:
            error = f"has no argument {min(map(str, unknown))!r}" if unknown else f"requires {min(missing)!r}"
            raise InputError(
                f"lsuv: data: forward of {type(model).__name__} {error}; it takes {', '.join(names)}, and data has the "
                f"keys {', '.join(map(str, data))}"
            )
        return Arguments((), dict(data))
    if not isinstance(data, tuple | list):
        raise InputError(f"lsuv: data must be {ACCEPTED}, not {type(data).__name__}")
    data = tuple(data)
    any_number = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    with_labels = {len(names) + 1 for names in (required, positional) if names and (required or not any_number)}
    if len(data) in with_labels:
        note = ""
        if len(data) <= len(positional):  # forward would take the last element, too
            name = positional[len(data) - 1].name
            note = f"data: the last element is ignored as labels; to pass it as {name}, use a dict"
        return Arguments(data[:-1], {}, note)
    most = len(data) if any_number else len(positional)
    if not len(required) <= len(data) <= most:
        raise InputError(
            f"lsuv: data has {len(data)} elements, but forward of {type(model).__name__} requires {len(required)} and "
            f"takes at most {most}: pass the inputs alone"
        )
    return Arguments(data, {})


def mismatch_hint(model: nn.Module, args: tuple[Any, ...]) -> str:
    """Return what to pass instead of arguments that the model could not process, or "" if that is not known."""
    parameters = inspect.signature(model.forward).parameters
    if len(args) > 1 and any(item.kind is item.VAR_POSITIONAL for item in parameters.values()):
        return "forward takes any number of arguments: pass the inputs alone"
    for data in args:
        if isinstance(data, Mapping):
            keys, names = ", ".join(map(str, data)), ", ".join(parameters)
            return f"data has the keys {keys}, but forward takes {names}: pass the inputs"
        if isinstance(data, tuple | list) and not isinstance(data, PackedSequence):
            return f"an argument of forward is a {type(data).__name__}: pass the inputs, a tensor or a tuple of tensors"
    return ""


def _with_dicts(data: Any) -> Any:
    """Return data in which mappings of any type, such as that of a tokenizer, are dicts."""
    return tree_map(lambda leaf: _with_dicts(dict(leaf)) if isinstance(leaf, Mapping) else leaf, data)


def _first_batches(loader: DataLoader[Any], examples: int) -> Any:
    """Return the first batches, concatenated; only the first one if they are not examples along the first dimension."""
    batches: list[Any] = []
    count = 0
    for batch in map(_with_dicts, loader):
        batches.append(batch)
        leaves = tree_leaves(batch, is_leaf=lambda item: isinstance(item, PackedSequence))
        lengths = {len(leaf) for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()}
        if len(lengths) != 1 or any(isinstance(leaf, PackedSequence) for leaf in leaves):
            return batches[0]  # such as tokens and offsets
        count += min(lengths)
        if count >= examples or not count:
            break
    if not batches:
        raise InputError("lsuv: the DataLoader yields no batch: its data set is empty or smaller than a batch")
    try:
        return tree_map(_concatenate, *batches)
    except (RuntimeError, TypeError, ValueError):  # for example, sequences of different lengths
        return batches[0]


def _concatenate(*leaves: Any) -> Any:
    """Return the leaves of several batches as one; that of the first batch if they are not examples."""
    return torch.cat(leaves) if isinstance(leaves[0], Tensor) and leaves[0].dim() else leaves[0]


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

    moved: Arguments = tree_map(move, arguments, is_leaf=lambda item: isinstance(item, PackedSequence))
    return moved
