"""Checks of the arguments of `semi_synchronous`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.arguments import whole_number

__all__ = ["as_generator", "check_optimizer", "check_state"]


def check_optimizer(model: Any, optimizer: Any, sparse: bool) -> None:
    """Check that the optimizer has the rule that is applied to groups, and that it and the model take its gradients.

    Raises:
        InputError: it is not a torch.optim.SGD, it is differentiable, or the model cannot have sparse gradients.
    """
    if type(optimizer) is not torch.optim.SGD:
        raise InputError(
            f"semi_synchronous: {type(optimizer).__name__} is not supported, only torch.optim.SGD, which is linear in "
            "the gradient: Adam, AdaGrad, RMSprop and others divide by a running mean of squared gradients, which a "
            "gradient of 0 changes"
        )
    if any(group["differentiable"] for group in optimizer.param_groups):
        raise InputError("semi_synchronous: the optimizer is differentiable=True; parameters are updated in place")
    if sparse and isinstance(model, nn.parallel.DistributedDataParallel):
        raise InputError(
            "semi_synchronous: sparse=True: DistributedDataParallel takes dense gradients: use sparse=False"
        )


def as_generator(generator: Any) -> torch.Generator | None:
    """Return a generator, one with the seed that is given, or None.

    Raises:
        InputError: it is none of these.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    place = "semi_synchronous: generator must be a torch.Generator, None or a seed, and a seed"
    return torch.Generator().manual_seed(whole_number(place, generator))


def check_state(state: Any) -> None:
    """Raise InputError unless a state has the parts of that of `SemiSynchronous`."""
    if not isinstance(state, Mapping) or not {"optimizer", "layers"} <= {*state}:
        raise InputError(
            "semi_synchronous: the state must be one that SemiSynchronous.state_dict() returned, with optimizer and "
            "layers: load that of a torch.optim.SGD with update.optimizer.load_state_dict(state)"
        )
