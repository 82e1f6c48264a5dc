"""Objectives by hand: cross-entropy, hinge loss, auxiliary classifiers, and the evidence lower bound."""

import numpy as np
import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models, objectives
from goodinit.methods.models.resnet_vae import Encoded


def test_auxiliary_losses_are_minimized_but_the_loss_of_the_classifier_is_recorded():
    model = models.googlenet((3, 64, 64), 10, width=0.125, dropout=0.0)
    images = torch.randn(16, 3, 64, 64, generator=seeded(1))
    batch = Examples(images, torch.arange(16) % 10)
    initializers.published(model, None, seeded())
    with torch.no_grad():
        outputs = model(images)
    main, *auxiliary = (-logits.log_softmax(1)[torch.arange(16), batch.labels].mean() for logits in outputs)
    loss, metrics = objectives.cross_entropy(model, batch)
    torch.testing.assert_close(loss.detach(), main + 0.3 * sum(auxiliary))
    torch.testing.assert_close(metrics["loss"], main)
    torch.testing.assert_close(metrics["auxiliary_loss"], sum(auxiliary) / 2)
    loss.backward()
    assert model.auxiliary1[-1].weight.grad.abs().sum() > 0
    loss, metrics = objectives.cross_entropy(model.eval(), batch)
    torch.testing.assert_close(loss.detach(), main)
    assert set(metrics) == {"accuracy"}


class _Constant(nn.Module):
    """Returns the same output for all images."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_by_hand(beta):
    images = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]], [[[1.2, 1.0], [-0.1, 0.0]]]])
    encoded = Encoded(torch.full((2, 1, 2, 2), 0.5), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2))
    loss, metrics = objectives.elbo(_Constant(encoded), Examples(images, None), beta=beta)
    assert float(metrics["l1"]) == pytest.approx((0.5 + 0 + 0.5 + 0.25 + 4 * 0.5) / 8)  # pixels are clipped to [0, 1]
    assert float(metrics["kl"]) == pytest.approx((1 / 2 + 4 / 2) / 2)
    assert float(loss) == pytest.approx(float(metrics["l1"]) + beta * 1.25 / 4)


def test_divergence_equals_the_closed_form_and_a_monte_carlo_estimate():
    mean, log_variance = torch.tensor([[0.5, -1.0, 2.0]]).double(), torch.tensor([[0.3, -2.0, 1.0]]).double()
    images = torch.zeros(1, 1, 1, 1).double()
    _, metrics = objectives.elbo(_Constant(Encoded(images, mean, log_variance)), Examples(images, None))
    posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    prior = torch.distributions.Normal(torch.zeros(1, 3).double(), 1)
    assert float(metrics["kl"]) == pytest.approx(
        float(torch.distributions.kl_divergence(posterior, prior).sum()), rel=1e-6
    )
    samples = mean + torch.exp(log_variance / 2) * torch.randn(400000, 3, generator=seeded()).double()
    ratios = (posterior.log_prob(samples) - prior.log_prob(samples)).sum(1)
    assert abs(float(ratios.mean() - metrics["kl"])) < 4 * float(ratios.std()) / 400000**0.5


def test_negative_beta_is_rejected():
    with pytest.raises(ValueError, match="beta must be at least 0"):
        objectives.elbo(nn.Identity(), Examples(torch.zeros(1, 1, 1, 1), None), beta=-1.0)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    loss, metrics = objectives.cross_entropy(lambda images: images, Examples(logits, torch.tensor([0, 1])))
    expected = (np.log(1 + np.exp(-2)) + np.log(2)) / 2
    assert abs(loss - expected) < 1e-6
    assert metrics["accuracy"] == 0.5


def _hinge(scores, labels):
    return objectives.hinge(lambda images: images, Examples(scores, labels))


def test_hinge_by_hand():
    scores = torch.tensor([[2.0, 0.5, -3.0], [0.0, -1.0, 0.25]], requires_grad=True)
    loss, metrics = _hinge(scores, torch.tensor([0, 1]))
    assert loss.item() == ((0 + 1.5 + 0) + (1 + 2 + 1.25)) / 2
    assert metrics["accuracy"] == 0.5
    loss.backward()
    assert scores.grad.tolist() == [[0, 0.5, 0], [0.5, -0.5, 0.5]]


def test_the_hinge_loss_of_half_precision_scores_is_computed_in_single_precision():
    scores, labels = torch.randn(64, 1000, generator=seeded()).bfloat16(), torch.arange(64)
    assert torch.equal(_hinge(scores, labels)[0], _hinge(scores.float(), labels)[0])


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_hinge_loss_of_zero_scores_is_the_number_of_classes(classes):
    loss, _ = _hinge(torch.zeros(64, classes), torch.arange(64) % classes)
    assert loss == classes


def test_the_hinge_losses_of_a_stack_are_those_of_its_models():
    scores = torch.randn(3, 20, 10, generator=seeded())
    labels = torch.randint(10, (3, 20), generator=seeded(1))
    losses, metrics = _hinge(scores, labels)
    assert losses.shape == metrics["accuracy"].shape == (3,)
    for index in range(3):
        loss, alone = _hinge(scores[index], labels[index])
        assert losses[index] == loss
        assert metrics["accuracy"][index] == alone["accuracy"]
