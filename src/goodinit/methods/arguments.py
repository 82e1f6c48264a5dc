"""Checks of the arguments of the public functions, which users call with numbers of any type."""

import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from goodinit.errors import InputError

__all__ = ["as_generator", "numbers_in", "positive_number", "random_seed", "unwrap", "whole_number"]


def whole_number(place: str, value: Any, at_least: int | None = None, at_most: int | None = None, of: str = "") -> int:
    """Return a whole number of any type, such as `numpy.int64(8)` or 8.0, as an int.

    Args:
        place: function and argument, such as `lsuv: seed`, for the message.
        value: the number.
        at_least, at_most: its limits, or None.
        of: what the upper limit is, for the message.

    Raises:
        InputError: it is not a whole number, or out of range.
    """
    number = _whole(value)
    if number is None or (at_least is not None and number < at_least) or (at_most is not None and number > at_most):
        limits = [] if at_least is None else [f"at least {at_least}"]
        limits += [] if at_most is None else [f"at most {at_most}{of}"]
        allowed = f", {' and '.join(limits)}" if limits else ""
        raise InputError(f"{place} must be a whole number{allowed}, not {value!r}")
    return number


def random_seed(place: str, value: Any) -> int:
    """Return a seed of any type, within the range of torch.Generator, as an int.

    Raises:
        InputError: it is not a whole number, or out of range.
    """
    number = _whole(value)
    if number is None or not -(2**63) <= number < 2**64:
        raise InputError(f"{place} must be a whole number of 64 bits, not {value!r}")
    return number


def positive_number(place: str, value: Any) -> float:
    """Return a finite number of any type that is more than 0 as a float.

    Raises:
        InputError: it is not such a number.
    """
    number = value.tolist() if hasattr(value, "tolist") else value
    if not _is_number(number) or not 0 < number < math.inf:
        raise InputError(f"{place} must be a number, more than 0 and finite, not {value!r}")
    return float(number)


def numbers_in(place: str, value: Any) -> list[Any]:
    """Return the numbers in a list, tuple, array or tensor as a list; a single number is a list of one.

    Raises:
        InputError: it is neither, or an element is not a number.
    """
    if hasattr(value, "tolist"):  # an array, a tensor, or a number of numpy
        value = value.tolist()
    elements = [value] if isinstance(value, numbers.Real) or not isinstance(value, Iterable) else list(value)
    elements = [item.item() if isinstance(item, Tensor) and item.numel() == 1 else item for item in elements]
    if isinstance(value, str) or not all(_is_number(element) for element in elements):
        raise InputError(f"{place} must be a list of numbers, or one number, not {value!r}")
    return elements


def as_generator(method: str, seed: Any, generator: Any) -> torch.Generator:
    """Return the generator, or one with the seed; torch's default generator if neither is given.

    Raises:
        InputError: both are given, `generator` has another type, or the seed is not a whole number of 64 bits.
    """
    if seed is not None and generator is not None:
        raise InputError(f"{method}: give either seed or generator, not both")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError(f"{method}: generator must be a torch.Generator or None, not {generator!r}")
    if seed is not None:
        return torch.Generator().manual_seed(random_seed(f"{method}: seed", seed))
    return torch.default_generator if generator is None else generator


def unwrap(method: str, model: Any, *wrappers: type[nn.Module]) -> nn.Module:
    """Return a model without `torch.compile` and without these wrappers, whose attribute `module` is the model.

    Raises:
        InputError: it is not a module.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"{method}: model must be a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, wrappers):
        return unwrap(method, model.module, *wrappers)
    return unwrap(method, model._modules["_orig_mod"], *wrappers) if "_orig_mod" in model._modules else model


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    """Return a value as an int, or None if it is not a whole number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool):
        return None
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return int(float(value)) if float(value).is_integer() else None
    try:
        return operator.index(value)
    except TypeError:
        return None
