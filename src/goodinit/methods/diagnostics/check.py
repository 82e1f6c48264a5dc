"""Back-propagated gradients against differences of the loss."""

import contextlib

import torch
from torch.nn import functional

from goodinit.methods.diagnostics.probe import is_dropout, probe, stacked

__all__ = ["gradient_check"]


@contextlib.contextmanager
def gradient_check(model, batch, generator, *, step_size: float = 1e-4, coordinates: int = 50):
    r"""Back-propagated gradients against central differences of the cross-entropy on `batch`, in float64.

    .. math:: \frac{L(\theta_i + h) - L(\theta_i - h)}{2 h}

    The model is in training mode, so that batch normalization uses the batch's own statistics.  Take more
    than one input: with a single one the batch's mean is the input itself, every normalized output is 0,
    and so every rectifier stands exactly on its kink, where the difference is half the one-sided slope and
    back-propagation answers 0.

    Deviation: of a parameter with more numbers than `coordinates`, so many are drawn at random; the
    textbook's program takes them all, one by one.

    Args:
        model: maps images to logits (N, classes), without dropout, which would be another each time; it is copied.
        batch: images, float (N, ...); labels, int64 (N,).
        generator: draws the coordinates.
        step_size: h, more than 0.
        coordinates: the most numbers of a parameter that are looked at, at least 1.

    Yields:
        A function of the step that gives, for P parameters in the model's order, `gradient_error` (P,), the
        mean of |back-propagated - difference|, and `gradient_size` (P,), the mean of |back-propagated|, over the
        coordinates looked at.

    Raises:
        ValueError: `step_size` or `coordinates` is out of its range, or the model has dropout.

    Reference: Saito, Deep Learning from Scratch (2016), section 5.7.4 and `ch06/batch_norm_gradient_check.py`.
    """
    if step_size <= 0 or coordinates < 1:
        raise ValueError("gradient_check: step_size must be more than 0 and coordinates at least 1")
    if any(is_dropout(module) and getattr(module, "p", 1) for module in model.modules()):
        raise ValueError("gradient_check: the model has dropout, which is another at each pass: set its dropout to 0")
    chosen = [
        torch.randperm(parameter.numel(), generator=generator)[:coordinates].to(parameter.device)
        for parameter in model.parameters()
    ]

    def observe(step):
        with probe(model) as twin, torch.enable_grad():
            twin.double().train()
            images = batch.images.double()

            def loss():
                return functional.cross_entropy(twin(images), batch.labels)

            gradients = [one.to_dense() for one in torch.autograd.grad(loss(), list(twin.parameters()))]
            with torch.no_grad():
                return stacked(
                    _compare(parameter.view(-1), gradient.reshape(-1), places, loss, step_size)
                    for parameter, gradient, places in zip(twin.parameters(), gradients, chosen, strict=True)
                )

    yield observe


def _compare(numbers, gradient, places, loss, step_size):
    """Return the mean error and size of the gradient at some places of a parameter, both flat."""
    errors = []
    for place in places.tolist():
        kept = numbers[place].item()
        numbers[place] = kept + step_size
        above = loss()
        numbers[place] = kept - step_size
        errors.append(abs(float(above - loss()) / (2 * step_size) - gradient[place].item()))
        numbers[place] = kept
    return {"gradient_error": sum(errors) / len(errors), "gradient_size": float(gradient[places].abs().mean())}
