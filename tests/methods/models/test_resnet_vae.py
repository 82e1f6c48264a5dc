"""The residual variational auto-encoder."""

import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit import studies
from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models, objectives
from goodinit.training import cost


def _model(size=16, **options):
    options = {"blocks": 2, "width": 4, "widest": 16, "latent": 5} | options
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.resnet_vae((3, size, size), 10, **options)
    initializers.he_normal(model, None, seeded())
    return model


def _images(count=6, size=16):
    return torch.rand(count, 3, size, size, generator=seeded(1))


def _count_layers(model):
    """Return the number of linear and convolutional layers except those of the shortcuts."""
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return len([name for name in layers if not name.endswith("shortcut")])


def test_published_model_has_162_layers_half_of_them_in_the_encoder():
    with torch.device("meta"):
        model = models.resnet_vae((3, 1024, 1024), 10)
        assert _count_layers(model) == 162
        encoder = nn.ModuleDict({name: model.get_submodule(name) for name in ("stem", "down", "mean", "log_variance")})
        assert _count_layers(encoder) == 81
        encoded = model(torch.zeros(1, 3, 1024, 1024))
    assert encoded.images.shape == (1, 3, 1024, 1024)


@pytest.mark.slow
def test_memory_of_the_published_model_is_estimated():
    study = studies.find("configs", "pdi/vae")
    assert 1e9 < cost.estimate(study.runs("paper")[:1]).memory < 139 * 2**30


@pytest.mark.parametrize("blocks", [3, 4, 6])
def test_number_of_layers_is_six_times_that_of_blocks_plus_six(blocks):
    assert _count_layers(_model(32, blocks=blocks)) == 6 * blocks + 6


@pytest.mark.parametrize(("size", "blocks"), [(8, 1), (16, 2), (32, 5), (64, 4)])
def test_reconstructions_and_samples_have_the_shape_of_images_and_values_from_0_to_1(size, blocks):
    model = _model(size, blocks=blocks)
    for training in (True, False):
        encoded = model.train(training)(_images(3, size))
        assert encoded.images.shape == (3, 3, size, size)
        assert encoded.images.min() >= 0
        assert encoded.images.max() <= 1
        assert encoded.mean.shape == encoded.log_variance.shape == (3, 5)
    samples = model.sample(4, seeded())
    assert samples.shape == (4, 3, size, size)
    assert torch.equal(samples, model.sample(4, seeded()))


def test_latent_variables_are_drawn_only_in_training_mode():
    model, images = _model(batch_norm=False), _images()
    torch.manual_seed(0)
    first, second = model(images), model(images)
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.images, second.images)
    evaluated = model.eval()(images)
    assert torch.equal(evaluated.images, model(images).images)
    assert torch.equal(evaluated.images, model.decode(evaluated.mean))


def test_latent_variables_have_the_encoded_mean_and_variance():
    model, images = _model(), _images()
    torch.manual_seed(0)
    encoded = model(images)
    torch.manual_seed(0)
    latent = encoded.mean + encoded.log_variance.exp().sqrt() * torch.randn(6, 5)
    torch.testing.assert_close(encoded.images, model.decode(latent))
    assert encoded.log_variance.abs().max() > 0.1


def test_every_block_equals_a_transcription():
    """Three convolutions, each after batch normalization and a rectifier; the shapes change as in the shortcut."""
    model = _model(blocks=3)
    scales = []
    for block in (*model.down, *model.up):
        inputs = torch.randn(2, block.convolutions[0].in_channels, 8, 8, generator=seeded())
        outputs, expected, shortcut = block(inputs), inputs, block.shortcut(inputs)
        scales.append(outputs.shape[-1] / 8)
        for index, convolution in enumerate(block.convolutions):
            expected = (expected - expected.mean((0, 2, 3), keepdim=True)) / torch.sqrt(
                expected.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
            )
            expected = expected.clamp_min(0)
            if index == 1 and scales[-1] == 2:
                expected = expected.repeat_interleave(2, 2).repeat_interleave(2, 3)
            expected = convolution(expected)
        if scales[-1] == 2:
            shortcut = shortcut.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(outputs, expected + shortcut)
    assert scales == [0.5, 1, 0.5, 2, 1, 2]


def test_checkpointing_does_not_change_gradients():
    plain, checkpointed = _model(), _model(checkpointing=True)
    for model in (plain, checkpointed):
        torch.manual_seed(3)
        objectives.elbo(model, Examples(_images(), None))[0].backward()
    for expected, parameter in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 28, 28), {}),
        ((3, 32, 16), {}),
        ((3, 4, 4), {}),
        ((784,), {}),
        ((3, 32, 32), {"blocks": 2}),
        ((3, 32, 32), {"latent": 0}),
        ((3, 32, 32), {"width": 32, "widest": 16}),
    ],
)
def test_other_shapes_and_options_out_of_range_are_rejected(shape, options):
    with pytest.raises(ValueError, match="resnet_vae: "):
        models.resnet_vae(shape, 10, **options)
