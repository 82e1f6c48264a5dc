"""Comparison of back-propagated gradients with finite differences of the loss."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.methods.contracts import Examples, Observe
from goodinit.methods.diagnostics.model_copy import copied_model, is_dropout, stack_layers

__all__ = ["gradient_check"]


@contextlib.contextmanager
def gradient_check(
    model: nn.Module, batch: Examples, generator: torch.Generator, *, step_size: float = 1e-4, coordinates: int = 50
) -> Iterator[Observe]:
    r"""Back-propagated gradients against central differences of the cross-entropy on `batch`, in float64.

    .. math:: \frac{L(\theta_i + h) - L(\theta_i - h)}{2 h}

    The model is in training mode, so that batch normalization uses the statistics of the batch. Use more than one
    example: with one, the mean of the batch is the example itself and every normalized output is 0, which is the kink
    of a rectifier, where the difference is half the one-sided slope and back-propagation returns 0.

    Deviation: of a parameter with more than `coordinates` elements, this number of elements is drawn at random; the
    program of the textbook checks all of them. The loss of that program is :math:`-\log(p + 10^{-7})`, of which
    it back-propagates the gradient without the :math:`10^{-7}`, so that its two gradients differ by a fraction of
    :math:`10^{-7} / p`; here, the loss is the cross-entropy.

    Args:
        model: maps images to logits (N, classes), without dropout, which differs between passes; it is copied.
        batch: images, float (N, ...); labels, int64 (N,).
        generator: draws the coordinates.
        step_size: h, more than 0.
        coordinates: largest number of elements of a parameter that are checked, at least 1.

    Yields:
        A function of the step that returns, for P parameters in the order of the model, `gradient_error` (P,), the
        mean of |back-propagated - difference|, and `gradient_size` (P,), the mean of |back-propagated|, over the
        checked elements.

    Raises:
        ValueError: `step_size` or `coordinates` is out of its range, or the model has dropout.

    Reference: Saito, Deep Learning from Scratch (2016), section 5.7.4 and `ch06/batch_norm_gradient_check.py`.
    """
    if step_size <= 0 or coordinates < 1:
        raise ValueError("gradient_check: step_size must be more than 0 and coordinates at least 1")
    if any(is_dropout(module) and getattr(module, "p", 1) for module in model.modules()):
        raise ValueError("gradient_check: the model has dropout, which differs between passes: set its dropout to 0")
    checked = [
        torch.randperm(parameter.numel(), generator=generator)[:coordinates].to(parameter.device)
        for parameter in model.parameters()
    ]

    def observe(step: int) -> dict[str, Any]:
        with copied_model(model) as model_copy, torch.enable_grad():
            model_copy.double().train().to(memory_format=torch.contiguous_format)  # flat views of the parameters
            images = batch.images.double()

            def loss() -> Tensor:
                return functional.cross_entropy(model_copy(images), batch.labels)

            gradients = [gradient.to_dense() for gradient in torch.autograd.grad(loss(), list(model_copy.parameters()))]
            with torch.no_grad():
                return stack_layers(
                    _compare(parameter.view(-1), gradient.reshape(-1), elements, loss, step_size)
                    for parameter, gradient, elements in zip(model_copy.parameters(), gradients, checked, strict=True)
                )

    yield observe


def _compare(
    parameter: Tensor, gradient: Tensor, elements: Tensor, loss: Callable[[], Tensor], step_size: float
) -> dict[str, float]:
    """Return the mean error and size of the gradient at some elements of a parameter, both flat."""
    errors = []
    for index in elements.tolist():
        value = parameter[index].item()
        parameter[index] = value + step_size
        above = loss()
        parameter[index] = value - step_size
        errors.append(abs(float(above - loss()) / (2 * step_size) - gradient[index].item()))
        parameter[index] = value
    return {"gradient_error": sum(errors) / len(errors), "gradient_size": float(gradient[elements].abs().mean())}
