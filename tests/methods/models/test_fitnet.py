"""FitNets: numbers of layers and parameters, widths, residual connections, batch normalization and activations."""

import functools

import pytest
import torch
from torch import nn

from goodinit.methods import models

MODELS = {  # name: function, shape of an image, options, numbers of parameters and of layers
    "fitnet_mnist": (models.fitnet_mnist, (1, 28, 28), {}, 21426, 13),
    "fitnet1": (models.fitnet1, (3, 32, 32), {}, 348694, 24),
    "fitnet4": (models.fitnet4, (3, 32, 32), {}, 2742102, 40),
    "fitnet4 with rectifiers": (models.fitnet4, (3, 32, 32), {"activation": "relu"}, 1276806, 19),
    "fitresnet4": (models.fitresnet4, (3, 32, 32), {}, 2765174, 40),
    "fitresnet4 with tanh": (models.fitresnet4, (3, 32, 32), {"activation": "tanh"}, 1288342, 19),
}


def _layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("name", MODELS)
def test_numbers_of_parameters_and_layers(name):
    build, shape, options, parameters, layers = MODELS[name]
    model = build(shape, 10, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(_layers(model)) == layers
    assert model(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("activation", ["relu", "maxout"])
@pytest.mark.parametrize("name", ["fitnet1", "fitnet4", "fitresnet4"])
def test_width_is_a_factor_of_channels_and_hidden_units(name, activation):
    full = getattr(models, name)((3, 32, 32), 10, activation=activation)
    half = getattr(models, name)((3, 32, 32), 10, activation=activation, width=0.5)
    for layer, thin in zip(_layers(full), _layers(half), strict=True):
        outputs, inputs = layer.weight.shape[:2]
        assert thin.weight.shape[0] == (10 if outputs == 10 else outputs // 2)
        assert thin.weight.shape[1] == (3 if inputs == 3 else inputs // 2)


@pytest.mark.parametrize("width", [0.0, -1.0])
@pytest.mark.parametrize("name", ["fitnet1", "fitnet4", "fitresnet4"])
def test_width_must_be_positive(name, width):
    with pytest.raises(ValueError, match="width must be more than 0"):
        getattr(models, name)((3, 32, 32), 10, width=width)


def test_fitnet4_for_100_classes_has_the_number_of_parameters_of_the_released_model():
    assert sum(parameter.numel() for parameter in models.fitnet4((3, 32, 32), 100).parameters()) == 2787192


def test_residual_connections_end_before_the_activation_of_every_second_convolution_of_a_block():
    model = models.fitresnet4((3, 32, 32), 10, activation="relu")
    layers = [layer for layer in model if hasattr(layer, "skip")]
    assert [number for number, layer in enumerate(layers, 1) if layer.skip] == [2, 4, 7, 9, 11, 13, 15, 17]
    inputs = torch.randn(2, 32, 8, 8)
    torch.testing.assert_close(layers[1](inputs), torch.relu(layers[1].pieces[0](inputs) + inputs))


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("activation", ["maxout", "relu"])
def test_batch_norm_precedes_or_follows_the_activation(position, activation):
    model = models.fitnet4((3, 32, 32), 10, activation=activation, batch_norm=position)
    layer, inputs = model[1], torch.randn(4, 3, 32, 32)
    normalize = functools.partial(nn.functional.batch_norm, running_mean=None, running_var=None, training=True)
    pieces = [piece[0](inputs) for piece in layer.pieces]
    pieces = [normalize(piece) for piece in pieces] if position == "before" else pieces
    outputs = torch.stack(pieces).amax(0) if activation == "maxout" else pieces[0].relu()
    torch.testing.assert_close(layer(inputs), normalize(outputs) if position == "after" else outputs)


def test_very_leaky_rectifier_has_slope_one_third():
    layer = models.fitnet4((3, 32, 32), 10, activation="vlrelu")[1]
    assert layer.activation(torch.tensor([-3.0, 3.0])).tolist() == pytest.approx([-0.999, 3])


def test_the_last_pooling_of_a_fitnet_is_the_maximum_of_each_channel():
    images = torch.randn(2, 128, 4, 5)
    pooling = models.fitnet4((3, 32, 32), 10)[-6]
    assert torch.equal(pooling(images), images.amax((2, 3), keepdim=True))


def test_last_pooling_window_may_extend_beyond_the_border():
    assert models.fitnet_mnist((1, 28, 28), 10)[-1].in_features == 12 * 3 * 3
