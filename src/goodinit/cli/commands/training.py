"""Commands that train studies and estimate what that costs."""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from goodinit import records, studies
from goodinit.cli.selection import check_positive, selected_studies, without_runs
from goodinit.errors import InputError, nearest

__all__ = ["estimate", "train"]

LOGGER = logging.getLogger(__name__)
BATCH_SIZES = (1, 4, 16)  # whose memory is estimated besides that of the study's own batch size


def train(options: argparse.Namespace) -> None:
    """Train the jobs of the selected studies that have no record, or all with --force."""
    selected = selected_studies(options)
    jobs = [(study, job) for study in selected for job in study.jobs(options.scale)]
    if options.job:
        names = [job.name for _, job in jobs]
        if options.job not in names:
            raise InputError(f"job: no job {options.job!r} at {options.scale} scale{nearest(options.job, names)}")
        jobs = [(study, job) for study, job in jobs if job.name == options.job]
    remaining = [(study, job) for study, job in jobs if options.force or not _recorded(study, job, options)]
    LOGGER.info("%d jobs, %d of them recorded already", len(jobs), len(jobs) - len(remaining))
    if not jobs:
        LOGGER.info("  %s", without_runs(selected, options.scale))
    if remaining:
        from goodinit.training import jobs as training

        training.train(
            remaining,
            options.scale,
            options.results,
            data_root=options.data_root,
            device=options.device,
            threads=options.threads,
            checkpoint_minutes=options.checkpoint_minutes,
            retrain=options.force,
        )


def estimate(options: argparse.Namespace) -> None:
    """Estimate the cost of each study at a scale without training it: operations, memory and time."""
    from goodinit.report import costs
    from goodinit.training import cost

    seconds_of, source = _clock(options)
    print(f"{options.scale} scale, {source}")
    sizes = ", ".join(map(str, BATCH_SIZES))
    print(_row("", "runs", "PFLOP", "evaluating", "time", f"memory of a run, at batches of {sizes}"))
    estimates: list[costs.CostEstimate] = []
    distinct: dict[str, studies.Run] = {}
    for study in selected_studies(options):
        runs = study.runs(options.scale)
        try:
            total = cost.estimate(runs)
            memory = [_memory(runs, size) for size in BATCH_SIZES]
            duration = cost.format_duration(seconds_of(runs, total.operations))
        except InputError as error:
            raise InputError(f"{study.path}: {error}") from None
        distinct |= {run.id: run for run in runs}
        estimates.append(costs.CostEstimate.of(study, runs, total.operations, total.memory))
        share = f"{total.evaluation / total.operations:.0%}" if total.operations else ""
        listed = f"{total.memory / 2**20:6.0f} MiB, {', '.join(memory)}"
        print(_row(study.full_name, len(runs), f"{total.operations / 1e15:.3g}", share, duration, listed), flush=True)
    runs = list(distinct.values())
    operations = cost.estimate(runs).operations
    duration = cost.format_duration(seconds_of(runs, operations))
    print(_row("all, shared runs once", len(runs), f"{operations / 1e15:.3g}", "", duration, "").rstrip())
    if options.csv:
        costs.write(Path(options.csv), estimates)


def _row(name: str, runs: int | str, operations: str, share: str, duration: str, memory: str) -> str:
    return f"{name:32}  {runs:>5}  {operations:>9}  {share:>10}  {duration:>12}  {memory}"


def _clock(options: argparse.Namespace) -> tuple[Callable[[list[studies.Run], int], float], str]:
    """Return a function (runs, operations) -> seconds, and a description of how it computes these."""
    from goodinit.training import devices, timing

    check_positive("rate", options.rate)
    if options.timed and options.rate is not None:
        raise InputError("rate, timed: give one of them: times are measured, or follow from a rate")
    device = devices.choose_device(options.device)
    if options.timed:
        threads = ", one thread" if device.type == "cpu" else ""
        description = f"a few updates of each model timed on {device}{threads}"
        return lambda runs, _: timing.measure_seconds(runs, device, threads=1), description
    rate = options.rate * 1e12 if options.rate else timing.measure_rate(device)
    origin = "as given" if options.rate else f"measured on {devices.name_of(device)}"
    description = f"at {rate / 1e12:.3g} TFLOP/s ({origin}), which real training seldom reaches"
    return lambda _, operations: operations / rate, description


def _memory(runs: Sequence[studies.Run], batch_size: int) -> str:
    """Return the memory of the largest run of the first seed in MiB, or "-" where the batch is too small for it."""
    from goodinit.training import cost

    try:
        return f"{cost.estimate([run for run in runs if run.seed == 0], batch_size).memory / 2**20:.0f}"
    except InputError:
        return "-"


def _recorded(study: studies.Study, job: studies.Job, options: argparse.Namespace) -> bool:
    """Return whether a job has a record; raise InputError if it is damaged or stale."""
    file = records.path(options.results, options.scale, study, job)
    if not file.exists():
        return False
    records.read_current(file, {run.id: studies.fill(run.parts) for run in job.runs})
    return True
