"""How the protocol of a study at a scale differs from the published one; computed from the runs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from goodinit.studies.outputs import Where, as_list
from goodinit.studies.runs import Label, Run, fill
from goodinit.studies.study import Study

__all__ = ["differences", "has_other_length", "is_observed_as_published", "matches"]

# What is evaluated and recorded, and how often, is no part of the protocol of training.
EXCLUDED = ("diagnostics", "training.evaluate_", "training.diagnose_every", "data.test_examples")
FULL_PRECISION = ("fp32", "tf32")  # TF32 changes losses by less than the seed does, which a test shows
LENGTH = ("training.steps", "training.epochs")
# What determines the steps at which a run is observed.
OBSERVATION = ("diagnostics", "training.evaluate_", "training.diagnose_every", "training.batch_size", "data", *LENGTH)
OWN_PROTOCOL = "the source gives no protocol; this one is ours"


def matches(labels: Mapping[str, Label], conditions: Sequence[Where]) -> bool:
    """Return whether the labels of a run are those of one of some conditions.

    Args:
        labels: on each axis that the study compares.
        conditions: an axis that is not one of these, such as `layer`, is ignored.
    """
    return any(
        all(labels[axis] in as_list(chosen) for axis, chosen in condition.items() if axis in labels)
        for condition in conditions
    )


def differences(
    study: Study, scale: str, conditions: Sequence[Where] = ({},), *, at_fixed_step: bool = False
) -> list[str]:
    """Return how the runs of some conditions at a scale differ from those of the published protocol.

    Not counted are the number of seeds, evaluations and diagnostics.  Where the source gives no protocol, this is the
    first difference.

    Args:
        study: the study whose protocols are compared.
        scale: the scale whose runs are compared with the published ones.
        conditions: the conditions of these runs; all by default.
        at_fixed_step: whether only values at given steps matter, which do not depend on how long training goes on.

    Returns:
        A text for each difference, such as `training.steps: 1170 instead of 90000`; empty if there is none, or if
        there are no runs at this scale.
    """
    runs, published_runs = study.runs(scale), study.runs(None)
    here, published = _by_labels(runs, conditions), _by_labels(published_runs, conditions)
    if not here:
        return []
    excluded = (*EXCLUDED, *study.tuned, *(LENGTH if at_fixed_step else ()))
    axes = [axis for axis in study.axes if axis != "trial"]
    texts = [OWN_PROTOCOL] if study.own_protocol else []
    for index, axis in enumerate(axes):
        values, all_values = (list(dict.fromkeys(key[index] for key in keys)) for keys in (here, published))
        if set(values) != set(all_values):
            texts.append(f"{axis}: {_listed(values)} instead of {_listed(all_values)}")
    trials, all_trials = _trials(runs), _trials(published_runs)
    if trials != all_trials:
        texts.append(f"trials: {trials} instead of {all_trials}")
    for labels, run in here.items():
        if labels in published:
            texts += _changes(run, published[labels], excluded)
    return list(dict.fromkeys(texts))


def has_other_length(differences: Iterable[str]) -> bool:
    """Return whether some differences include the number of updates, from `differences`."""
    return any(text.startswith(LENGTH) for text in differences)


def is_observed_as_published(study: Study, scale: str) -> bool:
    """Return whether the runs at a scale are observed at the same steps as those of the published protocol.

    Where they are not, a step that a claim names may have been passed without an evaluation.
    """
    here, published = (_by_labels(study.runs(name), ({},)) for name in (scale, None))
    changes = (
        change for labels in here.keys() & published.keys() for change in _changes(here[labels], published[labels], ())
    )
    return not any(change.startswith(OBSERVATION) for change in changes)


def _by_labels(runs: Iterable[Run], conditions: Sequence[Where]) -> dict[tuple[Label, ...], Run]:
    """Return one run for each combination of labels, without that of the trial, under some conditions."""
    chosen: dict[tuple[Label, ...], Run] = {}
    for run in runs:
        if matches(run.labels, conditions):
            chosen.setdefault(tuple(label for axis, label in run.labels.items() if axis != "trial"), run)
    return chosen


def _trials(runs: Iterable[Run]) -> int:
    """Return the number of trials of a random search, 0 if there is none."""
    return len({run.labels["trial"] for run in runs if "trial" in run.labels})


def _changes(run: Run, published: Run, excluded: tuple[str, ...]) -> Iterator[str]:
    """Yield what differs in the parts of two runs."""
    options, published_options = (dict(_flat(fill(item.parts))) for item in (run, published))
    for path in dict.fromkeys([*published_options, *options]):
        here, there = options.get(path), published_options.get(path)
        if path == "training.precision" and here in FULL_PRECISION:
            continue
        if here != there and not path.startswith(excluded):
            yield f"{path}: {_text(here)} instead of {_text(there)}"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options of nested parts with their dotted paths."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _listed(labels: Sequence[Label]) -> str:
    return ", ".join(map(str, labels)) if len(labels) <= 8 else f"{len(labels)} values"


def _text(value: Any) -> str:
    """Return the value of an option as YAML shows it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)
