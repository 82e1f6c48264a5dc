"""The record of one run: its specification, its outcome, and the numbers measured in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from numpy.typing import NDArray

__all__ = ["AXES", "STATUSES", "RunRecord", "Series", "Status", "guessing_bound"]

Status = Literal["finished", "diverged"]
STATUSES: tuple[Status, ...] = get_args(Status)

# Axes that a series may have after its steps, and the number of the first position on each.
AXES = {"layer": 1, "parameter": 1, "coordinate": 1, "bin": 0}


class Series(NamedTuple):
    """A metric at several steps.

    Attributes:
        steps: numbers of updates, int (T,).
        values: (T, ...).
        dimensions: names of the axes of `values` after the first.
    """

    steps: NDArray[Any]
    values: NDArray[Any]
    dimensions: tuple[str, ...] = ()


@dataclass
class RunRecord:
    """The record of one run.

    Args:
        id: hash of `parts`, `seed` and the revision of the study.
        seed: the number from which the seeds of all random streams are derived.
        parts: the specification as the study gives it.
        filled: the specification with every default that was in force.
        status: `finished` or `diverged`.
        diverged_at: the step at which the run diverged, or None.
        steps: number of updates done.
        seconds: {activity: wall time}.
        provenance: device, versions, code and data, see `goodinit.records.provenance`.
        series: {metric: Series}.
    """

    id: str
    seed: int
    parts: dict[str, Any]
    filled: dict[str, Any]
    status: Status
    diverged_at: int | None
    steps: int
    seconds: dict[str, float]
    provenance: dict[str, Any]
    series: dict[str, Series] = field(default_factory=dict)


def guessing_bound(parts: Mapping[str, Any], classes: int) -> float | None:
    """Return the loss below which a classifier is better than guessing: 95 % of the entropy of uniform predictions.

    Args:
        parts: the specification of the run.
        classes: number of classes, 0 if there are none.

    Returns:
        0.95 ln(classes), or None unless the objective is the cross-entropy of at least two classes.
    """
    if parts["objective"]["name"] != "cross_entropy" or classes < 2:
        return None
    return 0.95 * math.log(classes)
