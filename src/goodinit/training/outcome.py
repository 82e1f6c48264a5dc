"""The outcome of a training run: the records of its runs."""

import numpy as np
import torch

from goodinit import records, studies
from goodinit.methods import diagnostics
from goodinit.records import provenance
from goodinit.training import devices
from goodinit.training.history import History
from goodinit.training.setup import Member, Setup

__all__ = ["records_of"]


def records_of(setup: Setup, history: History) -> list[records.RunRecord]:
    """Return the records of the runs that were trained together, in their order."""
    return [_record(setup, history, index) for index in range(len(setup.members))]


def _record(setup: Setup, history: History, index: int) -> records.RunRecord:
    member, stack_size = setup.members[index], len(setup.members)
    run, splits = member.run, member.splits
    diverged_at = 0 if history.diverged_at is None else int(history.diverged_at[index])
    series = _series(member, history, index if setup.stacked else None)
    origin = provenance.describe(devices.name_of(setup.device), torch.get_num_threads(), splits.checksum) | {
        "precision": setup.precision,
        "trained_together": stack_size,
        "train_examples": len(splits.train.labels),
    }
    if setup.device.type == "cpu":
        origin["instructions"] = devices.instructions()
    if setup.device.type == "cuda" and (jobs := devices.jobs_per_gpu()) > 1:
        origin["jobs_per_gpu"] = jobs  # seconds are those of a shared GPU
    return records.RunRecord(
        id=run.id,
        seed=run.seed,
        parts=dict(run.parts),
        filled=studies.fill(run.parts),
        status="diverged" if diverged_at else "finished",
        diverged_at=diverged_at or None,
        steps=history.steps,
        seconds={"initializing": round(member.initialization.seconds, 3)}
        | {activity: round(seconds / stack_size, 3) for activity, seconds in history.seconds.items()},
        provenance=origin | ({"classes": splits.classes} if splits.classes else {}),
        series=series,
    )


def _series(member: Member, history: History, index: int | None) -> dict[str, records.Series]:
    """Return the series of one run: those of the history, at its index in a stack, and those of its setup."""
    series = {}
    if member.initialization.rescalings is not None:
        rescalings = member.initialization.rescalings.numpy()[None]
        series["rescalings"] = records.Series(np.array([0]), rescalings, ("layer",))
    if member.batch_schedule.subset is not None:
        series["subset"] = records.Series(np.array([0]), member.batch_schedule.subset.numpy()[None], ("example",))
    for name, (steps, values) in history.series.items():
        array = np.array(values) if index is None else np.array(values)[:, index]
        series[name] = records.Series(np.array(steps), array, diagnostics.DIMENSIONS.get(name, ()))
    return series
