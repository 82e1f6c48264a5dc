"""From a study's file to its runs and jobs: reading, checking, expanding, naming.  No torch."""

import copy
import functools
import hashlib
import itertools
import json
import math
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from goodinit.datasets import catalog
from goodinit.errors import InputError, nearest
from goodinit.seeds import stream_seed
from goodinit.studies import components, strict_yaml, validation

__all__ = ["SCALES", "Job", "Run", "Study", "fill", "find", "load", "load_all", "works"]

MAXIMUM_RUNS = 100_000  # of a study at one scale: all of them are listed before anything is run
SCALES = ("demo", "laptop", "overnight", "paper")
DEFAULTS = {
    "objective": {"name": "cross_entropy"},
    "update": {"name": "synchronous"},
    "curriculum": {"name": "full"},
    "diagnostics": [],
}
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


@dataclass(frozen=True)
class Run:
    """One training with one seed.

    Args:
        parts: {part: {"name": ..., option: value}} as the study writes them.
        seed: the number that all of the run's random streams start from.
        labels: {axis: label} of what is compared.
        revision: the study's.
    """

    parts: dict
    seed: int
    labels: dict = field(compare=False)
    revision: int = 0

    @functools.cached_property
    def id(self):
        """Return the hash of what the run is, the same whatever it is called and wherever it stands."""
        return _hash({"parts": self.parts, "seed": self.seed, "revision": self.revision})

    @property
    def title(self):
        """Return the run's labels as words."""
        return ", ".join(f"{axis}: {label}" for axis, label in self.labels.items())


@dataclass(frozen=True)
class Job:
    """What one process trains: a name for the record's file, and runs."""

    name: str
    runs: tuple

    @property
    def data(self):
        """Return the names of the data sets that must be prepared before the job is run."""
        names = {catalog.prepared_name(components.fill("data", run.parts["data"])) for run in self.runs}
        return sorted(names - {None})


@dataclass(frozen=True)
class Study:
    """One question, with its runs, table, figures and claims, as its file states them."""

    work: str
    name: str
    path: Path
    body: dict

    @property
    def axes(self):
        """Return {axis: {label: value}} of what is compared; `condition` and `trial` where there are such.

        The value of a trial is its number: what it draws depends on the seed, see `draws`.
        """
        return self._axes({})

    @property
    def tuned(self):
        """Return the hyper-parameters that a random search draws, as dotted paths."""
        return tuple(self.body.get("tune", {}).get("draw", {}))

    def scaled(self, key, scale, default=None):
        """Return a setting of the study (`seeds`, `pack`, `resources`) at a scale."""
        return self.body.get("scales", {}).get(scale, {}).get(key, self.body.get(key, default))

    def runs(self, scale):
        """Return the runs at a scale, the first axis outermost and the seeds innermost."""
        override = self.body.get("scales", {}).get(scale, {})
        known = ["seeds", "pack", "resources", *(f"compare.{axis}" for axis in self.body.get("compare", {}))]
        known += [f"conditions.{label}" for label in self.body.get("conditions", {})]
        known += ["tune.trials"] if self.tuned else []
        base = copy.deepcopy(DEFAULTS | self.body["fixed"])
        for key, value in override.items():
            if key not in known:
                with validation.at(f"scales.{scale}"):
                    _set(base, key, value, [*PARTS, *known])
        axes = self._axes(override)
        seeds = self.scaled("seeds", scale, 1)
        if (count := math.prod(map(len, axes.values())) * seeds) > MAXIMUM_RUNS:
            raise InputError(f"{count} runs, of {seeds} seeds: at most {MAXIMUM_RUNS} are allowed: compare less")
        draws = [self.draws(scale, seed) for seed in range(seeds)] if self.tuned else None
        found = []
        for labels in itertools.product(*axes.values()):
            parts = copy.deepcopy(base)
            for (axis, values), label in zip(axes.items(), labels, strict=True):
                if axis == "trial":
                    continue
                place = f"conditions.{label}" if axis == "condition" else "compare"
                for key, value in (values[label] if axis == "condition" else {axis: values[label]}).items():
                    with validation.at(place):
                        _set(parts, key, value)
            for seed in range(seeds):
                own = parts
                if draws is not None:
                    own = copy.deepcopy(parts)
                    for key, value in draws[seed][labels[-1]].items():
                        with validation.at("tune.draw"):
                            _set(own, key, value)
                named = {part: _named(own[part]) for part in PARTS if part in own}
                found.append(Run(named, seed, dict(zip(axes, labels, strict=True)), self.body.get("revision", 0)))
        return found

    def draws(self, scale, seed):
        """Return {trial: {hyper-parameter: value}} of the random search with one seed at a scale.

        Each seed is a random search of its own.
        """
        trials = self._trials(self.body.get("scales", {}).get(scale, {}))
        drawn = {path: _draw(path, how, trials, seed) for path, how in self.body["tune"]["draw"].items()}
        return {trial + 1: {path: drawn[path][trial] for path in drawn} for trial in range(trials)}

    def jobs(self, scale):
        """Return the runs at a scale in jobs of at most `pack` runs."""
        runs, pack = self.runs(scale), self.scaled("pack", scale, 1)
        return [_job(runs[start : start + pack]) for start in range(0, len(runs), pack)]

    def folders(self, scale):
        """Return the names of the folders of pictures that the runs at a scale are trained on."""
        return sorted({run.parts["data"]["path"] for run in self.runs(scale) if run.parts["data"]["name"] == "folder"})

    def figures(self):
        """Return {figure: options}; a figure with `each` stands for one figure for every label of that axis."""
        found = {}
        for name, figure in self.body.get("figures", {}).items():
            options = {key: value for key, value in figure.items() if key != "each"}
            if "each" not in figure:
                found[name] = options
                continue
            axis = figure["each"]
            for label in self.axes[axis]:
                where = options.get("where", {}) | {axis: label}
                found[f"{name}_{_slug(label)}"] = options | {"where": where}
        return found

    def _axes(self, override):
        conditions = self.body.get("conditions", {})
        conditions = {label: override.get(f"conditions.{label}", parts) for label, parts in conditions.items()}
        conditions = {label: parts for label, parts in conditions.items() if parts is not None}
        axes = {"condition": conditions} if "conditions" in self.body else {}
        for axis, values in self.body.get("compare", {}).items():
            values = override.get(f"compare.{axis}", values)
            axes[axis] = values if isinstance(values, dict) else {_label(value): value for value in values}
        if self.tuned:
            axes["trial"] = {trial: trial for trial in range(1, self._trials(override) + 1)}
        return axes

    def _trials(self, override):
        return override.get("tune.trials", self.body["tune"]["trials"])


def works(configs):
    """Return the names of the works: the folders below `configs`."""
    return tuple(sorted(path.name for path in Path(configs).glob("*/") if any(path.glob("*.yaml"))))


def load_all(configs, chosen=None):
    """Load every study of the chosen works, or of all.

    Raises:
        InputError: there is no such folder or work, or a study's file is wrong.
    """
    known = works(configs)
    if not known:
        raise InputError(f"{configs}: no studies: expected files like {configs}/<work>/<study>.yaml")
    for work in chosen or ():
        if work not in known:
            raise InputError(f"works: unknown work {work!r}{nearest(work, known)}")
    return [load(path) for work in chosen or known for path in sorted((Path(configs) / work).glob("*.yaml"))]


def find(configs, name):
    """Load the study called `<work>/<study>`.

    Raises:
        InputError: there is none, or its file is wrong.
    """
    work, _, study = name.partition("/")
    if work not in works(configs):
        raise InputError(f"{name}: unknown work {work!r}{nearest(work, works(configs))}")
    known = [path.stem for path in (Path(configs) / work).glob("*.yaml")]
    if study not in known:
        raise InputError(f"{name}: unknown study {study!r} of {work}{nearest(study, known)}")
    return load(Path(configs) / work / f"{study}.yaml")


def load(path):
    """Read one study and check all of it, at every scale.

    Raises:
        InputError: anything in it is unknown, missing or of the wrong type; one line with file and key.
    """
    path = Path(path)
    if not re.fullmatch("[a-z][a-z0-9_]*", path.stem):
        raise InputError(f"{path}: a study's file name has small letters, digits and underscores only")
    body = strict_yaml.read(path)
    try:
        strict_yaml.validate(body, "study")
        if body["source"]["work"] != path.parent.name:
            raise InputError(f"source.work: {body['source']['work']!r} is not the folder's name, {path.parent.name!r}")
        study = Study(path.parent.name, path.stem, path, body)
        if not study.axes:
            raise InputError("compare: nothing is compared: give compare, conditions or tune")
        for scale in SCALES:
            with validation.at(f"scale {scale}"):
                validation.runs(study.runs(scale))
        validation.outputs(study)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study


def fill(parts):
    """Return a run's parts with every default of today's signatures filled in."""
    return {
        part: [components.fill(part, item) for item in options]
        if part == "diagnostics"
        else components.fill(part, options)
        for part, options in parts.items()
    }


def _draw(path, how, trials, seed):
    """Return a hyper-parameter's value in each trial of the random search with a seed.

    The stream is the hyper-parameter's own, so that with one more, or more trials, these stay as they are.
    Six digits are kept: the last bits of a power differ from machine to machine, and runs are named by them.
    """
    ((kind, (low, high)),) = how.items()
    logarithmic = kind == "log_uniform"
    if low >= high or (logarithmic and low <= 0):
        raise InputError(f"tune.draw.{path}: {kind}: [{low}, {high}] is not a range{' above 0' * logarithmic}")
    draws = random.Random(stream_seed(seed, f"tune/{path}"))
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    values = [low + (high - low) * draws.random() for _ in range(trials)]
    return [float(f"{10**value if logarithmic else value:.6g}") for value in values]


def _set(parts, path, value, known=PARTS):
    """Set the dotted path in the parts; a part written as a bare name becomes {"name": ...} on the way."""
    *parents, last = words = str(path).split(".")
    if words[0] not in PARTS:
        raise InputError(f"unknown key {path!r}{nearest(path if words[0] == 'compare' else words[0], known)}")
    for key in parents:
        parts[key] = _named(parts.get(key, {}))
        parts = parts[key]
        if not isinstance(parts, dict):
            raise InputError(f"{path}: {key} has no options to change")
    parts[last] = copy.deepcopy(value)


def _named(part):
    """Return a part in full: a bare name is an object without options."""
    if isinstance(part, list):
        return [_named(item) for item in part]
    return {"name": part} if isinstance(part, str) else part


def _label(value):
    """Return how a value of `compare` is called where the study gives no label of its own."""
    if not isinstance(value, dict):
        return str(value) if isinstance(value, list) else value
    return " ".join([str(value.get("name", "")), *(f"{k}={v}" for k, v in value.items() if k != "name")]).strip()


def _slug(label):
    return re.sub(r"[^a-z0-9.]+", "_", str(label).lower()).strip("_")


def _job(runs):
    """Name a job by the labels of its runs, at most two an axis, and by the hash of the runs' ids."""
    words = []
    for axis in runs[0].labels:
        labels = list(dict.fromkeys(_slug(run.labels[axis]) for run in runs))
        words.append("+".join(labels) if len(labels) <= 2 else f"{len(labels)}_{_slug(axis.split('.')[-1])}s")
    seeds = list(dict.fromkeys(run.seed for run in runs))
    words.append(f"seed{seeds[0]}" if len(seeds) == 1 else f"{len(seeds)}_seeds")
    name = "-".join(words)[:100]
    return Job(f"{name}-{runs[0].id if len(runs) == 1 else _hash([run.id for run in runs])}", tuple(runs))


def _hash(value):
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:12]


def _canonical(value):
    """Make 1 and 1.0 the same."""
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
