"""What is done beside the updates of a training."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from goodinit.training.loop import Callback, Loop, Training

__all__ = ["Checkpointing", "LearningRate", "Observation", "Progress", "ResetOptimizer", "evaluations"]


class Observation(Callback):
    """Add what a function returns to the history: at step 0, at regular steps, and at the last.

    Args:
        observe: a function of the step that returns {name: array}; if it remembers anything between steps, it has
            `state`, a list of the tensors.
        activity: the name under which its seconds are counted.
        every: the number of steps between two observations, or None.
        first: the step that `every` counts from.
        at_end_only: observe after the last step alone.
    """

    def __init__(
        self,
        observe: Callable[[int], Mapping[str, Any]],
        activity: str,
        every: int | None = None,
        first: int = 0,
        *,
        at_end_only: bool = False,
    ) -> None:
        self._observe, self._activity = observe, activity
        self._every, self._first, self._at_end_only = every, first, at_end_only
        self._last: int | None = None

    def start(self, loop: Loop) -> None:
        if not self._at_end_only:
            self._add(loop)

    def after_update(self, loop: Loop) -> None:
        since = loop.step - self._first
        if self._every and not self._at_end_only and since >= 0 and since % self._every == 0:
            self._add(loop)

    def end(self, loop: Loop) -> None:
        if self._last != loop.step:
            self._add(loop)

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last, "tensors": [tensor.cpu() for tensor in getattr(self._observe, "state", ())]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last = state["last"]
        for tensor, value in zip(getattr(self._observe, "state", ()), state["tensors"], strict=True):
            tensor.copy_(value)

    def _add(self, loop: Loop) -> None:
        self._last = loop.step
        with loop.timed(self._activity):
            loop.history.add(loop.step, self._observe(loop.step))


def evaluations(training: Training, evaluate: Callable[[Sequence[str]], Mapping[str, Any]]) -> list[Callback]:
    """Return the observations that evaluate the parts of the data when a Training says so.

    Args:
        training: says which parts, and when.
        evaluate: a function of the names of the parts that returns {name: array}.
    """
    every, first = training.evaluate_every, training.evaluate_from
    regular = Observation(lambda step: evaluate(training.evaluate_on), "evaluating", every, first)
    further = [part for part in training.evaluate_at_end_on if part not in training.evaluate_on]
    at_end = [Observation(lambda step: evaluate(further), "evaluating", at_end_only=True)] if further else []
    return [regular, *at_end]


class LearningRate(Callback):
    """Multiply the optimizer's learning rates by a function of the number of updates."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> None:
        self._optimizer, self._factor = optimizer, factor
        self._initial = [group["lr"] for group in optimizer.param_groups]

    def before_update(self, loop: Loop) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._initial, strict=True):
            group["lr"] = rate * self._factor(loop.step)


class ResetOptimizer(Callback):
    """Clear the optimizer's state after given numbers of updates, as if it were new."""

    def __init__(self, optimizer: torch.optim.Optimizer, steps: Collection[int]) -> None:
        self._optimizer, self._steps = optimizer, frozenset(steps)

    def before_update(self, loop: Loop) -> None:
        if loop.step in self._steps:
            self._optimizer.state.clear()
            for group in self._optimizer.param_groups:
                group["step"] = 0


class Progress(Callback):
    """Report the step and the latest losses, (S,), whenever losses are fetched."""

    def __init__(self, report: Callable[[int, np.ndarray], None]) -> None:
        self._report = report

    def losses_fetched(self, loop: Loop, losses: np.ndarray) -> None:
        self._report(loop.history.steps, losses)


class Checkpointing(Callback):
    """Save the state of the loop whenever a checkpoint is due; the last of the callbacks, as it saves the others'."""

    def __init__(self, due: Callable[[], bool], save: Callable[[dict[str, Any]], None]) -> None:
        self._due, self._save = due, save

    def after_update(self, loop: Loop) -> None:
        if self._due():
            self._save(loop.state_dict())
