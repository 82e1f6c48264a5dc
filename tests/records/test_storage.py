"""Records are read as they were written; damaged ones are rejected."""

import json
import time
import zipfile

import numpy as np
import pytest
from file_system import file_size_limit
from sample_records import make_run

from goodinit import records
from goodinit.errors import InputError
from goodinit.records import storage


def _series(steps, *shape, start=0.0, dimensions=()):
    values = start + np.arange(len(steps) * int(np.prod(shape)), dtype=np.float64).reshape(len(steps), *shape) / 8
    return records.Series(np.array(steps), values, dimensions)


@pytest.fixture
def runs():
    """Runs whose series have other names, lengths and shapes, and not the same provenance."""
    axes = ("layer", "bin")
    series = [
        {"loss": _series([1, 2, 3]), "count": _series([0, 3], 2, 4, dimensions=axes)},
        {"loss": _series([1], start=5)},
        {"count": _series([0], 3, 4, start=90, dimensions=axes)},
        {"accuracy": _series([0, 2]), "loss": _series([1, 2], start=-3)},
    ]
    return [
        make_run("aaaa", series=series[0]),
        make_run("bbbb", series=series[1], status="diverged", diverged_at=1, steps=1),
        make_run("cccc", series=series[2], provenance={"device": "other"}),
        make_run("dddd", series=series[3]),
    ]


@pytest.fixture
def written(tmp_path, runs):
    """The path of a record of the runs."""
    return _write(tmp_path, runs)


def _write(folder, runs):
    file = folder / "work" / "job.json"
    records.write(file, runs)
    return file


def _list(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_runs_are_read_as_they_were_written(runs, written):
    for expected, run in zip(runs, records.read(written), strict=True):
        assert {**vars(run), "series": None} == {**vars(expected), "series": None}
        assert list(run.series) == list(expected.series)
        for name, series in expected.series.items():
            np.testing.assert_array_equal(run.series[name].steps, series.steps)
            np.testing.assert_array_equal(run.series[name].values, series.values)
            assert run.series[name].values.shape == series.values.shape
            assert run.series[name].values.dtype == series.values.dtype
            assert run.series[name].dimensions == series.dimensions


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_kept(tmp_path, value):
    series = {"loss": records.Series(np.array([1, 2]), np.array([1.5, value], dtype=np.float32))}
    (run,) = records.read(_write(tmp_path, [make_run(series=series)]))
    np.testing.assert_array_equal(run.series["loss"].values, series["loss"].values)


def test_bytes_do_not_depend_on_the_time_of_writing(tmp_path, runs, monkeypatch):
    first = _write(tmp_path / "first", runs)
    later = time.time() + 10**7
    monkeypatch.setattr(time, "time", lambda: later)
    second = _write(tmp_path / "second", runs)
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".npz").read_bytes() == second.with_suffix(".npz").read_bytes()
    assert _list(tmp_path) == ["job.json", "job.json", "job.npz", "job.npz"]


def test_json_has_one_line_for_each_run(written):
    lines = written.read_text().splitlines()
    document = json.loads("\n".join(lines))
    assert document["format"] == 2
    assert len(document["provenance"]) == 2  # each once
    start = lines.index(' "runs": [') + 1
    assert [json.loads(line.rstrip(",")) for line in lines[start : start + 4]] == document["runs"]
    assert lines[start + 4 :] == [" ]", "}"]


def test_number_that_json_does_not_have_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        _write(tmp_path, [make_run(seconds={"training": float("nan")})])
    assert _list(tmp_path) == []


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_both_files_are_needed(written, suffix):
    missing = written.with_suffix(suffix)
    missing.unlink()
    with pytest.raises(InputError, match="missing") as caught:
        records.read(written)
    assert str(missing) in str(caught.value)
    assert "train again" in str(caught.value)


def _flip(file):
    packed = bytearray(file.with_suffix(".npz").read_bytes())
    packed[len(packed) // 2] ^= 1
    file.with_suffix(".npz").write_bytes(packed)


def _other_numbers(file):
    """Replace the arrays by a valid archive of other numbers."""
    np.savez_compressed(file.with_suffix(".npz"), **{"loss": np.zeros(3), "loss.steps": np.arange(3)})
    assert zipfile.is_zipfile(file.with_suffix(".npz"))


def _cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def _edit(old, new, update_checksum=True):
    """Return a function that replaces a string in the JSON of a record."""

    def damage(file):
        before = file.read_text()
        assert old in before
        document = json.loads(before.replace(old, new))
        update = {"sha256": storage.checksum(document)} if update_checksum else {}
        file.write_text(json.dumps(document | update))

    return damage


DAMAGES = {
    "flipped bit": (_flip, ".npz", "damaged"),
    "other numbers": (_other_numbers, ".npz", "damaged"),
    "truncated": (_cut, ".json", "damaged"),
    "empty": (lambda file: file.write_text(""), ".json", "damaged"),
    "a list": (lambda file: file.write_text("[]"), ".json", "damaged"),
    "not UTF-8": (lambda file: file.write_bytes(b"\xff\xfe\x00"), ".json", "damaged"),
    "other format": (_edit('"format": 2', '"format": 3'), ".json", "record of format 3, not 2"),
    "no format": (_edit('"format": 2', '"shape": 2'), ".json", "damaged"),
    "another seed": (_edit('"seed": 7', '"seed": 8', update_checksum=False), ".json", "damaged or edited"),
    "no checksum": (_edit('"sha256"', '"sha"', update_checksum=False), ".json", "damaged"),
    "too many rows": (_edit('"rows": [3, 4]', '"rows": [3, 44]'), ".json", "damaged"),
    "unknown array": (_edit('"array": "accuracy"', '"array": "precision"'), ".json", "damaged"),
    "unknown status": (_edit('"diverged",', '"gave up",'), ".json", "damaged"),
    "unknown field": (_edit('"seed": 7', '"seeds": 7'), ".json", "damaged"),
    "unknown provenance": (_edit('"provenance": 1', '"provenance": 9'), ".json", "damaged"),
}


@pytest.mark.parametrize(("damage", "suffix", "problem"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_record_is_rejected(written, damage, suffix, problem):
    damage(written)
    with pytest.raises(InputError, match=problem) as caught:
        records.read(written)
    message = str(caught.value)
    assert message.startswith(f"{written.with_suffix(suffix)}: ")
    assert "train again" in message
    assert "\n" not in message


def test_runs_that_did_not_learn_have_finished(written):
    """Earlier records distinguished these, although the metric `converged` says so."""
    _edit('"finished"', '"did not learn"')(written)
    assert {run.status for run in records.read(written)} == {"finished", "diverged"}


def test_layout_of_the_json_does_not_matter(runs, written):
    written.write_text(json.dumps(json.loads(written.read_text()), indent=4))
    assert [run.parts for run in records.read(written)] == [run.parts for run in runs]


def _larger_than_the_limit(failing):
    """Return a run whose arrays, or whose text, exceed 20 kB, and nothing else of it."""
    noise = np.random.default_rng(0).random(10_000)
    large = {"series": {"loss": records.Series(np.arange(len(noise)), noise)}}
    return make_run(**large if failing == ".npz" else {"provenance": {"device": "cpu" * 10_000}})


@pytest.mark.parametrize("failing", [".npz", ".json"])
def test_failed_write_leaves_nothing(tmp_path, failing):
    run = _larger_than_the_limit(failing)
    with file_size_limit(20_000), pytest.raises(OSError, match="File too large") as caught:
        _write(tmp_path, [run])
    assert caught.value.filename.endswith(failing)
    assert _list(tmp_path) == []


@pytest.mark.parametrize("failing", [".npz", ".json"])
def test_failed_write_keeps_the_old_record(tmp_path, failing):
    old = _write(tmp_path, [make_run()])
    content = [file.read_bytes() for file in (old, old.with_suffix(".npz"))]
    with file_size_limit(20_000), pytest.raises(OSError, match="File too large"):
        records.write(old, [_larger_than_the_limit(failing)])
    assert [file.read_bytes() for file in (old, old.with_suffix(".npz"))] == content
    assert sorted(_list(tmp_path)) == sorted([old.name, old.with_suffix(".npz").name])
