"""The subcommands of `goodinit`, each a function of its options; what is heavy is imported inside them."""

import logging
import re
import sys
from pathlib import Path

from goodinit import records, studies
from goodinit.errors import InputError, nearest
from goodinit.files import replace_file
from goodinit.studies import settings

__all__ = [
    "claims",
    "compare",
    "estimate",
    "export",
    "figure",
    "list_studies",
    "prepare",
    "readme",
    "report",
    "show",
    "table",
    "train",
]

LOGGER = logging.getLogger(__name__)
GPU = 100e12  # operations a second, what a large one reaches
BATCHES = (1, 4, 16)  # mini-batches whose memory is estimated beside the study's own


def list_studies(options):
    """Print every study with its runs and how many have a record; or, of one study, every run."""
    for study in _studies(options):
        jobs = study.jobs(options.scale)
        done = [job for job in jobs if records.path(options.results, options.scale, study, job).exists()]
        runs, recorded = (sum(len(job.runs) for job in some) for some in (jobs, done))
        print(f"{study.work}/{study.name}: {study.title}")
        print(f"  {options.scale} scale: {runs} runs in {len(jobs)} jobs; {recorded} recorded")
        if not options.runs:
            continue
        for job in jobs:
            print(f"  job {job.name}{' (recorded)' if job in done else ''}")
            for run in job.runs:
                print(f"    {run.id}  seed {run.seed}  {run.title}")


def prepare(options):
    """Prepare a data set's arrays; a folder of pictures is NAME in the data folder's `folders`."""
    from goodinit.training import build

    how = {"processes": options.processes, "allowed_bad": options.allowed_bad}
    print(build.prepare(options.data, settings.data_root(options.data_root), **how))


def train(options):
    """Train the jobs of the chosen studies that have no record, or all with --force."""
    jobs = []
    for study in _studies(options):
        for job in study.jobs(options.scale):
            file = records.path(options.results, options.scale, study, job)
            if options.job in (None, job.name):
                jobs.append((study, job, file))
    if options.job and not jobs:
        names = [job.name for study in _studies(options) for job in study.jobs(options.scale)]
        raise InputError(f"job: no job {options.job!r} at {options.scale} scale{nearest(options.job, names)}")
    waiting = jobs if options.force else [item for item in jobs if not _recorded(item)]
    LOGGER.info("%d jobs, %d of them recorded already", len(jobs), len(jobs) - len(waiting))
    if waiting:
        from goodinit.training import jobs as training

        training.train(
            waiting,
            options.scale,
            options.data_root,
            options.device,
            options.threads,
            options.checkpoint_minutes,
            again=options.force,
        )


def estimate(options):
    """Print what each study costs at a scale, before anything is run: operations, memory, time on a device."""
    from goodinit.report import costs
    from goodinit.training import cost

    time, origin = _clock(options)
    print(f"{options.scale} scale, {origin}")
    sizes = ", ".join(map(str, BATCHES))
    print(
        f"{'':32}  {'runs':>5}  {'PFLOP':>9}  {'evaluating':>10}  {'time':>12}  memory of a run, at batches of {sizes}"
    )
    estimates, different = [], {}
    for study in _studies(options):
        runs = study.runs(options.scale)
        try:
            found = cost.of(runs)
            memory = [_memory(runs, size) for size in BATCHES]
            seconds = time(runs, found.operations)
        except InputError as error:
            raise InputError(f"{study.path}: {error}") from None
        different |= {run.id: run for run in runs}
        estimates.append(costs.Estimate.of(study, runs, found.operations, found.memory))
        share = f"{found.evaluation / found.operations:.0%}" if found.operations else ""
        name, took = f"{study.work}/{study.name}", cost.words(seconds)
        held = f"{found.memory / 2**20:6.0f} MiB, {', '.join(memory)}"
        print(f"{name:32}  {len(runs):5}  {found.operations / 1e15:9.3g}  {share:>10}  {took:>12}  {held}", flush=True)
    runs = list(different.values())
    operations = cost.of(runs).operations
    total = cost.words(time(runs, operations))
    print(f"{'all, shared runs once':32}  {len(runs):5}  {operations / 1e15:9.3g}  {'':10}  {total:>12}")
    if options.csv:
        costs.write(options.csv, estimates)


def _clock(options):
    """Return a function (runs, operations) -> seconds, and what its times are of, as text."""
    from goodinit.training import build, cost

    if options.timed and options.rate is not None:
        raise InputError("rate, timed: give one of them: times are measured, or follow from a rate")
    if options.timed:
        import torch

        device = build.choose_device(options.device)
        torch.set_num_threads(1)
        threads = ", one thread" if device.type == "cpu" else ""
        return lambda runs, _: cost.seconds(runs, device), f"a few updates of each model timed on {device}{threads}"
    if options.rate is not None and options.rate <= 0:
        raise InputError(f"rate: {options.rate} is not more than 0")
    rate = options.rate * 1e12 if options.rate else cost.rate("cpu")
    origin = "as given" if options.rate else "measured on this CPU"
    said = f"at {rate / 1e12:.3g} TFLOP/s ({origin}), which real training seldom reaches"
    return lambda _, operations: operations / rate, said


def _memory(runs, batch_size):
    """Return what the largest run of the first seed needs in MiB, as text; - where it cannot have so small a batch."""
    from goodinit.training import cost

    try:
        return f"{cost.of([run for run in runs if run.seed == 0], batch_size).memory / 2**20:.0f}"
    except InputError:
        return "-"


def table(options):
    """Write each study's table as CSV."""
    from goodinit.report import build

    for study, frame in _frames(options):
        print(build.write_table(study, options.scale, options.results, frame))


def figure(options):
    """Draw each study's figures as SVG and PNG."""
    from goodinit.report import build

    for study, frame in _frames(options):
        known = study.figures
        if options.figure and options.figure not in known:
            raise InputError(
                f"figure: {study.work}/{study.name} has no {options.figure!r}{nearest(options.figure, known)}"
            )
        names = [options.figure] if options.figure else None
        for file in build.write_figures(study, options.scale, options.results, options.figures, frame, names):
            print(file)


def claims(options):
    """Write the verdicts on every claim: as CSV, as a page, as a figure for each work; and the page of the scale."""
    import pandas as pd

    from goodinit.report import build

    studies = _studies(options)
    judged = [build.judge(study, options.scale, options.results) for study in studies]
    for file in build.write_verdicts(studies, judged, options.scale, options.results, options.figures):
        print(file)
    counts = pd.concat([verdicts for _, verdicts in judged])["verdict"].value_counts()
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no claims")


def report(options):
    """Write everything that is made of a scale's records: tables, figures, verdicts and pages."""
    from goodinit.report import build

    if options.processes is not None and options.processes < 1:
        raise InputError(f"processes: {options.processes} is not at least 1")
    if options.scale == "all":
        scales = [scale for scale in studies.SCALES[1:] if (Path(options.results) / scale / "runs").is_dir()]
    else:
        _check_scale(options)
        scales = [options.scale]
    folders = {"results": options.results, "drawings": options.figures}
    written = build.everything(
        _chosen(options), scales, **folders, verdicts=not options.no_verdicts, processes=options.processes
    )
    for scale, paths in written.items():
        print(f"{scale} scale: {len(paths)} files in {options.results} and {options.figures}")


def readme(options):
    """Write the README's generated parts anew (verdicts, works, costs), or say that they are stale."""
    import pandas as pd

    from goodinit.report import costs, pages
    from goodinit.studies import strict_yaml

    scales = [scale for scale in studies.SCALES[1:] if (Path(options.results) / scale / "claims.csv").exists()]
    found = {scale: pd.read_csv(Path(options.results) / scale / "claims.csv") for scale in scales}
    file = Path(options.file)
    text = new = file.read_text(encoding="utf-8")
    every = studies.load_all(options.configs)
    parts = {
        "verdicts": pages.verdict_counts(found),
        "works": pages.works(strict_yaml.read(Path(options.configs) / "works.yaml"), every, found),
        "costs": pages.costs(
            [row for scale in studies.SCALES[1:] for row in costs.of_works(every, scale, options.results)], GPU
        ),
    }
    for name, part in parts.items():
        begin, end = (f"<!-- {where} of {name}, which make figures writes -->" for where in ("begin", "end"))
        pieces = re.split(f"({re.escape(begin)}|{re.escape(end)})", new)
        if pieces[1::2] != [begin, end]:
            raise InputError(f"{file}: the lines {begin} and {end} must stand in it once each")
        new = f"{pieces[0]}{begin}\n\n{part}\n\n{end}{pieces[4]}"
    if options.check and new != text:
        raise InputError(f"{file}: it is stale: make figures")
    if not options.check:
        replace_file(file, new.encode())


def compare(options):
    """Compare two folders of records, number by number; exit with 1 where they differ by more than the seeds do."""
    import pandas as pd

    from goodinit.report import compare, tables

    roots = [_root(folder, options.scale) for folder in (options.one, options.other)]
    found = []
    for study in _studies(options):
        try:
            found.append(compare.compare(study, options.scale, *roots).assign(study=f"{study.work}/{study.name}"))
        except tables.NotRun:
            continue
    if not found:
        raise InputError(f"compare: no study has records at {options.scale} scale in both {roots[0]} and {roots[1]}")
    for rows in found:
        counts = rows["found"].value_counts()
        print(f"{rows['study'].iloc[0]}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
        for row in rows[rows["found"] == "different"].to_dict("records"):
            labels = ", ".join(f"{key} {value}" for key, value in row.items() if key not in compare.COLUMNS)
            print(f"  different: {row['metric']} at {row['at']}, {labels}: {row['one']:.6g} and {row['other']:.6g}, "
                  f"spread {row['spread']:.3g}, n {row['n']}")  # fmt: skip
    every = pd.concat(found)["found"].value_counts()
    print(f"all: {', '.join(f'{count} {what}' for what, count in every.items())}")
    sys.exit(int("different" in every))


def _root(folder, scale):
    """Return the results folder of which this is, or whose scale's folder this is."""
    folder = Path(folder)
    return folder.parent if folder.name == scale and (folder / "runs").is_dir() else folder


def export(options):
    """Write everything at a scale as a zipped RO-Crate: results, figures, studies, and what made them."""
    from goodinit.report import ro_crate

    _check_scale(options)
    file = options.file or f"goodinit-{options.scale}.crate.zip"
    count = ro_crate.export(options.scale, options.configs, options.results, options.figures, file)
    print(f"{file}: {count} files")


def show(options):
    """Print one run's record."""
    import yaml

    found = {}
    for file in sorted(Path(options.results).glob("*/runs/*/*/[!.]*.json")):
        for run in records.read(file):
            if run.id.startswith(options.run):
                found.setdefault(run.id, (file, run))
    if not found:
        raise InputError(f"run: no record in {options.results} has a run {options.run!r}: see goodinit list --runs")
    if len(found) > 1:
        raise InputError(
            f"run: {options.run!r} is the beginning of {len(found)} ids: {', '.join(sorted(found)[:5])} ..."
        )
    ((file, run),) = found.values()
    last = {
        f"{name} at step {series.steps[-1]}": round(float(series.values[-1]), 6)
        for name, series in run.series.items()
        if series.values.ndim == 1 and len(series.steps)
    }
    words = {key: value for key, value in vars(run).items() if key not in ("series", "parts")}
    words = {"record": str(file)} | words | {"last": last, "series": list(run.series)}
    print(yaml.safe_dump(words, sort_keys=False, allow_unicode=True), end="")


def _check_scale(options):
    if options.scale not in studies.SCALES:
        raise InputError(f"scale: unknown scale {options.scale!r}{nearest(options.scale, studies.SCALES)}")


def _studies(options):
    """Load the studies that the command line chooses, for a scale that there is."""
    _check_scale(options)
    return _chosen(options)


def _chosen(options):
    """Load the studies that the command line chooses."""
    if not options.studies:
        return studies.load_all(options.configs)
    chosen = []
    for name in options.studies:
        chosen += [studies.find(options.configs, name)] if "/" in name else studies.load_all(options.configs, [name])
    return chosen


def _frames(options):
    """Yield each study with its frame; one without records is an error where it, or its work, was chosen.

    A work's study that is not run at the scale is none that was chosen.
    """
    from goodinit.report import tables

    for study in _studies(options):
        try:
            yield study, tables.frame(study, options.scale, options.results)
        except tables.NotRun:
            named = f"{study.work}/{study.name}" in options.studies
            if named or (study.work in options.studies and study.runs(options.scale)):
                raise


def _recorded(item):
    """Say whether a job has a record; raise InputError where it is damaged or stale."""
    _, job, file = item
    if not file.exists():
        return False
    records.read_current(file, {run.id: studies.fill(run.parts) for run in job.runs})
    return True
