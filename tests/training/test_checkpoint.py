"""A training run that was stopped continues, and ends as if it had not been stopped."""

import contextlib
import copy
import itertools
import os
import time

import pytest
import torch
from file_system import file_size_limit
from sample_training import CPU, assert_equal_numbers, execute

from goodinit import records, studies
from goodinit.training import trainer
from goodinit.training.checkpoint import Checkpoint, Stopped

MLP = {
    "data": {"name": "digits", "train_examples": 200, "test_examples": 50},
    "model": {"name": "mlp", "hidden": [16, 16], "dropout": 0.2, "batch_norm": True},
    "init": {"name": "he_normal"},
    "objective": {"name": "cross_entropy"},
    "optimizer": {"name": "adam", "lr": 0.01},
    "update": {"name": "synchronous"},
    "curriculum": {"name": "full"},
    "training": {"steps": 130, "batch_size": 30, "evaluate_every": 7, "evaluate_on": ["train", "test"],
                 "evaluate_at_end_on": ["test"]},
    "diagnostics": [],
}  # fmt: skip
SHORT = {"steps": 9, "batch_size": 10, "evaluate_every": 4, "diagnose_every": 2}
SHAPES = {"name": "shapes", "train_examples": 60, "test_examples": 20}
CASES = {
    "a stack with dropout and batch normalization": {},
    "momentum, schedule, augmentation, diagnostics": {
        "data": SHAPES | {"pad": 2},
        "model": {"name": "fitnet4", "batch_norm": "after", "activation": "relu"},
        "optimizer": {"name": "momentum", "lr": 0.01},
        "schedule": {"name": "step", "at": [3, 6], "factor": 0.1},
        "training": SHORT,
        "diagnostics": [{"name": "update_size"}, {"name": "weight_variance"}],
    },
    "semi-synchronous": {
        "model": {"name": "mlp", "hidden": [16, 16]},
        "optimizer": {"name": "momentum", "lr": 0.01},
        "update": {"name": "semi_synchronous"},
        "training": SHORT,
    },
    "progressive, with the noise of an auto-encoder": {
        "data": SHAPES,
        "model": {"name": "resnet_vae", "blocks": 6, "width": 4, "latent": 4},
        "objective": {"name": "elbo"},
        "optimizer": {"name": "adam", "lr": 0.01},
        "curriculum": {"name": "progressive", "fractions": [0.2], "stage_steps": [4]},
        "training": SHORT,
        "diagnostics": [{"name": "reconstructions", "images": 2, "size": 8}],
    },
    "a path of parameters": {
        "data": {"name": "empty"},
        "model": {"name": "quadratic", "start": [-7.0, 2.0], "curvatures": [0.1, 2.0]},
        "init": {"name": "as_built"},
        "objective": {"name": "value"},
        "optimizer": {"name": "momentum", "lr": 0.1},
        "training": {"steps": 9, "batch_size": 1, "diagnose_every": 1},
        "diagnostics": [{"name": "path"}],
    },
    "streamed, in low precision": {
        "model": {"name": "mlp", "hidden": [16], "batch_norm": True},
        "optimizer": {"name": "momentum", "lr": 0.1, "clip_norm": 0.5},
        "curriculum": {"name": "streamed", "chunk": 8, "buffer": 3},
        "training": SHORT | {"steps": 60, "precision": "bf16"},
    },
    "diverging": {"optimizer": {"name": "sgd", "lr": 1e9}, "model": {"name": "mlp", "hidden": [16]}},
}


@pytest.fixture
def file(tmp_path):
    """Return the path of the record of a job, in a folder of its own."""
    file = tmp_path / "laptop" / "runs" / "work" / "study" / "job.json"
    file.parent.mkdir(parents=True)
    return file


def _runs(changes, seeds=2):
    parts = copy.deepcopy(MLP) | changes
    return [studies.Run(parts, seed, {}) for seed in range(seeds)]


class _StopAfter:
    """Requests to stop after a number of calls."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self):
        self.left -= 1
        return self.left < 0


def _interrupted(runs, data_root, file, interval):
    """Return the records of runs that are stopped again and again, after each `interval` updates, and how often."""
    for stops in itertools.count():
        finished = records.find_trained(file, [run.id for run in runs])
        missing = [run for run in runs if run.id not in finished]
        try:
            with Checkpoint(file, minutes=1e9, stop_requested=_StopAfter(interval)) as checkpoint:
                trained = trainer.execute(missing, data_root=data_root, device=CPU, checkpoint=checkpoint)
                finished |= {run.id: record for run, record in zip(missing, trained, strict=True)}
        except Stopped:
            continue
        checkpoint.clear()
        return [finished[run.id] for run in runs], stops


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_stopped_again_and_again_ends_bit_equal(case, data_root, file):
    runs = _runs(CASES[case])
    whole = execute(runs, data_root)
    steps = whole[0].steps
    resumed, stops = _interrupted(runs, data_root, file, 41 if steps > 20 else 2)
    assert stops >= 2
    for first, second in zip(whole, resumed, strict=True):
        assert_equal_numbers(first, second)
    assert not list(file.parent.iterdir())


def test_finished_runs_are_kept_when_a_later_run_is_stopped(data_root, file, caplog):
    runs = _runs(CASES["semi-synchronous"], seeds=3)
    whole = execute(runs, data_root)
    resumed, stops = _interrupted(runs, data_root, file, 13)
    assert stops == 2
    assert "starts over" not in caplog.text
    for first, second in zip(whole, resumed, strict=True):
        assert_equal_numbers(first, second)
    assert not list(file.parent.iterdir())


def test_finished_runs_are_kept_after_an_error(data_root, file):
    runs = _runs({"training": SHORT}, seeds=1)
    with contextlib.suppress(MemoryError), Checkpoint(file, 1e9) as checkpoint:
        list(trainer.execute(runs, data_root=data_root, device=CPU, checkpoint=checkpoint))
        raise MemoryError
    assert records.find_trained(file, [run.id for run in runs]).keys() == {runs[0].id}


def _stopped(runs, data_root, file, times=5):
    with pytest.raises(Stopped):
        list(
            trainer.execute(runs, data_root=data_root, device=CPU, checkpoint=Checkpoint(file, 1e9, _StopAfter(times)))
        )


def test_a_checkpoint_is_due_when_its_minutes_have_passed_since_the_last(file, monkeypatch):
    def due_at(seconds):
        monkeypatch.setattr("time.monotonic", lambda: seconds)
        return checkpoint.due()

    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    checkpoint = Checkpoint(file, minutes=2)
    assert [due_at(seconds) for seconds in (1000.0, 1119.0, 1120.0)] == [False, False, True]
    checkpoint.save({}, {})
    assert [due_at(seconds) for seconds in (1239.0, 1240.0)] == [False, True]


def test_checkpoints_are_saved_at_their_time(data_root, file, monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, fingerprint, state: saved.append(state["loop"]["pending"]))
    runs = _runs({"training": SHORT})
    list(trainer.execute(runs, data_root=data_root, device=CPU, checkpoint=Checkpoint(file, 1e-9)))
    assert [len(pending) for pending in saved] == list(range(1, 10))


def _other_id(runs):
    return [studies.Run(runs[0].parts, 7, {})]


@pytest.mark.parametrize(
    ("damage", "other_runs", "why"),
    [
        (lambda content: content[: len(content) // 2], None, "damaged"),
        (lambda content: content[:-9] + b"123456789", None, "damaged"),
        (lambda content: b"", None, "damaged"),
        (lambda content: b"[]\n", None, "damaged"),
        (lambda content: content.replace(b'"format": 1', b'"format": 2'), None, "format differs"),
        (lambda content: content.replace(b'"device": "cpu"', b'"device": "cuda"'), None, "device differs"),
        (lambda content: content.replace(b'"threads": 1', b'"threads": 2'), None, "threads differs"),
        (lambda content: content.replace(b'"instructions": "', b'"instructions": "x'), None, "instructions differs"),
        (lambda content: content.replace(b'"data": ["', b'"data": ["0'), None, "data differs"),
        (lambda content: content.replace(b'"defaults": [{', b'"defaults": [{"new": {}, '), None, "defaults differs"),
        (lambda content: content.replace(b'"code": "', b'"code": "0'), None, "code differs"),
        (lambda content: content.replace(b'"fp32", "data"', b'"bf16", "data"'), None, "precision differs"),
        (None, _other_id, "runs differs"),
        (lambda content: content.replace(torch.__version__.encode(), b"0.1"), None, "torch differs"),
    ],
)
def test_training_starts_over_if_a_checkpoint_cannot_be_used(damage, other_runs, why, data_root, file, caplog):
    runs = _runs({"training": SHORT}, seeds=1)
    _stopped(runs, data_root, file)
    (saved,) = file.parent.iterdir()
    if damage:
        saved.write_bytes(damage(saved.read_bytes()))
    runs = other_runs(runs) if other_runs else runs
    whole = execute(runs, data_root)
    (record,), _ = _interrupted(runs, data_root, file, 1000)
    assert why in caplog.text
    assert "training starts over" in caplog.text
    assert_equal_numbers(whole[0], record)


def test_a_checkpoint_of_other_code_is_not_used(file, caplog):
    checkpoint = Checkpoint(file)
    checkpoint.save({"code": "a"}, {"step": 3})
    assert checkpoint.load({"code": "a"}) == {"step": 3}
    assert checkpoint.load({"code": "b"}) is None
    assert "code differs" in caplog.text


def test_a_checkpoint_holds_no_code(tmp_path, monkeypatch, caplog, file):
    """A pickle that executes code when it is read is rejected although its checksum is right."""
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(file, 1e9, lambda: False)
    checkpoint.save({}, {"loop": _Harmful()})
    assert checkpoint.load({}) is None
    assert not (tmp_path / "harm").exists()
    assert "damaged (UnpicklingError" in caplog.text


class _Harmful:
    def __reduce__(self):
        return (open, ("harm", "w"))


def test_a_full_disk_keeps_the_previous_checkpoint_and_training_continues(data_root, file, caplog):
    runs = _runs({"training": SHORT}, seeds=1)
    _stopped(runs, data_root, file)
    (saved,) = file.parent.iterdir()
    before = saved.read_bytes()
    with file_size_limit(100):
        Checkpoint(file).save({}, {})
        with pytest.raises(OSError, match="File too large"):
            Checkpoint(file, stop_requested=lambda: True).save({}, {})
    assert "cannot write checkpoint, continuing: File too large" in caplog.text
    assert list(file.parent.iterdir()) == [saved]
    assert saved.read_bytes() == before


def test_all_files_of_a_job_except_its_record_are_deleted(file):
    """Also a temporary file of a process that was killed, but not one that another process may be writing now."""
    names = [f".{file.stem}.abc.unfinished.json", f".{file.name}.12.part", f"..{file.stem}.checkpoint.12.part"]
    kept = [file.name, f".{file.stem}-other.json.12.part"]
    written = [f".{file.name}.13.part", f"..{file.stem}.abc.unfinished.json.13.part"]
    file.parent.mkdir(parents=True, exist_ok=True)
    seconds = time.time()
    for age, files in ((60, names + kept), (-60, written)):
        for name in files:
            (file.parent / name).write_bytes(b"")
            os.utime(file.parent / name, (seconds - age, seconds - age))
    Checkpoint(file, minutes=1, stop_requested=lambda: False).clear()
    assert {path.name for path in file.parent.iterdir()} == {*kept, *written}
