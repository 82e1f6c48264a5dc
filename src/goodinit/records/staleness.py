"""Whether recorded runs are current: trained with the current defaults, and complete."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from goodinit.errors import InputError
from goodinit.records.record import RunRecord
from goodinit.records.storage import read

__all__ = ["check_current", "find_trained", "read_current"]

# Options that no longer exist, and the only value that the code still implements.
REMOVED_OPTIONS = {
    "curriculum.carry_optimizer": False,
    "diagnostics.activations.end": 0.01,
    "objective.auxiliary_weight": 0.3,
}


def check_current(file: str | Path, run: RunRecord, filled: Mapping[str, Any]) -> None:
    """Raise an error if a run was trained with other defaults than the current ones.

    An option that did not exist when the run was trained does not make it stale: its default is the old behavior. Nor
    does an option that no longer exists, if it had the value that the code still implements.

    Args:
        file: the record, which the message names.
        run: the recorded run.
        filled: the run's specification with the current defaults.

    Raises:
        InputError: the run is stale; the message names the option that changed.
    """
    for part in sorted(run.filled):
        then, now = (_flatten(parts.get(part, {})) for parts in (run.filled, filled))
        for option in sorted(then):
            value = now.get(option, REMOVED_OPTIONS.get(f"{part}.{option}"))
            if then[option] != value:
                raise InputError(
                    f"{file}: stale: {part}.{option} was {then[option]!r} when run {run.id} was trained "
                    f"and is {value!r} now: delete the record and train again"
                )


def read_current(file: str | Path, filled: Mapping[str, Mapping[str, Any]]) -> dict[str, RunRecord]:
    """Return {run id: RunRecord} for the runs of a job.

    Args:
        file: the job's record.
        filled: {run id: the run's specification with the current defaults}.

    Raises:
        InputError: the record is missing or damaged, lacks a run, or has a stale one.
    """
    recorded = {run.id: run for run in read(file)}
    for run_id, parts in filled.items():
        if run_id not in recorded:
            raise InputError(f"{file}: damaged record: run {run_id} is missing: delete it and train again")
        check_current(file, recorded[run_id], parts)
    return recorded


def find_trained(file: str | Path, ids: Collection[str], *, unfinished_only: bool = False) -> dict[str, RunRecord]:
    """Return {run id: RunRecord} of those runs of a job that were trained already.

    They are in the records of the same study, in the records of jobs with the same runs in other studies, and in the
    files of the job's own interrupted training. Records that are damaged or cannot be read are ignored.

    Args:
        file: the job's record.
        ids: the ids of the job's runs.
        unfinished_only: read only the files of the job's own interrupted training.
    """
    file = Path(file)
    candidates = [*file.parent.glob(f".{file.stem}.*.unfinished.json")]
    if not unfinished_only:
        runs_hash = file.name.rpartition("-")[2]  # with which the name of every job with the same runs ends
        candidates += [*file.parent.glob("[!.]*.json"), *file.parents[2].glob(f"*/*/[!.]*-{runs_hash}")]
    trained: dict[str, RunRecord] = {}
    for candidate in sorted(set(candidates)):
        try:
            text = candidate.read_text(encoding="utf-8", errors="replace")
            if any(f'"id": "{run_id}"' in text for run_id in ids):  # do not read the arrays of all records
                trained |= {run.id: run for run in read(candidate) if run.id in ids}
        except (InputError, OSError):
            continue
    return trained


def _flatten(part: Any) -> dict[str, Any]:
    """Return {option: value} of a part; of a list of parts, such as diagnostics, {name.option: value}."""
    if isinstance(part, list):
        return {f"{item['name']}.{option}": value for item in part for option, value in item.items()}
    return dict(part)
