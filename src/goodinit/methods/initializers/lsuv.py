"""Layer-sequential unit-variance initialization, as an option of a study."""

from typing import Literal

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.contracts import Examples
from goodinit.methods.initializers.report import LSUVReport
from goodinit.methods.initializers.unit_variance import Options, unit_variance

__all__ = ["lsuv"]


def lsuv(
    model: nn.Module,
    batch: Examples,
    generator: torch.Generator,
    *,
    start: Literal["orthonormal", "lecun_normal"] = "orthonormal",
    tolerance: float = 0.05,
    max_iterations: int = 100,
    batch_size: int = 128,
    batches: int = 2,
    dropout: bool = True,
    measure: Literal["before", "after"] = "before",
    biases: Literal["zero", "published"] = "zero",
    decomposition: Literal["qr", "svd"] = "qr",
) -> LSUVReport:
    r"""Layer-sequential unit-variance initialization: orthonormal weights, scaled until each output has variance 1.

    In the order of the forward pass, the weight of each layer is divided by the standard deviation of its output,
    computed over the mini-batch, all channels and all positions, until

    .. math:: |\mathrm{Var}(B_L) - 1| \le \mathrm{tolerance}

    The output is that of the layer itself, before a non-linearity or a sum. Each piece of a maxout is a layer, and so
    is the classifier. The forward pass runs once: each layer is scaled when it is called, and its scaled output is
    passed on. Auxiliary classifiers that run only in training mode are scaled if `dropout` is true; otherwise they keep
    their orthonormal weights.

    The authors' first program reads the outputs after the forward pass of the whole network, and thus, in networks
    with in-place rectifiers, after the rectifier; their later program does not. `measure` supports both.

    Deviation: each iteration draws its mini-batch from `batches * batch_size` examples, whose activations are kept for
    this; the authors' program reads further mini-batches from the training set. The default decomposition is QR, which
    the paper allows; the authors' program uses the SVD, which gives the same distribution except for signs.

    Args:
        model: its linear and convolutional layers are initialized, except those with a reason in the report.
        batch: images, float (N, ...); the first `batches * batch_size` are used.
        generator: draws the weights, the mini-batches and the dropout masks.
        start: weights before scaling; `lecun_normal` is the Gaussian initialization of the paper.
        tolerance: largest deviation of the variance from 1, more than 0.
        max_iterations: maximum number of rescalings of a layer, at least 1.
        batch_size: number of examples in a mini-batch; if `batch` has fewer, all are used.
        batches: number of mini-batches' worth of examples to draw from; with 1, all iterations use the same
            mini-batch.
        dropout: measure in training mode, with dropout, as the authors' program does; otherwise in evaluation mode.
        measure: measure the output of the layer (`before`), or of the non-linearity, a module or a function, that takes
            it directly (`after`); if there is none, the output of the layer.
        biases: set biases to 0 or to the values of the model's authors, see `published`; they are not scaled.
        decomposition: as in `orthonormal`.

    Returns:
        A report with a row for each layer; its `rescalings` are the numbers of rescalings of the scaled layers in
        forward order, int64 (L,).

    Raises:
        ValueError: the output of a layer is constant or not finite, the model has no published biases, it has no layer
            that can be initialized, or an option is out of range.

    Reference: Mishkin & Matas, All you need is a good init (2016), Algorithm 1, and their program of November 2015.
    """
    for name, value in (("batch_size", batch_size), ("batches", batches)):
        if value < 1:
            raise InputError(f"lsuv: {name} must be at least 1, not {value}")
    options = Options(start, tolerance, max_iterations, batch_size, dropout, measure, biases, decomposition)
    images = batch.images[: batches * batch_size]
    return unit_variance(model, generator, options, lambda: model(images), lambda: model(images[:2]))
