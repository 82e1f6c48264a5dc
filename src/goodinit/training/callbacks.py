"""Callbacks of the training loop: observations, optimizer changes, progress and checkpoints."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from goodinit.methods.contracts import Stateful
from goodinit.steps import ObservationSteps
from goodinit.studies.training import Training
from goodinit.training.loop import Callback, Loop

__all__ = ["Checkpointing", "LearningRate", "Observation", "Progress", "ResetOptimizer", "evaluations"]

FIRST_AND_LAST = ObservationSteps()
NO_CONTEXT = nullcontext()


class Observation(Callback):
    """Add the result of a function to the history at step 0, at the steps given, and at the last step.

    Args:
        observe: (step) -> {name: array}; may be `Stateful`.
        activity: the name under which its seconds are counted.
        steps: at which the function is called, besides the first and the last.
        at_end_only: observe only at the last step.
        first: context manager around the observation at step 0, such as one that converts its errors.
        check: raises an error if the result cannot be recorded; None to accept any.
    """

    def __init__(
        self,
        observe: Callable[[int], Mapping[str, Any]],
        activity: str,
        steps: ObservationSteps = FIRST_AND_LAST,
        *,
        at_end_only: bool = False,
        first: AbstractContextManager[None] = NO_CONTEXT,
        check: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._observe, self._activity, self._check = observe, activity, check
        self._steps, self._at_end_only, self._first = steps, at_end_only, first
        self._last: int | None = None

    def start(self, loop: Loop) -> None:
        if not self._at_end_only:
            with self._first:
                self._add(loop)

    def after_update(self, loop: Loop) -> None:
        if self._steps.includes(loop.step) and not self._at_end_only:
            self._add(loop)

    def end(self, loop: Loop) -> None:
        if self._last != loop.step:
            self._add(loop)

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last, "tensors": [tensor.cpu() for tensor in self._tensors()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last = state["last"]
        for tensor, value in zip(self._tensors(), state["tensors"], strict=True):
            tensor.copy_(value)

    def _tensors(self) -> Sequence[Tensor]:
        return self._observe.state if isinstance(self._observe, Stateful) else ()

    def _add(self, loop: Loop) -> None:
        self._last = loop.step
        with loop.timed(self._activity):
            values = self._observe(loop.step)
            if self._check is not None:
                self._check(values)
            loop.history.add(loop.step, values)


def evaluations(training: Training, evaluate: Callable[[Sequence[str]], Mapping[str, Any]]) -> list[Callback]:
    """Return the observations that evaluate the model on the splits, and at the steps, that a Training names.

    Args:
        training: names the splits and the steps.
        evaluate: (names of splits) -> {name: array}.
    """
    regular = Observation(lambda step: evaluate(training.evaluate_on), "evaluating", training.evaluation_steps)
    at_end = Observation(lambda step: evaluate(training.splits_at_end), "evaluating", at_end_only=True)
    return [regular, at_end] if training.splits_at_end else [regular]


class LearningRate(Callback):
    """Multiply the learning rates of the optimizer by a function of the number of updates."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> None:
        self._optimizer, self._factor = optimizer, factor
        self._initial = [group["lr"] for group in optimizer.param_groups]

    def before_update(self, loop: Loop) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._initial, strict=True):
            group["lr"] = rate * self._factor(loop.step)


class ResetOptimizer(Callback):
    """Reset the state of the optimizer after given numbers of updates."""

    def __init__(self, optimizer: torch.optim.Optimizer, steps: Collection[int]) -> None:
        self._optimizer, self._steps = optimizer, frozenset(steps)

    def before_update(self, loop: Loop) -> None:
        if loop.step in self._steps:
            self._optimizer.state.clear()
            for group in self._optimizer.param_groups:
                group["step"] = 0


class Progress(Callback):
    """Report the step and the latest losses, (S,), whenever losses are fetched."""

    def __init__(self, report: Callable[[int, NDArray[np.floating[Any]]], None]) -> None:
        self._report = report

    def losses_fetched(self, loop: Loop, losses: NDArray[np.floating[Any]]) -> None:
        self._report(loop.history.steps, losses)


class Checkpointing(Callback):
    """Save the state of the loop whenever a checkpoint is due; the last callback, because it saves the others' state.

    Args:
        due: returns whether a checkpoint is due.
        save: receives the state of the loop.
    """

    def __init__(self, due: Callable[[], bool], save: Callable[[dict[str, Any]], None]) -> None:
        self._due, self._save = due, save

    def after_update(self, loop: Loop) -> None:
        if self._due():
            self._save(loop.state_dict())
