"""Commands that turn records into tables, figures, verdicts and pages."""

import argparse
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from goodinit import studies
from goodinit.cli.selection import check_scale, reject_studies, selected_studies
from goodinit.errors import InputError, nearest
from goodinit.files import replace_file
from goodinit.studies import strict_yaml

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["claims", "compare", "export", "figure", "readme", "report", "table"]

LOGGER = logging.getLogger(__name__)
GPU_RATE = 100e12  # floating-point operations per second that a large GPU achieves


def table(options: argparse.Namespace) -> None:
    """Write the table of each study as CSV."""
    from goodinit.report import build

    for study, frame in _frames(options):
        print(build.write_table(study, options.scale, options.results, frame))


def figure(options: argparse.Namespace) -> None:
    """Draw the figures of each study as SVG and PNG."""
    from goodinit.report import build

    for study, frame in _frames(options):
        if options.figure and options.figure not in study.figures:
            hint = nearest(options.figure, study.figures)
            raise InputError(f"figure: {study.full_name} has no {options.figure!r}{hint}")
        names = [options.figure] if options.figure else None
        for file in build.write_figures(study, options.scale, options.results, options.figures, frame, names):
            print(file)


def claims(options: argparse.Namespace) -> None:
    """Write the verdicts on all claims as CSV, as a page and as one figure for each work, and the page of the scale."""
    from goodinit.report import build
    from goodinit.report.claims import count_verdicts

    reject_studies("claims", options.studies, "verdicts are computed over all studies")
    check_scale(options.scale)
    selected = studies.load_all(options.configs)
    judged = [build.judge(study, options.scale, options.results) for study in selected]
    for file in build.write_verdicts(selected, judged, options.scale, options.results, options.figures):
        print(file)
    print(count_verdicts([verdict for _, verdicts in judged for verdict in verdicts["verdict"]]) or "no claims")


def report(options: argparse.Namespace) -> None:
    """Write what follows from the records of a scale: tables and figures, and without a study verdicts and pages."""
    from goodinit.report import build

    if options.processes is not None and options.processes < 1:
        raise InputError(f"processes must be at least 1, not {options.processes}")
    selected = selected_studies(options, (*studies.SCALES, "all"))
    scales = [options.scale]
    if options.scale == "all":
        scales = [scale for scale in studies.SCALES[1:] if (Path(options.results) / scale / "runs").is_dir()]
        if not scales:
            raise InputError(
                f"results: {options.results} has no records of {', '.join(studies.SCALES[1:])}: train first"
            )
    files = build.write_all(
        selected,
        scales,
        options.results,
        options.figures,
        verdicts=not options.studies,
        processes=options.processes,
    )
    for scale, written in files.items():
        print(f"{scale} scale: {len(written)} files in {options.results} and {options.figures}")
    if options.studies:
        print("verdicts and pages are of all studies: without a study, this command writes them, too")
    elif options.scale == "all":
        build.write_overview(scales, options.results, options.figures)


def readme(options: argparse.Namespace) -> None:
    """Write the generated sections of the README, the review of the claims and the findings, or check them."""
    from goodinit.report import costs, findings, pages

    results, configs, file = Path(options.results), Path(options.configs), Path(options.file)
    scales = [scale for scale in studies.SCALES[1:] if (results / scale / "claims.csv").exists()]
    if not scales:
        raise InputError(f"{results}: no claims.csv at any scale: write them with goodinit report --scale all")
    verdicts = {scale: _read_claims(results / scale / "claims.csv") for scale in scales}
    all_studies = studies.load_all(options.configs)
    rows = [row for scale in studies.SCALES[1:] for row in costs.of_works(all_studies, scale, options.results)]
    templates = sorted(Path(options.findings).glob("*.md.j2"))
    texts = {path.name.removesuffix(".md.j2"): path.read_text(encoding="utf-8") for path in templates}
    works = strict_yaml.read_valid(configs / "works.yaml", "works")
    sections = {
        "verdicts": pages.verdict_table(verdicts),
        "works": pages.work_sections(works, all_studies, verdicts, texts),
        "costs": pages.cost_table(rows, GPU_RATE),
    }
    current = file.read_text(encoding="utf-8")
    for name, section in sections.items():
        current = _with_section(file, current, name, section)
    contents = {file: current}
    files = sorted(Path(options.reviews).glob("*.yaml"))
    reviews = {path.stem: strict_yaml.read_valid(path, "claims_review") for path in files}
    if reviews:
        contents[Path(f"{options.reviews}.md")] = pages.review_page(all_studies, reviews)
    for work, text in texts.items():
        tables = {scale: findings.read_tables(results, scale, work) for scale in scales}
        contents[results / f"{work}.md"] = findings.findings_page(work, text, verdicts, tables)
    for path, content in contents.items():
        if options.check and (not path.exists() or path.read_text(encoding="utf-8") != content):
            raise InputError(f"{path}: it is stale: run `make figures`")
        if not options.check:
            replace_file(path, content.encode())


def compare(options: argparse.Namespace) -> None:
    """Compare two folders of records number by number; exit with 1 if runs are missing or differ more than seeds do."""
    import pandas as pd

    from goodinit.report import compare
    from goodinit.report.measures import NotRun

    folders = [Path(options.first), Path(options.second)]
    options.scale = options.scale or next(
        (folder.name for folder in folders if folder.name in studies.SCALES), "laptop"
    )
    roots = [_results_folder(folder, options.scale) for folder in folders]
    compared = []
    for study in selected_studies(options):
        try:
            compared.append(compare.compare(study, options.scale, *roots).assign(study=study.full_name))
        except NotRun:
            continue
    if not compared:
        raise InputError(f"compare: no study has records at {options.scale} scale in both {roots[0]} and {roots[1]}")
    for rows in compared:
        print(f"{rows['study'].iloc[0]}: {_counts(rows)}")
        for row in rows[rows["difference"].isin(compare.NOT_REPRODUCED)].to_dict("records"):
            labels = ", ".join(f"{key} {value}" for key, value in row.items() if key not in compare.COLUMNS)
            numbers = f": {row['first']:.6g} and {row['second']:.6g}, spread {row['spread']:.3g}, n {row['n']}"
            print(f"  {row['difference']}: {row['metric']} at {row['at']}, {labels}{numbers if row['n'] else ''}")
    together = pd.concat(compared)
    print(f"all: {_counts(together)}")
    sys.exit(int(together["difference"].isin(compare.NOT_REPRODUCED).any()))


def export(options: argparse.Namespace) -> None:
    """Write the results, figures and studies of a scale, and their origin, as a zipped RO-Crate."""
    from goodinit.report import ro_crate

    reject_studies("export", options.studies, "all studies of a scale are exported")
    check_scale(options.scale)
    file = Path(options.file or f"goodinit-{options.scale}.crate.zip")
    count = ro_crate.export(options.scale, options.configs, options.results, options.figures, file)
    print(f"{file}: {count} files")


def _frames(options: argparse.Namespace) -> Iterator[tuple[studies.Study, "pd.DataFrame"]]:
    """Yield each selected study that has records, with its frame; log if there is none.

    Raises:
        NotRun: a study that the command line names has no records, or one of a work that it names and that has runs
            at the scale.
    """
    from goodinit.report.frame import from_records
    from goodinit.report.measures import NotRun

    recorded = False
    for study in selected_studies(options):
        try:
            frame = from_records(study, options.scale, options.results)
        except NotRun:
            named = study.full_name in options.studies
            if named or (study.work in options.studies and study.runs(options.scale)):
                raise
        else:
            recorded = True
            yield study, frame
    if not recorded:
        LOGGER.info(
            "no study has records at %s scale in %s: see goodinit list --scale %s",
            options.scale,
            options.results,
            options.scale,
        )


def _read_claims(path: Path) -> "pd.DataFrame":
    """Return the verdicts that `claims` wrote."""
    import pandas as pd

    from goodinit.report.claims import COLUMNS

    try:
        verdicts = pd.read_csv(path)
    except ValueError as error:
        raise InputError(f"{path}: {error}: write it with goodinit report") from None
    if [*verdicts] != COLUMNS:
        raise InputError(f"{path}: its columns are not those of claims: write it with goodinit report")
    return verdicts


def _with_section(file: Path, text: str, name: str, section: str) -> str:
    """Return the text of a page with a generated section, between two markers, replaced."""
    begin, end = (f"<!-- {edge} of {name}, which make figures writes -->" for edge in ("begin", "end"))
    pieces = re.split(f"({re.escape(begin)}|{re.escape(end)})", text)
    if pieces[1::2] != [begin, end]:
        raise InputError(f"{file}: each of the lines {begin} and {end} must occur exactly once")
    return f"{pieces[0]}{begin}\n\n{section}\n\n{end}{pieces[4]}"


def _results_folder(folder: Path, scale: str) -> Path:
    """Return the folder of results, given that folder or its subfolder of the scale."""
    return folder.parent if folder.name == scale and (folder / "runs").is_dir() else folder


def _counts(rows: "pd.DataFrame") -> str:
    """Return how many measures have each outcome of the comparison."""
    return ", ".join(f"{count} {outcome}" for outcome, count in rows["difference"].value_counts().items())
