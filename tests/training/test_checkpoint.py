"""Training that was stopped, or killed, goes on and ends as if it had not been."""

import contextlib
import copy
import itertools

import numpy as np
import pytest
import torch

from goodinit import records, studies
from goodinit.training import trainer
from goodinit.training.checkpoint import Checkpoint, Stopped

CPU = torch.device("cpu")
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
    "a way": {
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


def _runs(changes, seeds=2):
    parts = copy.deepcopy(MLP) | changes
    return [studies.Run(parts, seed, {}) for seed in range(seeds)]


class _Patience:
    """Asked so many times, it wants the process to end; then it is asked anew."""

    def __init__(self, times):
        self.times, self.left = times, times

    def __call__(self):
        self.left -= 1
        return self.left < 0


def _interrupted(runs, data_root, file, times):
    """Return the records of runs that were stopped every so many updates, and how often they were."""
    for stops in itertools.count():
        found = records.known(file)
        missing = [run for run in runs if run.id not in found]
        try:
            with Checkpoint(file, minutes=1e9, stop_requested=_Patience(times)) as kept:
                trained = trainer.execute(missing, data_root=data_root, device=CPU, checkpoint=kept)
                found |= {run.id: made for run, made in zip(missing, trained, strict=True)}
        except Stopped:
            continue
        kept.clear()
        return [found[run.id] for run in runs], stops


def _same(one, other):
    assert (one.status, one.diverged_at, one.steps, one.id) == (other.status, other.diverged_at, other.steps, other.id)
    assert one.series.keys() == other.series.keys()
    for name, series in one.series.items():
        assert series.values.dtype == other.series[name].values.dtype
        np.testing.assert_array_equal(series.steps, other.series[name].steps, name)
        np.testing.assert_array_equal(series.values, other.series[name].values, name)


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_stopped_again_and_again_ends_bit_equal(case, data_root, tmp_path):
    runs = _runs(CASES[case])
    whole = list(trainer.execute(runs, data_root=data_root, device=CPU))
    steps = whole[0].steps
    found, stops = _interrupted(runs, data_root, tmp_path / "job.json", 41 if steps > 20 else 2)
    assert stops >= 2
    for one, other in zip(whole, found, strict=True):
        _same(one, other)
    assert not list(tmp_path.iterdir())


def test_runs_that_ended_are_there_when_one_after_them_goes_on(data_root, tmp_path, caplog):
    runs = _runs(CASES["semi-synchronous"], seeds=3)
    whole = list(trainer.execute(runs, data_root=data_root, device=CPU))
    found, stops = _interrupted(runs, data_root, tmp_path / "job.json", 13)
    assert stops == 2
    assert "starts over" not in caplog.text
    for one, other in zip(whole, found, strict=True):
        _same(one, other)
    assert not list(tmp_path.iterdir())


def test_what_ended_is_kept_when_something_goes_wrong(data_root, tmp_path):
    runs = _runs({"training": SHORT}, seeds=1)
    with contextlib.suppress(MemoryError), Checkpoint(tmp_path / "job.json", 1e9) as kept:
        list(trainer.execute(runs, data_root=data_root, device=CPU, checkpoint=kept))
        raise MemoryError
    assert records.known(tmp_path / "job.json").keys() == {runs[0].id}


def _stopped(runs, data_root, file, times=5):
    with pytest.raises(Stopped):
        list(trainer.execute(runs, data_root=data_root, device=CPU, checkpoint=Checkpoint(file, 1e9, _Patience(times))))


def test_a_checkpoint_is_kept_when_its_time_has_come(data_root, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, fingerprint, state: saved.append(state["loop"]["pending"]))
    runs = _runs({"training": SHORT})
    list(trainer.execute(runs, data_root=data_root, device=CPU, checkpoint=Checkpoint(tmp_path / "job.json", 1e-9)))
    assert [len(pending) for pending in saved] == list(range(1, 10))


def _other_id(runs):
    return [studies.Run(runs[0].parts, 7, {})]


@pytest.mark.parametrize(
    ("damage", "other", "why"),
    [
        (lambda content: content[: len(content) // 2], None, "damaged"),
        (lambda content: content[:-9] + b"123456789", None, "damaged"),
        (lambda content: b"", None, "damaged"),
        (lambda content: b"[]\n", None, "damaged"),
        (lambda content: content.replace(b'"format": 1', b'"format": 2'), None, "format differs"),
        (lambda content: content.replace(b'"device": "cpu"', b'"device": "cuda"'), None, "device differs"),
        (lambda content: content.replace(b'"data": ["', b'"data": ["0'), None, "data differs"),
        (None, _other_id, "runs differs"),
        (lambda content: content.replace(torch.__version__.encode(), b"0.1"), None, "torch differs"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_said_and_training_starts_over(
    damage, other, why, data_root, tmp_path, caplog
):
    runs = _runs({"training": SHORT}, seeds=1)
    _stopped(runs, data_root, tmp_path / "job.json")
    (file,) = tmp_path.iterdir()
    if damage:
        file.write_bytes(damage(file.read_bytes()))
    runs = other(runs) if other else runs
    whole = list(trainer.execute(runs, data_root=data_root, device=CPU))
    found, _ = _interrupted(runs, data_root, tmp_path / "job.json", 1000)
    said = caplog.text
    assert why in said
    assert "training starts over" in said
    _same(whole[0], found[0])


def test_a_checkpoint_of_other_code_is_not_used(tmp_path, caplog):
    saved = Checkpoint(tmp_path / "job.json")
    saved.save({"code": "a"}, {"step": 3})
    assert saved.load({"code": "a"}) == {"step": 3}
    assert saved.load({"code": "b"}) is None
    assert "code differs" in caplog.text


def test_a_checkpoint_holds_no_code(tmp_path, monkeypatch, caplog):
    """A pickle that would run something when it is read is refused, however well its checksum fits."""
    monkeypatch.chdir(tmp_path)
    kept = Checkpoint(tmp_path / "job.json", 1e9, lambda: False)
    kept.save({}, {"loop": _Harmful()})
    assert kept.load({}) is None
    assert not (tmp_path / "harm").exists()
    assert "damaged (UnpicklingError" in caplog.text


class _Harmful:
    def __reduce__(self):
        return (open, ("harm", "w"))


def test_a_full_disk_leaves_the_checkpoint_before_and_training_goes_on(data_root, tmp_path, file_size_limit, caplog):
    runs = _runs({"training": SHORT}, seeds=1)
    _stopped(runs, data_root, tmp_path / "job.json")
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    with file_size_limit(100):
        Checkpoint(tmp_path / "job.json").save({}, {})
        with pytest.raises(OSError, match="File too large"):
            Checkpoint(tmp_path / "job.json", stop_requested=lambda: True).save({}, {})
    assert "cannot write checkpoint, continuing: File too large" in caplog.text
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == before
