"""Commands that show studies and records, and prepare data sets."""

import argparse
import sys
from pathlib import Path

from goodinit import records
from goodinit.cli.selection import selected_studies
from goodinit.errors import InputError
from goodinit.studies import settings

__all__ = ["list_studies", "prepare", "show"]


def list_studies(options: argparse.Namespace) -> None:
    """List the studies, with the number of their runs and of those that are recorded."""
    for study in selected_studies(options):
        jobs = study.jobs(options.scale)
        recorded = [job for job in jobs if records.path(options.results, options.scale, study, job).exists()]
        runs, recorded_runs = (sum(len(job.runs) for job in group) for group in (jobs, recorded))
        print(f"{study.full_name}: {study.title}")
        print(f"  {options.scale} scale: {runs} runs in {len(jobs)} jobs; {recorded_runs} recorded")
        if not options.runs:
            continue
        for job in jobs:
            print(f"  job {job.name}{' (recorded)' if job in recorded else ''}")
            for run in job.runs:
                print(f"    {run.id}  seed {run.seed}  {run.title}")


def show(options: argparse.Namespace) -> None:
    """Print the record of one run."""
    from ruamel.yaml import YAML

    matches: dict[str, tuple[Path, records.RunRecord]] = {}
    for file in sorted(Path(options.results).glob("*/runs/*/*/[!.]*.json")):
        if f'"id": "{options.run}' in file.read_text(encoding="utf-8", errors="replace"):  # do not read all arrays
            for record in records.read(file):
                if record.id.startswith(options.run):
                    matches.setdefault(record.id, (file, record))
    if not matches:
        raise InputError(f"run: no record in {options.results} has a run {options.run!r}: see goodinit list --runs")
    if len(matches) > 1:
        ids = ", ".join(sorted(matches)[:5])
        raise InputError(f"run: {options.run!r} is the beginning of {len(matches)} ids: {ids} ...")
    ((file, record),) = matches.values()
    last = {
        f"{name} at step {series.steps[-1]}": round(float(series.values[-1]), 6)
        for name, series in record.series.items()
        if series.values.ndim == 1 and len(series.steps)
    }
    fields = {key: value for key, value in vars(record).items() if key not in ("series", "parts")}
    page = {"record": str(file)} | fields | {"last": last, "series": list(record.series)}
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump(page, sys.stdout)


def prepare(options: argparse.Namespace) -> None:
    """Prepare the arrays of a data set, unless they exist."""
    from goodinit.datasets import preparation

    manifest = preparation.prepare(
        options.data,
        settings.data_root(options.data_root),
        processes=options.processes,
        allowed_bad=options.allowed_bad,
    )
    print(manifest)
