"""Semi-synchronous updates with torch.optim.SGD, for training loops of one's own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from goodinit.errors import InputError, nearest
from goodinit.methods.neuron_groups import Members, choose_layers, group_neurons, linear_with_row_gradients

__all__ = ["SemiSynchronous", "semi_synchronous"]


def semi_synchronous(
    model: nn.Module,
    optimizer: torch.optim.SGD,
    *,
    layers: list[str] | None = None,
    groups: int | None = None,
    members: Members = "contiguous",
    generator: torch.Generator | int | None = None,
    sparse: bool = False,
) -> "SemiSynchronous":
    r"""Update only one group of a linear layer's neurons at a time; the groups take turns.

    At the k-th step it is group k modulo the number of groups, from 0.  The forward and the backward pass always use
    all neurons.  With momentum :math:`\alpha` and learning rate :math:`\eta`, the neurons of the group, rows of the
    weight matrix, move by (5), all others by (6):

    .. math::
        W &\leftarrow W - \eta \frac{\partial L}{\partial W} + \alpha \Delta W \qquad (5) \\
        W &\leftarrow W + \alpha \Delta W \qquad (6)

    This is the optimizer's own rule, with dampening, Nesterov's momentum and weight decay, for a gradient that is 0
    outside the group.  All other parameters are updated as ever.

    Deviation: a neuron's bias goes with its weights, and so does weight decay, which is part of the gradient.  The
    paper does not say.

    Args:
        model: its parameters are looked up; with `sparse` the linear layers change their class.
        optimizer: a torch.optim.SGD.  Learning-rate schedulers take it, not what is returned.
        layers: names of linear layers, as in `model.named_modules()`.  None for all but the last one that the model
            registers, which usually is the output layer; name them for a net where it is not.
        groups: number of groups in each layer; None for the square root of its number of neurons.
        members: neurons of a group are adjacent, or are drawn at random.
        generator: shuffles the neurons; an integer is a seed, and None means torch's global generator.
        sparse: compute only the active rows of the gradient, as a sparse tensor, which makes a step of large layers
            about twice as fast.  Then what clips gradients by their norm sees these rows alone, otherwise all.  A layer
            of a subclass of nn.Linear keeps its whole gradient.

    Returns:
        An object to call `step()` and `zero_grad()` of instead of the optimizer's, also for a GradScaler.

    Raises:
        ValueError: the optimizer is another, there is no such layer, its weight is computed or not in the optimizer,
            or its neurons cannot be divided into the groups.

    Note:
        A parameter that several layers share has one partition into groups, by its rows, wherever it is used.  A frozen
        parameter, and any other without a gradient, is left as it is, as by the optimizer itself.

    Reference: Hori, Sekiya & Takenaka, Semi-synchronous updating of neurons in full-connection layers through
        backpropagation of deep learning (2019), section 3.
    """
    if type(optimizer) is not torch.optim.SGD:
        raise InputError(
            f"semi_synchronous: {type(optimizer).__name__} cannot serve, only torch.optim.SGD, whose step is linear in "
            "the gradient: Adam, AdaGrad, RMSprop and others divide by a running mean of squared gradients, which a "
            "gradient of 0 changes"
        )
    if any(group["differentiable"] for group in optimizer.param_groups):
        raise InputError("semi_synchronous: the optimizer is differentiable=True; parameters are updated in place")
    if isinstance(generator, int):
        generator = torch.Generator().manual_seed(generator)
    optimized = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    turns, partitions = {}, {}
    for name, layer in choose_layers(model, layers).items():
        weight, *biases = _parameters(name, layer, optimized)
        if weight not in partitions:
            grouped = group_neurons(name, layer.out_features, groups, members, generator)
            turns[name] = partitions[weight] = _Turns(grouped)
        for bias in biases:
            partitions.setdefault(bias, partitions[weight])
        if sparse and type(layer) is nn.Linear:
            layer.__class__, layer.turns = _LinearTakingTurns, partitions[weight]
    return SemiSynchronous(optimizer, turns, partitions)


def _parameters(name, layer, optimized):
    """Return the layer's weight and, if it has one, its bias."""
    parameters = dict(layer.named_parameters(recurse=False))
    if "weight" not in parameters:
        raise InputError(f"semi_synchronous: layer {name}: its weight is computed from other parameters; leave it out")
    for key, parameter in parameters.items():
        if parameter.requires_grad and parameter not in optimized:
            raise InputError(f"semi_synchronous: layer {name}: its {key} is not in the optimizer; leave the layer out")
    return [parameters[key] for key in ("weight", "bias") if key in parameters]


class SemiSynchronous:
    """An optimizer whose steps change one group of neurons at a time; `semi_synchronous` makes it.

    Attributes:
        optimizer: the torch.optim.SGD.  It also holds the momentum of the layers that are updated in groups.
    """

    def __init__(
        self, optimizer: torch.optim.SGD, turns: dict[str, "_Turns"], partitions: dict[nn.Parameter, "_Turns"]
    ) -> None:
        self.optimizer = optimizer
        self._turns, self._partitions = turns, partitions
        self._stepping = False
        optimizer.register_step_pre_hook(self._check_caller)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's."""
        return self.optimizer.param_groups

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update the active groups' neurons and all other parameters, and pass the turn on.

        Args:
            closure: computes the loss and its gradients; its value is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {parameter: parameter.grad for parameter in self._partitions}
        self._stepping = True
        try:
            for parameter in gradients:
                parameter.grad = None  # so that the optimizer leaves it to `_move`
            self.optimizer.step()
        finally:
            self._stepping = False
            for parameter, gradient in gradients.items():
                parameter.grad = gradient
        for group in self.param_groups:
            for parameter in group["params"]:
                if gradients.get(parameter) is not None:
                    rows = self._partitions[parameter].active(parameter.device)
                    _move(parameter, rows, group, self.optimizer.state[parameter])
        for turns in self._turns.values():
            turns.turn = (turns.turn + 1) % len(turns.groups)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters of the optimizer."""
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer, the groups and the turn."""
        layers = {name: {"groups": turns.groups.cpu(), "turn": turns.turn} for name, turns in self._turns.items()}
        return {"optimizer": self.optimizer.state_dict(), "layers": layers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: it is the state of something else, of other layers, or of other numbers of neurons.
        """
        layers = state.get("layers", {})
        for name in {**self._turns, **layers}:
            if name not in layers or name not in self._turns:
                where = "has no" if name not in layers else "has a"
                raise InputError(f"semi_synchronous: the state {where} layer {name!r}{nearest(name, self._turns)}")
            if layers[name]["groups"].numel() != self._turns[name].groups.numel():
                raise InputError(f"semi_synchronous: the state has another number of neurons in layer {name!r}")
        self.optimizer.load_state_dict(state["optimizer"])
        for name, turns in self._turns.items():
            turns.groups, turns.turn = layers[name]["groups"], layers[name]["turn"]

    def __repr__(self) -> str:
        layers = (f"{name}: {' groups of '.join(map(str, turns.groups.shape))}" for name, turns in self._turns.items())
        return f"SemiSynchronous({', '.join(layers)}; {type(self.optimizer).__name__})"

    def _check_caller(self, *_: object) -> None:
        if not self._stepping:
            raise RuntimeError(
                "semi_synchronous: step() what it returned, not the optimizer, which is wrapped only once"
            )


class _Turns:
    """The groups of a layer's neurons, int64 (G, N / G), and whose turn it is."""

    def __init__(self, groups: Tensor) -> None:
        self.groups, self.turn = groups, 0

    def active(self, device: torch.device) -> Tensor:
        """Return the neurons of the active group."""
        self.groups = self.groups.to(device)
        return self.groups[self.turn]


class _LinearTakingTurns(nn.Linear):
    """A linear layer whose gradients are those of the active group alone; it has `turns`."""

    def forward(self, inputs: Tensor) -> Tensor:
        return linear_with_row_gradients(inputs, self.weight, self.bias, self.turns.active(self.weight.device))


def _move(parameter: nn.Parameter, rows: Tensor, group: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Apply SGD's rule to a parameter whose gradient is 0 outside these rows, and so is its weight decay."""
    lr, momentum, decay = (float(group[name]) for name in ("lr", "momentum", "weight_decay"))
    gradient = parameter.grad.index_select(0, rows)
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
