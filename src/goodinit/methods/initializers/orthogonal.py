"""Orthonormal weights."""

from typing import Literal

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.initializers.published import set_biases
from goodinit.methods.layers import Batch, layers_of, set_weight

__all__ = ["orthonormal", "orthonormal_matrix"]

CHOLESKY_FROM = 256  # rows from which the shape alone, at most one row to two columns, bounds the condition number

PRECISION = 1e-5  # the largest relative error of what is orthonormal to single precision


@torch.no_grad()
def orthonormal(
    model: nn.Module,
    batch: Batch | None,
    generator: torch.Generator,
    *,
    gain: float = 1.0,
    biases: Literal["zero", "published"] = "zero",
    decomposition: Literal["qr", "svd"] = "qr",
) -> None:
    r"""Orthonormal rows, or columns if there are more outputs than inputs: :math:`W W^T = \mathrm{gain}^2 I`.

    Each weight is taken as a matrix, its first dimension by all others, and is set to an orthonormal factor of a
    matrix of that shape with standard normal elements, see `orthonormal_matrix`.

    Args:
        model: its linear and convolutional weights are set, and its biases.
        batch: not used.
        generator: draws the normal numbers.
        gain: scale of the matrix, more than 0; :math:`\sqrt 2` compensates for rectifiers.
        biases: 0, or what the model's authors set them to, as in `published`.
        decomposition: of the normal matrix, see `orthonormal_matrix`.  `svd` is what the program of Mishkin & Matas
            computes; it takes several times as long.

    Raises:
        ValueError: `gain` is not more than 0, the model has no published biases, or it has no layer or one whose weight
            cannot be set.

    Reference: Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks (2014); Mishkin & Matas, All you need is a good init (2016), section 2.
    """
    if gain <= 0:
        raise InputError(f"orthonormal: gain must be more than 0, not {gain}")
    layers = list(layers_of("orthonormal", model))
    set_biases("orthonormal", layers, biases)
    for _, layer in layers:
        set_orthonormal(layer, generator, gain, decomposition)


def set_orthonormal(layer: nn.Module, generator: torch.Generator, gain: float, decomposition: str) -> None:
    """Set the weight of one layer as `orthonormal` does."""
    weight = layer.weight
    dtype = torch.promote_types(weight.dtype, torch.float32)  # neither is drawn or factorized in half precision
    matrix = orthonormal_matrix(*weight.flatten(1).shape, generator, weight.device, dtype, decomposition)
    set_weight(layer, (gain * matrix).reshape(weight.shape))


def orthonormal_matrix(
    rows: int,
    columns: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    decomposition: Literal["qr", "svd"] = "qr",
) -> Tensor:
    r"""Return a matrix with orthonormal rows, or columns if there are more rows, distributed by Haar's measure.

    A matrix A with standard normal elements, transposed unless it has more rows than columns, is factorized:

    - `qr`: :math:`A = Q R` with a positive diagonal of R, which makes Q unique, gives Q;
    - `svd`: :math:`A = U S V^T` gives U.

    The distribution of A does not change if it is multiplied by an orthogonal matrix, so that of Q does not either, and
    that of U does not but for the signs of its columns, which LAPACK chooses.  A matrix that is large, and at least
    twice as long as wide, is well-conditioned, so Q is computed as :math:`A L^{-T}` from the Cholesky factor L of
    :math:`A^T A`, in about half the time of Householder's reflections, which remain the way for other shapes and for
    products of reduced precision (TF32).

    Args:
        rows, columns: the shape.
        generator: draws A on its own device.
        device: where A is factorized, and the result is.
        dtype: of A and of the result.
        decomposition: see above.

    Reference: Mezzadri, How to generate random matrices from the classical compact groups (2007), section 4;
        Eaton, Multivariate statistics (1983), proposition 7.1.
    """
    drawn = torch.randn(rows, columns, generator=generator, device=generator.device, dtype=dtype).to(device)
    if decomposition == "svd":
        left, _, right = torch.linalg.svd(drawn, full_matrices=False)
        return left if left.shape == drawn.shape else right
    tall = drawn if rows > columns else drawn.T
    q = _cholesky_qr(tall) if CHOLESKY_FROM <= tall.shape[1] <= len(tall) // 2 else None
    if q is None:
        q, r = torch.linalg.qr(tall)
        q *= torch.where(r.diagonal() < 0, -1.0, 1.0)
    return q if rows > columns else q.T


def _cholesky_qr(tall: Tensor) -> Tensor | None:
    """Return Q of A = Q R, or None if its columns are not orthonormal to single precision."""
    columns = tall.shape[1]
    gram = tall.new_zeros(columns, columns)
    for start in range(0, columns, CHOLESKY_FROM):  # the lower triangle is enough
        end = start + CHOLESKY_FROM
        gram[start:end, :end] = tall[:, start:end].T @ tall[:, :end]
    lower, _ = torch.linalg.cholesky_ex(gram)
    q = torch.linalg.solve_triangular(lower.T, tall, upper=True, left=False)
    vector = tall[0]
    error = (q.T @ (q @ vector) - vector).norm() / vector.norm()
    return q if error < PRECISION else None
