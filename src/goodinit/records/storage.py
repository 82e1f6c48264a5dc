"""Records: what a job left behind, written whole or not at all, and refused when damaged or stale.

A record is two files.  `<job>.json` says what was run, on what, and how it ended; `<job>.npz` holds the
numbers: for each series one array in which the runs' rows follow each other, and one of their steps.  The text has the
checksum of the arrays, and its own.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from goodinit.errors import InputError
from goodinit.files import replace_file

__all__ = [
    "AXES",
    "RunRecord",
    "Series",
    "known",
    "path",
    "read",
    "read_current",
    "verify",
    "write",
]

FORMAT = 2
AXES = {"layer": 1, "parameter": 1, "coordinate": 1, "bin": 0}  # of a series, after the steps; where they count from
ENDS = ("finished", "diverged", "did not learn")
LEARNED_BELOW = 0.95  # of ln(classes), the cross-entropy of one who guesses


class Series(NamedTuple):
    """Steps, int (T,); values, (T, ...); the names of the axes after the first."""

    steps: np.ndarray
    values: np.ndarray
    dimensions: tuple = ()


@dataclass
class RunRecord:
    """What one run left behind.

    Args:
        id, seed, parts: the run's.
        filled: its parts with every default that was in force.
        status: `finished`; `diverged`, with the step in `diverged_at`; or `did not learn`.
        steps: updates done.
        seconds: {what: wall time}.
        provenance: what made it, see `goodinit.provenance`.
        series: {name: Series}.
    """

    id: str
    seed: int
    parts: dict
    filled: dict
    status: str
    diverged_at: int | None
    steps: int
    seconds: dict
    provenance: dict
    series: dict = field(default_factory=dict)


def path(results, scale, study, job):
    """Return where a job's record is: its .json file, beside which the .npz stands."""
    return Path(results) / scale / "runs" / study.work / study.name / f"{job.name}.json"


def write(file, runs):
    """Write a record: the arrays first, then the text that vouches for them.

    Raises:
        OSError: there is no space or no permission; nothing is left then.
    """
    file = Path(file)
    arrays, index = _pack(runs)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    origins = []
    for run in runs:
        if run.provenance not in origins:
            origins.append(run.provenance)
    head = {
        "format": FORMAT,
        "arrays_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "provenance": origins,
    }
    described = []
    for run in runs:
        words = {key: value for key, value in vars(run).items() if key not in ("series", "provenance")}
        described.append(words | {"provenance": origins.index(run.provenance), "series": index[run.id]})
    head["sha256"] = _checksum(head | {"runs": described})
    lines = ",\n".join(json.dumps(words, allow_nan=False) for words in described)
    text = json.dumps(head, indent=1)[:-2] + ',\n "runs": [\n' + lines + "\n ]\n}\n"
    replace_file(file.with_suffix(".npz"), buffer.getvalue())
    try:
        replace_file(file, text.encode())
    except OSError:
        file.with_suffix(".npz").unlink(missing_ok=True)
        raise


def read(file):
    """Return the RunRecords of a record.

    Raises:
        InputError: it is missing, damaged, or not of this format.
    """
    file = Path(file)
    mend = "delete the record, .json and .npz, and train again"
    try:
        text = json.loads(file.read_text(encoding="utf-8"))
        if text["format"] != FORMAT:
            raise InputError(f"{file}: record of format {text['format']}, not {FORMAT}: {mend}")
        if _checksum(text) != text["sha256"]:
            raise InputError(f"{file}: damaged or edited: its text does not have the checksum that it names: {mend}")
        packed = file.with_suffix(".npz").read_bytes()
        if hashlib.sha256(packed).hexdigest() != text["arrays_sha256"]:
            raise InputError(f"{file.with_suffix('.npz')}: damaged: not the arrays that the record names: {mend}")
        with np.load(io.BytesIO(packed), allow_pickle=False) as opened:
            arrays = dict(opened)
        return [_unpack(run, text["provenance"], arrays) for run in text["runs"]]
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: this file of the record is missing: {mend}") from None
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        EOFError,
        RecursionError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(f"{file}: damaged record ({type(error).__name__}: {error}): {mend}") from None


def verify(file, run, filled):
    """Refuse a run's record that other defaults made than today's.

    An option that is newer than the record is no reason: its default is what was done before there was one.

    Args:
        file: named in the message.
        run: the RunRecord.
        filled: the run's parts with today's defaults.

    Raises:
        InputError: stale; the message says which option changed.
    """
    for part in sorted(run.filled):
        then, now = (_flat(one.get(part, {})) for one in (run.filled, filled))
        for option in sorted(then):
            if then[option] != now.get(option):
                raise InputError(
                    f"{file}: stale: {part}.{option} was {then[option]!r} when run {run.id} was trained "
                    f"and is {now.get(option)!r} today: delete the record and train again"
                )


def read_current(file, filled):
    """Return {run id: RunRecord} for the runs of a job, none of them missing or stale.

    Args:
        file: the job's record.
        filled: {run id: the run's parts with today's defaults}.

    Raises:
        InputError: as in `read` and `verify`, or a run is missing.
    """
    recorded = {run.id: run for run in read(file)}
    for run_id, parts in filled.items():
        if run_id not in recorded:
            raise InputError(f"{file}: damaged record: run {run_id} is missing: delete it and train again")
        verify(file, recorded[run_id], parts)
    return recorded


def known(file, *, unfinished_only=False):
    """Return {id: RunRecord} of the runs of a job that need not be trained.

    They are in the whole records beside the job's, in those of the same runs in other studies, and in what the job
    itself left unfinished.  Records that are damaged, or cannot be read, are passed over.

    Args:
        file: the job's record.
        unfinished_only: leave out everything but what the job left unfinished.
    """
    file = Path(file)
    places = [*file.parent.glob(f".{file.stem}.*.unfinished.json")]
    if not unfinished_only:
        same = file.name.rpartition("-")[2]  # a job's name ends with the hash of its runs
        places += [*file.parent.glob("[!.]*.json"), *file.parents[2].glob(f"*/*/[!.]*-{same}")]
    found = {}
    for other in sorted(set(places)):
        try:
            found |= {run.id: run for run in read(other)}
        except (InputError, OSError):
            continue
    return found


def _checksum(text):
    """Return the SHA-256 of what a record says, but for that checksum, however it is laid out."""
    said = {key: value for key, value in text.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, allow_nan=False).encode()).hexdigest()


def _pack(runs):
    """Return {key: array} with the runs' rows in one array a series, and {run id: {series: where}}."""
    rows, index = {}, {}
    for run in runs:
        index[run.id] = {}
        for name, series in run.series.items():
            key = "x".join([name, *map(str, series.values.shape[1:])])
            past = rows.setdefault(key, [])
            start = sum(len(one.steps) for one in past)
            past.append(series)
            index[run.id][name] = {"array": key, "rows": [start, start + len(series.steps)]} | (
                {"dimensions": list(series.dimensions)} if series.dimensions else {}
            )
    arrays = {}
    for key, past in rows.items():
        arrays[key] = np.concatenate([series.values for series in past])
        arrays[f"{key}.steps"] = np.concatenate([series.steps for series in past]).astype(np.int32)
    return arrays, index


def _unpack(run, origins, arrays):
    series = {}
    for name, place in run.pop("series").items():
        rows = slice(*place["rows"])
        steps, values = arrays[f"{place['array']}.steps"][rows], arrays[place["array"]][rows]
        if len(steps) != place["rows"][1] - place["rows"][0]:
            raise ValueError(f"{name} has {len(steps)} rows")
        series[name] = Series(steps, values, tuple(place.get("dimensions", ())))
    if run["status"] not in ENDS:
        raise ValueError(f"unknown status {run['status']!r}")
    return RunRecord(**run | {"provenance": origins[run["provenance"]], "series": series})


def _flat(part):
    """Return {dotted option: value} of a part, or of the parts in a list."""
    if isinstance(part, list):
        return {f"{item['name']}.{key}": value for item in part for key, value in item.items()}
    return part
