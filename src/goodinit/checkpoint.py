"""Checkpoints: what an unfinished job has done so far, from which it goes on after it was stopped or killed."""

import hashlib
import io
import json
import pickle
import sys
import time
from pathlib import Path

import torch

from goodinit import record, spec

__all__ = ["Checkpoint", "Stopped"]

FORMAT = 1
MINUTES = 5.0


class Stopped(Exception):
    """The process was asked to end, and what it had done is kept."""


class Checkpoint:
    """The unfinished work of one job, in hidden files beside its record, each written whole or not at all.

    `.<job>.checkpoint` has the state of the runs in training, as one line of JSON that says of which and under what
    code, and what `torch.save` made of the state.  `.<job>.unfinished.json`, with its `.npz`, is a record of the runs
    that ended before the job did; `record.known` finds it.

    Args:
        file: the job's record.
        minutes: from one checkpoint to the next.
        asked: says whether the process was asked to end.
    """

    def __init__(self, file, minutes=MINUTES, asked=lambda: False):
        file = Path(file)
        self.file = file.with_name(f".{file.stem}.checkpoint")
        self.unfinished = file.with_name(f".{file.stem}.unfinished.json")
        self.seconds, self.asked = 60 * minutes, asked
        self.last, self.ended = time.monotonic(), []

    def due(self):
        """Say whether it is time for a checkpoint."""
        return self.asked() or time.monotonic() - self.last >= self.seconds

    def save(self, runs, state):
        """Keep the state, of tensors and plain data, of runs in training.

        Raises:
            OSError: there is no space or no permission; an older checkpoint is still there then.
            Stopped: it is kept, and the process was asked to end.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()
        head = _identity(runs) | {"sha256": hashlib.sha256(payload).hexdigest()}
        record.replace(self.file, json.dumps(head).encode() + b"\n" + payload)
        self._kept()

    def load(self, runs):
        """Return the state that was kept of these runs, or None; say so where one cannot be used, and delete it."""
        if not self.file.exists():
            return None
        try:
            line, _, payload = self.file.read_bytes().partition(b"\n")
            head = json.loads(line)
            if hashlib.sha256(payload).hexdigest() != head.pop("sha256"):
                raise ValueError("not the content that it names")
            wanted = _identity(runs)
            if other := [key for key in wanted if head.get(key) != wanted[key]]:
                return self._refuse(f"its {other[0]} is another")
            return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RuntimeError,
            EOFError,
            pickle.UnpicklingError,
        ) as error:
            return self._refuse(f"damaged ({type(error).__name__}: {error})")

    def end(self, records):
        """Keep the records of runs that ended, where there is something to lose.

        Raises:
            OSError: as in `save`.
            Stopped: as in `save`.
        """
        self.ended += records
        if self.file.exists() or self.due():
            record.write(self.unfinished, self.ended)
            self.file.unlink(missing_ok=True)
            self._kept()

    def clear(self):
        """Delete everything: the job's record is written."""
        for file in (self.file, self.unfinished, self.unfinished.with_suffix(".npz")):
            file.unlink(missing_ok=True)

    def _kept(self):
        self.last = time.monotonic()
        if self.asked():
            raise Stopped

    def _refuse(self, why):
        print(f"{self.file}: checkpoint not used: {why}: training starts over", file=sys.stderr)
        self.file.unlink(missing_ok=True)


def _identity(runs):
    """Return what must be the same for a run to go on."""
    return {
        "format": FORMAT,
        "runs": [run.id for run in runs],
        "defaults": json.loads(json.dumps([spec.fill(run.parts) for run in runs])),
        "code": _code(),
        "torch": torch.__version__,
    }


def _code():
    """Return the checksum of the sources that train."""
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for file in [*sorted((folder / "methods").rglob("*.py")), folder / "runner.py"]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
