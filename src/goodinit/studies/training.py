"""The options of the training of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from goodinit.errors import InputError
from goodinit.steps import ObservationSteps, steps_of_epochs

__all__ = ["Training"]

# The smallest value of each option that is a number of steps or examples.
MINIMA = {"steps": 0, "batch_size": 1, "evaluate_every": 1, "evaluate_from": 0, "diagnose_every": 1}


@dataclass(frozen=True, kw_only=True)
class Training:
    """The length of a training run, its mini-batches, and when it is observed.

    Args:
        steps: number of updates; give this or `epochs`.
        epochs: number of passes over the training examples, each of `examples // batch_size` updates.
        batch_size: examples in a mini-batch.
        loss_after_update: log the loss of a mini-batch after its update, with the model in evaluation mode, instead of
            before; this costs a second forward pass.
        evaluate_every: steps between two evaluations; the model is also evaluated before the first step and after the
            last.
        evaluate_from: the step from which `evaluate_every` counts.
        evaluate_on: the splits on which the model is evaluated.
        evaluate_at_end_on: splits on which it is evaluated only after the last step.
        diagnose_every: steps between two runs of the diagnostics, which also run before the first step and after the
            last.
        precision: the precision of the arithmetic.
        diverged_above: a run whose loss exceeds this, or is not finite, is `diverged`.
        stop_when_diverged: end a diverged run; otherwise it continues, and its predictions are evaluated.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 128
    loss_after_update: bool = False
    evaluate_every: int | None = None
    evaluate_from: int = 0
    evaluate_on: Sequence[Literal["train", "validation", "test"]] = ("validation", "test")
    evaluate_at_end_on: Sequence[Literal["train", "validation", "test"]] = ()
    diagnose_every: int | None = None
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    diverged_above: float = 1e8
    stop_when_diverged: bool = True

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            InputError: not exactly one of `steps` and `epochs` is given, or a number is out of range.
        """
        if (self.steps is None) == (self.epochs is None):
            raise InputError("training: give either steps or epochs")
        if self.epochs is not None and not 0 <= self.epochs < math.inf:
            raise InputError(f"training: epochs must be at least 0 and finite, not {self.epochs}")
        if not self.diverged_above > 0:
            raise InputError(f"training: diverged_above must be more than 0, not {self.diverged_above}")
        for name, minimum in MINIMA.items():
            if (value := getattr(self, name)) is not None and value < minimum:
                raise InputError(f"training: {name} must be at least {minimum}, not {value}")

    @property
    def evaluation_steps(self) -> ObservationSteps:
        """The steps at which the model is evaluated."""
        return ObservationSteps(self.evaluate_every, self.evaluate_from)

    @property
    def splits_at_end(self) -> list[str]:
        """The splits on which the model is evaluated only after the last step."""
        return [split for split in self.evaluate_at_end_on if split not in self.evaluate_on]

    def total_steps(self, examples: int) -> int:
        """Return the number of updates for a training set of `examples` examples.

        Raises:
            InputError: `epochs` is more than 0 but less than one update.
        """
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        try:
            return steps_of_epochs(self.epochs, examples, self.batch_size)
        except ValueError as error:
            raise InputError(f"training: epochs: {error}") from None
