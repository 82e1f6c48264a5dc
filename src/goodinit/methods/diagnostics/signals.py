"""Distributions of activations, gradients and outputs of the layers."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.methods.contracts import Examples, Observe
from goodinit.methods.diagnostics.model_copy import copied_model, is_dropout, layer_outputs_of, stack_layers
from goodinit.methods.layers import Layer

__all__ = ["activations", "gradients", "layer_outputs"]

Activation = nn.Sigmoid | nn.Tanh | nn.ReLU
BOUNDS: dict[type[nn.Module], tuple[float, float]] = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
SATURATED_WITHIN = 0.01  # of the range of a bounded activation from either end


@contextlib.contextmanager
def activations(model: nn.Module, batch: Examples, generator: torch.Generator, *, bins: int = 30) -> Iterator[Observe]:
    """Distribution of the outputs of each activation layer on `batch`.

    Args:
        model: its `nn.Sigmoid`, `nn.Tanh` and `nn.ReLU` modules are observed, each time that it calls them.
        batch: images, float (N, ...).
        generator: not used.
        bins: number of bins of the histogram, over the range of a bounded activation, otherwise from the smallest to
            the largest output of any layer.

    Yields:
        A function of the step that returns, for L layers: `activation_mean` and `activation_sd`, over inputs and units;
        `activation_sd_over_inputs`, the standard deviation of each unit over the inputs, averaged over the units;
        `activation_entropy`, that of the histogram as a fraction of that of a uniform one; `share_low`, `share_high`
        and `share_saturated`, the fractions of outputs within 1 % of the range from the lower, upper or either bound
        (NaN for an unbounded activation); `share_zero`, the fraction of outputs that are exactly 0; `share_dead`, the
        fraction of units (of a convolution: channels) whose output is 0 for every input, all (L,); the histogram
        `activation_count` (L, bins) and the left edges of its bins, `activation_edge` (L, bins).

    Raises:
        ValueError: the model has no such module, or `bins` is less than 1.

    Reference: Glorot & Bengio (2010), figures 2 and 3; Saito (2016), section 6.2.
    """
    if not any(isinstance(module, Activation) for module in model.modules()) or bins < 1:
        raise ValueError("activations: needs a model with sigmoid, tanh or relu modules, and bins of at least 1")

    def observe(step: int) -> dict[str, Any]:
        with copied_model(model) as model_copy, torch.no_grad():
            outputs, _ = layer_outputs_of(
                model_copy, Activation, batch.images, lambda module, output: (module, _at_least_single(output))
            )
        lowest, highest = (
            torch.stack([extreme(values) for _, values in outputs]) for extreme in (torch.min, torch.max)
        )
        range_ = (float(lowest.min()), float(highest.max()))
        return stack_layers(_describe(output, BOUNDS.get(type(module)), range_, bins) for module, output in outputs)

    yield observe


def _describe(
    output: Tensor, bounds: tuple[float, float] | None, range_: tuple[float, float], bins: int
) -> dict[str, Any]:
    """Return the statistics of the output of one layer, (N, units, ...)."""
    low, high = bounds or range_
    margin = SATURATED_WITHIN * (high - low)
    below, above = output < low + margin, output > high - margin
    high = high if high > low else low + 1
    undefined = torch.full((), math.nan, device=output.device)
    is_finite = math.isfinite(low) and math.isfinite(high)  # unless the network diverged
    counts = _histogram(output, bins, low, high) if is_finite else torch.zeros(bins, dtype=torch.int64)
    return {
        "activation_mean": output.mean(),
        "activation_sd": output.std(correction=0),
        "activation_sd_over_inputs": output.std(0, correction=0).mean(),
        "activation_entropy": _entropy(counts),
        "share_low": _fraction(below) if bounds else undefined,
        "share_high": _fraction(above) if bounds else undefined,
        "share_saturated": _fraction(below | above) if bounds else undefined,
        "share_zero": _fraction(output == 0),
        "share_dead": _fraction((output == 0).transpose(0, 1).flatten(1).all(1)),
        "activation_count": counts.numpy(),
        "activation_edge": np.linspace(low, high, bins, endpoint=False) if is_finite else np.full(bins, math.nan),
    }


def _histogram(output: Tensor, bins: int, low: float, high: float) -> Tensor:
    """Return the number of elements in each bin, int64 (bins,)."""
    parts = output.cpu().flatten().split(2**24)  # torch.histc counts in single precision, exactly up to 2**24
    return sum((torch.histc(part, bins, low, high).long() for part in parts), torch.zeros(bins, dtype=torch.int64))


def _entropy(counts: Tensor) -> float:
    """Return the entropy of a histogram, between 0, for a single bin, and 1, for equal bins; NaN if it is empty."""
    if not counts.any():
        return math.nan
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum() / math.log(max(len(counts), 2)))


def _fraction(mask: Tensor) -> Tensor:
    return mask.float().mean()


@contextlib.contextmanager
def gradients(
    model: nn.Module,
    batch: Examples,
    generator: torch.Generator,
    *,
    source: Literal["normal", "cross_entropy"] = "normal",
    examples: int | None = None,
    vanished_below: float = 1.0e-6,
) -> Iterator[Observe]:
    r"""Magnitude of the back-propagated gradients of each linear or convolutional layer on `batch`.

    With `normal`, the gradients with respect to the outputs of the model are drawn once from N(0, 1), so a variance of
    1 at a layer means that back-propagation preserves the variance.

    Deviation: Glorot & Bengio propagate the gradient of the cost, as `cross_entropy` does; a model without an output
    layer and labels has no cost.

    Args:
        model: its linear and convolutional layers are observed, in forward order.
        batch: images, float (N, ...); labels, int64 (N,), for `cross_entropy`.
        generator: draws the gradients with respect to the outputs.
        source: which gradient is propagated: drawn numbers, or that of the mean cross-entropy.
        examples: number of examples of `batch` that are used, the first ones; None for all.
        vanished_below: magnitude below which a gradient counts as vanished.

    Yields:
        A function of the step that returns, for L layers, `gradient_variance` (L,), the mean square of
        :math:`\partial C / \partial s_l` over inputs and units, where s is the output of the layer before the
        non-linearity, `gradient_median` (L,), the median of its magnitude, `share_vanished` (L,), the fraction that has
        vanished, and `weight_gradient_variance` (L,), the mean square of :math:`\partial C / \partial W_l`. A few
        large gradients dominate a mean square, but not the median.

    Raises:
        ValueError: `examples` is less than 1, the model has auxiliary classifiers, or it calls a layer twice.

    Reference: Glorot & Bengio (2010), section 4.2.1, equations 6 and 7, and figure 7; Mishkin & Matas, All you
        need is a good init (2016), appendix A.3.
    """
    if examples is not None and examples < 1:
        raise ValueError(f"gradients: examples must be at least 1, not {examples}")
    images, labels = batch.images[:examples], batch.labels[:examples]
    with torch.no_grad(), copied_model(model) as model_copy:
        output = model_copy(images)
    if isinstance(output, tuple):
        raise ValueError("gradients: takes a model with one output: build it without its auxiliary classifiers")
    cotangent = torch.randn(output.shape, generator=generator).to(images.device)

    def propagate(output: Tensor) -> None:
        if source == "normal":
            torch.autograd.backward((output * cotangent).sum())  # backward(output, cotangent) would import sympy
        else:
            torch.autograd.backward(functional.cross_entropy(output, labels))

    def observe(step: int) -> dict[str, Any]:
        with copied_model(model) as model_copy, torch.enable_grad():
            calls, _ = layer_outputs_of(model_copy, Layer, images, _layer_and_output, propagate)
        if len({layer for layer, _ in calls}) < len(calls):
            raise ValueError("gradients: the model calls a layer twice, whose weight has one gradient for both calls")
        return stack_layers(
            {
                "gradient_variance": _gradient(output).square().mean(),
                "gradient_median": _gradient(output).abs().flatten().median(),
                "share_vanished": _fraction(_gradient(output).abs() < vanished_below),
                "weight_gradient_variance": _gradient(layer.weight).to_dense().square().mean(),
            }
            for layer, output in calls
        )

    yield observe


@contextlib.contextmanager
def layer_outputs(
    model: nn.Module, batch: Examples, generator: torch.Generator, *, examples: int = 128
) -> Iterator[Observe]:
    """Variance of the outputs of each linear and convolutional layer, before its non-linearity, without dropout.

    Args:
        model: its linear and convolutional layers are observed, in forward order, also those of auxiliary classifiers;
            it maps images to logits, or to a tuple of logits, of which the first are used.
        batch: images, float (N, ...); labels, int64 (N,).
        generator: not used.
        examples: number of examples of `batch` that are used, the first ones.

    Yields:
        A function of the step that returns, for L layers, `output_variance` (L,), over examples, channels and
        positions, the last being that of the logits; `weight_sd` (L,); and `batch_loss` (), the cross-entropy on these
        examples.

    Reference: Mishkin & Matas, All you need is a good init (2016), sections 2 and A.2.
    """

    def observe(step: int) -> dict[str, Any]:
        with copied_model(model) as model_copy, torch.no_grad():
            for module in model_copy.modules():
                if is_dropout(module):
                    module.eval()
            layers, logits = layer_outputs_of(model_copy, Layer, batch.images[:examples], _scale)
            logits = logits[0] if isinstance(logits, tuple) else logits
            loss = functional.cross_entropy(logits, batch.labels[:examples])
        return stack_layers(layers) | {"batch_loss": float(loss)}

    yield observe


def _layer_and_output(layer: Any, output: Tensor) -> tuple[Any, Tensor]:
    return layer, output


def _at_least_single(tensor: Tensor) -> Tensor:
    """Return a tensor in single precision if it is in half precision."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def _scale(layer: nn.Module, output: Tensor) -> dict[str, Tensor]:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return {
        "output_variance": _at_least_single(output).var(correction=0),
        "weight_sd": weight.std(correction=0),
    }


def _gradient(tensor: Tensor) -> Tensor:
    """Return the gradient of a tensor that took part in the backward pass, at least in single precision."""
    assert tensor.grad is not None
    return _at_least_single(tensor.grad)
