"""Small convolutional networks with batch normalization and dropout, and images for the first."""

import torch
from sample_models import seeded
from torch import nn

from goodinit.methods import initializers


def new_convnet():
    """Return a network for images of 3 x 8 x 8."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(288, 4)]
        return nn.Sequential(*layers)


def new_images(count=40):
    return torch.randn(count, 3, 8, 8, generator=seeded(1))


def new_convnet_with_dropout():
    """Return a network for images of 2 x 6 x 6, with dropout of its inputs, too."""
    model = nn.Sequential(
        nn.Dropout(0.2), nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3),
        nn.Tanh(), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip
    initializers.he_normal(model, None, seeded())
    return model
