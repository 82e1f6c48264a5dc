"""Validation of a study before anything is run: the parts of its runs, and the axes that its outputs refer to."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from goodinit import records
from goodinit.datasets import catalog
from goodinit.errors import InputError, nearest
from goodinit.studies import components
from goodinit.studies.outputs import SIDES, At, Claim, Where, as_list
from goodinit.studies.runs import Parts, Run, slug
from goodinit.studies.study import Study
from goodinit.studies.training import Training

__all__ = ["check_study"]

COMMON_AXES = (*records.AXES, "step")  # axes of recorded series, which every study has


def check_study(study: Study, scales: Iterable[str]) -> None:
    """Check a study at some scales.

    Raises:
        InputError: a part, option, axis, label, figure or predicate is unknown, something is missing, or the id of a
            claim or a deviation is repeated.
    """
    axes = study.axes
    if not axes:
        raise InputError("compare: nothing is compared: give compare, conditions or tune")
    _check_overwriting(study)
    names = []
    for name, (_, axis) in study.figure_specs.items():
        if axis is not None and axis not in axes:
            raise InputError(f"figures.{name}.each: unknown axis {axis!r}{nearest(axis, axes)}")
        names += [name] if axis is None else [f"{name}_{slug(label)}" for label in axes[axis]]
    _check_repetitions("figures", names)
    for scale in scales:
        try:
            _check_runs(study.runs(scale))
        except InputError as error:
            raise InputError(f"scale {scale}: {error}") from None
    _check_runs(study.runs(None))
    _check_outputs(study)


def _check_overwriting(study: Study) -> None:
    """Check that no axis replaces what an earlier one sets, because its labels would then be wrong."""
    earlier = {path: f"conditions.{label}" for label, changes in study.conditions.items() for path in changes}
    for location, paths in (("compare", study.compare), ("tune.draw", study.tuned)):
        for path in paths:
            for other, place in earlier.items():
                if f"{other}.".startswith(f"{path}."):
                    raise InputError(f"{location}.{path}: it would replace {other} of {place}: set it in one place")
            earlier[path] = location


def _check_runs(runs: Iterable[Run]) -> None:
    """Check the parts of runs against the signatures of the functions that they name."""
    checked = set()
    for run in runs:
        for part, options in run.parts.items():
            if part == "diagnostics" and not isinstance(options, list):
                raise InputError(f"diagnostics: {options!r} is not a list of diagnostics: [] for none")
            for item in options if part == "diagnostics" else [options]:
                if (key := (part, json.dumps(item, default=str))) not in checked:
                    checked.add(key)
                    components.check(part, item)
        _check_combination(run.parts)


def _check_outputs(study: Study) -> None:
    """Check tables, figures, reported numbers and claims against the study's axes."""
    for key, measures in (("table", study.table), ("reported", study.reported)):
        for index, measure in enumerate(measures):
            _check_where(study, f"{key}.{index}.where", measure.where)
            _check_at(f"{key}.{index}.at", measure.at)
    for index, reported in enumerate(study.reported):
        if reported.sd is not None and reported.runs < 2:
            location = f"reported.{index}.runs"
            raise InputError(f"{location}: must be at least 2 for a standard deviation, not {reported.runs}")
    if study.ranking is not None:
        _check_at("tune.choose.at", study.ranking.at)
    for name, figure in study.figures.items():
        _check_where(study, f"figures.{name}.where", figure.where)
        _check_component(f"figures.{name}", "figure", figure.kind, figure.options)
        _check_figure_options(f"figures.{name}", figure.options)
        for option in ("col", "hue", "row"):
            axis = figure.options.get(option)
            if isinstance(axis, str) and axis != "metric":
                _check_where(study, f"figures.{name}.{option}", {axis: []})
    _check_repetitions("deviations", study.deviations)
    _check_repetitions("claims", [claim.id for claim in study.claims])
    for claim in study.claims:
        _check_claim(study, claim)


def _check_claim(study: Study, claim: Claim) -> None:
    location = f"claims.{claim.id}"
    _check_component(location, "test", claim.predicate, claim.options)
    for key in ("where", *SIDES):
        _check_where(study, f"{location}.{key}", claim.options.get(key, {}))
    for conditions in claim.options.get("order", []):
        for condition in as_list(conditions):
            _check_where(study, f"{location}.order", condition)
    _check_test(location, claim)
    if claim.predicate == "agrees" and not study.reported_number(claim).verified and claim.kind == "question":
        raise InputError(f"{location}: a question needs a number that is verified: verify it, or make this a claim")


def _check_test(location: str, claim: Claim) -> None:
    """Check the bounds of a test, its steps, and the conditions that it compares."""
    options, location = claim.options, f"{location}: {claim.predicate}"
    for key in ("at", "denominator_at"):
        _check_at(f"{location}: {key}", options.get(key, "last"))
    bounds = {key: options[key] for key in ("above", "below") if options.get(key) is not None}
    if claim.predicate in ("within", "share", "ratio") and not bounds:
        raise InputError(f"{location}: no bound: give above, below or both")
    if len(bounds) == 2 and bounds["above"] >= bounds["below"]:
        above, below = bounds["above"], bounds["below"]
        raise InputError(f"{location}: above {above:g} and below {below:g} leave nothing between them")
    for key, bound in bounds.items():
        if claim.predicate == "share" and not 0 <= bound <= 1:
            raise InputError(f"{location}: {key}: must be from 0 to 1, as a share is, not {bound:g}")
        if claim.predicate == "ratio" and bound <= 0:
            raise InputError(f"{location}: {key}: must be more than 0, as a ratio is, not {bound:g}")
    if (between := options.get("between")) is not None:
        ends = [end for end in between if end is not None]
        if len(between) != 2 or ends != sorted(ends):
            raise InputError(f"{location}: between: {between} is not [low, high]")
    if claim.predicate == "agrees":
        _check_agreement(location, options)
    if claim.predicate in ("beats", "ranks"):
        order = options.get("order", [options.get("better"), options.get("worse")])
        if len(order) < 2 or not all(order):
            raise InputError(f"{location}: give at least two conditions to compare, none of them empty")


def _check_agreement(location: str, options: Mapping[str, Any]) -> None:
    """Check the tolerance and the window of the test `agrees`."""
    if options["within"] <= 0:
        raise InputError(f"{location}: within: must be more than 0, not {options['within']:g}")
    window, at = options.get("window", 1), options.get("at", "last")
    if window != 1 and not isinstance(at, int):
        raise InputError(f"{location}: window: needs a step: give at as a number, not {at!r}")
    if window != 1 and not 1 <= window <= at:
        raise InputError(f"{location}: window: must be from 1 to the step at, {at}, not {window}")


def _check_at(location: str, at: At) -> None:
    """Check that a range of steps is not empty."""
    if isinstance(at, Mapping) and at.get("from", 0) > at.get("to", math.inf):
        raise InputError(f"{location}: from must be at most to, {at['to']}, not {at['from']}")


def _check_figure_options(location: str, options: Mapping[str, Any]) -> None:
    """Check the ranges of the options of a figure, and that it shows each axis once."""
    for name, minimum in (("wrap", 1), ("smooth", 0)):
        if (value := options.get(name, minimum)) < minimum:
            raise InputError(f"{location}.{name}: must be at least {minimum}, not {value}")
    if (smooth := options.get("smooth", 0)) and smooth % 2 == 0:
        raise InputError(f"{location}.smooth: must be odd, so that the window has a middle, not {smooth}")
    for name in ("x", "y_limits", "curvatures"):
        if isinstance(value := options.get(name), list) and len(value) != 2:
            raise InputError(f"{location}.{name}: {value} is not a list of two")
    axes = [options.get(name) for name in ("hue", "col", "row", "x")]
    for axis in axes:
        if isinstance(axis, str) and axes.count(axis) > 1:
            raise InputError(f"{location}: axis {axis!r} is shown twice: name another one")
    if options.get("y") == []:
        raise InputError(f"{location}.y: give at least one metric")


def _check_component(location: str, part: str, name: str, options: Mapping[str, Any]) -> None:
    try:
        components.check(part, {"name": name, **options})
    except InputError as error:
        raise InputError(f"{location}: {error}") from None


def _check_where(study: Study, location: str, where: Where) -> None:
    """Check that each axis exists, and, of the axes that the study compares, each label."""
    axes = study.axes
    allowed = [*axes, *COMMON_AXES, *(["rank"] if study.ranking else [])]
    for axis, chosen in where.items():
        if axis not in allowed:
            raise InputError(f"{location}: unknown axis {axis!r}{nearest(axis, allowed)}")
        for label in as_list(chosen) if axis in axes else []:
            if label not in list(axes[axis]):  # a list, since a wrong label may have no hash
                raise InputError(f"{location}.{axis}: unknown value {label!r}{nearest(label, axes[axis])}")


def _check_repetitions(location: str, texts: Collection[str]) -> None:
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        if text in first:
            raise InputError(
                f"{location}.{index}: the same as {location}.{first[text]} ({text!r}): remove one of the two"
            )
        first[text] = index


def _check_combination(parts: Parts) -> None:
    """Check that the parts of a run are complete and fit each other."""
    for part in ("data", "model", "init", "training"):
        if part not in parts:
            raise InputError(f"fixed: {part} is missing")
    if "path" in parts["data"]:  # checked before anything accesses a path below the data folder
        try:
            catalog.check_folder_name(parts["data"]["path"])
        except ValueError as error:
            raise InputError(f"data.{error}") from None
    training = Training(**parts["training"])
    if "optimizer" not in parts and "schedule" in parts:
        raise InputError("fixed: optimizer is missing; a schedule is of its learning rate")
    if "optimizer" not in parts and (training.steps or training.epochs):
        raise InputError("fixed: optimizer is missing; only a study of 0 steps needs none")
