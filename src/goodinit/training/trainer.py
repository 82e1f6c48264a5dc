"""Runs are trained, alone or several together, and their records returned."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from goodinit import records, studies
from goodinit.datasets import tensors
from goodinit.datasets.preprocessing import Augmentation
from goodinit.datasets.splits import Splits
from goodinit.datasets.tensors import Examples
from goodinit.errors import InputError
from goodinit.methods.curricula.batches import BatchSchedule
from goodinit.records import provenance
from goodinit.seeds import stream_seed
from goodinit.studies import components
from goodinit.training import build, outcome, stacking
from goodinit.training.callbacks import Checkpointing, LearningRate, Observation, Progress, ResetOptimizer, evaluations
from goodinit.training.checkpoint import Checkpoint, restore, training_state
from goodinit.training.loop import Callback, Training, Update, evaluate, evaluating, fit
from goodinit.training.precision import Precision, arithmetic, autocast, effective_precision

__all__ = ["execute"]

MAX_STACK_SIZE = 5  # models in a stack: more do not fit a core's cache

Report = Callable[[Sequence[studies.Run], int, int, np.ndarray], None]


@dataclass
class Setup:
    """What runs that are trained together are trained with; lists have an item for each run."""

    runs: list[studies.Run]
    training: Training
    steps: int
    device: torch.device
    precision: Precision
    splits: list[Splits]
    initializations: list[build.Initialization]
    model: nn.Module
    stacked: bool
    optimizer: torch.optim.Optimizer | None
    update: Update
    schedules: list[BatchSchedule]
    augmentations: list[Augmentation]

    def join(self, batches: Sequence[Examples]) -> Examples:
        """Return one batch of inputs from one batch for each run; of a stack, with S in front."""
        batches = [batch.to(self.device) for batch in batches]  # those of a set that is not held there
        return self.splits[0].preprocessing.normalize(tensors.stack(batches) if self.stacked else batches[0])

    def batches(self) -> Iterator[Examples]:
        """Yield the training batches, augmented where the data are."""
        own = itertools.starmap(self._augmented, zip(self.splits, self.schedules, self.augmentations, strict=True))
        return map(self.join, zip(*own, strict=True))

    def _augmented(self, splits: Splits, schedule: BatchSchedule, augmentation: Augmentation) -> Iterator[Examples]:
        if splits.preprocessing.pad is None:
            return schedule
        return (augmentation(batch.to(self.device)) for batch in schedule)


def execute(
    runs: Sequence[studies.Run],
    *,
    data_root: str,
    device: torch.device,
    progress: Report | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[records.RunRecord]:
    """Train the runs; neighbors that differ in seed and initializer alone are trained together.

    How many are trained together changes no bit on one CPU thread: each model of a stack is computed as if alone.

    Args:
        runs: of one job.
        data_root: the data folder.
        device: where they are trained.
        progress: called as (runs, step, steps, losses), or None.
        checkpoint: from which an interrupted training is resumed, or None.

    Yields:
        A RunRecord for each run, in order.

    Raises:
        InputError: the data are missing, or an option's value is out of its range.
    """
    provenance.code()  # as it is before the training: files may change meanwhile
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import the compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads any; it costs a tenth
    for method in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad):
        # Both would import the compiler, a second's work, to be exempt from it; nothing here is compiled.
        method.__wrapped__.__dynamo_disable = method.__wrapped__
    for _, group in itertools.groupby(runs, lambda run: {**run.parts, "init": None}):
        remaining = list(group)
        while remaining:
            with build.input_errors():
                training = Training(**remaining[0].parts["training"])
            with arithmetic(training.precision):
                setup = _set_up(remaining[:MAX_STACK_SIZE], training, data_root, device)
                records = _train(setup, progress, checkpoint)
            yield from records
            remaining = remaining[len(records) :]


def _set_up(runs: list[studies.Run], training: Training, data_root: str, device: torch.device) -> Setup:
    """Build everything for runs that differ in seed and initializer alone; for the first, if they cannot be stacked."""
    run, parts = runs[0], runs[0].parts  # but for seed and initializer, all have these options
    splits = build.load_splits(run, data_root)
    with build.input_errors():
        steps = training.total_steps(len(splits.train.labels))
    shape = splits.preprocessing.shape(splits.train.images)
    model = build.build_model(run, shape, splits.classes)
    stacked = _stackable(run, model)
    runs = runs if stacked else runs[:1]
    all_splits = _move([splits, *(build.load_splits(run, data_root) for run in runs[1:])], device)
    all_models = [model, *(build.build_model(run, shape, splits.classes) for run in runs[1:])]
    initializations = [build.initialize(*each, device) for each in zip(runs, all_models, all_splits, strict=True)]
    model = stacking.stack(all_models) if stacked else model
    model = model.to(device, memory_format=torch.channels_last)  # convolutions are faster so
    with build.input_errors():
        optimizer = None
        if "optimizer" in parts:
            optimizer = build.call(parts, "optimizer", model.named_parameters())
        update = build.call(parts, "update", model, optimizer, build.generator(run, "update"))
    setup = Setup(
        runs=runs,
        training=training,
        steps=steps,
        device=device,
        precision=effective_precision(training.precision, device),
        splits=all_splits,
        initializations=initializations,
        model=model,
        stacked=stacked,
        optimizer=optimizer,
        update=update,
        schedules=[
            build.build_schedule(run, splits, training.batch_size, steps)
            for run, splits in zip(runs, all_splits, strict=True)
        ],
        augmentations=[
            Augmentation(splits.preprocessing, build.generator(run, "augment"))
            for run, splits in zip(runs, all_splits, strict=True)
        ],
    )
    if steps:
        _check_compatibility(setup)
    return setup


def _stackable(run: studies.Run, model: nn.Module) -> bool:
    """Return whether runs like this one, with models like this one, can be trained as a stack.

    Their models must be small, and nothing may observe or update a model as a whole.
    """
    names = run.parts["update"]["name"], run.parts["curriculum"]["name"]
    whole = run.parts["diagnostics"] or names != ("synchronous", "full")
    return stacking.stackable(model) and not whole and "clip_norm" not in run.parts.get("optimizer", {})


def _move(splits: list[Splits], device: torch.device) -> list[Splits]:
    """Return the splits on the device, where what is equal in several of them is held once."""
    moved = {}
    return [each.to(device, moved) for each in splits]


def _check_compatibility(setup: Setup) -> None:
    """Evaluate the objective on a batch, so that what does not fit is reported before there is anything to lose.

    Raises:
        InputError: the model, the objective and the data do not fit each other.
    """
    parts = setup.runs[0].parts
    batch = setup.join([next(tensors.batches(splits.train, 2)) for splits in setup.splits])
    try:
        with evaluating(setup.model):
            build.objective(parts)(setup.model, batch)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        names = " with ".join(f"{part} {parts[part]['name']}" for part in ("model", "objective", "data"))
        raise InputError(f"{names}: {str(error).splitlines()[0]}") from None


def _train(setup: Setup, progress: Report | None, checkpoint: Checkpoint | None) -> list[records.RunRecord]:
    """Train what was set up; return the records of its runs."""
    runs, device = setup.runs, setup.device
    objective = build.objective(runs[0].parts)
    with contextlib.ExitStack() as context:
        callbacks = _observations(setup, objective, context)
        callbacks += _optimizer_callbacks(setup)
        if progress is not None:
            callbacks.append(Progress(lambda step, losses: progress(runs, step, setup.steps, losses)))
        context.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        torch.manual_seed(stream_seed(runs[0].seed, "dropout"))
        context.enter_context(autocast(setup.precision, device))
        resume = None
        if checkpoint is not None:
            made = {
                "device": device.type,
                "precision": setup.precision,
                "data": [each.checksum for each in setup.splits],
            }
            if state := checkpoint.load(runs, made):
                restore(state, setup.model, setup.optimizer, setup.schedules, setup.augmentations, device)
                resume = state["loop"]
                del state  # the rest is restored, and large

            def save(loop: dict[str, Any]) -> None:
                kept = training_state(setup.model, setup.optimizer, setup.augmentations, device)
                checkpoint.save(runs, made, {"loop": loop, **kept})

            callbacks.append(Checkpointing(checkpoint.due, save))
        context.enter_context(build.input_errors())
        history = fit(setup.model, objective, setup.batches(), setup.update, setup.training, callbacks, resume)
    records = [
        outcome.record_of(run, history, index if setup.stacked else None, len(runs), *each, device, setup.precision)
        for index, (run, *each) in enumerate(
            zip(runs, setup.initializations, setup.schedules, setup.splits, strict=True)
        )
    ]
    if checkpoint is not None:
        checkpoint.end(records)
    return records


def _observations(setup: Setup, objective: Callable, context: contextlib.ExitStack) -> list[Callback]:
    """Return the callbacks of the diagnostics, which the context ends, and of the evaluation."""
    run, training, splits = setup.runs[0], setup.training, setup.splits[0]
    callbacks: list[Callback] = []
    with build.input_errors():
        for part, filled in zip(run.parts["diagnostics"], studies.fill(run.parts)["diagnostics"], strict=True):
            diagnostic = components.resolve("diagnostics", part["name"])(
                setup.model,
                build.probe(splits, setup.device, filled.get("examples")),
                build.generator(run, f"diagnostics/{part['name']}"),
                **build.options(part),
            )
            observe = context.enter_context(diagnostic)
            callbacks.append(Observation(observe, "diagnosing", training.diagnose_every))
    if splits.classes:
        callbacks += evaluations(training, lambda parts: _evaluate(setup, objective, parts))
    return callbacks


def _optimizer_callbacks(setup: Setup) -> list[Callback]:
    """Return the callbacks that change the optimizer between updates."""
    parts = setup.runs[0].parts
    callbacks: list[Callback] = []
    if setup.schedules[0].starts:
        callbacks.append(ResetOptimizer(setup.optimizer, setup.schedules[0].starts))
    if "schedule" in parts:
        with build.input_errors():
            callbacks.append(LearningRate(setup.optimizer, build.call(parts, "schedule")))
    return callbacks


def _evaluate(setup: Setup, objective: Callable, parts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return {<part>_<metric>: mean over the part's examples}."""
    shape = setup.splits[0].preprocessing.shape(setup.splits[0].train.images)
    size = build.evaluation_batch(setup.device.type, shape, setup.training.batch_size)
    means = {}
    for part in parts:
        if len(getattr(setup.splits[0], part).labels):
            batches = [tensors.batches(getattr(splits, part), size) for splits in setup.splits]
            metrics = evaluate(setup.model, objective, map(setup.join, zip(*batches, strict=True)))
            means |= {f"{part}_{name}": value for name, value in metrics.items()}
    return means
