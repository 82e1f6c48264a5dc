"""Checkpoints: the state of an unfinished job, from which it continues after it was stopped or killed."""

import contextlib
import hashlib
import io
import json
import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from goodinit import records, studies
from goodinit.errors import is_out_of_memory
from goodinit.files import replace_file
from goodinit.training.devices import instructions, name_of
from goodinit.training.setup import Setup

__all__ = ["Checkpoint", "Stopped", "fingerprint", "restore", "training_state"]

LOGGER = logging.getLogger(__name__)
FORMAT = 1
MINUTES = 5.0
# Errors of reading a damaged file.
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError)


class Stopped(Exception):
    """The process was requested to stop, and its work is saved."""


class _MismatchError(Exception):
    """A checkpoint is of another training run."""


class Checkpoint:
    """The unfinished work of one job, in hidden files beside its record, each of which is replaced as a whole.

    `.<job>.checkpoint` has the state of the runs that are being trained, as `torch.save` writes it, followed by a line
    of JSON with the fingerprint of the training run and a checksum. `.<job>.<run>.unfinished.json` and `.npz` are a
    record of runs that are finished although the job is not; `records.find_trained` reads them. As a context manager,
    it writes these when an error ends the block.

    Args:
        file: the record of the job.
        minutes: time between two checkpoints.
        stop_requested: returns whether the process was requested to stop.
    """

    def __init__(
        self, file: str | Path, minutes: float = MINUTES, stop_requested: Callable[[], bool] = lambda: False
    ) -> None:
        self._folder, self._job = Path(file).parent, Path(file).stem
        self._file = self._folder / f".{self._job}.checkpoint"
        self._seconds, self._stop_requested = 60 * minutes, stop_requested
        self._last, self._created = time.monotonic(), time.time()
        self._finished: list[records.RunRecord] = []  # that are not written yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            with contextlib.suppress(OSError):
                self._write_finished()

    def due(self) -> bool:
        """Return whether it is time to save a checkpoint."""
        return self._stop_requested() or time.monotonic() - self._last >= self._seconds

    def save(self, fingerprint: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Save the state of a training run; without space for it, log that, keep the previous checkpoint, and continue.

        Args:
            fingerprint: what identifies the training run, see `fingerprint`.
            state: the state, see `training_state`.

        Raises:
            OSError: there is no space or no permission, and the process was requested to stop.
            Stopped: the state is saved, and the process was requested to stop.
        """
        self._last = time.monotonic()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        head = dict(fingerprint) | {"sha256": hashlib.sha256(buffer.getbuffer()).hexdigest()}
        buffer.write(b"\n" + json.dumps(head).encode())
        try:
            self._write_finished()  # first, because the state is of the runs after them
            replace_file(self._file, buffer.getbuffer())
        except OSError as error:
            if self._stop_requested():
                raise
            LOGGER.warning("%s: cannot write checkpoint, continuing: %s", self._file, error.strerror)
        if self._stop_requested():
            raise Stopped

    def load(self, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the saved state of the training run with this fingerprint, or None.

        A checkpoint that is damaged or of another training run is deleted, and a warning logged.
        """
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return None
        end = content.rfind(b"\n")
        try:
            head = json.loads(content[end + 1 :])
            buffer = io.BytesIO(memoryview(content)[: max(end, 0)])
            if hashlib.sha256(buffer.getbuffer()).hexdigest() != head.pop("sha256"):
                raise ValueError("the content does not match its checksum")
            if different := [key for key, value in fingerprint.items() if head.get(key) != value]:
                raise _MismatchError(f"{different[0]} differs")
            state: dict[str, Any] = torch.load(buffer, map_location="cpu", weights_only=True)
            return state
        except _MismatchError as error:
            reason = str(error)
        except DAMAGE as error:
            if is_out_of_memory(error):
                raise
            reason = f"damaged ({type(error).__name__}: {error})"
        LOGGER.warning("%s: checkpoint not used, training starts over: %s", self._file, reason)
        self._file.unlink(missing_ok=True)
        return None

    def add_finished(self, finished: Sequence[records.RunRecord]) -> None:
        """Add the records of finished runs; write them if a checkpoint is due, and delete one that they supersede.

        Raises:
            OSError, Stopped: as in `save`.
        """
        self._finished += finished
        if self._file.exists() or self.due():
            self._last = time.monotonic()
            self._write_finished()
            self._file.unlink(missing_ok=True)
            if self._stop_requested():
                raise Stopped

    def clear(self) -> None:
        """Delete all files of the job except its record and the temporary files that another process may be writing."""
        for file in (self._file, *self._folder.glob(f".{self._job}.*.unfinished.*")):
            file.unlink(missing_ok=True)
        for pattern in (f".{self._job}.*.part", f"..{self._job}.*.part"):
            for file in self._folder.glob(pattern):
                with contextlib.suppress(FileNotFoundError):  # another process has replaced or deleted it
                    if file.stat().st_mtime < self._created:  # the process that wrote it was killed
                        file.unlink()

    def _write_finished(self) -> None:
        if self._finished:
            records.write(self._folder / f".{self._job}.{self._finished[0].id}.unfinished.json", self._finished)
            self._finished = []


def fingerprint(setup: Setup) -> dict[str, Any]:
    """Return what must be equal for a training run to continue from a checkpoint, as plain data."""
    return {
        "format": FORMAT,
        "runs": [run.id for run in setup.runs],
        "defaults": json.loads(json.dumps([studies.fill(run.parts) for run in setup.runs])),
        "code": _code_checksum(),
        "torch": torch.__version__,
        "device": name_of(setup.device),
        "instructions": instructions() if setup.device.type == "cpu" else None,
        "threads": torch.get_num_threads(),
        "precision": setup.precision,
        "data": [member.splits.checksum for member in setup.members],
    }


def training_state(setup: Setup, loop: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that training changes, given the state of the loop.

    The position in the data is not part of it, since it follows from the number of steps.
    """
    on_gpu = setup.device.type == "cuda"
    return {
        "loop": loop,
        "model": setup.model.state_dict(),
        "optimizer": setup.optimizer.state_dict() if setup.optimizer is not None else None,
        "augment": [member.augmentation_generator.get_state() for member in setup.members],
        "random": torch.get_rng_state(),
        "random on the device": torch.cuda.get_rng_state(setup.device) if on_gpu else None,
    }


def restore(setup: Setup, state: Mapping[str, Any]) -> dict[str, Any]:
    """Restore a state that `training_state` returned; return the state of the loop."""
    loop: dict[str, Any] = state["loop"]
    setup.model.load_state_dict(state["model"])
    if setup.optimizer is not None:
        setup.optimizer.load_state_dict(state["optimizer"])
    for member, augmentation_state in zip(setup.members, state["augment"], strict=True):
        member.batch_schedule.skip(loop["step"])
        member.augmentation_generator.set_state(augmentation_state)
    torch.set_rng_state(state["random"])
    if setup.device.type == "cuda":
        torch.cuda.set_rng_state(state["random on the device"], setup.device)
    return loop


def _code_checksum() -> str:
    """Return the checksum of the source files that determine the numbers of a training run."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    shared = [package / f"{name}.py" for name in ("seeds", "steps", "transfer")]
    packages = [file for name in ("datasets", "methods", "training") for file in (package / name).rglob("*.py")]
    for file in sorted(shared + packages):
        digest.update(file.read_bytes())
    return digest.hexdigest()
