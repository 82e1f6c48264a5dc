"""The small convolutional network."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from goodinit.methods import models


def test_parameters_and_outputs():
    model = models.convnet3((3, 32, 32), 10, channels=[4, 8, 16])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 4 * 28 + 8 * 37 + 16 * 73 + 10 * (16 * 16 + 1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_outputs_equal_a_transcription():
    model, images = models.convnet3((3, 16, 16), 10, channels=[4, 8, 16]), torch.randn(2, 3, 16, 16)
    convolutions = [layer for layer in model if isinstance(layer, nn.Conv2d)]
    outputs = images
    for layer in convolutions:
        outputs = functional.conv2d(outputs, layer.weight, layer.bias, padding=1).clamp_min(0)
        outputs = outputs.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    torch.testing.assert_close(model(images), functional.linear(outputs.flatten(1), model[-1].weight, model[-1].bias))


def test_three_numbers_of_channels_and_images_of_at_least_8_pixels_are_required():
    with pytest.raises(ValueError, match="convnet3: channels must be three numbers of at least 1"):
        models.convnet3((3, 32, 32), 10, channels=[4, 8])
    with pytest.raises(ValueError, match="convnet3: images must be at least 8 x 8"):
        models.convnet3((3, 8, 7), 10)
