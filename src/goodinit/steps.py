"""The arithmetic of training steps: a step is one parameter update; step 0 is before the first."""

import math
from typing import NamedTuple

__all__ = ["ObservationSteps", "steps_of_epochs", "steps_per_epoch"]


class ObservationSteps(NamedTuple):
    """The steps at which a training run is observed: 0, every `every` steps from `first` on, and the last.

    Args:
        every: number of steps between two observations; None for only the first and the last step.
        first: the step from which `every` counts.
    """

    every: int | None = None
    first: int = 0

    def includes(self, step: int) -> bool:
        """Return whether a step that is neither 0 nor the last is among them."""
        return bool(self.every and step >= self.first and (step - self.first) % self.every == 0)

    def count(self, steps: int) -> int:
        """Return how many there are in a training run of `steps` steps."""
        regular = range(self.first, steps + 1, self.every) if self.every else ()
        return len({0, steps, *regular})


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of complete mini-batches in one pass over the examples, at least 1."""
    return max(examples // batch_size, 1)


def steps_of_epochs(epochs: float, examples: int, batch_size: int) -> int:
    """Return the number of steps in `epochs` passes over the examples.

    Raises:
        ValueError: `epochs` is negative or not finite, or more than 0 but less than one step.
    """
    if not 0 <= epochs < math.inf:
        raise ValueError(f"must be at least 0 and finite, not {epochs}")
    per_epoch = steps_per_epoch(examples, batch_size)
    steps = int(round(epochs * per_epoch, 6))  # 2.3 epochs of 100 steps are 230 steps
    if epochs and not steps:
        raise ValueError(f"{epochs:g} epochs are less than one step ({per_epoch} per epoch): give more epochs, or 0")
    return steps
