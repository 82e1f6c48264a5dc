"""Orthonormal weights: orthonormality, distribution, and equality with torch.nn.init."""

import pytest
import torch
from sample_models import seeded
from scipy import stats
from torch import nn

from goodinit.methods import initializers
from goodinit.methods.initializers.orthogonal import CHOLESKY_MIN_SIZE, orthonormal_matrix

SHAPES = [
    (8, 3, 3, 3),
    (32, 3, 3, 3),
    (48, 32, 3, 3),
    (10, 500),
    (500, 128),
    (7, 7),
    (256, 256, 3, 3),
    (600, 256),
    (1, 1),
]
LARGE = 2 * CHOLESKY_MIN_SIZE


def _deviation(matrix):
    """Return the largest difference of the smaller Gram matrix from the identity."""
    matrix = matrix.double()
    small = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return float((small - torch.eye(len(small), dtype=torch.float64)).abs().max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("decomposition", ["qr", "svd"])
def test_weights_have_orthonormal_rows_or_columns(shape, decomposition):
    layer = nn.Conv2d(shape[1], shape[0], shape[2]) if len(shape) == 4 else nn.Linear(shape[1], shape[0])
    nn.init.ones_(layer.bias)
    initializers.orthonormal(layer, None, seeded(), gain=2.0, decomposition=decomposition)
    assert _deviation(layer.weight.detach().flatten(1) / 2) < (1e-6 if decomposition == "qr" else 1e-5)
    assert not layer.bias.any()


@pytest.mark.parametrize(
    "shape", [(20, 50), (50, 20), (30, 30), (CHOLESKY_MIN_SIZE, LARGE), (LARGE, CHOLESKY_MIN_SIZE)]
)
def test_qr_is_the_unique_factorization_with_a_positive_diagonal(shape):
    """R = Q^T A is upper triangular with a positive diagonal, for both algorithms."""
    matrix = orthonormal_matrix(*shape, seeded(), dtype=torch.float64)
    normal = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    q, a = (matrix, normal) if shape[0] > shape[1] else (matrix.T, normal.T)
    r = q.T @ a
    assert _deviation(matrix) < 1e-13
    assert float(r.diagonal().min()) > 0
    torch.testing.assert_close(r.tril(-1), torch.zeros_like(r), atol=1e-11, rtol=0)
    torch.testing.assert_close(q @ r, a)


def test_householder_reflections_are_used_if_matrix_products_have_low_precision(monkeypatch):
    """With TF32, products have a mantissa of ten bits."""
    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: exact(a.bfloat16(), b.bfloat16()).float())
    matrix = orthonormal_matrix(CHOLESKY_MIN_SIZE, LARGE, seeded())
    monkeypatch.undo()
    assert _deviation(matrix) < 2e-6


def _matrices(shape, decomposition, seed, count=2000):
    """Return `count` matrices with orthonormal columns."""
    generator = seeded(seed)
    matrices = [orthonormal_matrix(*shape, generator, decomposition=decomposition) for _ in range(count)]
    return torch.stack(matrices if shape[0] >= shape[1] else [matrix.T for matrix in matrices])


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_qr_and_svd_have_the_same_distribution_except_for_signs(shape):
    """Kolmogorov-Smirnov tests of angles with a fixed frame; LAPACK chooses the signs of singular vectors."""
    qr, svd = _matrices(shape, "qr", 1), _matrices(shape, "svd", 2)
    frame = torch.linalg.qr(torch.randn(qr.shape[1:], generator=seeded(9))).Q
    statistics = {
        "first vector": lambda q: (q[:, :, 0] @ frame[:, 0]).abs(),
        "last vector": lambda q: (q[:, :, -1] @ frame[:, -1]).abs(),
        "two vectors": lambda q: (q[:, :, :2].mT @ frame[:, :2]).square().sum((1, 2)),
        "first element": lambda q: q[:, 0, 0].abs(),
        "determinant of a corner": lambda q: torch.linalg.det(q[:, :3, :3]).abs(),
    }
    for name, statistic in statistics.items():
        assert stats.ks_2samp(statistic(qr), statistic(svd)).pvalue > 0.001, name


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_qr_is_haar_distributed(shape):
    """The cosine of a vector with a fixed direction has a known, symmetric distribution."""
    matrices = _matrices(shape, "qr", 3)
    length = matrices.shape[1]
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        cosine = matrices[:, row, column]
        assert stats.kstest(cosine.square(), stats.beta(0.5, (length - 1) / 2).cdf).pvalue > 0.001, (row, column)
        assert stats.binomtest(int((cosine > 0).sum()), len(cosine)).pvalue > 0.001, (row, column)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (20, 50), (50, 20), (10, 500), (500, 128), (48, 32, 3, 3), (600, 301)])
def test_weights_are_bit_equal_to_those_of_torch_if_not_square_or_large(shape, dtype):
    layer = nn.Conv2d(shape[1], shape[0], shape[2]) if len(shape) == 4 else nn.Linear(shape[1], shape[0])
    initializers.orthonormal(layer.to(dtype), None, seeded(), gain=1.5)
    expected = nn.init.orthogonal_(torch.empty_like(layer.weight), gain=1.5, generator=seeded())
    assert torch.equal(layer.weight, expected)


def test_weights_are_computed_in_double_precision_for_double_and_rounded_for_half():
    double, half = nn.Linear(40, 30).double(), nn.Linear(40, 30).half()
    for layer in (double, half):
        initializers.orthonormal(layer, None, seeded())
    assert _deviation(double.weight.detach()) < 1e-14
    single = orthonormal_matrix(30, 40, seeded())
    assert torch.equal(half.weight, single.half())


def test_a_gain_of_zero_is_refused():
    with pytest.raises(ValueError, match="gain must be more than 0, not 0"):
        initializers.orthonormal(nn.Linear(2, 2), None, seeded(), gain=0)
