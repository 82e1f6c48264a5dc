"""A quadratic function, for visualizing the path of an optimizer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["quadratic"]


def quadratic(
    shape: Sequence[int],
    classes: int,
    *,
    start: Sequence[float] = (-7.0, 2.0),
    curvatures: Sequence[float] = (0.1, 2.0),
) -> nn.Module:
    r"""Quadratic function of the parameters, :math:`f(x) = \frac12 \sum_i c_i x_i^2`, with its minimum at 0.

    By default it is :math:`x^2 / 20 + y^2`, whose curvature differs strongly between the two directions.

    Args:
        shape, classes: not used.
        start: initial x.
        curvatures: the second derivatives c.

    Raises:
        ValueError: `start` and `curvatures` have different lengths, or are empty.

    Reference: Saito, Deep Learning from Scratch (2016), equation 6.2.
    """
    if len(start) != len(curvatures) or not start:
        raise ValueError(
            f"quadratic: start and curvatures must have the same length of at least 1, not {len(start)} and "
            f"{len(curvatures)}"
        )
    return _Quadratic(start, curvatures)


class _Quadratic(nn.Module):
    curvatures: Tensor

    def __init__(self, start: Sequence[float], curvatures: Sequence[float]) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.tensor(start, dtype=torch.float32))
        self.register_buffer("curvatures", torch.tensor(curvatures, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        return (self.curvatures * self.position.square()).sum() / 2
