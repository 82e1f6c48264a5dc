"""Checkpoints: what an unfinished job has done so far, from which it goes on after it was stopped or killed."""

import contextlib
import hashlib
import io
import json
import logging
import pickle
import time
from pathlib import Path

import torch

from goodinit import records, studies
from goodinit.files import replace_file

__all__ = ["Checkpoint", "Stopped", "restore", "training_state"]

LOGGER = logging.getLogger(__name__)
FORMAT = 1
MINUTES = 5.0
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError)


class Stopped(Exception):
    """The process was asked to end, and what it had done is kept."""


class Checkpoint:
    """The unfinished work of one job, in hidden files beside its record, each written whole or not at all.

    `.<job>.checkpoint` has the state of the runs in training: what `torch.save` made of it, and a line of JSON that
    says of which runs, on which data and under what code.  `.<job>.<run>.unfinished.json`, with its `.npz`, is a record
    of runs that ended before the job did; `record.known` finds it.  As a context, it keeps these when something goes
    wrong.

    Args:
        file: the job's record.
        minutes: from one checkpoint to the next.
        asked: says whether the process was asked to end.
    """

    def __init__(self, file, minutes=MINUTES, asked=lambda: False):
        self.folder, self.job = Path(file).parent, Path(file).stem
        self.file = self.folder / f".{self.job}.checkpoint"
        self.seconds, self.asked = 60 * minutes, asked
        self.last, self.ended = time.monotonic(), []

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is not None:
            with contextlib.suppress(OSError):
                self._keep_ended()

    def due(self):
        """Say whether it is time for a checkpoint."""
        return self.asked() or time.monotonic() - self.last >= self.seconds

    def save(self, runs, made, state):
        """Keep the state, of tensors and plain data, of runs in training.

        Where there is no space, that is said, an older checkpoint stays, and training goes on.

        Args:
            runs: that are trained together.
            made: what else must be the same for them to go on, as plain data.
            state: theirs.

        Raises:
            OSError: there is no space or no permission, and the process was asked to end.
            Stopped: it is kept, and the process was asked to end.
        """
        self.last = time.monotonic()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        head = _identity(runs, made) | {"sha256": hashlib.sha256(buffer.getbuffer()).hexdigest()}
        buffer.write(b"\n" + json.dumps(head).encode())
        try:
            self._keep_ended()  # first: without them nothing could go on from what follows them
            replace_file(self.file, buffer.getbuffer())
        except OSError as error:
            if self.asked():
                raise
            LOGGER.warning("%s: cannot write checkpoint, continuing: %s", self.file, error.strerror)
        if self.asked():
            raise Stopped

    def load(self, runs, made):
        """Return the state that was kept of these runs, or None; say so where one cannot be used, and delete it."""
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return None
        end = content.rfind(b"\n")
        try:
            head = json.loads(content[end + 1 :])
            buffer = io.BytesIO(memoryview(content)[: max(end, 0)])
            if hashlib.sha256(buffer.getbuffer()).hexdigest() != head.pop("sha256"):
                raise ValueError("not the content that it names")
            wanted = _identity(runs, made)
            if other := [key for key in wanted if head.get(key) != wanted[key]]:
                return self._refuse(f"{other[0]} differs")
            return torch.load(buffer, map_location="cpu", weights_only=True)
        except DAMAGE as error:
            if "allocate memory" in str(error):
                raise
            return self._refuse(f"damaged ({type(error).__name__}: {error})")

    def end(self, records):
        """Take the records of runs that ended, and keep them where there is something to lose.

        Raises:
            OSError: as in `save`.
            Stopped: as in `save`.
        """
        self.ended += records
        if self.file.exists() or self.due():
            self.last = time.monotonic()
            self._keep_ended()
            self.file.unlink(missing_ok=True)
            if self.asked():
                raise Stopped

    def clear(self):
        """Delete everything: the job's record is written."""
        self.file.unlink(missing_ok=True)
        for pattern in (f".{self.job}.*.unfinished.*", f"..{self.job}.*.part"):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)

    def _keep_ended(self):
        if self.ended:
            records.write(self.folder / f".{self.job}.{self.ended[0].id}.unfinished.json", self.ended)
            self.ended = []

    def _refuse(self, why):
        LOGGER.warning("%s: checkpoint not used, training starts over: %s", self.file, why)
        self.file.unlink(missing_ok=True)


def training_state(model, optimizer, augmentations, device):
    """Return what training changes beside the loop's own state, from which the position in the data follows."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "augment": [generator.get_state() for generator in augmentations],
        "random": torch.get_rng_state(),
        "random on the device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore(kept, model, optimizer, schedules, augmentations, device):
    """Restore everything to where it was when this state was kept."""
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    for schedule in schedules:
        schedule.skip(kept["loop"]["step"])
    for generator, past in zip(augmentations, kept["augment"], strict=True):
        generator.set_state(past)
    torch.set_rng_state(kept["random"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(kept["random on the device"], device)


def _identity(runs, made):
    """Return what must be the same for runs to go on."""
    return {
        "format": FORMAT,
        "runs": [run.id for run in runs],
        "defaults": json.loads(json.dumps([studies.fill(run.parts) for run in runs])),
        "code": _code(),
        "torch": torch.__version__,
        **made,
    }


def _code():
    """Return the checksum of the sources that train."""
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(file for room in ("methods", "training") for file in (folder / room).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
