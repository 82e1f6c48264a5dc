"""What the studies cost: estimates, which need torch and are kept as a table, and the recorded time."""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from goodinit import records
from goodinit.errors import InputError
from goodinit.files import replace_file
from goodinit.studies import Run, Study

__all__ = ["CostEstimate", "WorkCost", "of_works", "write"]


class CostEstimate(NamedTuple):
    """The estimated cost of the runs of one study.

    Args:
        study: `<work>/<study>`.
        runs: the number of runs.
        runs_sha256: a hash of the ids of the runs, in order.
        operations: floating-point operations of training and evaluation.
        memory: bytes that the largest run needs on its device.
    """

    study: str
    runs: int
    runs_sha256: str
    operations: int
    memory: int

    @classmethod
    def of(cls, study: Study, runs: list[Run], operations: int, memory: int) -> "CostEstimate":
        """Return the estimate of a study's runs."""
        return cls(study.full_name, len(runs), _digest(runs), operations, memory)


class WorkCost(NamedTuple):
    """The cost of the runs of a work at a scale.

    Args:
        scale: the scale of the runs.
        work: the name of the work.
        runs: the number of runs.
        operations: the estimated floating-point operations.
        memory: the bytes that the largest run needs, estimated.
        seconds: the time of the recorded runs; a run that several studies share counts once.
        recorded: the number of recorded runs.
    """

    scale: str
    work: str
    runs: int
    operations: int
    memory: int
    seconds: float
    recorded: int


def write(file: Path, estimates: Iterable[CostEstimate]) -> None:
    """Write estimates as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([CostEstimate._fields, *estimates])
    replace_file(Path(file), text.getvalue().encode())


def of_works(studies: Iterable[Study], scale: str, results: Path) -> list[WorkCost]:
    """Return the cost of each work at a scale, from the estimates in `<results>/<scale>/costs.csv` and the records.

    Raises:
        InputError: there are no estimates of these runs, or a record is damaged.
    """
    file = Path(results) / scale / "costs.csv"
    works: dict[str, list[Study]] = {}
    estimates = _read(file)
    for study in studies:
        works.setdefault(study.work, []).append(study)
    costs = []
    for work, work_studies in works.items():
        work_estimates, recorded = [], []
        for study in work_studies:
            estimate = estimates.get(study.full_name)
            if estimate is None or estimate.runs_sha256 != _digest(study.runs(scale)):
                raise InputError(f"{file}: no estimate of the current runs of {study.full_name}: run `make costs`")
            work_estimates.append(estimate)
            paths = [records.path(results, scale, study, job) for job in study.jobs(scale)]
            recorded += [run for path in paths if path.exists() for run in records.read(path)]
        costs.append(
            WorkCost(
                scale,
                work,
                runs=sum(estimate.runs for estimate in work_estimates),
                operations=sum(estimate.operations for estimate in work_estimates),
                memory=max(estimate.memory for estimate in work_estimates),
                seconds=sum(sum(run.seconds.values()) for run in {run.id: run for run in recorded}.values()),
                recorded=len(recorded),
            )
        )
    return costs


def _read(file: Path) -> dict[str, CostEstimate]:
    """Return the estimates in a file, by study."""
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
        return {
            row["study"]: CostEstimate(
                row["study"], int(row["runs"]), row["runs_sha256"], int(row["operations"]), int(row["memory"])
            )
            for row in rows
        }
    except FileNotFoundError:
        raise InputError(f"{file}: missing: run `make costs`") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: damaged ({error}): run `make costs`") from None


def _digest(runs: list[Run]) -> str:
    """Return a hash of the ids of runs."""
    return hashlib.sha256(" ".join(run.id for run in runs).encode()).hexdigest()[:12]
