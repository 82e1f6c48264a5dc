"""Objectives: what a run minimizes, and what it reports beside it."""

from torch.nn import functional

__all__ = ["cross_entropy"]


def cross_entropy(model, batch):
    r"""Softmax and cross-entropy: the mean over the batch of :math:`-\log p_y`.

    Args:
        model: maps images to logits (N, classes).
        batch: images, float (N, ...); labels, int64 (N,).

    Returns:
        The loss, in nats, and `{"accuracy": share of the batch whose largest logit is its label}`.
    """
    logits = model(batch.images)
    accuracy = (logits.detach().argmax(1) == batch.labels).float().mean()
    return functional.cross_entropy(logits, batch.labels), {"accuracy": accuracy}
