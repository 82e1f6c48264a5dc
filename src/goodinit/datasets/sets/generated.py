"""Inputs that each run generates."""

import torch

from goodinit.datasets.splits import Splits
from goodinit.datasets.tensors import Examples

__all__ = ["empty", "gaussian"]


def empty(root: object, generator: torch.Generator) -> Splits:
    """One example without features, float32 (1, 0), for models that are functions of their parameters alone.

    Args:
        root, generator: not used.
    """
    return _training_only(torch.empty(1, 0))


def gaussian(root: object, generator: torch.Generator, *, examples: int = 1000, features: int = 100) -> Splits:
    """Inputs drawn from N(0, 1), float32 (examples, features), without classes.

    Args:
        root: not used.
        generator: draws the inputs.
        examples: number of inputs.
        features: length of an input.

    Raises:
        ValueError: `examples` or `features` is less than 1.
    """
    if examples < 1 or features < 1:
        raise ValueError(f"gaussian: examples and features must be at least 1, not {examples}, {features}")
    return _training_only(torch.randn(examples, features, generator=generator))


def _training_only(inputs: torch.Tensor) -> Splits:
    """Return inputs as training examples without classes."""
    train = Examples(inputs, torch.zeros(len(inputs), dtype=torch.int64))
    none = Examples(inputs[:0], train.labels[:0])
    return Splits(train, none, none, classes=0)
