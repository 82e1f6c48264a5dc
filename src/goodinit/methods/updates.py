"""Updates: which neurons an optimizer's step moves."""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

__all__ = ["semi_synchronous", "synchronous"]


def synchronous(model, optimizer, generator):
    """All neurons at every mini-batch: the ordinary update.

    Args:
        model: not used.
        optimizer: its step moves every parameter.
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

    So it is the optimizer's own rule for a gradient that is 0 outside the group's rows.  Only those rows of the
    gradient are computed and stored, as a sparse tensor, which makes a step cheaper than an ordinary one.

    Deviation: a neuron's bias goes with its weights, and so does weight decay, which is part of the gradient;
    batch normalization's scale and shift are updated every time.  The paper does not say.

    Args:
        model: changed in place: its layers are replaced by ones that give such gradients, with the same parameters.
        optimizer: `sgd`, `momentum` or `nesterov`, without `clip_norm`.
        generator: shuffles the neurons.
        layers: names of linear layers, as in `model.named_modules()`; all but the last where there is none.
        groups: how many in each layer; the square root of N where there is none.
        members: neurons of a group are neighbors, or are drawn at random.

    Returns:
        An object whose step() applies the gradients, clears them, and passes the turn on.  Whose turn it is, and the
        groups, belong to the model's state.

    Raises:
        ValueError: there is no such linear layer, N is no square or not a multiple of `groups`, or the optimizer
            does not take such gradients.

    Reference: Hori, Sekiya & Takenaka, Semi-synchronous updating of neurons in full-connection layers through
        backpropagation of deep learning (2019), section 3.
    """
    if not getattr(optimizer, "linear", False) or optimizer.clip_norm is not None:
        raise ValueError("semi_synchronous: works with the optimizers sgd, momentum and nesterov without clip_norm")
    known = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name]
    chosen = known[:-1] if layers is None else layers
    for name in chosen:
        if name not in known:
            raise ValueError(f"semi_synchronous: layers: no linear layer {name!r}; the model has {', '.join(known)}")
    if not chosen:
        raise ValueError("semi_synchronous: layers: the model has no linear layer but the last")
    replaced = []
    for name in chosen:
        linear = model.get_submodule(name)
        count = _group_count(name, linear.out_features, groups)
        order = torch.arange(linear.out_features)
        if members == "shuffled":
            order = torch.randperm(linear.out_features, generator=generator)
        replaced.append(_TakingTurns(linear, order.view(count, -1).sort().values))
        model.set_submodule(name, replaced[-1])
    return _Update(optimizer, replaced)


def _group_count(name, neurons, groups):
    root = math.isqrt(neurons)
    if groups is None and root**2 != neurons:
        raise ValueError(
            f"semi_synchronous: layer {name} has {neurons} neurons, which is no square: the nearest are {root**2} "
            f"and {(root + 1) ** 2}; or give groups, a number that divides {neurons}"
        )
    if groups is not None and (groups < 1 or neurons % groups):
        raise ValueError(f"semi_synchronous: groups: {groups} does not divide the {neurons} neurons of layer {name}")
    return groups or root


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
        return _Linear.apply(inputs, self.weight, self.bias, self.groups[self.turn])

    def all_at_once(self):
        """Let all neurons be one group, for whoever looks at the whole gradient."""
        self.groups, self.turn = self.groups.view(1, -1).sort().values, 0

    def get_extra_state(self):
        return self.turn

    def set_extra_state(self, turn):
        self.turn = turn


class _Linear(torch.autograd.Function):
    """An affine map of (N, inputs), whose gradients of weight and bias are sparse: of some rows alone."""

    @staticmethod
    def forward(ctx, inputs, weight, bias, rows):
        ctx.save_for_backward(inputs, weight, rows)
        ctx.has_bias = bias is not None
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        inputs, weight, rows = ctx.saved_tensors
        low = gradient.dtype != weight.dtype
        with torch.autocast(gradient.device.type, gradient.dtype if low else None, enabled=low):
            back = gradient @ weight if ctx.needs_input_grad[0] else None
            part = gradient.index_select(1, rows)
            of_weight = _sparse(rows, part.T @ inputs, weight.shape)
        of_bias = _sparse(rows, part.sum(0), weight.shape[:1]) if ctx.has_bias else None
        return back, of_weight, of_bias, None


def _sparse(rows, values, shape):
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)
