"""Setting up a training run: from the parts of runs to the objects with which they are trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from goodinit import studies
from goodinit.datasets import tensors
from goodinit.datasets.splits import Copies, Splits
from goodinit.datasets.tensors import Examples
from goodinit.errors import input_errors
from goodinit.methods.contracts import Objective, Stackable, Update, UpdateRule
from goodinit.methods.curricula.batches import BatchSchedule
from goodinit.studies import components
from goodinit.training import build, stacking
from goodinit.training.loop import evaluating
from goodinit.training.precision import Precision, effective_precision

__all__ = ["Member", "Setup", "set_up"]


@dataclass
class Member:
    """The objects of one of the runs that are trained together."""

    run: studies.Run
    splits: Splits
    initialization: build.Initialization
    batch_schedule: BatchSchedule[Examples]
    augmentation_generator: torch.Generator

    def batches(self, device: torch.device) -> Iterator[Examples]:
        """Yield the training batches of the run, augmented if its data set is."""
        preprocessing = self.splits.preprocessing
        if preprocessing.pad is None:
            return self.batch_schedule
        return (preprocessing.augment(batch.to(device), self.augmentation_generator) for batch in self.batch_schedule)


@dataclass
class Setup:
    """The objects with which runs are trained together.

    Args:
        members: the objects of each run.
        training: the options of the training run.
        steps: number of updates.
        device: where the runs are trained.
        precision: in which the device computes.
        model: the model of the only run, or a stack of the models of all runs.
        stacked: whether it is a stack.
        objective, update: the objective and the update of the runs.
        optimizer: the optimizer, or None if the model is not trained.
        metrics: the names of the metrics of the objective; none if it is not evaluated.
    """

    members: list[Member]
    training: studies.Training
    steps: int
    device: torch.device
    precision: Precision
    model: nn.Module
    stacked: bool
    objective: Objective
    optimizer: torch.optim.Optimizer | None
    update: Update
    metrics: frozenset[str] = frozenset()

    @property
    def runs(self) -> list[studies.Run]:
        """The runs that are trained together."""
        return [member.run for member in self.members]

    @property
    def parts(self) -> studies.Parts:
        """The parts of the first run; those of the others differ in the initializer alone."""
        return self.members[0].run.parts

    def join(self, batches: Sequence[Examples]) -> Examples:
        """Return one batch of inputs from one batch for each run; that of a stack has a first dimension S."""
        batches = [batch.to(self.device) for batch in batches]  # a large data set is not kept on the device
        joined = tensors.stack(batches) if self.stacked else batches[0]
        return self.members[0].splits.preprocessing.normalize(joined)

    def batches(self) -> Iterator[Examples]:
        """Yield the training batches."""
        return map(self.join, zip(*(member.batches(self.device) for member in self.members), strict=True))

    def split_batches(self, split: str, size: int) -> Iterator[Examples]:
        """Yield all examples of a split in batches of at most `size` examples."""
        batches = (tensors.batches(getattr(member.splits, split), size) for member in self.members)
        return map(self.join, zip(*batches, strict=True))


def set_up(
    runs: Sequence[studies.Run], training: studies.Training, data_root: str | Path, device: torch.device
) -> Setup:
    """Build the objects for runs that differ in seed and initializer alone.

    Args:
        runs: if they cannot be stacked, only the first is set up.
        training: the options of the training run.
        data_root: the data folder.
        device: where they are trained.

    Raises:
        InputError: the data are missing, the value of an option is out of range, or parts do not fit each other.
    """
    run, parts = runs[0], runs[0].parts
    splits = build.load_splits(run, data_root)
    with input_errors():
        steps = training.total_steps(len(splits.train.labels))
    shape = splits.preprocessing.shape(splits.train.images)
    model = build.build_model(run, shape, splits.classes)
    stacked = _can_stack(run, model)
    runs = runs if stacked else runs[:1]
    copies: Copies = {}  # tensors that several data sets share are kept once
    all_splits = [splits, *(build.load_splits(run, data_root) for run in runs[1:])]
    all_splits = [splits.to(device, copies) for splits in all_splits]
    models = [model, *(build.build_model(run, shape, splits.classes) for run in runs[1:])]
    initializations = [_initialize(*each, device) for each in zip(runs, models, all_splits, strict=True)]
    model = stacking.stack(models) if stacked else model
    model = model.to(device).to(memory_format=torch.channels_last)  # convolutions are faster in this format
    with input_errors():
        optimizer = build.call(parts, "optimizer", model.named_parameters()) if "optimizer" in parts else None
        update = build.call(parts, "update", model, optimizer, build.generator(run, "update"))
    members = [
        Member(
            run=run,
            splits=splits,
            initialization=initialization,
            batch_schedule=build.build_batches(run, splits, training.batch_size, steps),
            augmentation_generator=build.generator(run, "augment"),
        )
        for run, splits, initialization in zip(runs, all_splits, initializations, strict=True)
    ]
    setup = Setup(
        members=members,
        training=training,
        steps=steps,
        device=device,
        precision=effective_precision(training.precision, device),
        model=model,
        stacked=stacked,
        objective=build.objective(parts),
        optimizer=optimizer,
        update=update,
    )
    if steps or splits.classes:
        setup.metrics = _check_compatibility(setup)
    return setup


def _initialize(run: studies.Run, model: nn.Module, splits: Splits, device: torch.device) -> build.Initialization:
    """Initialize the model of one of the runs, in which they differ; an error begins with the labels of the run."""
    with build.run_errors([run]):
        return build.initialize(run, model, splits, device)


def _can_stack(run: studies.Run, model: nn.Module) -> bool:
    """Return whether runs like this one, with models like this one, can be trained as a stack.

    Their models must be sequences of layers that can be stacked, and nothing may observe or update a model as a whole.
    """
    if run.parts["diagnostics"] or not stacking.can_stack(model):
        return False
    if "optimizer" in run.parts:
        with input_errors():
            optimizer = build.call(run.parts, "optimizer", model.named_parameters())
        if not (isinstance(optimizer, UpdateRule) and optimizer.elementwise):
            return False
    methods = [components.resolve(part, run.parts[part]["name"]) for part in ("update", "curriculum")]
    return all(isinstance(method, Stackable) and method.stackable for method in methods)


def _check_compatibility(setup: Setup) -> frozenset[str]:
    """Evaluate the objective on a batch, so that parts that do not fit each other are reported before training.

    Returns:
        The names of the metrics of the objective.

    Raises:
        InputError: the model, the objective and the data do not fit each other.
    """
    batch = next(setup.split_batches("train", 2))
    parts = {part: setup.parts[part] for part in ("model", "objective", "data")}
    with build.mismatch_errors(**parts), evaluating(setup.model):
        loss, metrics = setup.objective(setup.model, batch)
        if loss.shape != ((len(setup.members),) if setup.stacked else ()):
            raise ValueError(f"the loss has the shape {tuple(loss.shape)} instead of being one number")
    return frozenset(metrics)
