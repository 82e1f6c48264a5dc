"""The gradient check, compared with gradients computed in other ways."""

import numpy as np
import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models, objectives


def _classifier(dtype=torch.float64, **options):
    model = models.mlp((6,), 3, **{"hidden": [5, 4], "batch_norm": True} | options)
    initializers.he_normal(model, None, seeded())
    return model.to(dtype)


def _labeled(count):
    images = torch.randn(count, 6, generator=seeded(2), dtype=torch.float64)
    return Examples(images, torch.arange(count) % 3)


def _check(model, batch, **options):
    with diagnostics.gradient_check(model, batch, seeded(), **options) as observe:
        return observe(0)


def test_convolutions_may_be_in_any_memory_format():
    model = models.convnet3((3, 8, 8), 3, channels=[2, 3, 4])
    batch = Examples(torch.randn(6, 3, 8, 8, generator=seeded(2)), torch.arange(6) % 3)
    expected = _check(model, batch)
    values = _check(model.to(memory_format=torch.channels_last), batch)
    np.testing.assert_allclose(values["gradient_size"], expected["gradient_size"], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_back_propagated_gradients_equal_differences(activation):
    model, batch = _classifier(activation=activation), _labeled(20)
    values = _check(model, batch)
    loss, _ = objectives.cross_entropy(model, batch)
    expected = [gradient.abs().mean().item() for gradient in torch.autograd.grad(loss, list(model.parameters()))]
    np.testing.assert_allclose(values["gradient_size"], expected, rtol=1e-9, atol=1e-15)
    assert values["gradient_error"].shape == (10,)  # two layers with weight, bias, gain and shift, and the last
    assert values["gradient_error"].max() < 1e-7
    assert values["gradient_size"][[0, 2, 3, 4, 6, 7, 8, 9]].min() > 1e-3  # normalization removes the biases


def test_with_one_example_the_difference_is_half_the_one_sided_slope():
    model, batch = _classifier(), _labeled(1)
    values = _check(model, batch)
    # Outputs of 0 give all classes the same probability; a positive shift changes the logits by the last weights.
    slope = model[-1].weight.detach().numpy().T @ (np.full(3, 1 / 3) - [1, 0, 0])
    assert values["gradient_error"][7] == pytest.approx(abs(slope).mean() / 2, rel=1e-3)
    assert values["gradient_size"][7] == 0
    assert np.delete(values["gradient_error"], 7).max() < 1e-8


def test_a_wrong_gradient_is_detected():
    class Doubled(nn.Module):
        """Identity with twice the gradient."""

        def forward(self, inputs):
            return 2 * inputs - inputs.detach()

    values = _check(nn.Sequential(_classifier(activation="tanh", batch_norm=False), Doubled()), _labeled(20))
    np.testing.assert_allclose(values["gradient_error"], values["gradient_size"] / 2, rtol=1e-5)


def test_the_checked_coordinates_depend_on_the_generator_alone():
    model, batch = _classifier(), _labeled(20)
    some, complete = _check(model, batch, coordinates=3), _check(model, batch)
    assert (some["gradient_size"][[0, 4]] != complete["gradient_size"][[0, 4]]).all()  # 30 and 20 numbers
    assert some["gradient_size"][-1] == complete["gradient_size"][-1]  # 3 numbers
    again = _check(model, batch, coordinates=3)
    assert all((some[name] == again[name]).all() for name in some)


@pytest.mark.parametrize("training", [False, True])
def test_a_check_changes_neither_the_model_nor_the_random_state(training):
    model = _classifier(torch.float32).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    _check(model, Examples(_labeled(20).images.float(), _labeled(20).labels))
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) and value.dtype == after[name].dtype for name, value in before.items())
    assert model.training == training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("options", [{"step_size": 0.0}, {"step_size": -1e-4}, {"coordinates": 0}])
def test_options_out_of_range_are_rejected(options):
    with pytest.raises(ValueError, match="gradient_check: step_size must be more than 0 and coordinates at least 1"):
        _check(_classifier(), _labeled(2), **options)


def test_dropout_is_rejected():
    model = models.mlp((6,), 3, hidden=[5], dropout=0.5)
    with (
        pytest.raises(ValueError, match="has dropout"),
        diagnostics.gradient_check(model, _labeled(2), seeded()),
    ):
        pass
