"""What a study says, checked before anything is run: its runs' parts, and what it wants to see of them.  No torch."""

import contextlib
import json

from goodinit import records
from goodinit.datasets import catalog
from goodinit.errors import InputError, nearest
from goodinit.studies import components

__all__ = ["at", "outputs", "runs"]


@contextlib.contextmanager
def at(place):
    """Put the place in a file before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def runs(planned):
    """Check the runs' parts against the functions that they name.

    Raises:
        InputError: an option is unknown or of the wrong type, or something is missing.
    """
    checked = set()
    for run in planned:
        for part, options in run.parts.items():
            for item in options if part == "diagnostics" else [options]:
                if (key := (part, json.dumps(item, default=str))) not in checked:
                    checked.add(key)
                    components.check(part, item)
        _complete(run.parts)


def outputs(study):
    """Check what a study says of tables, figures, reported numbers and claims against its axes.

    Raises:
        InputError: there is no such axis, label, figure, predicate or option, or a claim's id or a deviation stands
            twice.
    """
    axes = study.axes
    dimensions = [
        one for one in (*records.AXES, "step", "rank") if one != "rank" or "choose" in study.body.get("tune", {})
    ]

    def where(place, chosen):
        for axis, label in chosen.items():
            if axis not in [*axes, *dimensions]:
                raise InputError(f"{place}: unknown axis {axis!r}{nearest(axis, [*axes, *dimensions])}")
            for one in (label if isinstance(label, list) else [label]) if axis in axes else []:
                if one not in list(axes[axis]):  # equality: what is wrong may have no hash
                    raise InputError(f"{place}.{axis}: unknown value {one!r}{nearest(one, axes[axis])}")

    for index, item in enumerate(study.body["table"]):
        where(f"table.{index}.where", item.get("where", {}))
    for index, item in enumerate(study.body.get("reported", [])):
        where(f"reported.{index}.where", item["where"])
    for name, figure in study.body.get("figures", {}).items():
        if figure.get("each", next(iter(axes), None)) not in [*axes, None]:
            raise InputError(f"figures.{name}.each: unknown axis {figure['each']!r}{nearest(figure['each'], axes)}")
    for name, figure in study.figures().items():
        options = {"name" if key == "kind" else key: value for key, value in figure.items()}
        where(f"figures.{name}.where", options.pop("where", {}))
        options.pop("title", None)
        with at(f"figures.{name}"):
            components.check("figure", options)
        for key in {"hue", "row", "col"} & {key for key, value in options.items() if isinstance(value, str)}:
            if options[key] != "metric":
                where(f"figures.{name}.{key}", {options[key]: []})
    _unique(study.body)
    for claim in study.body.get("claims", []):
        ((predicate, options),) = claim["test"].items()
        place = f"claims.{claim['id']}"
        with at(place):
            components.check("test", {"name": predicate} | options)
        for key in ("where", "better", "worse", "start", "end"):
            where(f"{place}.{key}", options.get(key, {}))
        for item in options.get("order", []):
            for condition in item if isinstance(item, list) else [item]:
                where(f"{place}.order", condition)


def _unique(body):
    deviations, ids = body.get("deviations", []), [claim["id"] for claim in body.get("claims", [])]
    for index, sentence in enumerate(deviations):
        if (first := deviations.index(sentence)) < index:
            raise InputError(f"deviations.{index}: the same as deviations.{first}: remove one of the two")
    for index, name in enumerate(ids):
        if name in ids[:index]:
            raise InputError(f"claims: the id {name!r} stands twice")


def _complete(parts):
    for part in ("data", "model", "init", "training"):
        if part not in parts:
            raise InputError(f"fixed: {part} is missing")
    if "path" in parts["data"]:  # of what is written below the data folder, before anything else looks at it
        try:
            catalog.check_folder_name(parts["data"]["path"])
        except ValueError as error:
            raise InputError(f"data.{error}") from None
    training = parts["training"]
    if (training.get("steps") is None) == (training.get("epochs") is None):
        raise InputError("training: give either steps or epochs")
    if "optimizer" not in parts and "schedule" in parts:
        raise InputError("fixed: optimizer is missing; a schedule is of its learning rate")
    if "optimizer" not in parts and (training.get("steps") or training.get("epochs")):
        raise InputError("fixed: optimizer is missing; only a study of 0 steps needs none")
