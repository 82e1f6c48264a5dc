"""Records: what is read is what was written, the same bytes each time, or a refusal that names the file."""

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from goodinit import records
from goodinit.errors import InputError
from goodinit.files import replace_file
from goodinit.records import storage

FILLED = {
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.0},
    "training": {"steps": 3, "epochs": None},
    "diagnostics": [{"name": "activations", "bins": 30}],
}


def _series(steps, *shape, start=0.0, dimensions=()):
    values = start + np.arange(len(steps) * int(np.prod(shape)), dtype=np.float64).reshape(len(steps), *shape) / 8
    return records.Series(np.array(steps), values, dimensions)


def _run(name="aaaa", series=None, **changes):
    words = {
        "id": name,
        "seed": 7,
        "parts": {"optimizer": {"name": "sgd", "lr": 0.1}},
        "filled": FILLED,
        "status": "finished",
        "diverged_at": None,
        "steps": 3,
        "seconds": {"training": 1.25},
        "provenance": {"device": "cpu", "packages": {"numpy": "2"}},
        "series": {"loss": _series([1, 2, 3])} if series is None else series,
    }
    return records.RunRecord(**words | changes)


def _runs():
    """Runs whose series have other names, lengths and shapes, and not the same origin."""
    layers = ("layer", "bin")
    return [
        _run("aaaa", {"loss": _series([1, 2, 3]), "count": _series([0, 3], 2, 4, dimensions=layers)}),
        _run("bbbb", {"loss": _series([1], start=5)}, status="diverged", diverged_at=1, steps=1),
        _run("cccc", {"count": _series([0], 3, 4, start=90, dimensions=layers)}, provenance={"device": "other"}),
        _run("dddd", {"accuracy": _series([0, 2]), "loss": _series([1, 2], start=-3)}),
    ]


def _written(folder, runs=None):
    file = folder / "work" / "job.json"
    records.write(file, _runs() if runs is None else runs)
    return file


def _list(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_round_trip(tmp_path):
    found = records.read(_written(tmp_path))
    assert [run.id for run in found] == ["aaaa", "bbbb", "cccc", "dddd"]
    for was, run in zip(_runs(), found, strict=True):
        expected, words = vars(was), vars(run)
        assert {**words, "series": None} == {**expected, "series": None}
        assert list(run.series) == list(was.series)
        for name, series in was.series.items():
            np.testing.assert_array_equal(run.series[name].steps, series.steps)
            np.testing.assert_array_equal(run.series[name].values, series.values)
            assert run.series[name].values.shape == series.values.shape
            assert run.series[name].values.dtype == series.values.dtype
            assert run.series[name].dimensions == series.dimensions


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_stay(tmp_path, value):
    series = {"loss": records.Series(np.array([1, 2]), np.array([1.5, value], dtype=np.float32))}
    (run,) = records.read(_written(tmp_path, [_run(series=series)]))
    np.testing.assert_array_equal(run.series["loss"].values, series["loss"].values)


def test_same_bytes_whenever_written(tmp_path, monkeypatch):
    first = _written(tmp_path / "one")
    later = time.time() + 10**7
    monkeypatch.setattr(time, "time", lambda: later)
    second = _written(tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".npz").read_bytes() == second.with_suffix(".npz").read_bytes()
    assert _list(tmp_path) == ["job.json", "job.json", "job.npz", "job.npz"]


def test_text_is_strict_with_one_run_a_line(tmp_path):
    lines = _written(tmp_path).read_text().splitlines()
    text = json.loads("\n".join(lines))
    assert text["format"] == 2
    assert len(text["provenance"]) == 2  # each origin once
    start = lines.index(' "runs": [') + 1
    assert [json.loads(line.rstrip(",")) for line in lines[start : start + 4]] == text["runs"]
    assert lines[start + 4 :] == [" ]", "}"]


def test_text_refuses_what_json_has_no_word_for(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        _written(tmp_path, [_run(seconds={"training": float("nan")})])
    assert _list(tmp_path) == []


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_both_files_are_needed(tmp_path, suffix):
    file = _written(tmp_path)
    lost = file.with_suffix(suffix)
    lost.unlink()
    with pytest.raises(InputError, match="missing") as caught:
        records.read(file)
    assert str(lost) in str(caught.value)
    assert "train again" in str(caught.value)


def _flip(file):
    packed = bytearray(file.with_suffix(".npz").read_bytes())
    packed[len(packed) // 2] ^= 1
    file.with_suffix(".npz").write_bytes(packed)


def _other_numbers(file):
    """Put a whole archive, of other numbers, in the place of the right one."""
    np.savez_compressed(file.with_suffix(".npz"), **{"loss": np.zeros(3), "loss.steps": np.arange(3)})
    assert zipfile.is_zipfile(file.with_suffix(".npz"))


def _cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def _edit(old, new, seal=True):
    """Change the text of a record, and, so that it is read further, its checksum."""

    def damage(file):
        before = file.read_text()
        assert old in before
        text = json.loads(before.replace(old, new))
        file.write_text(json.dumps(text | {"sha256": storage._checksum(text)} if seal else text))

    return damage


DAMAGES = {
    "flipped bit": (_flip, ".npz", "damaged"),
    "other numbers": (_other_numbers, ".npz", "damaged"),
    "truncated text": (_cut, ".json", "damaged"),
    "empty text": (lambda file: file.write_text(""), ".json", "damaged"),
    "a list": (lambda file: file.write_text("[]"), ".json", "damaged"),
    "not UTF-8": (lambda file: file.write_bytes(b"\xff\xfe\x00"), ".json", "damaged"),
    "other format": (_edit('"format": 2', '"format": 3'), ".json", "record of format 3, not 2"),
    "no format": (_edit('"format": 2', '"shape": 2'), ".json", "damaged"),
    "another seed": (_edit('"seed": 7', '"seed": 8', seal=False), ".json", "damaged or edited"),
    "no checksum": (_edit('"sha256"', '"sha"', seal=False), ".json", "damaged"),
    "too many rows": (_edit('"rows": [3, 4]', '"rows": [3, 44]'), ".json", "damaged"),
    "unknown array": (_edit('"array": "accuracy"', '"array": "precision"'), ".json", "damaged"),
    "unknown end": (_edit('"diverged",', '"gave up",'), ".json", "damaged"),
    "unknown word": (_edit('"seed": 7', '"seeds": 7'), ".json", "damaged"),
    "unknown origin": (_edit('"provenance": 1', '"provenance": 9'), ".json", "damaged"),
}


@pytest.mark.parametrize(("damage", "suffix", "words"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_refused(tmp_path, damage, suffix, words):
    file = _written(tmp_path)
    damage(file)
    with pytest.raises(InputError, match=words) as caught:
        records.read(file)
    message = str(caught.value)
    assert message.startswith(f"{file.with_suffix(suffix)}: ")
    assert "train again" in message
    assert "\n" not in message


def _changed(part, **options):
    return FILLED | {part: FILLED.get(part, {}) | options}


@pytest.mark.parametrize(
    ("filled", "words"),
    [
        (_changed("optimizer", momentum=0.9), "optimizer.momentum was 0.0 .* is 0.9 today"),
        (_changed("training", steps=4), "training.steps was 3 .* is 4 today"),
        (FILLED | {"diagnostics": [{"name": "activations", "bins": 9}]}, "diagnostics.activations.bins was 30 .* is 9"),
        ({key: FILLED[key] for key in ("optimizer", "training")}, "diagnostics.activations.* is None today"),
    ],
)
def test_stale_record_names_the_option(filled, words):
    with pytest.raises(InputError, match=f"^file.json: stale: {words}"):
        records.verify("file.json", _run(), filled)


def test_another_layout_of_the_same_text_is_the_same_record(tmp_path):
    file = _written(tmp_path)
    whole = records.read(file)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=4))
    assert [run.parts for run in records.read(file)] == [run.parts for run in whole]


def test_equal_options_are_not_stale(tmp_path):
    (run,) = records.read(_written(tmp_path, [_run()]))
    records.verify("file.json", run, FILLED)
    records.verify("file.json", run, _changed("optimizer", lr=0.1, momentum=0))


def test_an_option_that_is_newer_than_the_record_does_not_make_it_stale():
    records.verify("file.json", _run(), _changed("optimizer", nesterov=False))
    records.verify("file.json", _run(), FILLED | {"update": {"name": "synchronous"}})


@pytest.mark.parametrize("failing", [1, 2])
def test_failed_write_leaves_nothing(tmp_path, monkeypatch, failing):
    write_bytes, count = Path.write_bytes, iter(range(1, 9))

    def full(path, content):
        if next(count) < failing:
            return write_bytes(path, content)
        write_bytes(path, content[: len(content) // 2])  # the disk fills up on the way
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        _written(tmp_path)
    assert _list(tmp_path) == []


def test_failed_replacement_keeps_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "table.csv"
    replace_file(file, b"old")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert _list(tmp_path) == ["table.csv"]


def test_known_are_those_beside_and_the_same_job_s_elsewhere_but_for_damaged_ones(tmp_path):
    study = tmp_path / "runs" / "work" / "study"
    for name in ("first-0a", "second-0b", "third-0c"):
        records.write(study / f"{name}.json", [_run(f"{name}_a", seed=1), _run(f"{name}_b", seed=2)])
    _flip(study / "second-0b.json")
    for place in ("work/other/other-0d", "other/study/same-0d", "other/study/different-0e"):
        records.write(tmp_path / "runs" / f"{place}.json", [_run(f"{place}_a", seed=1)])
    found = records.known(study / "mine-0d.json")
    assert sorted(found) == sorted(
        ["first-0a_a", "first-0a_b", "third-0c_a", "third-0c_b", "other/study/same-0d_a", "work/other/other-0d_a"]
    )
    assert all(run.id == name for name, run in found.items())
    assert records.known(tmp_path / "runs" / "no" / "where" / "mine-0f.json") == {}
