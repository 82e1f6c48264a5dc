"""Reads and writes records, as a whole or not at all, and rejects damaged ones.

A record of a job is two files. `<job>.json` describes the runs: specification, provenance and outcome. `<job>.npz`
holds the numbers: for each series, one array in which the rows of the runs follow each other, and one array of their
steps. The JSON has the SHA-256 of the arrays and of itself.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from goodinit.errors import InputError
from goodinit.files import open_replacement, replace_file
from goodinit.records.record import STATUSES, RunRecord, Series

__all__ = ["checksum", "path", "read", "write"]

FORMAT = 2
FORMER_STATUSES = {"did not learn": "finished"}  # the metric `converged` says whether a run learned
HINT = "delete the record, .json and .npz, and train again"
DAMAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, RecursionError, zipfile.BadZipFile)

Arrays = dict[str, NDArray[Any]]


class HasName(Protocol):
    """An object with a name that is part of the path of a record, such as `studies.Job`."""

    @property
    def name(self) -> str:
        """The name, without a folder or suffix."""


class HasWorkAndName(HasName, Protocol):
    """An object whose name is that of a folder in the folder of a work, such as `studies.Study`."""

    @property
    def work(self) -> str:
        """The name of the work."""


def path(results: str | Path, scale: str, study: HasWorkAndName, job: HasName) -> Path:
    """Return the path of the .json file of a job's record; the .npz file is in the same folder."""
    return Path(results) / scale / "runs" / study.work / study.name / f"{job.name}.json"


def write(file: str | Path, runs: Sequence[RunRecord]) -> None:
    """Write a record, the arrays and the JSON with their checksum; an old one stays until both are written.

    The two files are replaced one after the other: a process that is killed between them leaves a record that is
    reported as damaged.

    Raises:
        OSError: there is no space or no permission; nothing has changed.
    """
    file = Path(file)
    arrays, index = _pack(runs)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    provenances: list[dict[str, Any]] = []
    for run in runs:
        if run.provenance not in provenances:
            provenances.append(run.provenance)
    head = {
        "format": FORMAT,
        "arrays_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "provenance": provenances,
    }
    described = []
    for run in runs:
        fields = {key: value for key, value in vars(run).items() if key not in ("series", "provenance")}
        described.append(fields | {"provenance": provenances.index(run.provenance), "series": index[run.id]})
    head["sha256"] = checksum(head | {"runs": described})
    lines = ",\n".join(json.dumps(fields, allow_nan=False) for fields in described)
    text = json.dumps(head, indent=1)[:-2] + ',\n "runs": [\n' + lines + "\n ]\n}\n"  # one line for each run
    with open_replacement(file) as document:
        document.write(text.encode())
        document.flush()  # a full disk is noticed before the arrays are replaced
        replace_file(file.with_suffix(".npz"), buffer.getvalue())


def read(file: str | Path) -> list[RunRecord]:
    """Return the runs of a record.

    Raises:
        InputError: it is missing, damaged, or of another format.
    """
    file = Path(file)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{file}: record of format {document['format']}, not {FORMAT}: {HINT}")
        if checksum(document) != document["sha256"]:
            raise InputError(f"{file}: damaged or edited: the JSON does not match its checksum: {HINT}")
        packed = file.with_suffix(".npz").read_bytes()
        if hashlib.sha256(packed).hexdigest() != document["arrays_sha256"]:
            raise InputError(f"{file.with_suffix('.npz')}: damaged: the arrays do not match their checksum: {HINT}")
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            arrays = dict(archive)
        return [_unpack(run, document["provenance"], arrays) for run in document["runs"]]
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: this file of the record is missing: {HINT}") from None
    except DAMAGE as error:
        raise InputError(f"{file}: damaged record ({type(error).__name__}: {error}): {HINT}") from None


def checksum(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's JSON, without its key `sha256`, independent of its layout."""
    content = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, allow_nan=False).encode()).hexdigest()


def _pack(runs: Sequence[RunRecord]) -> tuple[Arrays, dict[str, dict[str, Any]]]:
    """Return {key: array}, where the rows of all runs are joined, and {run id: {series: its array and rows}}.

    Series of the same name are joined in one array if their rows have the same shape.
    """
    joined: dict[str, list[Series]] = {}
    index: dict[str, dict[str, Any]] = {}
    for run in runs:
        index[run.id] = {}
        for name, series in run.series.items():
            key = "x".join([name, *map(str, series.values.shape[1:])])
            previous = joined.setdefault(key, [])
            start = sum(len(earlier.steps) for earlier in previous)
            previous.append(series)
            index[run.id][name] = {"array": key, "rows": [start, start + len(series.steps)]} | (
                {"dimensions": list(series.dimensions)} if series.dimensions else {}
            )
    arrays: Arrays = {}
    for key, sections in joined.items():
        arrays[key] = np.concatenate([series.values for series in sections])
        arrays[f"{key}.steps"] = np.concatenate([series.steps for series in sections]).astype(np.int32)
    return arrays, index


def _unpack(run: dict[str, Any], provenances: list[dict[str, Any]], arrays: Arrays) -> RunRecord:
    """Return a run from its JSON and the arrays; raise one of DAMAGE if they do not fit each other."""
    series = {}
    for name, location in run.pop("series").items():
        start, stop = location["rows"]
        steps, values = arrays[f"{location['array']}.steps"][start:stop], arrays[location["array"]][start:stop]
        if len(steps) != stop - start:
            raise ValueError(f"{name} has {len(steps)} rows")
        series[name] = Series(steps, values, tuple(location.get("dimensions", ())))
    status = FORMER_STATUSES.get(run["status"], run["status"])
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    return RunRecord(**run | {"status": status, "provenance": provenances[run["provenance"]], "series": series})
