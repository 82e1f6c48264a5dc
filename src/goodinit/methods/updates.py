"""Updates: which neurons an optimizer's step changes."""

from typing import Literal

from torch import nn

from goodinit.methods.neuron_groups import choose_layers, group_neurons, linear_with_row_gradients

__all__ = ["semi_synchronous", "synchronous"]


def synchronous(model, optimizer, generator):
    """All neurons at every mini-batch: the ordinary update.

    Args:
        model: not used.
        optimizer: its step changes every parameter.
        generator: not used.

    Returns:
        An object whose step() applies the gradients and clears them.
    """
    return _Update(optimizer, [])


def semi_synchronous(
    model,
    optimizer,
    generator,
    *,
    layers: list[str] | None = None,
    groups: int | None = None,
    members: Literal["contiguous", "shuffled"] = "contiguous",
):
    r"""Of a fully-connected layer's N neurons, only one group at a time learns from the mini-batch; groups take turns.

    At the k-th update it is group k modulo the number of groups, from 0.  The forward and the backward pass always
    use all neurons.  With momentum :math:`\alpha` and learning rate :math:`\eta`, the neurons of the group move by
    (5), all others by (6):

    .. math::
        W &\leftarrow W - \eta \frac{\partial L}{\partial W} + \alpha \Delta W \qquad (5) \\
        W &\leftarrow W + \alpha \Delta W \qquad (6)

    This is the optimizer's own rule for a gradient that is 0 outside the group's rows.  Only those rows of the
    gradient are computed and stored, as a sparse tensor, which makes a step cheaper than an ordinary one.
    `goodinit.semi_synchronous` does the same for torch.optim.SGD.

    Deviation: a neuron's bias goes with its weights, and so does weight decay, which is part of the gradient;
    batch normalization's scale and shift are updated every time.  The paper does not say.

    Args:
        model: changed in place: its layers are replaced by ones that give such gradients, with the same parameters.
        optimizer: `sgd`, `momentum` or `nesterov`, without `clip_norm`.
        generator: shuffles the neurons.
        layers: names of linear layers, as in `model.named_modules()`; None for all but the last.
        groups: number of groups in each layer; None for the square root of N.
        members: neurons of a group are adjacent, or are drawn at random.

    Returns:
        An object whose step() applies the gradients, clears them, and passes the turn on.  The turn and the groups
        belong to the model's state.

    Raises:
        ValueError: there is no such linear layer, N is no square or not a multiple of `groups`, or the optimizer
            does not take such gradients.

    Reference: Hori, Sekiya & Takenaka, Semi-synchronous updating of neurons in full-connection layers through
        backpropagation of deep learning (2019), section 3.
    """
    if not getattr(optimizer, "linear", False) or optimizer.clip_norm is not None:
        raise ValueError("semi_synchronous: works with the optimizers sgd, momentum and nesterov without clip_norm")
    replaced = []
    for name, linear in choose_layers(model, layers).items():
        grouped = group_neurons(name, linear.out_features, groups, members, generator)
        replaced.append(_TakingTurns(linear, grouped))
        model.set_submodule(name, replaced[-1])
    return _Update(optimizer, replaced)


class _Update:
    def __init__(self, optimizer, layers):
        self.optimizer, self.layers = optimizer, layers

    def step(self):
        self.optimizer.step()
        self.optimizer.zero_grad()
        for layer in self.layers:
            layer.turn = (layer.turn + 1) % len(layer.groups)


class _TakingTurns(nn.Linear):
    """A linear layer, with its parameters, whose gradients are those of one group of neurons alone."""

    def __init__(self, linear, groups):
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("groups", groups.to(linear.weight.device))
        self.turn = 0

    def forward(self, inputs):
        return linear_with_row_gradients(inputs, self.weight, self.bias, self.groups[self.turn])

    def all_at_once(self):
        """Make all neurons one group, for whoever looks at the whole gradient."""
        self.groups, self.turn = self.groups.view(1, -1).sort().values, 0

    def get_extra_state(self):
        return self.turn

    def set_extra_state(self, turn):
        self.turn = turn
