"""Groups of a linear layer's neurons, and linear layers whose gradient is that of one group alone."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.errors import InputError

__all__ = ["Members", "choose_layers", "group_neurons", "linear_with_row_gradients"]

Members = Literal["contiguous", "shuffled"]


def choose_layers(model: nn.Module, layers: list[str] | None) -> dict[str, nn.Linear]:
    """Return the linear layers with these names; without names all but the last that the model registers.

    Raises:
        ValueError: there is no such layer, or the model has only one and none is named.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    known = [name for name, module in modules.items() if isinstance(module, nn.Linear) and name]
    if layers is None:
        layers = [name for name, module in model.named_modules() if name in known][:-1]
    for name in layers:
        if name not in known:
            raise InputError(f"semi_synchronous: layers: no linear layer {name!r}; the model has {', '.join(known)}")
    if not layers:
        raise InputError("semi_synchronous: layers: the model has no linear layer but the last; name those to update")
    return {name: modules[name] for name in layers}


def group_neurons(
    name: str, neurons: int, groups: int | None, members: Members, generator: torch.Generator | None
) -> Tensor:
    """Return the neurons, int64 (groups, neurons / groups), of each group of the layer called `name`.

    Args:
        name: of the layer, for messages.
        neurons: N, the number of the layer's outputs.
        groups: their number; the square root of N if it is None.
        members: a group's neurons are adjacent, or drawn at random.
        generator: shuffles the neurons.

    Raises:
        ValueError: N is no square and `groups` is None, `groups` does not divide N, or `members` is another word.
    """
    root = math.isqrt(neurons)
    if groups is None and root**2 != neurons:
        raise InputError(
            f"semi_synchronous: layer {name} has {neurons} neurons, which is no square: the nearest are {root**2} "
            f"and {(root + 1) ** 2}; or give groups, a number that divides {neurons}"
        )
    if groups is not None and (groups < 1 or neurons % groups):
        raise InputError(f"semi_synchronous: groups: {groups} does not divide the {neurons} neurons of layer {name}")
    if members not in ("contiguous", "shuffled"):
        raise InputError(f"semi_synchronous: members: {members!r}: allowed: contiguous, shuffled")
    order = torch.arange(neurons)
    if members == "shuffled":
        order = torch.randperm(neurons, generator=generator)
    return order.view(groups or root, -1).sort().values


def linear_with_row_gradients(inputs: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
    """Return `functional.linear` of the arguments; the gradients of weight and bias are sparse.

    Args:
        inputs: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        rows: the outputs, int64 (R,) in increasing order, for which these gradients are computed.
    """
    return _LinearWithRowGradients.apply(inputs, weight, bias, rows)


class _LinearWithRowGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, weight, bias, rows):
        ctx.save_for_backward(inputs, weight, rows)
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        inputs, weight, rows = ctx.saved_tensors
        low = gradient.dtype != weight.dtype
        of_inputs = of_weight = of_bias = None
        with torch.autocast(gradient.device.type, gradient.dtype if low else None, enabled=low):
            if ctx.needs_input_grad[0]:
                of_inputs = gradient @ weight
            part = gradient.reshape(-1, len(weight)).index_select(1, rows)
            if ctx.needs_input_grad[1]:
                of_weight = _sparse(rows, part.T @ inputs.reshape(-1, weight.shape[1]), weight.shape)
        if ctx.needs_input_grad[2]:
            of_bias = _sparse(rows, part.sum(0), weight.shape[:1])
        return of_inputs, of_weight, of_bias, None


def _sparse(rows, values, shape):
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)
