"""The residual variational auto-encoder and its loss, by hand, against sampling, and at its published size."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from goodinit import studies
from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models, objectives
from goodinit.methods.models.resnet_vae import Encoded
from goodinit.training import cost, trainer


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _net(size=16, **options):
    options = {"blocks": 2, "width": 4, "widest": 16, "latent": 5} | options
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = models.resnet_vae((3, size, size), 10, **options)
    initializers.he_normal(net, None, _generator())
    return net


def _images(count=6, size=16):
    return torch.rand(count, 3, size, size, generator=_generator(1))


def _weighted_layers(net):
    """Count linear layers and convolutions, and not those of the shortcuts."""
    layers = [name for name, one in net.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    return len([name for name in layers if not name.endswith("shortcut")])


def test_the_published_net_has_162_layers_and_is_not_allocated():
    with torch.device("meta"):
        net = models.resnet_vae((3, 1024, 1024), 10)
        assert _weighted_layers(net) == 162
        halves = [part for name in ("stem", "down", "mean", "log_variance") for part in [net.get_submodule(name)]]
        encoder = sum(_weighted_layers(nn.ModuleDict({"part": part})) for part in halves)
        assert encoder == 81
        encoded = net(torch.zeros(1, 3, 1024, 1024))
    assert encoded.images.shape == (1, 3, 1024, 1024)
    study = studies.find("configs", "pdi/vae")
    found = cost.estimate(study.runs("paper")[:1])
    assert 1e9 < found.memory < 139 * 2**30


@pytest.mark.parametrize("blocks", [3, 4, 6])
def test_layers_are_six_for_each_block_and_six(blocks):
    assert _weighted_layers(_net(32, blocks=blocks)) == 6 * blocks + 6


@pytest.mark.parametrize(("size", "blocks"), [(8, 1), (16, 2), (32, 5), (64, 4)])
def test_images_come_back_in_their_shape_between_0_and_1(size, blocks):
    net = _net(size, blocks=blocks)
    for mode in (net.train(), net.eval()):
        found = mode(_images(3, size))
        assert found.images.shape == (3, 3, size, size)
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        assert found.mean.shape == found.log_variance.shape == (3, 5)
    sampled = net.sample(4, _generator())
    assert sampled.shape == (4, 3, size, size)
    assert torch.equal(sampled, net.sample(4, _generator()))


def test_latent_numbers_are_drawn_in_training_alone():
    net, images = _net(batch_norm=False), _images()
    torch.manual_seed(0)
    first, second = net(images), net(images)
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.images, second.images)
    still = net.eval()(images)
    assert torch.equal(still.images, net(images).images)
    assert torch.equal(still.images, net.decode(still.mean))


def test_checkpointing_changes_no_gradient():
    net = _net()
    other = _net(checkpointing=True)
    for one in (net, other):
        torch.manual_seed(3)
        objectives.elbo(one, Examples(_images(), None))[0].backward()
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-7)


class _Fixed(nn.Module):
    """Gives what it was told, whatever the images."""

    def __init__(self, encoded):
        super().__init__()
        self.encoded = encoded

    def forward(self, images):
        return self.encoded


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_by_hand(beta):
    images = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]], [[[1.2, 1.0], [-0.1, 0.0]]]])
    encoded = Encoded(torch.full((2, 1, 2, 2), 0.5), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2))
    loss, found = objectives.elbo(_Fixed(encoded), Examples(images, None), beta=beta)
    assert float(found["l1"]) == pytest.approx((0.5 + 0 + 0.5 + 0.25 + 4 * 0.5) / 8)  # pixels are cut to [0, 1]
    assert float(found["kl"]) == pytest.approx((1 / 2 + 4 / 2) / 2)
    assert float(loss) == pytest.approx(float(found["l1"]) + beta * 1.25 / 4)


def test_divergence_is_the_closed_form_and_what_sampling_gives():
    mean, log_variance = torch.tensor([[0.5, -1.0, 2.0]]).double(), torch.tensor([[0.3, -2.0, 1.0]]).double()
    images = torch.zeros(1, 1, 1, 1).double()
    _, found = objectives.elbo(_Fixed(Encoded(images, mean, log_variance)), Examples(images, None))
    mine = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    standard = torch.distributions.Normal(torch.zeros(1, 3).double(), 1)
    assert float(found["kl"]) == pytest.approx(float(torch.distributions.kl_divergence(mine, standard).sum()), rel=1e-6)
    drawn = mean + torch.exp(log_variance / 2) * torch.randn(400000, 3, generator=_generator()).double()
    ratios = (mine.log_prob(drawn) - standard.log_prob(drawn)).sum(1)
    assert abs(float(ratios.mean() - found["kl"])) < 4 * float(ratios.std()) / 400000**0.5


def test_beta_below_0_is_refused():
    with pytest.raises(ValueError, match="beta must be at least 0"):
        objectives.elbo(_net(), Examples(_images(), None), beta=-1.0)


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
def test_what_it_cannot_be_is_refused(shape, options):
    with pytest.raises(ValueError, match="resnet_vae: "):
        models.resnet_vae(shape, 10, **options)


def test_pictures_are_the_images_what_becomes_of_them_and_samples():
    net, batch = _net(), Examples(_images(9), None)
    with diagnostics.reconstructions(net, batch, _generator(), images=4, size=8) as observe:
        found, again = observe(0)["reconstructions"], observe(1)["reconstructions"]
    assert (found.shape, found.dtype) == ((3, 4, 3, 8, 8), np.uint8)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(
        found[0], (batch.images[:4].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)) * 255).round()
    )
    assert net.training
    with pytest.raises(ValueError, match="needs a variational auto-encoder"):
        diagnostics.reconstructions(nn.Linear(2, 2), batch, None).__enter__()


def test_pictures_change_nothing(data_root):
    parts = next(run for run in studies.find("configs", "pdi/vae").runs("demo")).parts
    found = []
    for watched in (parts["diagnostics"], []):
        runs = [studies.Run(parts | {"diagnostics": watched}, 0, {})]
        found += trainer.execute(runs, data_root=str(data_root), device=torch.device("cpu"))
    for name in ("loss", "l1", "kl", "test_l1"):
        np.testing.assert_array_equal(found[0].series[name].values, found[1].series[name].values)
    assert found[0].series["reconstructions"].values.shape == (2, 3, 6, 3, 32, 32)


def test_weight_variance_is_1_from_he_s_initializer():
    net = models.convnet3((3, 32, 32), 10)
    initializers.he_normal(net, None, _generator())
    with diagnostics.weight_variance(net, None, None) as observe:
        before = observe(0)["weight_variance_ratio"]
        layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        for ratio, layer in zip(before, layers, strict=True):
            assert ratio == pytest.approx(1, abs=5 * (2 / layer.weight.numel()) ** 0.5)
        doubled = copy.deepcopy(before) * 4
        with torch.no_grad():
            for layer in layers:
                layer.weight *= 2
        np.testing.assert_allclose(observe(1)["weight_variance_ratio"], doubled, rtol=1e-5)


def test_convnet3_by_hand():
    net = models.convnet3((3, 32, 32), 10, channels=[4, 8, 16])
    assert sum(one.numel() for one in net.parameters()) == 4 * 28 + 8 * 37 + 16 * 73 + 10 * (16 * 16 + 1)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(ValueError, match="three numbers of at least 1"):
        models.convnet3((3, 32, 32), 10, channels=[4, 8])
