"""Semi-synchronous updates with torch.optim.SGD, for custom training loops."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.arguments import as_generator
from goodinit.methods.neuron_groups import (
    Members,
    Partition,
    SparseGradientLinear,
    choose_layers,
    group_neurons,
    set_dense,
    set_sparse,
)
from goodinit.methods.semi_synchronous_arguments import check_optimizer, check_state, unwrap_model

__all__ = ["SemiSynchronous", "semi_synchronous"]

_INSTALLED = "semi_synchronous"  # the attribute of an optimizer with its SemiSynchronous


def semi_synchronous(
    model: nn.Module,
    optimizer: torch.optim.SGD,
    *,
    layers: Sequence[str] | str | None = None,
    groups: int | None = None,
    members: Members = "contiguous",
    seed: int | None = None,
    generator: torch.Generator | None = None,
    sparse: bool = False,
) -> "SemiSynchronous":
    r"""Update one group of neurons of each linear layer at a time, in turn.

    The k-th step, counted from 0, updates group k modulo the number of groups. The forward and the backward pass
    always use all neurons. With momentum :math:`\alpha` and learning rate :math:`\eta`, the neurons of the active
    group, which are rows of the weight matrix, are updated by (5), all others by (6):

    .. math::
        W &\leftarrow W - \eta \frac{\partial L}{\partial W} + \alpha \Delta W \qquad (5) \\
        W &\leftarrow W + \alpha \Delta W \qquad (6)

    This is the rule of the optimizer, with dampening, Nesterov momentum and weight decay, for a gradient that is 0
    outside the group: the other neurons continue to move with their momentum, which decays. All other parameters are
    updated by the optimizer.

    A second call with the same optimizer replaces the first, whose object can no longer be used: the groups start
    again, and the optimizer keeps its momentum. `remove()` of the returned object ends the updates in groups.

    Deviation: the bias of a neuron is updated with its weights, and so is weight decay, which is part of the gradient.
    The paper does not specify this.

    Args:
        model: the model that the optimizer trains; with `sparse` the class of its linear layers is changed. Names of
            layers are those in the model without `torch.compile`, DataParallel and DistributedDataParallel.
        optimizer: a torch.optim.SGD. Construct learning-rate schedulers with it, not with the returned object.
        layers: names of linear layers, or one name, as in `model.named_modules()`. None for all except frozen ones and
            the last that the model registers, which usually is the output layer; name the layers if it is not.
        groups: number of groups in each layer; None for the square root of its number of neurons.
        members: neurons of a group are adjacent, or are drawn at random.
        seed: determines the groups of shuffled neurons. If neither `seed` nor `generator` is given, torch's default
            generator shuffles them. In distributed training, give a seed, so that all processes have the same groups.
        generator: a torch.Generator instead of `seed`; it advances.
        sparse: compute only the active rows of the gradient, as a sparse tensor, which makes a step of large layers
            about twice as fast. Gradient clipping by norm then uses these rows alone, otherwise all rows. A layer of a
            subclass of nn.Linear keeps its dense gradient, and the layers of a copy of the model have dense gradients.
            `remove()` of the returned object restores dense gradients: without it, another optimizer would train only
            the last active group. Not for DistributedDataParallel, clip_grad_value_ and torch.func, which do not take
            sparse gradients. torch.compile may recompile the layer for each active group, and runs it uncompiled after
            its limit of recompilations.

    Returns:
        An object whose `step()` and `zero_grad()` replace those of the optimizer, also for a GradScaler.

    Raises:
        ValueError: the optimizer is not a torch.optim.SGD, there is no such layer, its weight is computed or not in
            the optimizer, its neurons cannot be divided into the groups, or another argument has another type.

    Note:
        A parameter that several layers share has one partition into groups, by its rows. A parameter without a
        gradient, such as a frozen one, is not changed.

    Reference: Hori, Sekiya & Takenaka, Semi-synchronous updating of neurons in full-connection layers through
        backpropagation of deep learning (2019), section 3.
    """
    check_optimizer(optimizer)
    model = unwrap_model(model, sparse)
    generator = as_generator("semi_synchronous", seed, generator)
    optimized = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    by_layer: dict[str, Partition] = {}
    by_parameter: dict[nn.Parameter, Partition] = {}
    sparse_layers: dict[nn.Linear, Partition] = {}
    for name, layer in choose_layers(model, layers).items():
        weight, *biases = _parameters(name, layer, optimized)
        if weight not in by_parameter:
            neurons = group_neurons(name, layer.out_features, groups, members, generator)
            by_layer[name] = by_parameter[weight] = Partition(neurons)
        for bias in biases:
            by_parameter.setdefault(bias, by_parameter[weight])
        if sparse and type(layer) in (nn.Linear, SparseGradientLinear):
            sparse_layers[layer] = by_parameter[weight]
    if (earlier := vars(optimizer).get(_INSTALLED)) is not None:
        earlier.remove()
    for module in model.modules():
        if type(module) is SparseGradientLinear and module.weight in by_parameter:  # of an earlier optimizer
            set_dense(module)
    for layer, partition in sparse_layers.items():
        set_sparse(layer, partition)
    return SemiSynchronous(optimizer, by_layer, by_parameter, sparse_layers)


def _parameters(name: str, layer: nn.Linear, optimized: set[nn.Parameter]) -> list[nn.Parameter]:
    """Return the weight of the layer and, if it has one, its bias."""
    parameters = dict(layer.named_parameters(recurse=False))
    if "weight" not in parameters:
        raise InputError(f"semi_synchronous: layer {name}: its weight is computed from other parameters; exclude it")
    for key, parameter in parameters.items():
        if parameter.requires_grad and parameter not in optimized:
            raise InputError(f"semi_synchronous: layer {name}: its {key} is not in the optimizer; exclude the layer")
        if hasattr(parameter, "device_mesh"):
            raise InputError(
                f"semi_synchronous: layer {name}: its {key} is a distributed tensor, such as that of FSDP, whose rows "
                "are not all here: use DistributedDataParallel"
            )
    return [parameters[key] for key in ("weight", "bias") if key in parameters]


class SemiSynchronous:
    """An optimizer whose steps update one group of neurons at a time; returned by `semi_synchronous`.

    Attributes:
        optimizer: the torch.optim.SGD. It also holds the momentum of the layers that are updated in groups.
    """

    def __init__(
        self,
        optimizer: torch.optim.SGD,
        by_layer: dict[str, Partition],
        by_parameter: dict[nn.Parameter, Partition],
        sparse_layers: dict[nn.Linear, Partition],
    ) -> None:
        self.optimizer = optimizer
        self._by_layer, self._by_parameter, self._sparse_layers = by_layer, by_parameter, sparse_layers
        self._stepping = self._removed = False
        self._hook = optimizer.register_step_pre_hook(self._check_caller)
        vars(optimizer)[_INSTALLED] = self

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the optimizer."""
        return self.optimizer.param_groups

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update the neurons of the active groups and all other parameters, and activate the next groups.

        The gradient of the other groups counts as 0: they continue to move with their momentum, which decays.

        Args:
            closure: computes the loss and its gradients, and returns the loss.

        Returns:
            The loss, or None without a closure.

        Raises:
            RuntimeError: `remove` was called, or a later call of `semi_synchronous` has replaced this object.
        """
        self._check_current()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {parameter: parameter.grad for parameter in self._by_parameter}
        self._stepping = True
        try:
            for parameter in gradients:
                parameter.grad = None  # the optimizer skips it
            self.optimizer.step()
        finally:
            self._stepping = False
            for parameter, gradient in gradients.items():
                parameter.grad = gradient
        for group in self.param_groups:
            for parameter in group["params"]:
                if (gradient := gradients.get(parameter)) is not None:
                    rows = self._by_parameter[parameter].active_neurons(parameter.device)
                    _update_rows(parameter, gradient, rows, group, self.optimizer.state[parameter])
        for partition in self._by_layer.values():
            partition.active_group = (partition.active_group + 1) % len(partition.groups)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters of the optimizer."""
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer, the groups of each layer, and which of them is active."""
        layers = {
            name: {"groups": partition.groups.cpu(), "active_group": partition.active_group}
            for name, partition in self._by_layer.items()
        }
        return {"optimizer": self.optimizer.state_dict(), "layers": layers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned; the number of groups becomes that of the state.

        Raises:
            ValueError: the state has other layers, or other numbers of neurons, or `state_dict` of a torch optimizer
                returned it, or its parts are not valid. Then nothing is changed.
        """
        neurons = {name: partition.groups.numel() for name, partition in self._by_layer.items()}
        layers = check_state(state, neurons)
        self.optimizer.load_state_dict(state["optimizer"])
        for name, partition in self._by_layer.items():
            partition.groups, partition.active_group = layers[name]

    def remove(self) -> None:
        """Make the layers and the optimizer ordinary again; the momentum is kept, and this object no longer usable."""
        self._removed = True
        self._hook.remove()
        for layer in filter(self._has_sparse_gradient, self._sparse_layers):
            set_dense(layer)

    def __repr__(self) -> str:
        shapes = ((name, partition.groups.shape) for name, partition in self._by_layer.items())
        layers = (f"{name}: {groups} groups of {neurons}" for name, (groups, neurons) in shapes)
        return f"SemiSynchronous({', '.join(layers)}; {type(self.optimizer).__name__})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_sparse_layers": {}}  # the layers of a copy are ordinary ones

    def _has_sparse_gradient(self, layer: nn.Linear) -> bool:
        """Return whether the gradient of a layer has the rows of the active group here."""
        return vars(layer).get("partition") is self._sparse_layers[layer]

    def _check_current(self) -> None:
        if self._removed or not all(map(self._has_sparse_gradient, self._sparse_layers)):
            raise RuntimeError(
                "semi_synchronous: remove() was called, or a later call has replaced this object: use the one that it "
                "returned"
            )

    def _check_caller(self, *_: object) -> None:
        if not self._stepping:
            raise RuntimeError("semi_synchronous: call step() of the returned object, not of the optimizer")


def _update_rows(
    parameter: nn.Parameter, gradient: Tensor, rows: Tensor, group: dict[str, Any], state: dict[str, Tensor]
) -> None:
    """Apply the rule of SGD to a parameter whose gradient and weight decay are 0 outside these rows."""
    lr, momentum, decay = (float(group[name]) for name in ("lr", "momentum", "weight_decay"))
    gradient = gradient.index_select(0, rows)
    gradient = gradient.to_dense() if gradient.is_sparse else gradient
    if group["maximize"]:
        gradient = -gradient
    if decay:
        gradient = gradient.add(parameter.index_select(0, rows), alpha=decay)
    if not momentum:
        parameter.index_add_(0, rows, gradient, alpha=-lr)
        return
    if (velocity := state.get("momentum_buffer")) is None:
        velocity = state["momentum_buffer"] = torch.zeros_like(parameter).index_copy_(0, rows, gradient)
    else:
        velocity.mul_(momentum).index_add_(0, rows, gradient, alpha=1 - group["dampening"])
    if group["nesterov"]:
        parameter.add_(velocity, alpha=-lr * momentum).index_add_(0, rows, gradient, alpha=-lr)
    else:
        parameter.add_(velocity, alpha=-lr)
