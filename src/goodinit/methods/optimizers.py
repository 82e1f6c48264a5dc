"""Optimizers, each written from its published update rule."""

import torch

__all__ = ["sgd"]


def sgd(parameters, *, lr: float):
    r"""Stochastic gradient descent: :math:`\theta \leftarrow \theta - \mathrm{lr} \nabla L(\theta)`.

    Args:
        parameters: of the model.
        lr: learning rate, more than 0.

    Raises:
        ValueError: `lr` is not more than 0.

    Reference: Robbins & Monro, A stochastic approximation method (1951).
    """
    return _SGD(parameters, {"lr": _positive("sgd", "lr", lr)})


class _SGD(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            parameters, gradients = _with_gradients(group)
            torch._foreach_add_(parameters, gradients, alpha=-group["lr"])


def _with_gradients(group):
    """Return the group's parameters that have a gradient, and the gradients."""
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    return parameters, [parameter.grad for parameter in parameters]


def _positive(name, option, value):
    if not value > 0:
        raise ValueError(f"{name}: {option} must be more than 0, not {value}")
    return value
