"""What a study makes of its runs: measures, reported numbers, figures and claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from goodinit.studies.runs import Label

__all__ = ["At", "Claim", "FigureSpec", "Measure", "Reported", "Where"]

# Which recorded steps a measure takes: "last", "lowest", a step, {"last": count} or {"from": step, "to": step}.
At = str | int | Mapping[str, int]
# Conditions: {axis: label, or a list of labels}.
Where = Mapping[str, Label | list[Label]]


@dataclass(frozen=True)
class Measure:
    """One value of each run: a metric at certain steps, under certain conditions."""

    metric: str
    at: At = "last"
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Reported(Measure):
    """A number that the source reports for a measure.

    Args:
        value: the number.
        source: where in the source the number stands.
        verified: whether somebody compared the number with the source.
    """

    value: float = float("nan")
    source: str = ""
    verified: bool = False


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its kind, which is a function of `report.figures`, and the options of that function."""

    kind: str
    options: Mapping[str, Any]
    title: str | None = None
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A sentence of the source, and the test that decides on it.

    Args:
        id: unique in its study.
        says: the sentence.
        source: where the source says it.
        predicate: the name of a function that tests it.
        options: the options of that function.
        needs: the smallest scale at which the test decides.
        note: a remark on the verdict.
    """

    id: str
    says: str
    source: str
    predicate: str
    options: Mapping[str, Any]
    needs: Literal["laptop", "overnight", "paper"] = "laptop"
    note: str = ""
