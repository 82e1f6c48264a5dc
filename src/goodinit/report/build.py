"""Build tables, figures, verdicts and pages from the records of a scale.

Only the functions that draw import matplotlib.
"""

import concurrent.futures.process
import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from goodinit.errors import InputError
from goodinit.files import replace_file
from goodinit.processes import begin_worker
from goodinit.report import claims, pages
from goodinit.report.frame import from_records, images
from goodinit.report.measures import NotRun
from goodinit.report.tables import table
from goodinit.studies import Study, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["JudgedStudy", "judge", "write_all", "write_figures", "write_overview", "write_table", "write_verdicts"]


class JudgedStudy(NamedTuple):
    """Whether a study was run at a scale, and the verdicts on its claims."""

    was_run: bool
    verdicts: pd.DataFrame


class _Task(NamedTuple):
    """A study at a scale, by its file, so that it can be sent to another process."""

    scale: str
    path: Path


def write_all(
    studies: Sequence[Study],
    scales: Sequence[str],
    results: Path,
    drawings: Path,
    *,
    verdicts: bool = True,
    processes: int | None = None,
) -> dict[str, list[Path]]:
    """Write the tables, figures, verdicts and pages of some scales, the studies in several processes.

    Args:
        studies: of all works, or of some.
        scales: of the records.
        results: the folder of records and tables.
        drawings: the folder of figures.
        verdicts: whether to write the verdicts and pages of each scale, too.
        processes: the number of processes; None for one on each processor.

    Returns:
        The files written for each scale.

    Raises:
        InputError: a record is damaged or stale.
    """
    tasks = [_Task(scale, study.path) for scale in scales for study in studies]
    tasks.sort(key=lambda task: -_size_of_records(results, task))  # the longest first, which ends the earliest
    build_study = functools.partial(_build_study, results=results, drawings=drawings, verdicts=verdicts)
    build_pages = functools.partial(write_verdicts, studies, results=results, drawings=drawings)
    with contextlib.ExitStack() as context:
        run: Callable[..., Iterable[Any]] = map
        if processes != 1 and len(tasks) > 1:
            run = context.enter_context(_process_pool(processes)).map
        outcomes = dict(zip(tasks, run(build_study, tasks), strict=True))
        by_scale = {scale: [outcomes[_Task(scale, study.path)] for study in studies] for scale in scales}
        written = {scale: [file for files, _ in by_scale[scale] for file in files] for scale in scales}
        if verdicts:
            judged = [[judgement for _, judgement in by_scale[scale]] for scale in scales]
            for scale, files in zip(scales, run(build_pages, judged, scales), strict=True):
                written[scale] += files
    return written


@contextlib.contextmanager
def _process_pool(processes: int | None) -> Iterator[concurrent.futures.Executor]:
    """Start a pool of worker processes.

    Raises:
        InputError: a worker was killed.
    """
    try:
        with concurrent.futures.ProcessPoolExecutor(processes, initializer=begin_worker) as pool:
            yield pool
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError(
            "report: a worker process was killed, perhaps because memory ran out: use fewer --processes"
        ) from None


def write_table(study: Study, scale: str, results: Path, frame: pd.DataFrame) -> Path:
    """Write the table of a study as CSV; return the file."""
    file = Path(results) / scale / "tables" / study.work / f"{study.name}.csv"
    replace_file(file, _to_csv(table(study, frame)))
    return file


def write_figures(
    study: Study, scale: str, results: Path, drawings: Path, frame: pd.DataFrame, names: Iterable[str] | None = None
) -> list[Path]:
    """Draw figures of a study as SVG and PNG.

    Args:
        study, scale, results, drawings: as in `write_all`.
        frame: from `frame.from_records`.
        names: the names of the figures; None for all that have records.

    Returns:
        The files written.

    Raises:
        NotRun: a figure that is named has no records.
    """
    from goodinit.report import drawing

    written = []
    for name in names or study.figures:
        spec = study.figures[name]
        try:
            shown = images(study, scale, results, spec.options["metric"]) if spec.kind == "images" else frame
            figure = drawing.draw(study, scale, name, shown)
        except NotRun:
            if names:
                raise
            continue
        written += _write_figure(figure, _figure_path(study, scale, drawings, name))
    return written


def write_verdicts(
    studies: Sequence[Study], judged: Sequence[JudgedStudy], scale: str, results: Path, drawings: Path
) -> list[Path]:
    """Write the verdicts as CSV, as a page and as figures, and the page of the scale.

    Args:
        studies, scale, results, drawings: as in `write_all`.
        judged: from `judge`, for each study.

    Returns:
        The files written.
    """
    from goodinit.report import verdict_chart

    folder = Path(results) / scale
    frames = [verdicts for _, verdicts in judged]
    verdicts = claims.mark_holm(pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True))
    run = [study for study, (was_run, _) in zip(studies, judged, strict=True) if was_run]
    figures = {
        study.full_name: [
            name for name in study.figures if _with_suffix(_figure_path(study, scale, drawings, name), "png").exists()
        ]
        for study in run
    }
    figure_folder = os.path.relpath(Path(drawings) / scale, folder)
    contents = {
        "claims.csv": _to_csv(verdicts),
        "claims.md": pages.claims_page(studies, verdicts, scale).encode(),
        "README.md": pages.scale_page(run, verdicts, scale, figures, figure_folder).encode(),
    }
    for name, content in contents.items():
        replace_file(folder / name, content)
    written = [folder / name for name in contents]
    by_work = {
        work: claims.judged_claims(verdicts[verdicts["work"] == work])
        for work in dict.fromkeys(study.work for study in run)
    }
    by_work = {work: rows for work, rows in by_work.items() if rows}
    for work, rows in by_work.items():
        written += _write_figure(verdict_chart.draw_evidence(rows), Path(drawings) / scale / work / "verdicts")
    if by_work:
        of_all_works = [row for rows in by_work.values() for row in rows]
        written += _write_figure(verdict_chart.draw_counts(of_all_works, scale), Path(drawings) / scale / "verdicts")
    return written


def write_overview(scales: Sequence[str], results: Path, drawings: Path) -> list[Path]:
    """Draw the verdict on each claim at the largest scale at which it was run; return the files.

    Args:
        scales: whose verdicts are written, the largest last.
        results, drawings: as in `write_all`.
    """
    from goodinit.report import verdict_chart

    verdicts = claims.at_largest_scale({scale: pd.read_csv(Path(results) / scale / "claims.csv") for scale in scales})
    return _write_figure(verdict_chart.draw_counts(claims.judged_claims(verdicts), None), Path(drawings) / "verdicts")


def judge(study: Study, scale: str, results: Path) -> JudgedStudy:
    """Return whether a study was run at a scale, and the verdicts on its claims."""
    frame = _frame_or_none(study, scale, results)
    return JudgedStudy(frame is not None, claims.judge(study, scale, frame))


def _build_study(task: _Task, results: Path, drawings: Path, verdicts: bool) -> tuple[list[Path], JudgedStudy | None]:
    """Write the table and figures of a study; return the files, and the verdicts if they are asked for."""
    scale, study = task.scale, load(task.path)
    written: list[Path] = []
    frame = _frame_or_none(study, scale, results)
    if frame is not None:
        written = [write_table(study, scale, results, frame), *write_figures(study, scale, results, drawings, frame)]
    return written, JudgedStudy(frame is not None, claims.judge(study, scale, frame)) if verdicts else None


def _frame_or_none(study: Study, scale: str, results: Path) -> pd.DataFrame | None:
    """Return the frame of a study, or None if it was not run."""
    try:
        return from_records(study, scale, results)
    except NotRun:
        return None


def _size_of_records(results: Path, task: _Task) -> int:
    """Return the size of the records of a study in bytes."""
    folder = Path(results) / task.scale / "runs" / task.path.parent.name / task.path.stem
    return sum(file.stat().st_size for file in folder.glob("*.npz"))


def _to_csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def _figure_path(study: Study, scale: str, drawings: Path, name: str) -> Path:
    """Return the path of a figure without the suffix of its format."""
    return Path(drawings) / scale / study.work / f"{study.name}-{name}"


def _with_suffix(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}.{kind}")  # the name of a figure may have a dot


def _write_figure(figure: "Figure", path: Path) -> list[Path]:
    """Write a figure as SVG and PNG; return the files."""
    from goodinit.report import drawing

    written = []
    for kind in drawing.FORMATS:
        written.append(_with_suffix(path, kind))
        replace_file(written[-1], drawing.render(figure, kind))
    return written
