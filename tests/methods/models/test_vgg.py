"""VGG-16: equality with torchvision's model, batch normalization and dropout."""

import pytest
import torch
import torchvision
from sample_models import seeded
from torch import nn

from goodinit.methods import models


def _model(inverted=False, dropout=0.25, seed=0):
    """Return a small VGG-16 whose dropout masks depend on the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = {"dropout": dropout, "inverted_dropout": inverted}
        return models.vgg16((3, 32, 32), 10, width=0.125, units=16, **options)


def test_outputs_equal_those_of_torchvision_with_ten_classes():
    model = models.vgg16((3, 224, 224), 10, dropout=0.5)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_301_514
    reference = torchvision.models.vgg16(weights=None, num_classes=10)
    with torch.no_grad():
        for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
            assert parameter.shape == expected.shape
            parameter.copy_(expected)
        images = torch.randn(2, 3, 224, 224, generator=seeded())
        assert torch.equal(model.eval()(images), reference.eval()(images))


@pytest.mark.parametrize(
    ("batch_norm", "convolutions", "hidden"), [("none", 0, 0), ("conv", 13, 0), ("fc", 0, 2), ("both", 13, 2)]
)
def test_batch_norm_precedes_the_selected_activations(batch_norm, convolutions, hidden):
    model = models.vgg16((3, 32, 32), 10, batch_norm=batch_norm, width=0.125, units=16, dropout=0.5)
    for layers, count in ((list(model.features), convolutions), (list(model), hidden)):
        indices = [i for i, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert len(indices) == count
        assert all(isinstance(layers[i - 1], nn.Linear | nn.Conv2d) for i in indices)
        assert all(isinstance(layers[i + 1], nn.ReLU) for i in indices)
    types = [type(layer) for layer in model if not isinstance(layer, nn.BatchNorm1d)]
    hidden_layer = [nn.Linear, nn.ReLU, nn.Dropout]
    assert types == [nn.Sequential, nn.Flatten, *hidden_layer, *hidden_layer, nn.Linear]
    assert [model.fc1.in_features, model.fc2.in_features, model.fc3.in_features] == [64, 16, 16]


def test_dropout_by_hand():
    """Hori et al. (2019), equations 3 and 4 with p = 0.75; `nn.Dropout` scales in training mode instead."""
    layer, inverted = _model().dropout1, _model(inverted=True).dropout1
    inputs = torch.tensor([[1.0, -2.0, 3.0, 4.0]]).repeat(5, 1)
    mask = torch.rand(5, 4, generator=torch.Generator().manual_seed(7)) > 0.25
    layer.generators[0].manual_seed(7)
    assert torch.equal(layer(inputs), torch.where(mask, inputs, 0))
    assert 0 < mask.sum() < 20
    assert layer.eval()(inputs)[0].tolist() == [0.75, -1.5, 2.25, 3.0]
    assert inverted(torch.ones(50, 40)).unique().tolist() == [0, pytest.approx(4 / 3)]
    assert torch.equal(inverted.eval()(inputs), inputs)


def test_gradient_of_dropout_is_the_mask():
    layer, inputs = _model().dropout2, torch.ones(20, 16, requires_grad=True)
    outputs = layer(inputs)
    outputs.sum().backward()
    assert torch.equal(inputs.grad, outputs)
    assert set(inputs.grad.unique().tolist()) == {0, 1}


def test_dropout_masks_depend_on_the_seed_and_the_layer():
    def masks(seed):
        model = _model(seed=seed, dropout=0.5)
        return [layer(torch.ones(30, 16)) for layer in (model.dropout1, model.dropout2)]

    assert all(map(torch.equal, masks(0), masks(0)))
    assert not torch.equal(*masks(0))
    assert not torch.equal(masks(0)[0], masks(1)[0])


def test_without_dropout_its_kind_does_not_matter():
    images = torch.randn(2, 3, 32, 32, generator=seeded())
    assert torch.equal(*(_model(inverted, 0.0)(images) for inverted in (False, True)))


@pytest.mark.parametrize(("shape", "inputs"), [((3, 32, 32), 2), ((3, 64, 64), 2 * 4), ((1, 32, 96), 2 * 3)])
def test_images_may_have_other_sizes(shape, inputs):
    model = models.vgg16(shape, 5, width=1 / 256, units=16)
    assert model.fc1.in_features == inputs
    assert model(torch.zeros(2, *shape)).shape == (2, 5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 28, 28), {}),
        ((784,), {}),
        ((3, 32, 32), {"width": 0}),
        ((3, 32, 32), {"units": 0}),
        ((3, 32, 32), {"dropout": 1}),
    ],
)
def test_small_images_and_options_out_of_range_are_rejected(shape, options):
    with pytest.raises(ValueError, match="vgg16: "):
        models.vgg16(shape, 10, **options)
