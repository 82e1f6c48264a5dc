"""Groups of parameters that share a learning rate and a weight decay."""

import math
from typing import Any

from torch import nn

from goodinit.errors import InputError, nearest

__all__ = ["parameter_groups"]


def parameter_groups(
    optimizer: str,
    named_parameters: list[tuple[str, nn.Parameter]],
    *,
    lr: float,
    weight_decay: float,
    decay_biases: bool,
    bias_factor: float,
    layer_factors: dict[str, float] | None,
) -> list[dict[str, Any]]:
    """Return the groups for a `torch.optim.Optimizer`: those of weights first, then those of other parameters.

    A key of `layer_factors` is the name of a module, as in `named_parameters()` before the last dot, and applies to
    all parameters of this module and its submodules: `fc1` to `fc1.weight` and `fc1.bias`, `features` to
    `features.0.weight`, but not to `features2.weight`. If several keys match a parameter, the longest, which is the
    innermost module, applies.

    Args:
        optimizer: the name of the optimizer, for error messages.
        named_parameters: as `model.named_parameters()` yields them.
        lr: learning rate.
        weight_decay: the weight decay of parameters called `weight`. It is part of the gradient, so the factors apply
            to it, too.
        decay_biases: whether all other parameters decay, too.
        bias_factor: factor of the learning rate of all parameters that are not called `weight`.
        layer_factors: factors of the learning rate by module, 1 for all others; None for 1 everywhere.

    Raises:
        InputError: a key is not the name of a module with parameters, or a factor is not more than 0 and finite.
    """
    layer_factors = layer_factors or {}
    modules = {".".join(name.split(".")[:-1]) for name, _ in named_parameters}
    for key, factor in layer_factors.items():
        if not any(module == key or module.startswith(f"{key}.") for module in modules - {""}):
            hint = nearest(key, modules)
            raise InputError(f"{optimizer}: layer_factors: no module with parameters is called {key!r}{hint}")
        if not 0 < factor < math.inf:
            raise InputError(f"{optimizer}: layer_factors: {key} must be more than 0 and finite, not {factor}")
    weights: dict[float, list[tuple[str, nn.Parameter]]] = {}  # by factor
    others: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named_parameters:
        innermost = max((key for key in layer_factors if name.startswith(f"{key}.")), key=len, default="")
        members = weights if name.endswith("weight") else others
        members.setdefault(layer_factors.get(innermost, 1.0), []).append((name, parameter))
    return [
        {"params": members, "weight_decay": weight_decay, "lr": lr * factor} for factor, members in weights.items()
    ] + [
        {"params": members, "weight_decay": weight_decay * decay_biases, "lr": lr * factor * bias_factor}
        for factor, members in others.items()
    ]
