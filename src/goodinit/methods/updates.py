"""Updates: which neurons each update of the parameters changes.

All have the signature `(model, optimizer, generator, *, options)` and return an object with `step()`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.contracts import Update, UpdateRule, stackable
from goodinit.methods.neuron_groups import choose_layers, group_neurons, linear_with_row_gradients

__all__ = ["semi_synchronous", "synchronous"]


@stackable
def synchronous(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator | None) -> Update:
    """Update all neurons at every mini-batch: ordinary training.

    Args:
        model: not used.
        optimizer: its step changes every parameter.
        generator: not used.

    Returns:
        An object whose step() applies the gradients and clears them.
    """
    return _Update(optimizer, [])


def semi_synchronous(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator | None,
    *,
    groups: int | None = None,
    members: Literal["contiguous", "shuffled"] = "contiguous",
) -> Update:
    r"""Update one group of neurons of each hidden linear layer at a time, in turn.

    The k-th update, counted from 0, is that of group k modulo the number of groups. The forward and the backward pass
    always use all neurons. With momentum :math:`\alpha` and learning rate :math:`\eta`, the neurons of the active
    group are updated by (5), all others by (6):

    .. math::
        W &\leftarrow W - \eta \frac{\partial L}{\partial W} + \alpha \Delta W \qquad (5) \\
        W &\leftarrow W + \alpha \Delta W \qquad (6)

    This is the rule of the optimizer for a gradient that is 0 outside the rows of the group. Only these rows of the
    gradient are computed and stored, as a sparse tensor, which makes a step faster than an ordinary one.
    `goodinit.semi_synchronous` does the same for torch.optim.SGD.

    Deviation: the bias of a neuron is updated with its weights, and so is weight decay, which is part of the gradient;
    scale and shift of batch normalization are updated at every mini-batch. The paper does not specify this.

    Args:
        model: changed in place: all linear layers except the last are replaced, under each of their names, by layers
            with such gradients and the same parameters.
        optimizer: `sgd`, `momentum` or `nesterov`, without `clip_norm`.
        generator: shuffles the neurons.
        groups: number of groups in each layer; None for the square root of N, its number of neurons.
        members: neurons of a group are adjacent, or are drawn at random.

    Returns:
        An object whose step() applies the gradients, clears them, and activates the next group. The active group and
        the partition into groups are part of the state of the model.

    Raises:
        ValueError: the model has only one linear layer, N is not a perfect square and `groups` is None, `groups` does
            not divide N, a layer shares a parameter with another module, or the optimizer does not accept such
            gradients.

    Reference: Hori, Sekiya & Takenaka, Semi-synchronous updating of neurons in full-connection layers through
        backpropagation of deep learning (2019), section 3.
    """
    if not (isinstance(optimizer, UpdateRule) and optimizer.linear and optimizer.elementwise):
        raise ValueError("semi_synchronous: works with the optimizers sgd, momentum and nesterov without clip_norm")
    layers, modules = choose_layers(model), dict(model.named_modules(remove_duplicate=False))
    _check_parameters(layers, modules)
    replacements = []
    for name, linear in layers.items():
        partition = group_neurons(name, linear.out_features, groups, members, generator)
        replacements.append(SemiSynchronousLinear(linear, partition))
        for other, module in modules.items():
            if module is linear:  # a module may have several names
                model.set_submodule(other, replacements[-1])
    return _Update(optimizer, replacements)


def _check_parameters(layers: Mapping[str, nn.Linear], modules: Mapping[str, nn.Module]) -> None:
    """Raise InputError if a layer shares a parameter with another module, whose gradient has all rows."""
    for name, layer in layers.items():
        for key, parameter in layer.named_parameters(recurse=False):
            for other, module in modules.items():
                if module is not layer and any(shared is parameter for shared in module.parameters(recurse=False)):
                    owner = other or "the model itself"
                    raise InputError(
                        f"semi_synchronous: layer {name} shares its {key} with {owner}: give each layer parameters of "
                        "its own"
                    )


class SemiSynchronousLinear(nn.Linear):
    """A linear layer, with the parameters of another, of which only the active group receives gradients.

    Attributes:
        groups: the neurons, int64 (groups, neurons in a group), of each group.
        active_group: the index of the group that the next update changes.
    """

    groups: Tensor

    def __init__(self, linear: nn.Linear, groups: Tensor) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("groups", groups.to(linear.weight.device))
        self.active_group = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output of the linear layer."""
        return linear_with_row_gradients(inputs, self.weight, self.bias, self.groups[self.active_group])

    def merge_groups(self) -> None:
        """Make all neurons one group, so that they all receive gradients."""
        self.groups, self.active_group = self.groups.view(1, -1).sort().values, 0

    def get_extra_state(self) -> int:
        """Return the active group, which `state_dict` includes."""
        return self.active_group

    def set_extra_state(self, state: Any) -> None:
        """Restore the active group."""
        self.active_group = state


class _Update:
    def __init__(self, optimizer: torch.optim.Optimizer, layers: Sequence[SemiSynchronousLinear]) -> None:
        self.optimizer, self._layers = optimizer, layers

    def step(self) -> None:
        """Apply and clear the gradients, and activate the next group of each layer."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        for layer in self._layers:
            layer.active_group = (layer.active_group + 1) % len(layer.groups)
