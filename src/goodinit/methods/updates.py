"""Updates: which neurons an optimizer's step moves."""

__all__ = ["synchronous"]


def synchronous(model, optimizer, generator):
    """All neurons at every mini-batch: the ordinary update.

    Args:
        model: not used.
        optimizer: its step moves every parameter.
        generator: not used.

    Returns:
        An object whose step() applies the gradients and clears them.
    """
    return _Synchronous(optimizer)


class _Synchronous:
    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.step()
        self.optimizer.zero_grad()
