"""A study: one question, with its runs, table, figures and claims."""

import copy
import functools
import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goodinit.errors import InputError
from goodinit.studies.outputs import Claim, FigureSpec, Measure, Reported
from goodinit.studies.runs import DEFAULTS, PARTS, Job, Label, Run, expand_names, label_of, set_option, slug
from goodinit.studies.search import RandomSearch, Ranking

__all__ = ["SCALES", "Study"]

SCALES = ("demo", "laptop", "overnight", "paper")
MAX_RUNS = 100_000  # of a study at one scale, since all of them are listed before any is trained

Axes = dict[str, dict[Label, Any]]


@dataclass(frozen=True)
class Study:
    """One question, with its runs, table, figures and claims, as its file states them.

    Args:
        work: the work that is replicated, the name of the folder.
        name: the name of the file without its suffix.
        path: the file.
        title, question: shown in figures and pages.
        source: which part of the work is replicated.
        own_protocol: whether the source gives no protocol, so that the body is ours.
        fixed: the parts that all runs share, as written.
        compare: for each axis, the values that are compared, or `{label: value}`.
        conditions: `{label: {dotted path: value}}`.
        search: the random search, or None.
        seeds: number of seeds.
        deterministic: whether runs do not depend on their seed.
        pack: maximum number of runs in a job.
        resources: resources that a job requests from a cluster.
        revision: increased when a fixed fault makes earlier records wrong.
        scales: for each scale the changes of the above: `{key or dotted path: value}`.
        table: the measures in its table.
        figure_specs: the figures as written: `{name: (figure, axis of which each label has one figure, or None)}`.
        reported: numbers that the source reports.
        claims: what the source claims.
        deviations: where the replication differs from the source.
    """

    work: str
    name: str
    path: Path
    title: str
    question: str
    source: str
    fixed: Mapping[str, Any]
    compare: Mapping[str, Sequence[Any] | Mapping[Label, Any]] = field(default_factory=dict)
    conditions: Mapping[Label, Mapping[str, Any]] = field(default_factory=dict)
    search: RandomSearch | None = None
    own_protocol: bool = False
    seeds: int = 1
    deterministic: bool = False
    pack: int = 1
    resources: Mapping[str, int] = field(default_factory=dict)
    revision: int = 0
    scales: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    table: Sequence[Measure] = ()
    figure_specs: Mapping[str, tuple[FigureSpec, str | None]] = field(default_factory=dict)
    reported: Sequence[Reported] = ()
    claims: Sequence[Claim] = ()
    deviations: Sequence[str] = ()

    @property
    def full_name(self) -> str:
        """`<work>/<name>`."""
        return f"{self.work}/{self.name}"

    @property
    def axes(self) -> Axes:
        """The compared values, `{axis: {label: value}}`, with the axes `condition` and `trial` where there are such.

        The value of a trial is its number: what it draws depends on the seed, see `draws`.
        """
        return self._axes({})

    @property
    def tuned(self) -> tuple[str, ...]:
        """The dotted paths of the hyper-parameters that the random search draws."""
        return tuple(self.search.distributions) if self.search else ()

    @property
    def ranking(self) -> Ranking | None:
        """How the trials of the random search are ranked, or None."""
        return self.search.ranking if self.search else None

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the file says."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]

    @functools.cached_property
    def figures(self) -> dict[str, FigureSpec]:
        """The figures by name; one that is written with `each` stands for one figure for every label of that axis."""
        figures = {}
        for name, (spec, axis) in self.figure_specs.items():
            if axis is None:
                figures[name] = spec
                continue
            for label in self.axes[axis]:
                where = {**spec.where, axis: label}
                figures[f"{name}_{slug(label)}"] = FigureSpec(spec.kind, spec.options, spec.title, where)
        return figures

    def runs(self, scale: str | None) -> list[Run]:
        """Return the runs at a scale, the first axis outermost and the seeds innermost.

        Args:
            scale: None for the published protocol, which is that of the file without the changes of any scale.

        Raises:
            InputError: there are too many runs, or a dotted path does not lead to an option.
        """
        if scale not in self._runs:
            self._runs[scale] = self._list_runs(scale)
        return list(self._runs[scale])

    def jobs(self, scale: str) -> list[Job]:
        """Return the runs at a scale in jobs of at most `pack` runs."""
        runs, pack = self.runs(scale), self._changes(scale).get("pack", self.pack)
        return [Job(tuple(runs[start : start + pack])) for start in range(0, len(runs), pack)]

    def draws(self, scale: str | None, seed: int) -> dict[int, dict[str, float]]:
        """Return `{trial: {hyper-parameter: value}}` of the random search with one seed; empty if there is none.

        Each seed is a random search of its own.

        Raises:
            InputError: a distribution is not valid.
        """
        return self.search.draw(self._trials(self._changes(scale)), seed) if self.search else {}

    def reported_number(self, claim: Claim) -> Reported:
        """Return the reported number with which the test of a claim, `agrees`, compares.

        Raises:
            InputError: there is none.
        """
        measure = claim.options.get("metric"), claim.options.get("at", "last"), claim.options.get("where", {})
        for reported in self.reported:
            if (reported.metric, reported.at, reported.where) == measure:
                return reported
        raise InputError(f"claims.{claim.id}: no reported value for it: add one under reported")

    def resources_at(self, scale: str) -> Mapping[str, int]:
        """Return the resources that a job at a scale requests from a cluster, as far as the study says."""
        return dict(self._changes(scale).get("resources", self.resources))

    def folders(self, scale: str) -> list[str]:
        """Return the names of the image folders on which the runs at a scale are trained."""
        return sorted({run.parts["data"]["path"] for run in self.runs(scale) if run.parts["data"]["name"] == "folder"})

    @functools.cached_property
    def _runs(self) -> dict[str | None, list[Run]]:
        """The runs at the scales at which they have been listed."""
        return {}

    def _list_runs(self, scale: str | None) -> list[Run]:
        changes = self._changes(scale)
        base = self._base(f"scales.{scale}", changes)
        axes, seeds = self._axes(changes), changes.get("seeds", self.seeds)
        if (count := math.prod(map(len, axes.values())) * seeds) > MAX_RUNS:
            raise InputError(f"{count} runs, of {seeds} seeds: at most {MAX_RUNS} are allowed: compare less")
        draws = [self.draws(scale, seed) for seed in range(seeds)]
        runs = []
        for labels in itertools.product(*axes.values()):
            parts = self._compared(base, axes, labels)
            for seed, trials in enumerate(draws):
                tuned = parts
                if trials:
                    tuned = copy.deepcopy(parts)
                    _set_options(tuned, trials[int(labels[-1])], "tune.draw")
                expanded = {part: expand_names(tuned[part]) for part in PARTS if part in tuned}
                runs.append(Run(expanded, seed, dict(zip(axes, labels, strict=True)), self.revision))
        return runs

    def _changes(self, scale: str | None) -> Mapping[str, Any]:
        """Return what a scale changes; nothing for None, the published protocol."""
        return {} if scale is None else self.scales.get(scale, {})

    def _base(self, location: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts that all runs share under some changes, which are at a location of the file."""
        settings = ["seeds", "pack", "resources", *(f"compare.{axis}" for axis in self.compare)]
        settings += [f"conditions.{label}" for label in self.conditions]
        settings += ["tune.trials"] if self.search else []
        base = copy.deepcopy({**DEFAULTS, **self.fixed})
        options = {path: value for path, value in changes.items() if path not in settings}
        _set_options(base, options, location, (*PARTS, *settings))
        return base

    def _compared(self, base: Mapping[str, Any], axes: Axes, labels: Sequence[Label]) -> dict[str, Any]:
        """Return the parts under one label of each axis."""
        parts = copy.deepcopy(dict(base))
        for (axis, values), label in zip(axes.items(), labels, strict=True):
            if axis == "condition":
                _set_options(parts, values[label], f"conditions.{label}")
            elif axis != "trial":
                _set_options(parts, {axis: values[label]}, "compare")
        return parts

    def _axes(self, changes: Mapping[str, Any]) -> Axes:
        axes: Axes = {}
        if self.conditions:
            conditions = {label: changes.get(f"conditions.{label}", parts) for label, parts in self.conditions.items()}
            axes["condition"] = {label: parts for label, parts in conditions.items() if parts is not None}
        for axis, written in self.compare.items():
            values = changes.get(f"compare.{axis}", written)
            axes[axis] = values if isinstance(values, dict) else {label_of(value): value for value in values}
        if self.search:
            axes["trial"] = {trial: trial for trial in range(1, self._trials(changes) + 1)}
        return axes

    def _trials(self, changes: Mapping[str, Any]) -> int:
        return int(changes.get("tune.trials", self.search.trials if self.search else 0))


def _set_options(
    parts: dict[str, Any], options: Mapping[str, Any], location: str, allowed: Sequence[str] = PARTS
) -> None:
    """Set options at dotted paths; an error message begins with their location in the file."""
    for path, value in options.items():
        try:
            set_option(parts, path, value, allowed)
        except InputError as error:
            raise InputError(f"{location}: {error}") from None
