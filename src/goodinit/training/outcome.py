"""From what happened in a training to the records of its runs."""

import numpy as np
import torch

from goodinit import records, studies
from goodinit.datasets.splits import Splits
from goodinit.methods import diagnostics
from goodinit.methods.curricula.batches import BatchSchedule
from goodinit.records import provenance
from goodinit.training.build import Initialization
from goodinit.training.loop import History
from goodinit.training.precision import Precision

__all__ = ["record_of"]


def record_of(
    run: studies.Run,
    history: History,
    index: int | None,
    stack_size: int,
    initialization: Initialization,
    schedule: BatchSchedule,
    splits: Splits,
    device: torch.device,
    precision: Precision,
) -> records.RunRecord:
    """Return the record of one run.

    Args:
        run: the run.
        history: of the training, whose values have S in front where S runs were trained as a stack.
        index: the run's index in the stack, or None where it was trained alone.
        stack_size: S, among which the seconds are divided.
        initialization: what initializing the model took.
        schedule: of the run's training batches.
        splits: the run's data.
        device, precision: in which it was trained.
    """
    diverged_at = 0 if history.diverged_at is None else int(history.diverged_at[index or 0])
    series = {}
    if initialization.rescalings is not None:
        series["rescalings"] = records.Series(np.array([0]), initialization.rescalings.numpy()[None], ("layer",))
    if schedule.subset is not None:
        series["subset"] = records.Series(np.array([0]), schedule.subset.numpy()[None], ("example",))
    for name, (steps, values) in history.series.items():
        array = np.array(values) if index is None else np.array(values)[:, index]
        series[name] = records.Series(np.array(steps), array, diagnostics.DIMENSIONS.get(name, ()))
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    trained = {"precision": precision, "trained_together": stack_size, "train_examples": len(splits.train.labels)}
    return records.RunRecord(
        id=run.id,
        seed=run.seed,
        parts=run.parts,
        filled=studies.fill(run.parts),
        status=_status(run, diverged_at, history.steps, series.get("loss"), schedule, splits.classes),
        diverged_at=diverged_at or None,
        steps=history.steps,
        seconds={"initializing": round(initialization.seconds, 3)}
        | {activity: round(seconds / stack_size, 3) for activity, seconds in history.seconds.items()},
        provenance=provenance.describe(device_name, torch.get_num_threads(), splits.checksum)
        | trained
        | ({"classes": splits.classes} if splits.classes else {}),
        series=series,
    )


def _status(
    run: studies.Run,
    diverged_at: int,
    steps: int,
    loss: records.Series | None,
    schedule: BatchSchedule,
    classes: int,
) -> records.Status:
    """Return how a run ended; `did not learn` if its loss on all examples never fell below that of guessing."""
    if diverged_at:
        return "diverged"
    start = max(schedule.starts, default=0)
    bound = records.guessing_bound(run.parts, classes)
    if bound is None or steps <= start:
        return "finished"
    return "did not learn" if loss.values[start:].min() >= bound else "finished"
