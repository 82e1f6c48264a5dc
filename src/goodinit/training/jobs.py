"""Jobs trained here and now: what another record holds is kept, progress is shown, records are written."""

import contextlib
import logging
import os
import signal
import sys
import time

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from goodinit import records, standard_streams, studies
from goodinit.errors import InputError
from goodinit.studies import settings
from goodinit.training import build, trainer
from goodinit.training.checkpoint import Checkpoint, Stopped

__all__ = ["train"]

LOGGER = logging.getLogger(__name__)


def train(jobs, scale, data_root, device, threads, minutes, *, again=False):
    """Train jobs one after the other and write their records; one that is there stays until the new one is whole.

    Args:
        jobs: triples of study, job and the record's path.
        scale: of all the jobs; `paper` without a GPU must be insisted on.
        data_root: the data folder, or None for the usual one.
        device: auto, cpu, cuda or cuda:N.
        threads: of the CPU.
        minutes: from one checkpoint of a long run to the next.
        again: also train runs that another record holds.

    Raises:
        InputError: an argument, the data or an option of a run cannot be used.
        OSError: a record cannot be written.
        SystemExit: a signal asked the process to end; what was done is kept.
    """
    if minutes <= 0:
        raise InputError(f"checkpoint-minutes: {minutes} is not more than 0")
    if threads < 1:
        raise InputError(f"threads: {threads} is not at least 1")
    data_root = settings.data_root(data_root)
    insisted, device = device != "auto", build.choose_device(device)
    torch.set_num_threads(threads)
    if scale == "paper" and device.type == "cpu" and not insisted:
        from goodinit.training import cost

        runs = [run for _, job, _ in jobs for run in job.runs]
        time_needed = cost.format_duration(cost.estimate(runs).operations / cost.measure_rate("cpu"))
        raise InputError(
            f"scale: paper without a GPU: {len(runs)} runs would take about {time_needed} at this CPU's full rate, "
            "likely several times that: insist with --device cpu (--config device=cpu), or take --scale laptop"
        )
    with standard_streams.tolerant_stderr(), _stoppable() as asked:
        for study, job, file in jobs:
            file.parent.mkdir(parents=True, exist_ok=True)  # no permission is better known before the training
            start = time.perf_counter()
            try:
                with Checkpoint(file, minutes, lambda: bool(asked)) as checkpoint:
                    runs = _execute(file, job, data_root, device, checkpoint, again)
            except InputError as error:
                raise InputError(f"{study.work}/{study.name}: {error}") from None
            except (MemoryError, RuntimeError) as error:
                if not _is_memory(error):
                    raise
                raise InputError(f"{study.work}/{study.name}: {_no_memory(job, device)}") from None
            except Stopped:
                LOGGER.info("goodinit: stopped; run the same command again to continue job %s", job.name)
                sys.exit(128 + asked[0])
            records.write(file, runs)
            checkpoint.clear()
            LOGGER.info("%s: %s in %.1f s", study.full_name, file, time.perf_counter() - start)


@contextlib.contextmanager
def _stoppable():
    """Yield a list in which the first signal to end is put; the second ends the process as it always does."""
    asked = []

    def ask(number, frame):
        asked.append(number)
        restore()
        with contextlib.suppress(OSError):  # not by print, in the middle of which this may be called
            os.write(2, b"goodinit: signal received, stopping after this update\n")

    def restore():
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {one: signal.signal(one, ask) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        restore()


def _is_memory(error):
    """Say whether memory ran out; torch has no exception of its own for that of the CPU."""
    words = ("allocate memory", "bad_alloc")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _no_memory(job, device):
    from goodinit.training import cost

    needed = cost.estimate(job.runs).memory / 2**30
    return (
        f"job {job.name}: memory ran out on {device}; it needs about {needed:.2g} GiB beside the libraries: "
        "end other processes, ask for more, or lower training.batch_size; what was done is kept"
    )


def _execute(file, job, data_root, device, checkpoint, again):
    """Return the job's RunRecords: those that another record holds already, and new ones."""
    found = {}
    for run_id, run in records.known(file, unfinished_only=again).items():
        try:
            records.verify(file, run, studies.fill(run.parts))
            found[run_id] = run
        except InputError:
            continue
    missing = [run for run in job.runs if run.id not in found]
    with _Progress(job) as progress:
        options = {"data_root": data_root, "device": device, "progress": progress.step, "checkpoint": checkpoint}
        for run, trained in zip(missing, trainer.execute(missing, **options), strict=True):
            found[run.id] = trained
            progress.end(run, trained)
    return [found[run.id] for run in job.runs]


class _Progress:
    """A bar on a terminal; elsewhere a line at the end of a run or every 10 seconds, and at most one a second."""

    def __init__(self, job):
        self.job, self.bar, self.spoke = job, None, time.perf_counter()
        self.context = contextlib.ExitStack()

    def __enter__(self):
        if sys.stderr.isatty():
            self.context.enter_context(logging_redirect_tqdm([logging.getLogger("goodinit")]))
            self.bar = self.context.enter_context(
                tqdm(total=len(self.job.runs), unit="run", desc=self.job.name[:40], file=sys.stderr)
            )
        return self

    def __exit__(self, *error):
        self.context.close()

    def step(self, runs, step, steps, losses):
        words = f"update {step} of {steps}, loss {', '.join(f'{loss:.4g}' for loss in losses)}"
        if self.bar is not None:
            self.bar.set_postfix_str(words)
        elif time.perf_counter() - self.spoke > 10:
            self.spoke = time.perf_counter()
            seeds = ", ".join(str(run.seed) for run in runs)
            LOGGER.info("  %s seed %s: %s", runs[0].title, seeds, words)

    def end(self, run, trained):
        if self.bar is not None:
            self.bar.update()
        if self.bar is not None or time.perf_counter() - self.spoke < 1:
            return
        self.spoke = time.perf_counter()
        state = trained.status if trained.diverged_at is None else f"diverged at update {trained.diverged_at}"
        seconds = sum(trained.seconds.values())
        LOGGER.info("  %s seed %d: %s, %d updates, %.1f s", run.title, run.seed, state, trained.steps, seconds)
