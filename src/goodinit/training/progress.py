"""The progress of a job on standard error: a bar on a terminal, otherwise lines of the log."""

import contextlib
import logging
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from goodinit import records, studies

__all__ = ["JobProgress"]

LOGGER = logging.getLogger(__name__)
STEP_SECONDS = 10.0  # between two lines about the steps of a training run
RUN_SECONDS = 1.0  # between two lines about finished runs


class JobProgress:
    """A context manager that shows the progress of a job.

    Args:
        job: the job, whose runs are counted.
    """

    def __init__(self, job: studies.Job) -> None:
        self._job = job
        self._context = contextlib.ExitStack()
        self._bar: tqdm[Any] | None = None
        self._last = time.perf_counter()  # when a line was logged

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            bar: tqdm[Any] = tqdm(total=len(self._job.runs), unit="run", desc=self._job.name[:40], file=sys.stderr)
            self._bar = self._context.enter_context(bar)
            self._context.enter_context(logging_redirect_tqdm([logging.getLogger("goodinit")]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._context.close()

    def report_step(
        self, runs: Sequence[studies.Run], step: int, steps: int, losses: NDArray[np.floating[Any]]
    ) -> None:
        """Show the step and the losses of runs that are trained together."""
        text = f"update {step} of {steps}, loss {', '.join(f'{loss:.4g}' for loss in losses)}"
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        elif self._is_due(STEP_SECONDS):
            LOGGER.info("  %s seed %s: %s", runs[0].title, ", ".join(str(run.seed) for run in runs), text)

    def report_run(self, run: studies.Run, record: records.RunRecord) -> None:
        """Show that a run is finished, and how it ended."""
        if self._bar is not None:
            self._bar.update()
        elif self._is_due(RUN_SECONDS):
            status = record.status if record.diverged_at is None else f"diverged at update {record.diverged_at}"
            seconds = sum(record.seconds.values())
            LOGGER.info("  %s seed %d: %s, %d updates, %.1f s", run.title, run.seed, status, record.steps, seconds)

    def _is_due(self, seconds: float) -> bool:
        """Return whether at least this many seconds have passed since the last line; if so, start the clock again."""
        now = time.perf_counter()
        due = now - self._last > seconds
        if due:
            self._last = now
        return due
