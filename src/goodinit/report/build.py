"""Build what is made of a scale's records: tables, figures, verdicts, and the pages around them.

Only the functions that draw import matplotlib.
"""

import concurrent.futures
import contextlib
import functools
import os
from pathlib import Path

import pandas as pd

from goodinit import studies
from goodinit.files import replace_file
from goodinit.processes import end_with_parent
from goodinit.report import claims, pages, tables

__all__ = ["everything", "judge", "write_figures", "write_table", "write_verdicts"]


def everything(studies, scales, results, drawings, *, verdicts=True, processes=None):
    """Write the tables, figures, verdicts and pages of some scales, the studies in several processes.

    Args:
        studies: of all works, or of some.
        scales: of the records.
        results, drawings: the folders of records and tables, and of figures.
        verdicts: write the verdicts and pages of each scale, too.
        processes: how many; None is one for each processor.

    Returns:
        {scale: the files written}.

    Raises:
        InputError: a record is damaged or stale.
    """
    tasks = [(scale, study.path) for scale in scales for study in studies]
    tasks.sort(key=lambda task: -_recorded_bytes(results, *task))  # the longest first, so that none is waited for alone
    one = functools.partial(_one, results=results, drawings=drawings, verdicts=verdicts)
    with contextlib.ExitStack() as context:
        run = map
        if processes != 1 and len(tasks) > 1:
            pool = concurrent.futures.ProcessPoolExecutor(processes, initializer=end_with_parent)
            run = context.enter_context(pool).map
        made = dict(zip(tasks, run(one, tasks), strict=True))
        own = {scale: [made[scale, study.path] for study in studies] for scale in scales}
        written = {scale: [file for files, _ in own[scale] for file in files] for scale in scales}
        if verdicts:
            judged = [[found for _, found in own[scale]] for scale in scales]
            pages_of = functools.partial(_pages, studies=studies, results=results, drawings=drawings)
            for scale, files in zip(scales, run(pages_of, zip(scales, judged, strict=True)), strict=True):
                written[scale] += files
    return written


def _pages(task, studies, results, drawings):
    """Write the verdicts of one scale; return the files."""
    scale, judged = task
    return write_verdicts(studies, judged, scale, results, drawings)


def write_table(study, scale, results, frame):
    """Write a study's table as CSV; return the file."""
    file = Path(results) / scale / "tables" / study.work / f"{study.name}.csv"
    text = tables.table(study, frame).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    replace_file(file, text.encode())
    return file


def write_figures(study, scale, results, drawings, frame, names=None):
    """Draw some of a study's figures as SVG and PNG, or all for which there are records; return the files."""
    from goodinit.report import figures

    written = []
    for name in names or study.figures:
        spec = study.figures[name]
        shown = frame
        try:
            if spec.kind == "images":
                shown = tables.pictures(study, scale, results, spec.options["metric"])
            drawn = figures.draw(study, scale, name, shown)
        except tables.NotRun:
            if names:
                raise
            continue
        written += _draw(drawn, Path(drawings) / scale / study.work / f"{study.name}-{name}")
    return written


def write_verdicts(studies, judged, scale, results, drawings):
    """Write the verdicts as CSV, as a page and as a figure for each work, and the page of the scale.

    Args:
        studies, scale, results, drawings: as in `everything`.
        judged: for each study whether it was run, and its verdicts.

    Returns:
        The files written.
    """
    from goodinit.report import verdict_chart

    folder = Path(results) / scale
    every = [verdicts for _, verdicts in judged]
    found = pd.concat([verdicts for verdicts in every if len(verdicts)] or every[:1], ignore_index=True)
    ran = [study for study, (was_run, _) in zip(studies, judged, strict=True) if was_run]
    figures_of = {
        (study.work, study.name): [
            name
            for name in study.figures
            if (Path(drawings) / scale / study.work / f"{study.name}-{name}.png").exists()
        ]
        for study in ran
    }
    where = os.path.relpath(Path(drawings) / scale, folder)
    texts = {
        "claims.csv": found.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "claims.md": pages.verdicts(studies, found, scale),
        "README.md": pages.gallery(ran, found, scale, figures_of, where),
    }
    for name, text in texts.items():
        replace_file(folder / name, text.encode())
    written = [folder / name for name in texts]
    for work in dict.fromkeys(study.work for study in ran):
        if len(mine := found[found["work"] == work]):
            written += _draw(verdict_chart.verdicts(mine, scale), Path(drawings) / scale / work / "verdicts")
    return written


def judge(study, scale, results):
    """Return whether a study was run at a scale, and the verdicts on its claims."""
    frame = _frame(study, scale, results)
    return frame is not None, claims.judge(study, scale, frame)


def _frame(study, scale, results):
    """Return the study's frame, None where it was not run."""
    try:
        return tables.frame(study, scale, results)
    except tables.NotRun:
        return None


def _one(task, results, drawings, verdicts):
    """Write a study's table and figures; return the files, and, where verdicts are asked for, what `judge` does."""
    scale, path = task
    study, written = studies.load(path), []
    frame = _frame(study, scale, results)
    if frame is not None:
        written = [write_table(study, scale, results, frame), *write_figures(study, scale, results, drawings, frame)]
    return written, (frame is not None, claims.judge(study, scale, frame)) if verdicts else None


def _recorded_bytes(results, scale, path):
    folder = Path(results) / scale / "runs" / path.parent.name / path.stem
    return sum(file.stat().st_size for file in folder.glob("*.npz"))


def _draw(figure, stem):
    """Write a figure as SVG and PNG; return the files."""
    from goodinit.report import figures

    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    for file in files:
        replace_file(file, figures.render(figure, file.suffix[1:]))
    return files
