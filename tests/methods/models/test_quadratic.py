"""The quadratic function."""

import pytest
import torch

from goodinit.datasets.tensors import Examples
from goodinit.methods import models, objectives


def test_value_and_gradient_by_hand():
    model = models.quadratic((0,), 0)
    assert model(torch.empty(1, 0)).item() == pytest.approx((-7) ** 2 / 20 + 2**2)
    loss, metrics = objectives.value(model, Examples(torch.empty(1, 0), torch.zeros(1)))
    loss.backward()
    assert model.position.grad.tolist() == pytest.approx([-7 / 10, 2 * 2])
    assert metrics == {}


@pytest.mark.parametrize(("start", "curvatures"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_start_and_curvatures_must_have_the_same_length(start, curvatures):
    with pytest.raises(ValueError, match="start and curvatures must have the same length"):
        models.quadratic((0,), 0, start=start, curvatures=curvatures)
