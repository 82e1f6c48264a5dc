"""Records to one tidy frame: one number in each row."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from goodinit import records, studies
from goodinit.report.derived import with_derived
from goodinit.report.measures import NotRun, rank_trials
from goodinit.studies import Label, protocol

__all__ = ["from_records", "images"]


def from_records(study: studies.Study, scale: str, results: Path) -> pd.DataFrame:
    """Return everything that the records of a study hold, one number in each row.

    Jobs without a record are left out, so that a study that has been trained in part can be shown.  Metrics that
    follow from others are added, see `derived.with_derived`.

    Returns:
        A frame with a column for each axis that the study compares, `seed`, `run`, `status`, `metric`, `step`, a
        column for each further axis of a series (those of `records.AXES`; -1 where a metric does not have it) and
        `value`; for a random search that ranks its trials also `rank`, where 1 is the best.  `attrs["complete"]` says
        whether every job has a record, `attrs["deterministic"]` whether runs do not depend on their seed, and
        `attrs["observed_as_published"]` whether metrics are recorded at the steps of the published protocol.

    Raises:
        NotRun: no job has a record.
        InputError: a record is damaged or stale.
    """
    runs = study.runs(scale)
    axes = {  # a scale may compare other values
        axis: list(dict.fromkeys([*labels, *(run.labels[axis] for run in runs)])) for axis, labels in study.axes.items()
    }
    columns = _Columns(axes)
    for run, record in _recorded_runs(study, scale, results):
        for metric, series in with_derived(record, study.tuned).items():
            columns.add(run, record.status, metric, series)
    if not columns.arrays:
        hint = f"goodinit train {study.full_name} --scale {scale}" if runs else "its file has `seeds: 0` there"
        raise NotRun(f"{study.full_name}: no records at scale {scale} in {results}: {hint}")
    frame = columns.to_frame()
    frame.attrs["complete"] = all(records.path(results, scale, study, job).exists() for job in study.jobs(scale))
    frame.attrs["deterministic"] = study.deterministic
    frame.attrs["observed_as_published"] = protocol.is_observed_as_published(study, scale)
    if (ranking := study.ranking) is not None:
        frame["rank"] = rank_trials(frame, study.axes, ranking.metric, ranking.best, ranking.at)
    return frame


def images(study: studies.Study, scale: str, results: Path, metric: str) -> pd.DataFrame:
    """Return the last images of each run of a study.

    Args:
        study: the study whose runs recorded the images.
        scale: the scale of the records.
        results: the folder of results.
        metric: the series of images.

    Returns:
        A frame with a column for each axis that the study compares, `seed`, `status` and `images`: an array, or None
        for a run that diverged before its first images.

    Raises:
        NotRun: no job has a record with this series.
        InputError: a record is damaged or stale.
    """
    rows: list[dict[str, object]] = []
    for run, record in _recorded_runs(study, scale, results):
        series = record.series.get(metric)
        last = series.values[-1] if series and len(series.steps) else None
        if last is not None or record.status == "diverged":
            rows.append({**run.labels, "seed": run.seed, "status": record.status, "images": last})
    if all(row["images"] is None for row in rows):
        raise NotRun(f"{study.full_name}: no records with {metric} at scale {scale} in {results}")
    return pd.DataFrame(rows)


class _Columns:
    """The columns of a frame, which grow by the rows of one series at a time.

    Text is held as its index among the texts of its column: there may be millions of rows.
    """

    def __init__(self, axes: dict[str, list[Label]]) -> None:
        self.axes = axes
        self.texts: dict[str, dict[str, int]] = {"run": {}, "status": {}, "metric": {}}
        self.sizes: list[int] = []  # of each series
        self.constants: dict[str, list[int]] = {}  # one number for each series, the same in all its rows
        self.arrays: dict[str, list[np.ndarray]] = {}  # one array for each series

    def add(self, run: studies.Run, status: str, metric: str, series: records.Series) -> None:
        """Add the rows of a series."""
        self.sizes.append(series.values.size)
        constants = {axis: self.axes[axis].index(label) for axis, label in run.labels.items()} | {"seed": run.seed}
        for name, text in (("run", run.id), ("status", status), ("metric", metric)):
            constants[name] = self.texts[name].setdefault(text, len(self.texts[name]))
        for name, number in constants.items():
            self.constants.setdefault(name, []).append(number)
        positions = np.indices(series.values.shape, np.int32).reshape(series.values.ndim, -1)
        arrays = {"step": series.steps[positions[0]].astype(np.int32)}
        for axis, first in records.AXES.items():
            if axis in series.dimensions:
                arrays[axis] = positions[1 + series.dimensions.index(axis)] + first
            else:
                arrays[axis] = np.full(series.values.size, -1, np.int32)
        arrays["value"] = series.values.reshape(-1).astype(float)
        for name, array in arrays.items():
            self.arrays.setdefault(name, []).append(array)

    def to_frame(self) -> pd.DataFrame:
        """Return the frame, in which labels and texts are categories."""
        columns = {name: np.repeat(np.array(numbers, np.int32), self.sizes) for name, numbers in self.constants.items()}
        frame = pd.DataFrame(columns | {name: np.concatenate(arrays) for name, arrays in self.arrays.items()})
        for axis, labels in self.axes.items():
            dtype = pd.CategoricalDtype(labels, ordered=True)
            frame[axis] = pd.Categorical.from_codes(frame[axis].to_numpy(), dtype=dtype)
        for name, texts in self.texts.items():
            categories = pd.Categorical.from_codes(frame[name].to_numpy(), dtype=pd.CategoricalDtype(list(texts)))
            frame[name] = categories.reorder_categories(sorted(texts))
        return frame


def _recorded_runs(study: studies.Study, scale: str, results: Path) -> Iterator[tuple[studies.Run, records.RunRecord]]:
    """Yield each run that has a record, with its record."""
    for job in study.jobs(scale):
        file = records.path(results, scale, study, job)
        if file.exists():
            recorded = records.read_current(file, {run.id: studies.fill(run.parts) for run in job.runs})
            yield from ((run, recorded[run.id]) for run in job.runs)
