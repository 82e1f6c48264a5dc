"""Orthonormal weights."""

from typing import Literal

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.contracts import Examples
from goodinit.methods.initializers.published import set_biases
from goodinit.methods.layers import Layer, layers_to_initialize, set_weight

__all__ = ["CHOLESKY_MIN_SIZE", "orthonormal", "orthonormal_matrix", "set_orthonormal"]

CHOLESKY_MIN_SIZE = 256  # with this size and an aspect ratio of 2, the condition number is small enough for Cholesky

PRECISION = 1e-5  # largest relative error of a product with a matrix that is orthonormal to single precision


def orthonormal(
    model: nn.Module,
    batch: Examples | None,
    generator: torch.Generator,
    *,
    gain: float = 1.0,
    biases: Literal["zero", "published"] = "zero",
    decomposition: Literal["qr", "svd"] = "qr",
) -> None:
    r"""Orthonormal rows, or columns if there are more outputs than inputs: :math:`W W^T = \mathrm{gain}^2 I`.

    Each weight is reshaped to a matrix, its first dimension by all others, and set to an orthonormal factor of a
    matrix of this shape with standard normal elements, see `orthonormal_matrix`.

    Args:
        model: its linear and convolutional weights and their biases are set.
        batch: not used.
        generator: draws the normal numbers.
        gain: scale of the matrix, more than 0; :math:`\sqrt 2` compensates for rectifiers.
        biases: set biases to 0 or to the values of the model's authors, see `published`.
        decomposition: the factorization of the normal matrix, see `orthonormal_matrix`. The program of Mishkin & Matas
            uses `svd`, which takes several times as long.

    Raises:
        ValueError: `gain` is not more than 0, the model has no published biases, it has no layer to initialize, or a
            weight cannot be set.

    Reference: Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks (2014); Mishkin & Matas, All you need is a good init (2016), section 2.
    """
    if not gain > 0:
        raise InputError(f"orthonormal: gain must be more than 0, not {gain}")
    layers = layers_to_initialize("orthonormal", model)
    set_biases("orthonormal", layers, biases)
    for _, layer in layers:
        set_orthonormal(layer, generator, gain, decomposition)


@torch.no_grad()
def set_orthonormal(layer: Layer, generator: torch.Generator, gain: float, decomposition: Literal["qr", "svd"]) -> None:
    """Set the weight of one layer as `orthonormal` does."""
    weight = layer.weight
    rows, columns = weight.flatten(1).shape
    dtype = torch.promote_types(weight.dtype, torch.float32)  # half precision supports no factorization
    matrix = orthonormal_matrix(rows, columns, generator, weight.device, dtype, decomposition)
    set_weight(layer, (gain * matrix).reshape(weight.shape))


# This replaces torch.nn.init.orthogonal_, which has no SVD, no half precision and no fast factorization of large
# matrices, and draws square matrices transposed. For all other shapes the weights are bit-equal.
def orthonormal_matrix(
    rows: int,
    columns: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    decomposition: Literal["qr", "svd"] = "qr",
) -> Tensor:
    r"""Return a Haar-distributed matrix with orthonormal rows, or columns if there are more rows than columns.

    A matrix A with standard normal elements, transposed unless it has more rows than columns, is factorized:

    - `qr`: :math:`A = Q R`, with a positive diagonal of R, which makes Q unique; the result is Q.
    - `svd`: :math:`A = U S V^T`; the result is U.

    Multiplying A by an orthogonal matrix does not change the distribution of A, and thus not that of Q. The same holds
    for U except for the signs of its columns, which LAPACK chooses. A large matrix with at least twice as many rows as
    columns is well-conditioned; its Q is computed as :math:`A L^{-T}` from the Cholesky factor L of :math:`A^T A`,
    which takes about half as long as Householder reflections. These are used for all other shapes, and if matrix
    products have reduced precision (TF32).

    Args:
        rows, columns: shape of the result.
        generator: draws A, on its own device.
        device: device of the factorization and of the result.
        dtype: data type of A and of the result.
        decomposition: `qr` or `svd`, see above.

    Reference: Mezzadri, How to generate random matrices from the classical compact groups (2007), section 4;
        Eaton, Multivariate statistics (1983), proposition 7.1.
    """
    normal = torch.randn(rows, columns, generator=generator, device=generator.device, dtype=dtype).to(device)
    if decomposition == "svd":
        factors = torch.linalg.svd(normal, full_matrices=False)
        singular: Tensor = factors.U if factors.U.shape == normal.shape else factors.Vh
        return singular
    tall = normal if rows > columns else normal.T
    q = _cholesky_qr(tall) if CHOLESKY_MIN_SIZE <= tall.shape[1] <= len(tall) // 2 else None
    if q is None:
        q, r = torch.linalg.qr(tall)
        q *= torch.where(r.diagonal() < 0, -1.0, 1.0)
    return q if rows > columns else q.T


def _cholesky_qr(tall: Tensor) -> Tensor | None:
    """Return Q of A = Q R, or None if its columns are not orthonormal to single precision."""
    columns = tall.shape[1]
    gram = tall.new_zeros(columns, columns)
    for start in range(0, columns, CHOLESKY_MIN_SIZE):  # only the lower triangle is needed
        end = start + CHOLESKY_MIN_SIZE
        gram[start:end, :end] = tall[:, start:end].T @ tall[:, :end]
    lower, _ = torch.linalg.cholesky_ex(gram)
    q = torch.linalg.solve_triangular(lower.T, tall, upper=True, left=False)
    vector = tall[0]
    error = (q.T @ (q @ vector) - vector).norm() / vector.norm()
    return q if error < PRECISION else None
