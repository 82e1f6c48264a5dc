"""The update rules of the optimizers, as subclasses of torch.optim.Optimizer."""

import abc
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from goodinit.methods.contracts import NamedParameters
from goodinit.methods.parameter_groups import parameter_groups

__all__ = ["SGD", "Adagrad", "Adam", "Momentum", "Nesterov", "Optimizer", "RMSprop"]


class Optimizer(torch.optim.Optimizer, abc.ABC):
    """Gradient clipping, weight decay, and then an update rule for the parameters that have a gradient.

    A rule that is linear in the gradients also takes sparse gradients; weight decay then applies to their rows alone.

    Args:
        parameters: pairs of name and parameter.
        weight_decay: the weight decay of parameters called `weight`, at least 0.
        layer_factors: factors of the learning rate by module, see `parameter_groups`.
        decay_biases: whether all other parameters decay, too.
        clip_norm: largest Euclidean norm of the gradient of all parameters, more than 0; None for no clipping.
        bias_factor: factor of the learning rate of all parameters that are not called `weight`, more than 0.
        **options: of the update rule: `lr` and `epsilon`, more than 0; others, at least 0 and less than 1.

    Raises:
        ValueError: an option is out of its range, or a key of `layer_factors` is not the name of a module.
    """

    slots = 0
    linear = False

    def __init__(
        self,
        parameters: NamedParameters,
        *,
        weight_decay: float,
        layer_factors: dict[str, float] | None,
        decay_biases: bool = False,
        clip_norm: float | None = None,
        bias_factor: float = 1.0,
        **options: float,
    ) -> None:
        name = type(self).__name__.lower()
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"{name}: clip_norm must be more than 0, not {clip_norm}")
        for option, value in (options | {"weight_decay": weight_decay, "bias_factor": bias_factor}).items():
            if option in ("lr", "epsilon", "bias_factor"):
                valid, range_ = value > 0, "more than 0"
            elif option == "weight_decay":
                valid, range_ = value >= 0, "at least 0"
            else:
                valid, range_ = 0 <= value < 1, "at least 0 and less than 1"
            if not valid:
                raise ValueError(f"{name}: {option} must be {range_}, not {value}")
        groups = parameter_groups(
            name,
            list(parameters),
            lr=options["lr"],
            weight_decay=weight_decay,
            decay_biases=decay_biases,
            bias_factor=bias_factor,
            layer_factors=layer_factors,
        )
        self.clip_norm = clip_norm
        super().__init__(groups, options | {"step": 0})

    @property
    def elementwise(self) -> bool:
        """Whether each element of a parameter is updated from its own gradient and state alone."""
        return self.clip_norm is None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Update all parameters that have a gradient; weight decay is added to dense gradients in place."""
        if self.clip_norm is not None:
            clipped = [parameter for group in self.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(clipped, self.clip_norm)
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [parameter.grad for parameter in parameters]
            if not parameters:
                continue
            if group["weight_decay"]:
                gradients = _add_decay(gradients, parameters, group["weight_decay"])
            group["step"] += 1
            state = [[self._state_tensor(parameter, slot) for parameter in parameters] for slot in range(self.slots)]
            self._update(group, parameters, gradients, state)

    @abc.abstractmethod
    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        """Update parameters of one group in place.

        Args:
            group: with the options of the rule, and the number of the update, from 1, as `step`.
            parameters: the parameters that have a gradient.
            gradients: the gradient of each parameter, with weight decay.
            state: for each slot, the state tensor of each parameter, 0 before the first update.
        """

    def _state_tensor(self, parameter: Tensor, slot: int) -> Tensor:
        state: dict[int, Tensor] = self.state[parameter]
        if slot not in state:
            state[slot] = torch.zeros_like(parameter)
        return state[slot]


class SGD(Optimizer):
    """Stochastic gradient descent."""

    linear = True

    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])


class Momentum(Optimizer):
    """Heavy ball; its state is the velocity."""

    slots = 1
    linear = True

    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        (velocities,) = state
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
        torch._foreach_add_(parameters, velocities)


class Nesterov(Optimizer):
    """Nesterov's momentum; its state is the velocity."""

    slots = 1
    linear = True

    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        (velocities,) = state
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
        torch._foreach_add_(parameters, velocities, alpha=group["momentum"])
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])


class Adagrad(Optimizer):
    """AdaGrad; its state is the sum of the squared gradients."""

    slots = 1

    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        (squares,) = state
        torch._foreach_addcmul_(squares, gradients, gradients)
        _move_by_root(parameters, gradients, squares, group["lr"], group["epsilon"])


class RMSprop(Optimizer):
    """RMSProp; its state is the running mean of the squared gradients."""

    slots = 1

    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        (squares,) = state
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["decay"])
        _move_by_root(parameters, gradients, squares, group["lr"], group["epsilon"])


class Adam(Optimizer):
    """Adam; its state are the running means of the gradients and of their squares."""

    slots = 2

    def _update(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor], state: Sequence[list[Tensor]]
    ) -> None:
        means, squares = state
        torch._foreach_lerp_(means, gradients, 1 - group["beta1"])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - group["beta2"])
        correction = math.sqrt(1 - group["beta2"] ** group["step"]) / (1 - group["beta1"] ** group["step"])
        _move_by_root(parameters, means, squares, group["lr"] * correction, group["epsilon"])


def _add_decay(gradients: list[Tensor], parameters: list[Tensor], decay: float) -> list[Tensor]:
    """Return gradient + decay * parameter; of a sparse gradient, in its rows alone."""
    if not any(gradient.is_sparse for gradient in gradients):
        torch._foreach_add_(gradients, parameters, alpha=decay)  # in place, which saves the memory of a model
        return gradients
    return [
        _add_decay_to_rows(gradient.coalesce(), parameter, decay)
        if gradient.is_sparse
        else gradient.add(parameter, alpha=decay)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]


def _add_decay_to_rows(gradient: Tensor, parameter: Tensor, decay: float) -> Tensor:
    values = gradient.values().add(parameter[gradient.indices()[0]], alpha=decay)
    return torch.sparse_coo_tensor(gradient.indices(), values, gradient.shape, check_invariants=False)


def _move_by_root(
    parameters: list[Tensor], directions: list[Tensor], squares: list[Tensor], lr: float, epsilon: float
) -> None:
    """Move parameters by -lr * direction / (sqrt(square) + epsilon)."""
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, epsilon)
    torch._foreach_addcdiv_(parameters, directions, roots, value=-lr)
