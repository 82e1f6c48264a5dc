"""Estimates of what runs cost, before any is trained: floating-point operations and memory."""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from goodinit import studies
from goodinit.datasets import catalog
from goodinit.datasets.splits import MAX_DEVICE_BYTES
from goodinit.errors import input_errors
from goodinit.methods.contracts import UpdateRule
from goodinit.studies import components, settings
from goodinit.training import build, operations

__all__ = ["Cost", "DataSize", "data_size", "estimate", "evaluated_examples", "format_duration"]


ASSUMED_SLOTS = 2  # of an optimizer that does not declare them, such as one of torch; Adam has as many


class Cost(NamedTuple):
    """What runs cost.

    Args:
        training: floating-point operations of training.
        evaluation: floating-point operations of evaluation.
        memory: bytes that the largest run needs on its device.
    """

    training: int
    evaluation: int
    memory: int

    @property
    def operations(self) -> int:
        """The operations of training and evaluation."""
        return self.training + self.evaluation


class DataSize(NamedTuple):
    """The size of a data set.

    Args:
        shape: the shape of an input.
        classes: number of classes, 0 if there are none.
        examples: {split: number of examples}.
        example_bytes: bytes of one stored example.
    """

    shape: torch.Size
    classes: int
    examples: dict[str, int]
    example_bytes: int


def estimate(runs: Sequence[studies.Run], batch_size: int | None = None) -> Cost:
    """Return what runs cost, from counting operations on one batch without data.

    Not counted are initializers that use data, diagnostics, and operations other than matrix products and convolutions.
    The memory of an optimizer that is not an `UpdateRule` is taken to be that of Adam.

    Args:
        runs: the runs, of any studies.
        batch_size: number of examples in a mini-batch; None for that of each run.

    Raises:
        InputError: a model or its options cannot be used.
    """
    options = {} if batch_size is None else {"batch_size": batch_size}
    costs = [_estimate_run({**run.parts, "training": run.parts["training"] | options}) for run in runs]
    return Cost(
        sum(cost.training for cost in costs),
        sum(cost.evaluation for cost in costs),
        max((cost.memory for cost in costs), default=0),
    )


def format_duration(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes, hours or days."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
    unit, size = next((pair for pair in units if seconds >= pair[1] * (2 if pair[0] == "days" else 1)), units[-1])
    return f"{seconds / size:.1f} {unit}"


def data_size(part: Mapping[str, Any]) -> DataSize:
    """Return the size of the data set that a part of a run names, without reading it."""
    filled = components.fill("data", part)
    name = catalog.prepared_name(filled)
    if name is None:  # generated
        splits = components.resolve("data", part["name"])(None, torch.Generator(), **build.options(part))
        images = splits.train.images
        examples = {"train": len(images), "validation": 0, "test": 0}
        return DataSize(images.shape[1:], splits.classes, examples, images[0].nbytes)
    shape, classes, train_examples, test_examples = catalog.size_of(name, settings.data_root())
    validation_examples = filled["validation_examples"]
    examples = {
        "train": (filled["train_examples"] or train_examples) - validation_examples,
        "validation": validation_examples,
        "test": filled["test_examples"] or test_examples,
    }
    side = filled.get("crop") or filled.get("size")
    return DataSize(torch.Size((shape[0], side, side) if side else shape), classes, examples, math.prod(shape))


def evaluated_examples(training: studies.Training, steps: int, size: DataSize) -> int:
    """Return the number of examples that a run evaluates, counting those of each evaluation."""
    if not size.classes:
        return 0
    regular = sum(size.examples[split] for split in training.evaluate_on)
    at_end = sum(size.examples[split] for split in training.splits_at_end)
    return regular * training.evaluation_steps.count(steps) + at_end


def _estimate_run(parts: Mapping[str, Any]) -> Cost:
    training = studies.Training(**parts["training"])
    with input_errors():
        size = data_size(parts["data"])
        steps = training.total_steps(size.examples["train"])
        model = json.dumps({part: parts[part] for part in ("model", "objective")}, sort_keys=True)
        count = functools.partial(_count, model, size.shape, size.classes)
        slots = _slots(parts, _parameters(model, size.shape, size.classes)) if steps else 0
        forward = count(training.batch_size, backward=False)
        step = count(training.batch_size, backward=True) if steps else operations.Count(0, 0, 0)
        evaluated = evaluated_examples(training, steps, size)
        evaluation_batch = min(
            build.evaluation_batch("cuda", size.shape, training.batch_size), max(size.examples.values())
        )
        evaluation = count(evaluation_batch, backward=False) if evaluated else forward
    data_bytes = [size.example_bytes * examples for examples in size.examples.values()]
    return Cost(
        steps * (step.operations + forward.operations * training.loss_after_update),
        evaluated * forward.operations // training.batch_size,
        forward.parameter_bytes * (1 + slots)
        + max(step.memory, evaluation.memory)
        + sum(split for split in data_bytes if split <= MAX_DEVICE_BYTES),
    )


def _slots(parts: Mapping[str, Any], parameters: list[tuple[str, nn.Parameter]]) -> int:
    """Return the number of state tensors that the optimizer of a run keeps for each parameter."""
    optimizer = build.call(parts, "optimizer", parameters)
    return optimizer.slots if isinstance(optimizer, UpdateRule) else ASSUMED_SLOTS


@functools.cache
def _parameters(model: str, shape: torch.Size, classes: int) -> list[tuple[str, nn.Parameter]]:
    """Return the named parameters, without values, of a model that is given as JSON."""
    parts = json.loads(model)
    with build.mismatch_errors(model=parts["model"]), torch.device("meta"):
        return list(build.call(parts, "model", shape, classes).named_parameters())


@functools.cache
def _count(model: str, shape: torch.Size, classes: int, batch_size: int, *, backward: bool) -> operations.Count:
    """Return the cost of a model and an objective, given as JSON, on a batch."""
    parts = json.loads(model)
    build_model = functools.partial(build.call, parts, "model", shape, classes)
    with build.mismatch_errors(**parts):
        return operations.count(build_model, build.objective(parts), shape, batch_size, backward=backward)
