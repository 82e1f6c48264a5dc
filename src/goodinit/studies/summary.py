"""A summary of the protocol of a study at a scale, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from goodinit.studies.study import Study

__all__ = ["lines"]

MAX_LABELS = 12  # of an axis that are listed one by one


def lines(study: Study, scale: str) -> list[str]:
    """Return the protocol of a study at a scale: one line for each part, for each axis, and for the number of runs.

    The lines are derived from the runs, so that they say what is trained.  Without runs there are none.
    """
    runs = study.runs(scale)
    if not runs:
        return []
    protocol = []
    for part in dict.fromkeys(part for run in runs for part in run.parts):
        values = [run.parts.get(part) for run in runs]
        if all(value == values[0] for value in values):
            protocol += [f"{part}: {_part(values[0])}"] if values[0] else []
        elif shared := _shared(values):
            protocol.append(f"{part}: {_part(shared)}, and what is compared")
    for axis in runs[0].labels:
        labels = list(dict.fromkeys(str(run.labels[axis]) for run in runs))
        if axis == "trial":
            protocol.append(f"random search: {len(labels)} trials, drawn separately for each seed")
            continue
        listed = "; ".join(labels)
        if len(labels) > MAX_LABELS:
            listed = f"{len(labels)} from {labels[0]} to {labels[-1]}"
        protocol.append(f"compared: {axis.removesuffix('.name')}: {listed}")
    seeds = len({run.seed for run in runs})
    return [*protocol, f"{len(runs)} runs, {seeds} {'seed' if seeds == 1 else 'seeds'} of each"]


def _shared(parts: Sequence[Any]) -> dict[str, Any]:
    """Return the options that are equal in all parts; none if a part is missing in a run."""
    if not all(isinstance(part, dict) for part in parts):
        return {}
    first = parts[0]
    return {key: value for key, value in first.items() if all(key in part and part[key] == value for part in parts)}


def _part(part: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    if not isinstance(part, Mapping):
        return "; ".join(map(_part, part))
    options = [f"{key} {_value(value)}" for key, value in part.items() if key != "name"]
    return ", ".join([part["name"], *options] if "name" in part else options)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
