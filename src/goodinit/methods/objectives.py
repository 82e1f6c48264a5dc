"""Objectives: what a run minimizes, and what it reports beside it."""

from torch.nn import functional

__all__ = ["cross_entropy", "elbo", "hinge", "value"]


def cross_entropy(model, batch, *, auxiliary_weight: float = 0.3):
    r"""Softmax and cross-entropy: the mean over the batch of :math:`-\log p_y`.

    A model with auxiliary classifiers returns, in training, a tuple of logits, its own the first.  The cross-entropies
    of the others are minimized, too, each times `auxiliary_weight`; what is reported as `loss` is the first alone.

    Args:
        model: maps images to logits (N, classes), or a tuple of such; a stack of S nets to (S, N, classes).
        batch: images, float (N, ...); labels, int64 (N,); for a stack, both with S in front.
        auxiliary_weight: of each auxiliary classifier's loss, at least 0.

    Returns:
        The loss, in nats, () or (S,), and `{"accuracy": share of the batch whose largest logit is its
        label}` of the same shape; with auxiliary classifiers also `loss`, and `auxiliary_loss`, their mean.

    Raises:
        ValueError: `auxiliary_weight` is less than 0.

    Reference: Szegedy et al., Going deeper with convolutions (2015), section 5, for the auxiliary classifiers.
    """
    if auxiliary_weight < 0:
        raise ValueError(f"cross_entropy: auxiliary_weight must be at least 0, not {auxiliary_weight}")
    output, labels = model(batch.images), batch.labels
    logits, *others = output if isinstance(output, tuple) else (output,)
    losses = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    accuracy = (logits.detach().argmax(-1) == labels).float().mean(-1)
    loss, metrics = losses.view(labels.shape).mean(-1), {"accuracy": accuracy}
    if not others:
        return loss, metrics
    auxiliary = sum(functional.cross_entropy(other, labels) for other in others)
    metrics |= {"loss": loss.detach(), "auxiliary_loss": auxiliary.detach() / len(others)}
    return loss + auxiliary_weight * auxiliary, metrics


def hinge(model, batch):
    r"""One-vs-all hinge loss: the mean over the batch of :math:`\sum_j \max(0, 1 - s_j f_j)`.

    s is 1 for the class of the label and -1 for the others, f the model's output.

    Args:
        model, batch: as in `cross_entropy`.

    Returns:
        The loss and `{"accuracy": ...}`, as in `cross_entropy`.

    Raises:
        ValueError: the model gives more than one output.

    Reference: Caffe's HingeLoss with norm L1, which Mishkin & Matas (2016) call SVM.
    """
    scores, labels = model(batch.images), batch.labels
    if isinstance(scores, tuple):
        raise ValueError("hinge: takes a net of one output: build it without its auxiliary classifiers")
    signs = functional.one_hot(labels, scores.shape[-1]) * 2 - 1
    accuracy = (scores.detach().argmax(-1) == labels).float().mean(-1)
    return (1 - signs * scores).clamp_min(0).sum(-1).mean(-1), {"accuracy": accuracy}


def elbo(model, batch, *, beta: float = 1.0):
    r"""Reconstruction and divergence of a variational auto-encoder, per pixel.

    .. math::
        \frac{1}{D} \sum_d |x_d - \hat x_d| + \frac{\beta}{D} \mathrm{KL}, \qquad
        \mathrm{KL} = \frac{1}{2} \sum_j (\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2)

    D is the number of pixels times channels.  With :math:`\beta = 1` this is, but for a constant, the negative
    evidence lower bound per pixel where pixels have Laplace's distribution of scale 1.

    Deviation: the paper reports an L1 loss and says neither what range pixels have, here [0, 1], nor what the
    divergence weighs.

    Args:
        model: maps images to reconstructed `images`, `mean` and `log_variance`, see `models.resnet_vae`.
        batch: images, float (N, C, H, W), of which what enlargement has put outside [0, 1] is cut; labels, not used.
        beta: weight of the divergence, at least 0.

    Returns:
        The loss, (), and `{"l1": mean absolute error, "kl": divergence in nats an image}`.

    Raises:
        ValueError: `beta` is less than 0.

    Reference: Kingma & Welling, Auto-encoding variational Bayes (2014), equation 10; Higgins et al., beta-VAE (2017).
    """
    if beta < 0:
        raise ValueError(f"elbo: beta must be at least 0, not {beta}")
    encoded, images = model(batch.images), batch.images.clamp(0, 1)
    l1 = functional.l1_loss(encoded.images, images)
    kl = _divergence(encoded.mean.float(), encoded.log_variance.float())
    return l1 + beta * kl / images[0].numel(), {"l1": l1.detach(), "kl": kl.detach()}


def _divergence(mean, log_variance):
    """Return KL(N(mean, variance) || N(0, 1)), summed over the latent numbers, averaged over the images."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def value(model, batch):
    """The model's own output, a number, for models that are functions of their parameters alone.

    Args:
        model: maps whatever it gets to the loss, ().
        batch: images, handed on; labels, not used.

    Returns:
        The loss, (), and no further metrics.
    """
    return model(batch.images), {}
