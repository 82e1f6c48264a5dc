"""Layer-sequential unit-variance initialization."""

from typing import Literal

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.initializers.report import LSUVReport
from goodinit.methods.initializers.unit_variance import Options, unit_variance
from goodinit.methods.layers import Batch

__all__ = ["lsuv"]


def lsuv(
    model: nn.Module,
    batch: Batch,
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
    r"""Layer-sequential unit-variance initialization: orthonormal weights, each layer's output scaled to variance 1.

    In the order of the forward pass, each layer's weight is divided by the standard deviation of its output, over the
    mini-batch, channels and space together, until

    .. math:: |\mathrm{Var}(B_L) - 1| \le \mathrm{tolerance}

    The output is that of the layer itself, before a non-linearity or a sum; the pieces of a maxout are layers of
    their own, and the classifier is one, too.  The model runs once: a layer is scaled when the activations reach it,
    and passes on its scaled output.  Auxiliary classifiers that exist in training mode alone are scaled if `dropout`
    is true; otherwise they keep the weights that they were filled with.

    The authors' first program read the outputs after the whole net had been run, and so, in nets whose rectifiers work
    in place, after the rectifier; the later one does not.  `measure` has both.

    Deviation: every trial draws its mini-batch from a few times as many examples, which are carried through the
    net together; the authors' program reads on in the training set.  The default decomposition is QR, which the paper
    allows; the authors' program computes the SVD, which gives the same distribution but for signs.

    Args:
        model: its linear and convolutional layers are initialized, except those that the report gives a reason for.
        batch: images, float (N, ...), of which the first are taken.
        generator: draws the weights, the mini-batches and what dropout drops.
        start: what the weights are filled with first; `lecun_normal` is the paper's Gaussian.
        tolerance: of the variance, more than 0.
        max_iterations: the most rescalings of a layer, at least 1.
        batch_size: examples of a mini-batch; all of `batch` if it has fewer.
        batches: how many mini-batches' worth of examples to draw from, as far as `batch` goes; with one, the same
            mini-batch serves throughout.
        dropout: measure in training mode, with dropout, as the authors' program does; otherwise in evaluation mode.
        measure: the output as the layer gives it, or after the non-linearity, any module or function, that it goes
            straight into; if there is none, as it is.
        biases: 0, or what the model's authors set them to, as in `published`; either way they are not scaled.
        decomposition: as in `orthonormal`.

    Returns:
        A row for each layer; its `rescalings` are those of the scaled layers in forward order, int64 (L,).

    Raises:
        ValueError: a layer's output is constant or not finite on the mini-batch, the model has no published biases or
            no layer that can be initialized, or an option is out of its range.

    Reference: Mishkin & Matas, All you need is a good init (2016), Algorithm 1, and their program of November 2015.
    """
    if min(batch_size, batches) < 1:
        raise InputError("lsuv: tolerance must be more than 0; max_iterations, batch_size and batches at least 1")
    options = Options(start, tolerance, max_iterations, batch_size, dropout, measure, biases, decomposition)
    images = batch.images[: batches * batch_size]
    return unit_variance(model, generator, options, lambda: model(images), lambda: model(images[:2]))
