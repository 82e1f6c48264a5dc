"""Groups of neurons of linear layers, and linear layers of which only one group receives gradients."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.errors import InputError
from goodinit.methods.arguments import whole_number

__all__ = [
    "Members",
    "Partition",
    "SparseGradientLinear",
    "choose_layers",
    "group_neurons",
    "linear_with_row_gradients",
    "set_dense",
    "set_sparse",
]

Members = Literal["contiguous", "shuffled"]


def choose_layers(model: nn.Module, names: Sequence[str] | str | None = None) -> dict[str, nn.Linear]:
    """Return the linear layers with these names, or this name.

    Without names, these are all except the last registered one, and except layers whose parameters are all frozen.

    Raises:
        ValueError: there is no such layer, or, without names, no layer remains.
    """
    if names is not None and not isinstance(names, Iterable):
        raise InputError(f"semi_synchronous: layers must be a list of names of layers, or one name, not {names!r}")
    names = [names] if isinstance(names, str) else names
    modules = model.named_modules(remove_duplicate=False)
    linear = {name: module for name, module in modules if isinstance(module, nn.Linear) and name}
    if names is None:
        names = [name for name, _ in model.named_modules() if name in linear][:-1]
        names = [name for name in names if any(item.requires_grad for item in linear[name].parameters())]
    for name in names:
        if name not in linear:
            raise InputError(f"semi_synchronous: layers: no linear layer {name!r}; the model has {', '.join(linear)}")
    if not names:
        raise InputError("semi_synchronous: the model has no trainable linear layer except the output layer")
    return {name: linear[name] for name in names}


def group_neurons(
    name: str, neurons: int, groups: int | None, members: Members, generator: torch.Generator | None
) -> Tensor:
    """Return the neurons, int64 (groups, neurons / groups), of each group of a layer.

    Args:
        name: the name of the layer, for error messages.
        neurons: N, the number of outputs of the layer.
        groups: number of groups; None for the square root of N.
        members: neurons of a group are adjacent, or are drawn at random.
        generator: shuffles the neurons.

    Raises:
        ValueError: N is not a perfect square and `groups` is None, `groups` does not divide N, or `members` is unknown.
    """
    if groups is not None:
        groups = whole_number("semi_synchronous: groups", groups)
    root = math.isqrt(neurons)
    if groups is None and root**2 != neurons:
        raise InputError(
            f"semi_synchronous: layer {name} has {neurons} neurons, which is not a perfect square; the nearest are "
            f"{root**2} and {(root + 1) ** 2}; or give groups, a number that divides {neurons}"
        )
    if groups is not None and (groups < 1 or neurons % groups):
        raise InputError(f"semi_synchronous: groups: {groups} does not divide the {neurons} neurons of layer {name}")
    if members not in ("contiguous", "shuffled"):
        raise InputError(f"semi_synchronous: members: {members!r}: allowed: contiguous, shuffled")
    order = torch.arange(neurons, device="cpu")
    if members == "shuffled":
        order = torch.randperm(neurons, generator=generator, device="cpu")
    return order.view(groups or root, -1).sort().values


def linear_with_row_gradients(inputs: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
    """Return `functional.linear` of the arguments; the gradients of weight and bias are sparse.

    Args:
        inputs: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        rows: the outputs, int64 (R,) in increasing order, for which these gradients are computed.
    """
    outputs: Tensor = _LinearWithRowGradients.apply(inputs, weight, bias, rows)
    return outputs


class Partition:
    """The groups of neurons of a layer, int64 (groups, neurons in a group), and which of them is active."""

    def __init__(self, groups: Tensor) -> None:
        self.groups, self.active_group = groups, 0

    def active_neurons(self, device: torch.device) -> Tensor:
        """Return the neurons of the active group."""
        self.groups = self.groups.to(device)
        return self.groups[self.active_group]


class SparseGradientLinear(nn.Linear):
    """A linear layer of which only the active group receives gradients; its copies are ordinary layers."""

    partition: Partition

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output of the linear layer."""
        rows = self.partition.active_neurons(self.weight.device)
        return linear_with_row_gradients(inputs, self.weight, self.bias, rows)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name != "partition"}
        return object.__new__, (nn.Linear,), state


def set_sparse(layer: nn.Linear, partition: Partition) -> None:
    """Give a linear layer sparse gradients, which have the rows of the active group."""
    layer.__class__ = SparseGradientLinear
    vars(layer)["partition"] = partition


def set_dense(layer: nn.Linear) -> None:
    """Make a layer with sparse gradients an ordinary one."""
    del vars(layer)["partition"]
    layer.__class__ = nn.Linear


class _LinearWithRowGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight, rows)
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, weight, rows = ctx.saved_tensors
        autocasts = gradient.dtype != weight.dtype
        of_inputs = of_weight = of_bias = None
        with torch.autocast(gradient.device.type, gradient.dtype if autocasts else None, enabled=autocasts):
            if ctx.needs_input_grad[0]:
                of_inputs = gradient @ weight
            active = gradient.reshape(-1, len(weight)).index_select(1, rows)
            if ctx.needs_input_grad[1]:
                of_weight = _sparse(rows, active.T @ inputs.reshape(-1, weight.shape[1]), weight.shape)
        if ctx.needs_input_grad[2]:
            of_bias = _sparse(rows, active.sum(0), weight.shape[:1])
        return of_inputs, of_weight, of_bias, None


def _sparse(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """Return a sparse tensor with these values in its rows, in increasing order."""
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)
