"""Reconstructions and samples of a variational auto-encoder as images."""

import numpy as np
import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit import studies
from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, models
from goodinit.training import trainer


def test_images_are_the_originals_their_reconstructions_and_samples():
    model = models.resnet_vae((3, 16, 16), 10, blocks=2, width=4, widest=16, latent=5)
    batch = Examples(torch.rand(9, 3, 16, 16, generator=seeded(1)), None)
    with diagnostics.reconstructions(model, batch, seeded(), images=4, size=8) as observe:
        images, again = observe(0)["reconstructions"], observe(1)["reconstructions"]
    assert (images.shape, images.dtype) == ((3, 4, 3, 8, 8), np.uint8)
    np.testing.assert_array_equal(images, again)
    averages = batch.images[:4].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    np.testing.assert_array_equal(images[0], (averages * 255).round())
    assert model.training
    with torch.no_grad():
        rows = model.eval()(batch.images[:4]).images, model.sample(4, seeded())
    for row, expected in zip(images[1:], rows, strict=True):
        averages = expected.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
        np.testing.assert_allclose(row, averages * 255, atol=0.51)
    assert images[1].std() > 2  # not constant


def test_another_model_is_rejected():
    batch = Examples(torch.rand(9, 3, 16, 16), None)
    with pytest.raises(ValueError, match="needs a variational auto-encoder"):
        diagnostics.reconstructions(nn.Linear(2, 2), batch, None).__enter__()


def test_reconstructions_do_not_change_training(data_root):
    parts = next(run for run in studies.find("configs", "pdi/vae").runs("demo")).parts
    records = []
    for enabled in (parts["diagnostics"], []):
        runs = [studies.Run(parts | {"diagnostics": enabled}, 0, {})]
        records += trainer.execute(runs, data_root=str(data_root), device=torch.device("cpu"))
    for name in ("loss", "l1", "kl", "test_l1"):
        np.testing.assert_array_equal(records[0].series[name].values, records[1].series[name].values)
    assert records[0].series["reconstructions"].values.shape == (2, 3, 6, 3, 32, 32)
