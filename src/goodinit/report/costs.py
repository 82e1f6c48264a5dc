"""What the studies cost: estimates, which need torch, kept as a table, and the time that records say it took."""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from goodinit import records, studies
from goodinit.errors import InputError
from goodinit.files import replace_file

__all__ = ["Estimate", "WorkCost", "of_works", "write"]


class Estimate(NamedTuple):
    """What the runs of one study are estimated to cost.

    Args:
        study: `<work>/<study>`.
        runs: how many.
        runs_sha256: of the runs' ids, in order: of which runs it is an estimate.
        operations: floating-point operations of training and evaluation.
        memory: bytes that the largest run needs on its device.
    """

    study: str
    runs: int
    runs_sha256: str
    operations: int
    memory: int

    @classmethod
    def of(cls, study: studies.Study, runs: list[studies.Run], operations: int, memory: int) -> "Estimate":
        """Return the Estimate of a study's runs."""
        return cls(f"{study.work}/{study.name}", len(runs), _digest(runs), operations, memory)


class WorkCost(NamedTuple):
    """What the runs of a work at a scale cost: estimated operations, memory in bytes; seconds of recorded runs."""

    scale: str
    work: str
    runs: int
    operations: int
    memory: int
    seconds: float
    recorded: int


def write(file: Path, estimates: Iterable[Estimate]) -> None:
    """Write estimates as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([Estimate._fields, *estimates])
    replace_file(Path(file), text.getvalue().encode())


def of_works(studies: Iterable[studies.Study], scale: str, results: Path) -> list[WorkCost]:
    """Return the cost of each work at a scale, from the estimates in `<results>/<scale>/costs.csv` and the records.

    Raises:
        InputError: there are no estimates of these runs, or a record is damaged.
    """
    file, works = Path(results) / scale / "costs.csv", {}
    estimates = _read(file)
    for study in studies:
        works.setdefault(study.work, []).append(study)
    found = []
    for work, own in works.items():
        costs, recorded = [], []
        for study in own:
            name, runs = f"{study.work}/{study.name}", study.runs(scale)
            if name not in estimates or estimates[name].runs_sha256 != _digest(runs):
                raise InputError(f"{file}: no estimate of today's runs of {name}: make costs")
            costs.append(estimates[name])
            files = [records.path(results, scale, study, job) for job in study.jobs(scale)]
            recorded += [run for file in files if file.exists() for run in records.read(file)]
        seconds = sum(sum(run.seconds.values()) for run in recorded)
        runs, operations = (sum(getattr(cost, column) for cost in costs) for column in ("runs", "operations"))
        found.append(
            WorkCost(scale, work, runs, operations, max(cost.memory for cost in costs), seconds, len(recorded))
        )
    return found


def _read(file: Path) -> dict[str, Estimate]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
        numbers = ("runs", "operations", "memory")
        return {row["study"]: Estimate(**row | {name: int(row[name]) for name in numbers}) for row in rows}
    except FileNotFoundError:
        raise InputError(f"{file}: missing: make costs") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: damaged ({error}): make costs") from None


def _digest(runs: list[studies.Run]) -> str:
    return hashlib.sha256(" ".join(run.id for run in runs).encode()).hexdigest()[:12]
