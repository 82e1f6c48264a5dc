"""Maxout and its gradient."""

import pytest
import torch
from sample_models import seeded

from goodinit.methods.models.maxout import maxout


@pytest.mark.parametrize("count", [1, 2, 5])
def test_maximum_and_gradient(count):
    pieces = [torch.randn(4, 3, 5, 5, generator=seeded(seed)).requires_grad_() for seed in range(count)]
    weights = torch.randn(4, 3, 5, 5, generator=seeded(9))
    outputs = maxout(pieces)
    expected, largest = torch.stack(pieces).max(0)
    assert torch.equal(outputs, expected)
    with torch.no_grad():
        assert torch.equal(maxout(pieces), expected)
    for index, gradient in enumerate(torch.autograd.grad((outputs * weights).sum(), pieces)):
        assert torch.equal(gradient, weights * (largest == index))


def test_the_first_of_equal_elements_gets_the_gradient():
    pieces = [torch.tensor([1.0, 0.0, 2.0, 2.0], requires_grad=True) for _ in range(3)]
    gradients = torch.autograd.grad(maxout(pieces).sum(), pieces)
    assert [gradient.tolist() for gradient in gradients] == [[1] * 4, [0] * 4, [0] * 4]


def test_second_derivatives():
    pieces = [torch.randn(6, dtype=torch.float64, generator=seeded(seed)).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradgradcheck(lambda *inputs: maxout([piece**3 for piece in inputs]), pieces)
