"""Objectives: the loss that a run minimizes, and the metrics that it records with it.

All have the signature `(model, batch, *, options)` and return the loss and {name: metric}.
"""

from torch import Tensor, nn
from torch.nn import functional

from goodinit.methods.contracts import Examples, Metrics
from goodinit.methods.models.resnet_vae import Encoded

__all__ = ["cross_entropy", "elbo", "hinge", "value"]

AUXILIARY_WEIGHT = 0.3  # of the loss of each auxiliary classifier


def cross_entropy(model: nn.Module, batch: Examples) -> tuple[Tensor, Metrics]:
    r"""Softmax cross-entropy: the mean over the batch of :math:`-\log p_y`.

    A model with auxiliary classifiers returns, in training, a tuple of logits, its own first. The cross-entropies of
    the others are added with weight 0.3; the metric `loss` is the cross-entropy of the first alone.

    Args:
        model: maps images to logits (N, classes), or a tuple of them; a stack of S models to (S, N, classes).
        batch: images, float (N, ...); labels, int64 (N,); for a stack, both with an additional first dimension S.

    Returns:
        The loss, in nats, () or (S,), and `{"accuracy": fraction of examples whose largest logit is that of their
        label}` of the same shape; with auxiliary classifiers also `loss`, and `auxiliary_loss`, their mean.

    Reference: Szegedy et al., Going deeper with convolutions (2015), section 5, for the auxiliary classifiers.
    """
    output, labels = model(batch.images), batch.labels
    logits, *others = output if isinstance(output, tuple) else (output,)
    losses = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    accuracy = (logits.detach().argmax(-1) == labels).float().mean(-1)
    loss: Tensor = losses.view(labels.shape).mean(-1)
    metrics = {"accuracy": accuracy}
    if not others:
        return loss, metrics
    first, *rest = (functional.cross_entropy(other, labels) for other in others)
    auxiliary = sum(rest, first)
    metrics |= {"loss": loss.detach(), "auxiliary_loss": auxiliary.detach() / len(others)}
    return loss + AUXILIARY_WEIGHT * auxiliary, metrics


def hinge(model: nn.Module, batch: Examples) -> tuple[Tensor, Metrics]:
    r"""One-vs-all hinge loss: the mean over the batch of :math:`\sum_j \max(0, 1 - s_j f_j)`.

    s is 1 for the class of the label and -1 for the others, and f is the output of the model.

    Args:
        model, batch: as in `cross_entropy`.

    Returns:
        The loss and `{"accuracy": ...}`, as in `cross_entropy`.

    Raises:
        ValueError: the model has more than one output.

    Reference: HingeLoss of Caffe with norm L1, which Mishkin & Matas (2016) call SVM.
    """
    scores, labels = model(batch.images), batch.labels
    if isinstance(scores, tuple):
        raise ValueError("hinge: takes a model with one output: build it without its auxiliary classifiers")
    signs = functional.one_hot(labels, scores.shape[-1]) * 2 - 1
    accuracy = (scores.detach().argmax(-1) == labels).float().mean(-1)
    return (1 - signs * scores.float()).clamp_min(0).sum(-1).mean(-1), {"accuracy": accuracy}


def elbo(model: nn.Module, batch: Examples, *, beta: float = 1.0) -> tuple[Tensor, Metrics]:
    r"""Reconstruction error and Kullback-Leibler divergence of a variational auto-encoder, per pixel.

    .. math::
        \frac{1}{D} \sum_d |x_d - \hat x_d| + \frac{\beta}{D} \mathrm{KL}, \qquad
        \mathrm{KL} = \frac{1}{2} \sum_j (\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2)

    D is the number of pixels times channels. With :math:`\beta = 1` this is, up to a constant, the negative evidence
    lower bound per pixel for Laplace-distributed pixels with scale 1.

    Deviation: the paper reports an L1 loss and states neither the range of the pixels, here [0, 1], nor the weight of
    the divergence.

    Args:
        model: maps images to reconstructed `images`, `mean` and `log_variance`, see `models.resnet_vae`.
        batch: images, float (N, C, H, W), clipped to [0, 1], which enlargement may exceed; labels, not used.
        beta: weight of the divergence, at least 0.

    Returns:
        The loss, (), and `{"l1": mean absolute error, "kl": divergence in nats per image}`.

    Raises:
        ValueError: `beta` is less than 0.

    Reference: Kingma & Welling, Auto-encoding variational Bayes (2014), equation 10; Higgins et al., beta-VAE (2017).
    """
    if not beta >= 0:
        raise ValueError(f"elbo: beta must be at least 0, not {beta}")
    encoded: Encoded = model(batch.images)
    images = batch.images.clamp(0, 1)
    l1 = functional.l1_loss(encoded.images, images)
    kl = _divergence(encoded.mean.float(), encoded.log_variance.float())
    return l1 + beta * kl / images[0].numel(), {"l1": l1.detach(), "kl": kl.detach()}


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)), summed over the latent numbers, averaged over the images."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def value(model: nn.Module, batch: Examples) -> tuple[Tensor, Metrics]:
    """The output of the model itself, for models that are functions of their parameters alone.

    Args:
        model: returns the loss, ().
        batch: images, passed to the model; labels, not used.

    Returns:
        The loss, (), and no metrics.
    """
    return model(batch.images), {}
