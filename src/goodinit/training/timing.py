"""Estimates of how long runs take on a device, from timing a few updates of their models."""

import functools
import itertools
import json
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from goodinit import studies
from goodinit.datasets.tensors import Examples
from goodinit.errors import input_errors
from goodinit.training import build
from goodinit.training.cost import data_size, evaluated_examples
from goodinit.training.loop import evaluate, fit
from goodinit.training.precision import autocast, effective_precision
from goodinit.training.torch_state import torch_state

__all__ = ["measure_rate", "measure_seconds"]

TIMED_SECONDS = 1.0  # for at least which each model is trained, after one update to warm up


def measure_rate(device: torch.device | str) -> float:
    """Return the floating-point operations per second of a device, with all threads, on products of large matrices."""
    matrix = torch.rand(2048, 2048, device=device)

    def seconds(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            product = matrix @ matrix
        product[0, 0].item()  # waits for a GPU
        return time.perf_counter() - start

    seconds(1)
    return 3 * 2 * 2048**3 / seconds(3)


def measure_seconds(runs: Sequence[studies.Run], device: torch.device, threads: int | None = None) -> float:
    """Return the seconds that runs would take on a device, from timing a few updates of each of their models.

    The models are trained on random inputs, so no data are needed. Not counted are initializers that use data,
    diagnostics and augmentation; runs that diverge are assumed not to end early.

    Args:
        runs: the runs, of any studies.
        device: the device on which the updates are timed.
        threads: number of CPU threads, or None for the number that torch is set to.

    Raises:
        InputError: a model or its options cannot be used.
    """
    total = 0.0
    for run in runs:
        parts = run.parts
        training = studies.Training(**parts["training"])
        with input_errors():
            size = data_size(parts["data"])
            steps = training.total_steps(size.examples["train"])
        timed = {part: parts[part] for part in ("model", "objective", "optimizer", "update") if part in parts}
        timed["training"] = {
            "steps": 1,
            "batch_size": training.batch_size,
            "precision": training.precision,
            "loss_after_update": training.loss_after_update,
            "stop_when_diverged": False,
        }
        if steps or size.classes:
            seconds = _measure(json.dumps(timed, sort_keys=True), size.shape, size.classes, device, threads)
            total += steps * seconds.update + evaluated_examples(training, steps, size) * seconds.evaluation
    return total


class _Seconds(NamedTuple):
    """The seconds of one update, and of the evaluation of one example."""

    update: float
    evaluation: float


@functools.cache
def _measure(text: str, shape: torch.Size, classes: int, device: torch.device, threads: int | None) -> _Seconds:
    """Return the times of a model whose parts are given as JSON."""
    parts = json.loads(text)
    training = studies.Training(**parts["training"])
    tested = {part: parts[part] for part in ("model", "objective")}
    with build.mismatch_errors(**tested), torch_state(device, training.precision, threads):
        model = build.call(parts, "model", shape, classes)
        model = model.to(device).to(memory_format=torch.channels_last)
        objective = build.objective(parts)

        def random_batch(size: int) -> Examples:
            labels = torch.randint(max(classes, 1), (size,))
            return Examples(torch.randn(size, *shape), labels).to(device)

        def train(steps: int) -> float:
            batches = itertools.repeat(random_batch(training.batch_size), steps)
            return fit(model, objective, batches, update, training).seconds["training"] / steps

        def evaluate_once(examples: Examples) -> float:
            start = time.perf_counter()
            evaluate(model, objective, [examples])  # copies its result to the CPU, and so waits for a GPU
            return (time.perf_counter() - start) / len(examples.labels)

        with autocast(effective_precision(training.precision, device), device):
            examples = random_batch(build.evaluation_batch(device.type, shape, training.batch_size))
            evaluate_once(examples)
            evaluation = evaluate_once(examples) if classes else 0.0
            if "optimizer" not in parts:
                return _Seconds(0.0, evaluation)
            optimizer = build.call(parts, "optimizer", model.named_parameters())
            update = build.call(parts, "update", model, optimizer, torch.Generator())
            return _Seconds(train(max(3, round(TIMED_SECONDS / train(1)))), evaluation)
