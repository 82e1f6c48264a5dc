"""Diagnostics: what is watched in a run.  They look and never change.

Each is a context manager, `(model, batch, generator, **options)`, that gives a function: called at a
step, it returns {name: array}.  `DIMENSIONS` names the axes of every array that is not a scalar.
"""

import contextlib
import copy
import math

import numpy as np
import torch
from torch import nn

__all__ = ["activations", "gradients"]

DIMENSIONS = {
    "activation_mean": ("layer",),
    "activation_sd": ("layer",),
    "share_low": ("layer",),
    "share_high": ("layer",),
    "share_saturated": ("layer",),
    "share_zero": ("layer",),
    "share_dead": ("layer",),
    "activation_count": ("layer", "bin"),
    "activation_edge": ("layer", "bin"),
    "gradient_variance": ("layer",),
    "weight_gradient_variance": ("layer",),
}

BOUNDS = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}


@contextlib.contextmanager
def activations(model, batch, generator, *, bins: int = 30, end: float = 0.01):
    """Distribution of every activation layer's output on `batch`.

    Args:
        model: its `nn.Sigmoid`, `nn.Tanh` and `nn.ReLU` modules are watched, in forward order.
        batch: images, float (N, ...).
        generator: not used.
        bins: of the histogram, over the bounds of the activation, or, where it has none, from the
            smallest to the largest output of any layer.
        end: share of the range that counts as "at the end".

    Yields:
        A function of the step that gives, for L layers: `activation_mean`, `activation_sd`; `share_low`,
        `share_high`, `share_saturated`, the outputs at the lower, upper, either end of a bounded
        activation (NaN where it has no bounds); `share_zero`, the outputs that are exactly 0;
        `share_dead`, the units (of a convolution: channels) whose output is 0 for every input, all (L,); the histogram
        `activation_count` (L, bins) and the left edges of its bins, `activation_edge` (L, bins).

    Raises:
        ValueError: the model has no such module, or `bins` is less than 1.

    Reference: Glorot & Bengio (2010), figures 2 and 3; Saito (2016), section 6.2.
    """
    watched = [module for module in model.modules() if isinstance(module, nn.Sigmoid | nn.Tanh | nn.ReLU)]
    if not watched or bins < 1:
        raise ValueError("activations: needs a model with sigmoid, tanh or relu modules, and bins of at least 1")

    def observe(step):
        with _probe(model) as twin, torch.no_grad():
            outputs = _outputs(twin, nn.Sigmoid | nn.Tanh | nn.ReLU, batch.images)
        widest = (min(float(x.min()) for x in outputs), max(float(x.max()) for x in outputs))
        return _stack(
            _describe(output, BOUNDS.get(type(module)), widest, bins, end)
            for module, output in zip(watched, outputs, strict=True)
        )

    yield observe


def _describe(output, bounds, widest, bins, end):
    """Return the statistics of one layer's output, (N, units)."""
    low, high = bounds or widest
    margin = end * (high - low)
    below, above = output < low + margin, output > high - margin
    high = high if high > low else low + 1
    counts = torch.histc(output.cpu(), bins, low, high)
    return {
        "activation_mean": float(output.mean()),
        "activation_sd": float(output.std(correction=0)),
        "share_low": _share(below) if bounds else math.nan,
        "share_high": _share(above) if bounds else math.nan,
        "share_saturated": _share(below | above) if bounds else math.nan,
        "share_zero": _share(output == 0),
        "share_dead": _share((output == 0).transpose(0, 1).flatten(1).all(1)),
        "activation_count": counts.to(torch.int64).numpy(),
        "activation_edge": np.linspace(low, high, bins, endpoint=False),
    }


def _share(mask):
    return float(mask.float().mean())


@contextlib.contextmanager
def gradients(model, batch, generator):
    r"""Variance of what is propagated back, per linear or convolutional layer, on `batch`.

    The model's outputs receive gradients drawn once from N(0, 1), so that a variance of 1 at a layer
    means that the gradient came through unchanged.

    Deviation: Glorot & Bengio propagate back the cost's gradient; a net without an output layer and
    without labels has no cost.

    Args:
        model: its linear and convolutional layers are watched, in forward order.
        batch: images, float (N, ...).
        generator: draws the outputs' gradients.

    Yields:
        A function of the step that gives, for L layers, `gradient_variance` (L,), the mean square of
        :math:`\partial C / \partial s_l` over inputs and units, where s is the layer's output before
        the non-linearity, and `weight_gradient_variance` (L,), that of :math:`\partial C / \partial W_l`.

    Reference: Glorot & Bengio (2010), section 4.2.1, equations 6 and 7, and figure 7.
    """
    with torch.no_grad(), _probe(model) as twin:
        shape = twin(batch.images).shape
    cotangent = torch.randn(shape, generator=generator).to(batch.images.device)

    def observe(step):
        with _probe(model) as twin, torch.enable_grad():
            layers = nn.Linear | nn.modules.conv._ConvNd
            weights = [module.weight for module in twin.modules() if isinstance(module, layers)]
            before = _outputs(twin, layers, batch.images, cotangent)
        return _stack(
            {
                "gradient_variance": float(output.grad.square().mean()),
                "weight_gradient_variance": float(weight.grad.square().mean()),
            }
            for output, weight in zip(before, weights, strict=True)
        )

    yield observe


@contextlib.contextmanager
def _probe(model):
    """Give a copy of the model to look through, and leave the random numbers as they were."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices):
        twin = copy.deepcopy(model)
        twin.zero_grad()
        yield twin


def _outputs(model, kinds, images, cotangent=None):
    """Run `images` through the model; return the outputs of its modules of these kinds, in call order.

    With a cotangent, propagate it back from the model's output; the outputs then hold their gradients.
    """
    outputs = []

    def keep(module, inputs, output):
        if cotangent is not None:
            output.retain_grad()
        outputs.append(output)

    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(keep)
    result = model(images)
    if cotangent is not None:
        result.backward(cotangent)
    return outputs


def _stack(layers):
    """Turn a sequence of {name: value} into {name: array with the sequence as its first axis}."""
    layers = list(layers)
    return {name: np.array([layer[name] for layer in layers]) for name in layers[0]}
