"""Checks of the arguments of `semi_synchronous`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from goodinit.errors import InputError, nearest
from goodinit.methods.arguments import unwrap, whole_number

__all__ = ["check_optimizer", "check_state", "unwrap_model"]


def unwrap_model(model: Any, sparse: bool) -> nn.Module:
    """Return the model without `torch.compile` and wrappers that distribute it, so that layers have its own names.

    Raises:
        InputError: it is not a module, or cannot have sparse gradients.
    """
    distributed = nn.parallel.DistributedDataParallel
    plain = unwrap("semi_synchronous", model, nn.DataParallel, distributed)
    if sparse and any(isinstance(module, distributed) for module in model.modules()):
        raise InputError(
            "semi_synchronous: sparse=True: DistributedDataParallel takes dense gradients: use sparse=False"
        )
    return plain


def check_optimizer(optimizer: Any) -> None:
    """Check that the optimizer has the rule that is applied to groups.

    Raises:
        InputError: it is not a torch.optim.SGD, or it is differentiable.
    """
    if type(optimizer) is not torch.optim.SGD:
        raise InputError(
            f"semi_synchronous: {type(optimizer).__name__} is not supported, only torch.optim.SGD, which is linear in "
            "the gradient: Adam, AdaGrad, RMSprop and others divide by a running mean of squared gradients, which a "
            "gradient of 0 changes"
        )
    if any(group["differentiable"] for group in optimizer.param_groups):
        raise InputError("semi_synchronous: the optimizer is differentiable=True; parameters are updated in place")


def check_state(state: Any, neurons: Mapping[str, int]) -> dict[str, tuple[Tensor, int]]:
    """Return the groups of each layer and which of them is active, from a state of `SemiSynchronous`.

    Args:
        state: what `state_dict` returned.
        neurons: {name of each layer that is updated in groups: number of its neurons}.

    Raises:
        InputError: the state has other parts, other layers, or groups that are not a partition of the neurons.
    """
    if not (
        isinstance(state, Mapping)
        and isinstance(state.get("optimizer"), Mapping)
        and isinstance(state.get("layers"), Mapping)
    ):
        raise InputError(
            "semi_synchronous: the state must be one that SemiSynchronous.state_dict() returned, with optimizer and "
            "layers: load that of a torch.optim.SGD with update.optimizer.load_state_dict(state)"
        )
    layers = state["layers"]
    for name in layers:
        if name not in neurons:
            hint = nearest(name, neurons)
            raise InputError(f"semi_synchronous: the state has a layer {name!r}, which is not updated here{hint}")
    return {name: _groups_in_state(layers, name, count) for name, count in neurons.items()}


def _groups_in_state(layers: Mapping[str, Any], name: str, count: int) -> tuple[Tensor, int]:
    """Return the groups of a layer with `count` neurons, and which of them is active."""
    if name not in layers:
        raise InputError(f"semi_synchronous: the state has no layer {name!r}{nearest(name, layers)}")
    place = f"semi_synchronous: the state of layer {name!r}"
    if not isinstance(layers[name], Mapping) or not {"groups", "active_group"} <= {*layers[name]}:
        raise InputError(f"{place} must have groups and active_group")
    groups = layers[name]["groups"]
    if not isinstance(groups, Tensor) or groups.dtype != torch.int64 or groups.dim() != 2:
        raise InputError(f"{place}: groups must be an int64 tensor of shape (groups, neurons in a group)")
    if groups.numel() != count:
        raise InputError(f"{place} has another number of neurons: {groups.numel()}, not {count}")
    if not torch.equal(groups.flatten().cpu().sort().values, torch.arange(count, device="cpu")):
        raise InputError(f"{place}: groups must contain each of the {count} neurons once")
    return groups, whole_number(f"{place}: active_group", layers[name]["active_group"], 0, len(groups) - 1)
