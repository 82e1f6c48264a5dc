"""Stale runs are rejected; runs of other records are reused."""

import contextlib

import pytest
from sample_records import make_run

from goodinit import records
from goodinit.errors import InputError


def _change(filled, part, **options):
    return filled | {part: filled.get(part, {}) | options}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda filled: _change(filled, "optimizer", momentum=0.9), "optimizer.momentum was 0.0 .* is 0.9 now"),
        (lambda filled: _change(filled, "training", steps=4), "training.steps was 3 .* is 4 now"),
        (
            lambda filled: filled | {"diagnostics": [{"name": "activations", "bins": 9}]},
            "diagnostics.activations.bins was 30 .* is 9",
        ),
        (
            lambda filled: {key: filled[key] for key in ("optimizer", "training")},
            "diagnostics.activations.* is None now",
        ),
    ],
)
def test_stale_run_is_rejected_and_the_message_names_the_option(change, message):
    run = make_run()
    with pytest.raises(InputError, match=f"^file.json: stale: {message}"):
        records.check_current("file.json", run, change(run.filled))


def test_equal_options_are_not_stale(tmp_path):
    records.write(tmp_path / "job.json", [make_run()])
    (run,) = records.read(tmp_path / "job.json")
    records.check_current("file.json", run, run.filled)
    records.check_current("file.json", run, _change(run.filled, "optimizer", lr=0.1, momentum=0))


def test_option_that_is_newer_than_the_record_does_not_make_it_stale():
    run = make_run()
    records.check_current("file.json", run, _change(run.filled, "optimizer", nesterov=False))
    records.check_current("file.json", run, run.filled | {"update": {"name": "synchronous"}})


@pytest.mark.parametrize(("value", "stale"), [(0.3, False), (0.5, True)])
def test_option_that_was_removed_makes_a_record_stale_unless_it_had_the_remaining_value(value, stale):
    run = make_run()
    run.filled["objective"] = {"name": "cross_entropy", "auxiliary_weight": value}
    filled = run.filled | {"objective": {"name": "cross_entropy"}}
    message = "objective.auxiliary_weight was 0.5 .* is 0.3 now"
    with pytest.raises(InputError, match=message) if stale else contextlib.nullcontext():
        records.check_current("file.json", run, filled)


def test_read_current_returns_the_runs_and_rejects_a_missing_or_stale_one(tmp_path):
    file = tmp_path / "job.json"
    records.write(file, [make_run("aaaa"), make_run("bbbb")])
    filled = make_run().filled
    assert records.read_current(file, {"bbbb": filled, "aaaa": filled}).keys() == {"aaaa", "bbbb"}
    with pytest.raises(InputError, match="damaged record: run cccc is missing"):
        records.read_current(file, {"aaaa": filled, "cccc": filled})
    with pytest.raises(InputError, match=r"stale: training\.steps was 3 when run bbbb was trained"):
        records.read_current(file, {"aaaa": filled, "bbbb": _change(filled, "training", steps=4)})


def test_trained_runs_are_those_of_the_same_study_and_of_the_same_job_in_others(tmp_path):
    study = tmp_path / "runs" / "work" / "study"
    for name in ("first-0a", "second-0b", "third-0c"):
        records.write(study / f"{name}.json", [make_run(f"{name}_a", seed=1), make_run(f"{name}_b", seed=2)])
    damaged = study / "second-0b.npz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for location in ("work/other/other-0d", "other/study/same-0d", "other/study/different-0e"):
        records.write(tmp_path / "runs" / f"{location}.json", [make_run(f"{location}_a", seed=1)])
    same_study, damaged_runs = ["first-0a_a", "third-0c_a", "third-0c_b"], ["second-0b_a", "second-0b_b"]
    same_job, others = ["other/study/same-0d_a", "work/other/other-0d_a"], ["other/study/different-0e_a", "never"]
    trained = records.find_trained(study / "mine-0d.json", [*same_study, *damaged_runs, *same_job, *others])
    assert sorted(trained) == sorted([*same_study, *same_job])
    assert all(run.id == name for name, run in trained.items())
    assert records.find_trained(tmp_path / "runs" / "no" / "where" / "mine-0f.json", same_study) == {}


def test_trained_runs_of_an_interrupted_training_alone(tmp_path):
    study = tmp_path / "runs" / "work" / "study"
    records.write(study / "first-0a.json", [make_run("aaaa")])
    records.write(study / ".mine-0d.bbbb.unfinished.json", [make_run("bbbb")])
    records.write(study / ".other-0e.cccc.unfinished.json", [make_run("cccc")])
    ids = ["aaaa", "bbbb", "cccc"]
    assert records.find_trained(study / "mine-0d.json", ids).keys() == {"aaaa", "bbbb"}
    assert records.find_trained(study / "mine-0d.json", ids, unfinished_only=True).keys() == {"bbbb"}
