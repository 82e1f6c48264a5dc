"""What a study makes of its runs: measures, reported numbers, figures and claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from goodinit.studies.runs import Label

__all__ = ["SIDES", "At", "Claim", "FigureSpec", "Measure", "Reported", "Where", "as_list"]

# The options of a claim's test that name one of the conditions that it compares.
SIDES = ("better", "worse", "numerator", "denominator")
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
        runs: the number of runs whose mean it is.
        sd: the standard deviation over these runs, or None if the source does not give it.
        rounded_to: the unit of its last digit, 0 if it is not rounded.
    """

    value: float = float("nan")
    source: str = ""
    verified: bool = False
    runs: int = 1
    sd: float | None = None
    rounded_to: float = 0.0


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
        kind: `claim`, or `question` if the source asks it or the replication adds it.
        note: a remark on the verdict.
        needs_full_training: the decision, `for` or `against` the claim, that shorter training than published does not
            allow, because a network that has not learned yet may still do so; None if there is none.
    """

    id: str
    says: str
    source: str
    predicate: str
    options: Mapping[str, Any]
    kind: Literal["claim", "question"] = "claim"
    note: str = ""
    needs_full_training: Literal["for", "against"] | None = None

    @property
    def conditions(self) -> list[Where]:
        """The conditions that the test names: `where` together with each of its sides."""
        where: Where = self.options.get("where", {})
        sides = [self.options[key] for key in SIDES if key in self.options]
        for item in self.options.get("order", []):
            sides += as_list(item)
        return [{**where, **side} for side in sides or [{}]]

    @property
    def at_fixed_step(self) -> bool:
        """Whether the test takes values at given steps only, not at the end of training or over all of it."""
        steps = [self.options.get("at", "last"), self.options.get("denominator_at", 0)]
        return all(isinstance(step, int) or (isinstance(step, Mapping) and "to" in step) for step in steps)


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and any other value, such as one label or condition, as a list of it."""
    return value if isinstance(value, list) else [value]
