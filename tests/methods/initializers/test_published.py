"""The published initialization, and LSUV with published biases, on CaffeNet and GoogLeNet."""

import math

import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models


def _layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _small(name, width=0.125, **options):
    """Return a narrow model and a batch."""
    size = {"caffenet": 67, "googlenet": 64}[name]
    if name == "caffenet":
        options["units"] = 24
    model = getattr(models, name)((3, size, size), 10, width=width, **options)
    images = torch.randn(16, 3, size, size, generator=seeded(1))
    return model, Examples(images, torch.arange(16) % 10)


def _variances(model, images):
    """Return [(layer, variance of its output, variance after a rectifier)] in the order of the forward pass."""
    variances = []

    def record(layer, inputs, output):
        variances.append((layer, float(output.var(correction=0)), float(output.relu().var(correction=0))))

    handles = [layer.register_forward_hook(record) for layer in _layers(model)]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return variances


@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_weights_and_biases_have_the_published_distribution(name):
    model, _ = _small(name)
    initializers.published(model, None, seeded())
    for layer in _layers(model):
        std, weight = layer.published.std, layer.weight.detach().double()
        uniform = layer.published.distribution == "uniform"
        error = math.sqrt((0.8 if uniform else 2) / weight.numel())
        assert abs(weight.square().mean() / std**2 - 1) < 4 * error
        assert (weight.abs().max() <= math.sqrt(3) * std * (1 + 1e-6)) == uniform
        assert (layer.bias == layer.published.bias).all()


@pytest.mark.parametrize(
    "initialize",
    [
        lambda model, batch: initializers.published(model, batch, seeded()),
        lambda model, batch: initializers.orthonormal(model, batch, seeded(), biases="published"),
        lambda model, batch: initializers.lsuv(model, batch, seeded(), biases="published"),
    ],
)
def test_a_model_without_published_initialization_is_rejected(initialize):
    model, batch = models.mlp((6,), 3), Examples(torch.randn(4, 6), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="the model has no published initialization of the layer 1"):
        initialize(model, batch)


@pytest.mark.parametrize("biases", ["zero", "published"])
@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_lsuv_scales_the_output_of_each_layer_in_the_order_of_the_forward_pass(name, biases):
    model, batch = _small(name, dropout=0.0)
    report = initializers.lsuv(model, batch, seeded(), batches=1, tolerance=0.02, biases=biases)
    variances = _variances(model, batch.images)
    assert [layer for layer, _, _ in variances] == _layers(model)
    assert len(report.scaled) == len(variances) == {"caffenet": 8, "googlenet": 64}[name]
    for layer, variance, _ in variances:
        assert abs(variance - 1) <= 0.0201
        assert (layer.bias == (layer.published.bias if biases == "published" else 0)).all()


@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_lsuv_can_measure_after_the_rectifier_except_for_classifiers(name):
    model, batch = _small(name, 0.25, dropout=0.0)  # a branch with two channels may have only zeros after rectifiers
    initializers.lsuv(model, batch, seeded(), batches=1, tolerance=0.02, measure="after", biases="published")
    variances = _variances(model, batch.images)
    for layer, before, after in variances:
        assert abs((before if len(layer.weight) == 10 else after) - 1) <= 0.0201
    assert variances[0][1] > 2  # the variance of a rectified normal variable is 0.34 times that of the variable


@pytest.mark.parametrize(
    ("build", "options", "rectified"), [(models.fitresnet4, {"activation": "relu"}, 10), (models.fitnet_mnist, {}, 0)]
)
def test_lsuv_measures_the_layer_itself_if_a_sum_or_maxout_follows(build, options, rectified):
    """In a residual network, every second convolution is followed by a sum."""
    model = build((3, 16, 16), 10, dropout=0.0, **options)
    batch = Examples(torch.randn(8, 3, 16, 16, generator=seeded(1)), torch.zeros(8, dtype=torch.int64))
    initializers.lsuv(model, batch, seeded(), batches=1, tolerance=0.02, measure="after")
    has_unit_variance = [abs(variance - 1) <= 0.0201 for _, variance, _ in _variances(model, batch.images)]
    assert has_unit_variance.count(False) == rectified


def test_lsuv_without_dropout_leaves_auxiliary_classifiers_orthonormal():
    model, batch = _small("googlenet")
    report = initializers.lsuv(model, batch, seeded(), batches=1, dropout=False)
    assert len(report.scaled) == 58
    matrix = model.auxiliary1[-1].weight.detach()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(10), atol=1e-5, rtol=0)
