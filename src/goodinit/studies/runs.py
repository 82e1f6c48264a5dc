"""Runs and jobs: what is trained, as plain data, and the names by which records are found."""

import copy
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goodinit.datasets import catalog
from goodinit.errors import InputError, nearest
from goodinit.studies import components

__all__ = [
    "DEFAULTS",
    "PARTS",
    "Job",
    "Label",
    "Parts",
    "Run",
    "expand_names",
    "fill",
    "label_of",
    "number_of_classes",
    "set_option",
    "slug",
]

# The parts of a run, in the order in which they are written.
PARTS = (
    "data",
    "model",
    "init",
    "objective",
    "optimizer",
    "schedule",
    "update",
    "curriculum",
    "training",
    "diagnostics",
)
# The parts that a study may omit.
DEFAULTS: Mapping[str, Any] = {
    "objective": {"name": "cross_entropy"},
    "update": {"name": "synchronous"},
    "curriculum": {"name": "full"},
    "diagnostics": [],
}

Label = str | int | float | bool
Parts = Mapping[
    str, Any
]  # {part: {"name": ..., option: value}}; `diagnostics` is a list of these; `training` has no name


@dataclass(frozen=True)
class Run:
    """One training with one seed.

    Args:
        parts: the parts as the study writes them, without defaults.
        seed: the seed from which all random streams of the run are derived.
        labels: the label on each axis that the study compares.
        revision: the revision of the study.
    """

    parts: Parts
    seed: int
    labels: Mapping[str, Label] = field(compare=False)
    revision: int = 0

    @functools.cached_property
    def id(self) -> str:
        """The hash of parts, seed and revision; it depends neither on labels nor on the order of keys."""
        return _hash({"parts": self.parts, "seed": self.seed, "revision": self.revision})

    @property
    def title(self) -> str:
        """The labels as text."""
        return ", ".join(f"{axis}: {label}" for axis, label in self.labels.items())


@dataclass(frozen=True)
class Job:
    """The runs that one process trains and records in one file."""

    runs: tuple[Run, ...]

    @functools.cached_property
    def name(self) -> str:
        """The file name of the record: the labels of the runs, at most two for each axis, and a hash of their ids."""
        words = []
        for axis in self.runs[0].labels:
            labels = list(dict.fromkeys(slug(run.labels[axis]) for run in self.runs))
            words.append("+".join(labels) if len(labels) <= 2 else f"{len(labels)}_{slug(axis.split('.')[-1])}s")
        seeds = list(dict.fromkeys(run.seed for run in self.runs))
        words.append(f"seed{seeds[0]}" if len(seeds) == 1 else f"{len(seeds)}_seeds")
        digest = self.runs[0].id if len(self.runs) == 1 else _hash([run.id for run in self.runs])
        return f"{'-'.join(words)[:100]}-{digest}"

    @property
    def data(self) -> list[str]:
        """The names of the data sets that must be prepared before the job is trained."""
        names = (catalog.prepared_name(components.fill("data", run.parts["data"])) for run in self.runs)
        return sorted({name for name in names if name is not None})


def number_of_classes(parts: Parts) -> int:
    """Return the number of classes of the published data set that a run uses, 0 for any other."""
    name = catalog.prepared_name(components.fill("data", parts["data"]))
    return catalog.SIZES[name].classes if name in catalog.SIZES else 0


def fill(parts: Parts) -> dict[str, Any]:
    """Return the parts of a run with every default of the current signatures filled in."""
    return {
        part: [components.fill(part, item) for item in options]
        if part == "diagnostics"
        else components.fill(part, options)
        for part, options in parts.items()
    }


def set_option(parts: dict[str, Any], path: str, value: Any, allowed: Iterable[str] = PARTS) -> None:
    """Set the option at a dotted path in the parts of a run.

    Args:
        parts: changed in place; a part written as a name becomes `{"name": ...}` if an option of it is set.
        path: such as `optimizer.lr`, or the name of a part.
        value: copied.
        allowed: the keys that an error message lists.

    Raises:
        InputError: the path does not begin with a part, or leads through a value that has no options.
    """
    *parents, last = keys = path.split(".")
    if keys[0] not in PARTS:
        raise InputError(f"unknown key {path!r}{nearest(path if keys[0] == 'compare' else keys[0], allowed)}")
    for key in parents:
        parts[key] = expand_names(parts.get(key, {}))
        parts = parts[key]
        if not isinstance(parts, dict):
            raise InputError(f"{path}: {key} has no options to change")
    parts[last] = copy.deepcopy(value)


def expand_names(part: Any) -> Any:
    """Return a part in which each bare name is replaced by `{"name": ...}`."""
    if isinstance(part, list):
        return [expand_names(item) for item in part]
    return {"name": part} if isinstance(part, str) else part


def label_of(value: Any) -> Label:
    """Return the label of a value of `compare` to which the study gives none."""
    if isinstance(value, dict):
        options = (f"{key}={option}" for key, option in value.items() if key != "name")
        return " ".join([str(value.get("name", "")), *options]).strip()
    return value if isinstance(value, Label) else str(value)


def slug(label: Label) -> str:
    """Return a label as a part of a file name: lowercase letters, digits, dots and underscores."""
    return re.sub(r"[^a-z0-9.]+", "_", str(label).lower()).strip("_")


def _hash(value: Mapping[str, Any] | Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    """Return a value in which 1.0 is written as 1, so that both have the same hash."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
