"""What goes forward through the layers, and what comes back."""

import contextlib
import math
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from goodinit.methods.diagnostics.probe import is_dropout, outputs_of, probe, stacked
from goodinit.methods.layers import Layer

__all__ = ["activations", "gradients", "layer_outputs"]

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
        A function of the step that gives, for L layers: `activation_mean`, `activation_sd`, over inputs and units
        together; `activation_sd_over_inputs`, each unit's standard deviation over the inputs, averaged over the units;
        `activation_entropy`, that of the histogram, as a share of the entropy of equal bins; `share_low`,
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
        with probe(model) as twin, torch.no_grad():
            outputs, _ = outputs_of(twin, nn.Sigmoid | nn.Tanh | nn.ReLU, batch.images)
        widest = (min(float(x.min()) for x in outputs), max(float(x.max()) for x in outputs))
        return stacked(
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
        "activation_sd_over_inputs": float(output.std(0, correction=0).mean()),
        "activation_entropy": _entropy(counts),
        "share_low": _share(below) if bounds else math.nan,
        "share_high": _share(above) if bounds else math.nan,
        "share_saturated": _share(below | above) if bounds else math.nan,
        "share_zero": _share(output == 0),
        "share_dead": _share((output == 0).transpose(0, 1).flatten(1).all(1)),
        "activation_count": counts.to(torch.int64).numpy(),
        "activation_edge": np.linspace(low, high, bins, endpoint=False),
    }


def _entropy(counts):
    """Return the entropy of a histogram, between 0, one bin, and 1, all bins alike."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum() / math.log(max(len(counts), 2)))


def _share(mask):
    return float(mask.float().mean())


@contextlib.contextmanager
def gradients(
    model,
    batch,
    generator,
    *,
    source: Literal["normal", "cross_entropy"] = "normal",
    examples: int | None = None,
    vanished_below: float = 1.0e-6,
):
    r"""Scale of what is propagated back, per linear or convolutional layer, on `batch`.

    With `normal` the model's outputs receive gradients drawn once from N(0, 1), so that a variance of 1 at
    a layer means that the gradient came through unchanged.

    Deviation: Glorot & Bengio propagate back the cost's gradient, as `cross_entropy` does; a net without an
    output layer and without labels has no cost.

    Args:
        model: its linear and convolutional layers are watched, in forward order.
        batch: images, float (N, ...); labels, int64 (N,), for `cross_entropy`.
        generator: draws the outputs' gradients.
        source: of what is propagated back: drawn, or the gradient of the mean cross-entropy.
        examples: the first so many of `batch` are looked at, or all.
        vanished_below: magnitude below which a gradient counts as vanished.

    Yields:
        A function of the step that gives, for L layers, `gradient_variance` (L,), the mean square of
        :math:`\partial C / \partial s_l` over inputs and units, where s is the layer's output before
        the non-linearity, `gradient_median` (L,), the median of its magnitude, `share_vanished` (L,), the share of
        it that has vanished, and `weight_gradient_variance` (L,), the mean square of
        :math:`\partial C / \partial W_l`.  A few large gradients decide a mean square; the median is that of most.

    Raises:
        ValueError: `examples` is less than 1, or the model has auxiliary classifiers.

    Reference: Glorot & Bengio (2010), section 4.2.1, equations 6 and 7, and figure 7; Mishkin & Matas, All you
        need is a good init (2016), appendix A.3.
    """
    if examples is not None and examples < 1:
        raise ValueError(f"gradients: examples must be at least 1, not {examples}")
    images, labels = batch.images[:examples], batch.labels[:examples]
    with torch.no_grad(), probe(model) as twin:
        output = twin(images)
    if isinstance(output, tuple):
        raise ValueError("gradients: takes a model of one output: build it without its auxiliary classifiers")
    cotangent = torch.randn(output.shape, generator=generator).to(images.device)

    def propagate(output):
        if source == "normal":
            (output * cotangent).sum().backward()  # backward(cotangent) imports a symbolic algebra, a second's work
        else:
            functional.cross_entropy(output, labels).backward()

    def observe(step):
        with probe(model) as twin, torch.enable_grad():
            weights = [module.weight for module in twin.modules() if isinstance(module, Layer)]
            before, _ = outputs_of(twin, Layer, images, propagate)
        return stacked(
            {
                "gradient_variance": float(output.grad.square().mean()),
                "gradient_median": float(output.grad.abs().flatten().median()),
                "share_vanished": _share(output.grad.abs() < vanished_below),
                "weight_gradient_variance": float(weight.grad.to_dense().square().mean()),
            }
            for output, weight in zip(before, weights, strict=True)
        )

    yield observe


@contextlib.contextmanager
def layer_outputs(model, batch, generator, *, examples: int = 128):
    """Scale of what every linear and convolutional layer gives, before its non-linearity, with dropout off.

    Args:
        model: its linear and convolutional layers are watched, in forward order, also those of auxiliary
            classifiers; it maps images to logits, or to a tuple of them, of which the first are meant.
        batch: images, float (N, ...); labels, int64 (N,).
        generator: not used.
        examples: the first so many of `batch` are looked at.

    Yields:
        A function of the step that gives, for L layers, `output_variance` (L,), over examples, channels and
        space together, the last being that of the logits; `weight_sd` (L,); and `batch_loss` (), the
        cross-entropy on those examples.

    Reference: Mishkin & Matas, All you need is a good init (2016), sections 2 and A.2.
    """

    def observe(step):
        with probe(model) as twin, torch.no_grad():
            for module in twin.modules():
                if is_dropout(module):
                    module.eval()
            first = batch.images[:examples]
            layers, logits = outputs_of(twin, Layer, first, keep=_scale)
            logits = logits[0] if isinstance(logits, tuple) else logits
            loss = functional.cross_entropy(logits, batch.labels[:examples])
        return stacked(layers) | {"batch_loss": float(loss)}

    yield observe


def _scale(layer, output):
    return {
        "output_variance": float(output.var(correction=0)),
        "weight_sd": float(layer.weight.std(correction=0)),
    }
