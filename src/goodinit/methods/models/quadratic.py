"""A bowl to walk down in."""

import torch
from torch import nn

__all__ = ["quadratic"]


def quadratic(shape, classes, *, start: list[float] = (-7.0, 2.0), curvatures: list[float] = (0.1, 2.0)):
    r"""Quadratic function of the parameters alone: :math:`f(x) = \frac12 \sum_i c_i x_i^2`, least at 0.

    With the defaults it is :math:`x^2 / 20 + y^2`, flat in one direction and steep in the other.

    Args:
        shape, classes: not used.
        start: x, before the first update.
        curvatures: c, the second derivatives, as many.

    Raises:
        ValueError: `start` and `curvatures` have different lengths, or none.

    Reference: Saito, Deep Learning from Scratch (2016), equation 6.2.
    """
    if len(start) != len(curvatures) or not start:
        raise ValueError(f"quadratic: {len(start)} coordinates of start, but {len(curvatures)} curvatures")
    return _Quadratic(start, curvatures)


class _Quadratic(nn.Module):
    def __init__(self, start, curvatures):
        super().__init__()
        self.position = nn.Parameter(torch.tensor(start, dtype=torch.float32))
        self.register_buffer("curvatures", torch.tensor(curvatures, dtype=torch.float32))

    def forward(self, images):
        return (self.curvatures * self.position.square()).sum() / 2
