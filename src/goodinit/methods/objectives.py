"""Objectives: what a run minimizes, and what it reports beside it."""

from torch.nn import functional

__all__ = ["cross_entropy", "hinge", "value"]


def cross_entropy(model, batch):
    r"""Softmax and cross-entropy: the mean over the batch of :math:`-\log p_y`.

    Args:
        model: maps images to logits (N, classes); a stack of S nets to (S, N, classes).
        batch: images, float (N, ...); labels, int64 (N,); for a stack, both with S in front.

    Returns:
        The loss, in nats, () or (S,), and `{"accuracy": share of the batch whose largest logit is its
        label}` of the same shape.
    """
    logits, labels = model(batch.images), batch.labels
    losses = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    accuracy = (logits.detach().argmax(-1) == labels).float().mean(-1)
    return losses.view(labels.shape).mean(-1), {"accuracy": accuracy}


def hinge(model, batch):
    r"""One-vs-all hinge loss: the mean over the batch of :math:`\sum_j \max(0, 1 - s_j f_j)`.

    s is 1 for the class of the label and -1 for the others, f the model's output.

    Args:
        model, batch: as in `cross_entropy`.

    Returns:
        The loss and `{"accuracy": ...}`, as in `cross_entropy`.

    Reference: Caffe's HingeLoss with norm L1, which Mishkin & Matas (2016) call SVM.
    """
    scores, labels = model(batch.images), batch.labels
    signs = functional.one_hot(labels, scores.shape[-1]) * 2 - 1
    accuracy = (scores.detach().argmax(-1) == labels).float().mean(-1)
    return (1 - signs * scores).clamp_min(0).sum(-1).mean(-1), {"accuracy": accuracy}


def value(model, batch):
    """The model's own output, a number, for models that are functions of their parameters alone.

    Args:
        model: maps whatever it gets to the loss, ().
        batch: images, handed on; labels, not used.

    Returns:
        The loss, (), and no further metrics.
    """
    return model(batch.images), {}
