"""Measurement of the output of a layer: mini-batches, the variance, and whether it is constant."""

import torch
from torch import Tensor

__all__ = ["is_constant", "mini_batch", "variance_of"]

ROUNDING = 8  # relative rounding errors of a constant output, in units of the precision of its type


def mini_batch(output: Tensor, batch_size: int | None, generator: torch.Generator) -> Tensor:
    """Return the output of a layer for a random mini-batch, or for all examples without a batch size."""
    if batch_size is None:
        return output
    indices = torch.randperm(len(output), generator=generator, device=generator.device)[:batch_size]
    return output[indices.to(output.device)] if len(output) > batch_size else output


def variance_of(output: Tensor) -> float:
    """Return the variance over all elements, computed at least in single precision, because half may overflow."""
    return float((output if output.dtype.itemsize > 2 else output.float()).detach().var(correction=0))


def is_constant(output: Tensor, variance: float) -> bool:
    """Return whether the elements, with this variance, differ only by rounding errors of at least single precision."""
    precision = torch.finfo(output.dtype if output.dtype.itemsize > 2 else torch.float32).eps
    return variance <= (ROUNDING * precision * float(output.detach().mean())) ** 2
