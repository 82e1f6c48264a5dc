"""Training of runs, one at a time or several as a stack, from their parts to their records."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from goodinit import records, studies
from goodinit.errors import input_errors
from goodinit.records import provenance
from goodinit.seeds import stream_seed
from goodinit.steps import ObservationSteps
from goodinit.studies import components
from goodinit.training import build, outcome
from goodinit.training.callbacks import Checkpointing, LearningRate, Observation, Progress, ResetOptimizer, evaluations
from goodinit.training.checkpoint import Checkpoint, fingerprint, restore, training_state
from goodinit.training.diagnostic_values import DiagnosticValues
from goodinit.training.history import History
from goodinit.training.loop import Callback, evaluate, fit
from goodinit.training.precision import autocast
from goodinit.training.setup import Setup, set_up
from goodinit.training.torch_state import torch_state

__all__ = ["ProgressCallback", "execute"]

# Models in a stack: more do not fit the cache of a core; on a GPU, where launching operations dominates, not measured.
MAX_STACK_SIZE = {"cpu": 5, "cuda": 50}

# (runs that are trained together, step, number of steps, their latest losses)
ProgressCallback = Callable[[Sequence[studies.Run], int, int, NDArray[np.floating[Any]]], None]


def execute(
    runs: Sequence[studies.Run],
    *,
    data_root: str | Path,
    device: torch.device,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[records.RunRecord]:
    """Train runs; neighbors that differ in seed and initializer alone are trained together.

    On one CPU thread the results do not depend, in any bit, on how many runs are trained together, except that a run
    that diverged is observed until all runs of its stack have ended.

    Args:
        runs: the runs of one job.
        data_root: the data folder.
        device: the device on which they are trained.
        threads: number of CPU threads, or None for the number that torch is set to.
        progress: called as (runs, step, steps, losses), or None.
        checkpoint: stores the state of the training and restores an interrupted one, or None.

    Yields:
        The record of each run, in order.

    Raises:
        InputError: the data are missing, or the value of an option is out of range.
        OSError, Stopped: from the checkpoint, see `Checkpoint.save`.
    """
    provenance.code()  # determined before the training, since files may change during it
    for _, group in itertools.groupby(runs, lambda run: {**run.parts, "init": None}):
        remaining = list(group)
        while remaining:
            together = remaining[: MAX_STACK_SIZE[device.type]]
            training = studies.Training(**remaining[0].parts["training"])
            with build.run_errors(together), torch_state(device, training.precision, threads):
                setup = set_up(together, training, data_root, device)
                history = _train(setup, progress, checkpoint)
                finished = outcome.records_of(setup, history)
            if checkpoint is not None:
                checkpoint.add_finished(finished)
            yield from finished
            remaining = remaining[len(finished) :]


def _train(setup: Setup, progress: ProgressCallback | None, checkpoint: Checkpoint | None) -> History:
    """Train the model of a setup."""
    with contextlib.ExitStack() as context:
        callbacks = _observations(setup, context) + _optimizer_callbacks(setup)
        if progress is not None:
            callbacks.append(Progress(lambda step, losses: progress(setup.runs, step, setup.steps, losses)))
        torch.manual_seed(stream_seed(setup.runs[0].seed, "dropout"))
        context.enter_context(autocast(setup.precision, setup.device))
        resume = None
        if checkpoint is not None:
            mark = fingerprint(setup)
            if state := checkpoint.load(mark):
                resume = restore(setup, state)
                del state  # it is large
            callbacks.append(
                Checkpointing(checkpoint.due, lambda loop: checkpoint.save(mark, training_state(setup, loop)))
            )
        context.enter_context(input_errors())
        return fit(setup.model, setup.objective, setup.batches(), setup.update, setup.training, callbacks, resume)


def _observations(setup: Setup, context: contextlib.ExitStack) -> list[Callback]:
    """Return the callbacks of the diagnostics, which end with the context, and of the evaluation."""
    run, splits = setup.runs[0], setup.members[0].splits
    steps, recorded = ObservationSteps(setup.training.diagnose_every), DiagnosticValues(setup.metrics)
    callbacks: list[Callback] = []
    filled_parts = studies.fill(run.parts)["diagnostics"]
    for number, (part, filled) in enumerate(zip(run.parts["diagnostics"], filled_parts, strict=True)):
        parts = {"diagnostic": part, "model": run.parts["model"]}
        with build.mismatch_errors(**parts):
            diagnostic = components.resolve("diagnostics", part["name"])(
                setup.model,
                build.probe(splits, setup.device, filled),
                build.generator(run, f"diagnostics/{part['name']}"),
                **build.options(part),
            )
            observe = context.enter_context(diagnostic)
        check = functools.partial(recorded.check, number, part["name"])
        callbacks.append(Observation(observe, "diagnosing", steps, first=build.mismatch_errors(**parts), check=check))
    if splits.classes:
        callbacks += evaluations(setup.training, lambda names: _evaluate(setup, names))
    return callbacks


def _optimizer_callbacks(setup: Setup) -> list[Callback]:
    """Return the callbacks that change the optimizer between updates."""
    callbacks: list[Callback] = []
    if setup.optimizer is None:
        return callbacks
    if reset_steps := setup.members[0].batch_schedule.reset_steps:
        callbacks.append(ResetOptimizer(setup.optimizer, reset_steps))
    if "schedule" in setup.parts:
        with input_errors():
            callbacks.append(LearningRate(setup.optimizer, build.call(setup.parts, "schedule")))
    return callbacks


def _evaluate(setup: Setup, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return {<split>_<metric>: mean over the examples of the split} for the splits that have examples."""
    splits = setup.members[0].splits
    shape = splits.preprocessing.shape(splits.train.images)
    size = build.evaluation_batch(setup.device.type, shape, setup.training.batch_size)
    means: dict[str, NDArray[np.float64]] = {}
    for split in names:
        if len(getattr(splits, split).labels):
            metrics = evaluate(setup.model, setup.objective, setup.split_batches(split, size))
            means |= {f"{split}_{name}": value for name, value in metrics.items()}
    return means
