"""The ratio of the variance of weights to that of He's initialization."""

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.methods import diagnostics, initializers, models


def test_ratio_is_1_after_he_s_initialization_and_4_for_doubled_weights():
    model = models.convnet3((3, 32, 32), 10)
    initializers.he_normal(model, None, torch.Generator().manual_seed(0))
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    with diagnostics.weight_variance(model, None, None) as observe:
        ratios = observe(0)["weight_variance_ratio"]
        for ratio, layer in zip(ratios, layers, strict=True):
            assert ratio == pytest.approx(1, abs=5 * (2 / layer.weight.numel()) ** 0.5)
        with torch.no_grad():
            for layer in layers:
                layer.weight *= 2
        np.testing.assert_allclose(observe(1)["weight_variance_ratio"], 4 * np.array(ratios), rtol=1e-5)
