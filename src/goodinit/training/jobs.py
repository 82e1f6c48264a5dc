"""Training of jobs on this machine: recorded runs are reused, signals are handled, records are written."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch

from goodinit import records, studies
from goodinit.errors import InputError, is_out_of_memory
from goodinit.studies import settings
from goodinit.training import cost, devices, timing, trainer
from goodinit.training.checkpoint import MINUTES, Checkpoint, Stopped
from goodinit.training.progress import JobProgress

__all__ = ["train"]

LOGGER = logging.getLogger(__name__)


def train(
    jobs: Sequence[tuple[studies.Study, studies.Job]],
    scale: str,
    results: str | Path,
    *,
    data_root: str | None = None,
    device: str = "auto",
    threads: int = 1,
    checkpoint_minutes: float = MINUTES,
    retrain: bool = False,
) -> None:
    """Train jobs one after the other, and write their records; a new record replaces an old one when it is complete.

    Args:
        jobs: each with its study.
        scale: the scale of all jobs; without a GPU, `paper` needs an explicit device, except for studies that request
            no GPU.
        results: the folder of the records.
        data_root: the data folder, or None for the default one.
        device: auto, cpu, cuda or cuda:N; auto is the CPU for studies that request no GPU.
        threads: number of CPU threads.
        checkpoint_minutes: time between two checkpoints of a run.
        retrain: also train runs that another record has.

    Raises:
        InputError: an argument, the data or an option of a run cannot be used.
        OSError: a record cannot be written.
        SystemExit: a signal requested the process to stop; its work is saved.
    """
    if not checkpoint_minutes > 0:
        raise InputError(f"checkpoint-minutes must be more than 0, not {checkpoint_minutes}")
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    root = settings.data_root(data_root)
    chosen = devices.choose_device(device)
    if scale == "paper" and chosen.type == "cpu" and device == "auto":
        large = [run for study, job in jobs if not _suits_cpu(study, scale) for run in job.runs]
        if large:
            raise InputError(_paper_without_gpu(large))
    with _stop_signals() as signals, contextlib.ExitStack() as context:
        reserved: torch.device | None = None
        for study, job in jobs:
            if device == "auto" and _suits_cpu(study, scale):
                torch_device = torch.device("cpu")
            else:
                torch_device = reserved = reserved or context.enter_context(devices.reserve(chosen))
            file = records.path(results, scale, study, job)
            file.parent.mkdir(parents=True, exist_ok=True)  # a missing permission is reported before the training
            start = time.perf_counter()
            try:
                with Checkpoint(file, checkpoint_minutes, lambda: bool(signals)) as checkpoint:
                    runs = _records_of(file, job, root, torch_device, threads, checkpoint, retrain)
            except InputError as error:
                raise InputError(f"{study.full_name}: {error}") from None
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                raise InputError(f"{study.full_name}: {_out_of_memory(job, torch_device)}") from None
            except Stopped:
                LOGGER.info("goodinit: stopped; run the same command again to continue job %s", job.name)
                sys.exit(128 + signals[0])
            records.write(file, runs)
            checkpoint.clear()
            LOGGER.info("%s: %s in %.1f s", study.full_name, file, time.perf_counter() - start)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Yield a list to which the first signal to stop is added; a second one ends the process immediately."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()
        with contextlib.suppress(OSError):  # not logged, since the handler may interrupt the writing of a log line
            os.write(2, b"goodinit: signal received, stopping after this update\n")

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    handlers = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        restore()


def _records_of(
    file: Path,
    job: studies.Job,
    data_root: Path,
    device: torch.device,
    threads: int,
    checkpoint: Checkpoint,
    retrain: bool,
) -> list[records.RunRecord]:
    """Return the records of a job: those of runs that another record has, and new ones."""
    finished = {}
    for run_id, record in records.find_trained(file, {run.id for run in job.runs}, unfinished_only=retrain).items():
        with contextlib.suppress(InputError):  # stale
            records.check_current(file, record, studies.fill(record.parts))
            finished[run_id] = record
    missing = [run for run in job.runs if run.id not in finished]
    with JobProgress(job) as progress:
        trained = trainer.execute(
            missing,
            data_root=data_root,
            device=device,
            threads=threads,
            progress=progress.report_step,
            checkpoint=checkpoint,
        )
        for run, record in zip(missing, trained, strict=True):
            finished[run.id] = record
            progress.report_run(run, record)
    return [finished[run.id] for run in job.runs]


def _suits_cpu(study: studies.Study, scale: str) -> bool:
    """Return whether a study requests no GPU, because its networks are so small that a CPU trains them faster."""
    return study.resources_at(scale).get("gpu") == 0


def _paper_without_gpu(runs: Sequence[studies.Run]) -> str:
    time = "as long as their initialization and diagnostics, which are not estimated"
    if any(run.parts["training"].get("steps") != 0 for run in runs):
        duration = cost.format_duration(cost.estimate(runs).operations / timing.measure_rate("cpu"))
        time = f"about {duration} at this CPU's full rate, and probably several times that"
    return (
        f"scale: paper without a GPU: {len(runs)} runs would take {time}: use --device cpu (--config device=cpu) to "
        "train anyway, or --scale laptop"
    )


def _out_of_memory(job: studies.Job, device: torch.device) -> str:
    gibibytes = cost.estimate(job.runs).memory / 2**30
    return (
        f"job {job.name}: out of memory on {device}; it needs about {gibibytes:.2g} GiB beside the libraries: end "
        "other processes, request more memory, or lower training.batch_size; finished work is kept"
    )
