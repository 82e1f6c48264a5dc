"""Orthonormal weights: that they are, and how they are distributed."""

import pytest
import torch
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
BIG = 2 * CHOLESKY_MIN_SIZE


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
    initializers.orthonormal(layer, None, _generator(), gain=2.0, decomposition=decomposition)
    assert _deviation(layer.weight.detach().flatten(1) / 2) < (1e-6 if decomposition == "qr" else 1e-5)
    assert not layer.bias.any()


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30), (CHOLESKY_MIN_SIZE, BIG), (BIG, CHOLESKY_MIN_SIZE)])
def test_qr_is_the_factor_with_a_positive_diagonal(shape):
    """It is unique, whichever way it is computed: R = Q^T A is upper triangular, with a positive diagonal."""
    found = orthonormal_matrix(*shape, _generator(), dtype=torch.float64)
    drawn = torch.randn(shape, generator=_generator(), dtype=torch.float64)
    q, a = (found, drawn) if shape[0] > shape[1] else (found.T, drawn.T)
    r = q.T @ a
    assert _deviation(found) < 1e-13
    assert float(r.diagonal().min()) > 0
    torch.testing.assert_close(r.tril(-1), torch.zeros_like(r), atol=1e-11, rtol=0)
    torch.testing.assert_close(q @ r, a)


def test_a_product_of_low_precision_gives_way_to_reflections(monkeypatch):
    """As with TF32, whose products have ten bits."""
    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: exact(one.bfloat16(), other.bfloat16()).float())
    found = orthonormal_matrix(CHOLESKY_MIN_SIZE, BIG, _generator())
    monkeypatch.undo()
    assert _deviation(found) < 2e-6


def _drawn(shape, decomposition, seed, count=2000):
    generator = _generator(seed)
    drawn = [orthonormal_matrix(*shape, generator, decomposition=decomposition) for _ in range(count)]
    return torch.stack(drawn if shape[0] >= shape[1] else [matrix.T for matrix in drawn])  # orthonormal columns


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_qr_and_svd_draw_from_one_distribution_but_for_signs(shape):
    """Angles with a fixed frame, by Kolmogorov and Smirnov; LAPACK chooses the signs of singular vectors."""
    qr, svd = _drawn(shape, "qr", 1), _drawn(shape, "svd", 2)
    frame = torch.linalg.qr(torch.randn(qr.shape[1:], generator=_generator(9))).Q
    statistics = {
        "first vector": lambda drawn: (drawn[:, :, 0] @ frame[:, 0]).abs(),
        "last vector": lambda drawn: (drawn[:, :, -1] @ frame[:, -1]).abs(),
        "two vectors": lambda drawn: (drawn[:, :, :2].mT @ frame[:, :2]).square().sum((1, 2)),
        "first element": lambda drawn: drawn[:, 0, 0].abs(),
        "determinant of a corner": lambda drawn: torch.linalg.det(drawn[:, :3, :3]).abs(),
    }
    for name, statistic in statistics.items():
        assert stats.ks_2samp(statistic(qr), statistic(svd)).pvalue > 0.001, name


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_qr_draws_from_haar_s_measure(shape):
    """A vector's cosine with a fixed direction has a known distribution, and either sign."""
    drawn = _drawn(shape, "qr", 3)
    length = drawn.shape[1]
    for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        cosine = drawn[:, place[0], place[1]]
        assert stats.kstest(cosine.square(), stats.beta(0.5, (length - 1) / 2).cdf).pvalue > 0.001, place
        assert stats.binomtest(int((cosine > 0).sum()), len(cosine)).pvalue > 0.001, place


def test_a_double_model_gets_double_weights_and_a_half_one_rounded_weights():
    double, half = nn.Linear(40, 30).double(), nn.Linear(40, 30).half()
    for layer in (double, half):
        initializers.orthonormal(layer, None, _generator())
    assert _deviation(double.weight.detach()) < 1e-14
    single = orthonormal_matrix(30, 40, _generator())
    assert torch.equal(half.weight, single.half())


def test_a_gain_of_zero_is_refused():
    with pytest.raises(ValueError, match="gain must be more than 0, not 0"):
        initializers.orthonormal(nn.Linear(2, 2), None, _generator(), gain=0)
