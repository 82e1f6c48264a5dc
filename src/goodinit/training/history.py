"""The history of a training run: the metrics of its steps, and the time that it took."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["ACTIVITIES", "History"]

ACTIVITIES = ("training", "evaluating", "diagnosing")  # among which the wall time is divided


@dataclass
class History:
    """The history of a training run.

    Args:
        steps: number of updates.
        diverged_at: for each model of a stack (a single model is a stack of one) the first step whose loss was not
            finite or too large; 0 if there is none.
        series: {name: (steps, values)}, the values at those steps; those of a stack have a first dimension S.
        seconds: {activity: wall time}, see `ACTIVITIES`.
    """

    steps: int = 0
    diverged_at: NDArray[np.int64] | None = None
    series: dict[str, tuple[list[int], list[Any]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ACTIVITIES, 0.0))

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Append {name: value} at a step."""
        for name, value in values.items():
            self.extend(name, [step], [value])

    def extend(self, name: str, steps: list[int], values: list[Any]) -> None:
        """Append the values of one series at several steps."""
        past_steps, past_values = self.series.setdefault(name, ([], []))
        past_steps.extend(steps)
        past_values.extend(values)

    def state_dict(self) -> dict[str, Any]:
        """Return the history as tensors and plain data."""
        series = {
            name: (torch.tensor(steps), torch.from_numpy(np.array(values)))
            for name, (steps, values) in self.series.items()
        }
        diverged_at = None if self.diverged_at is None else torch.from_numpy(self.diverged_at)
        return {"steps": self.steps, "diverged_at": diverged_at, "series": series, "seconds": dict(self.seconds)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the history with this state."""
        series = {name: (steps.tolist(), list(values.numpy())) for name, (steps, values) in state["series"].items()}
        diverged_at = None if state["diverged_at"] is None else state["diverged_at"].numpy()
        return cls(state["steps"], diverged_at, series, dict(state["seconds"]))
