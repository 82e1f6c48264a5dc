"""The small convolutional network."""

import pytest
import torch

from goodinit.methods import models


def test_parameters_and_outputs():
    model = models.convnet3((3, 32, 32), 10, channels=[4, 8, 16])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 4 * 28 + 8 * 37 + 16 * 73 + 10 * (16 * 16 + 1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_three_numbers_of_channels_and_images_of_at_least_8_pixels_are_required():
    with pytest.raises(ValueError, match="convnet3: channels must be three numbers of at least 1"):
        models.convnet3((3, 32, 32), 10, channels=[4, 8])
    with pytest.raises(ValueError, match="convnet3: images must be at least 8 x 8"):
        models.convnet3((3, 8, 7), 10)
