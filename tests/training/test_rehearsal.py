"""Every study trains on a rehearsed GPU as it does on the CPU, and no update waits for the GPU.

`make test-rehearsal` writes the counts to docs/rehearsal.md.
"""

import itertools
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import CONFIGS
from rehearsal import CUDA, Rehearsal, RehearsalError
from sample_training import assert_equal_numbers, execute
from torch import nn

from goodinit import studies
from goodinit.datasets import preprocessing
from goodinit.datasets.tensors import Examples
from goodinit.methods.curricula import batches
from goodinit.training import build, loop, trainer
from goodinit.training.checkpoint import Checkpoint, Stopped

STUDIES = sorted(file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.glob("*/*.yaml"))
CONVOLUTIONS = {
    "data": {"name": "shapes", "train_examples": 60, "test_examples": 20, "pad": 2},
    "model": {"name": "fitnet4", "width": 0.25, "activation": "relu", "batch_norm": "after"},
    "init": {"name": "lsuv"},
    "objective": {"name": "cross_entropy"},
    "optimizer": {"name": "momentum", "lr": 0.01},
    "update": {"name": "synchronous"},
    "curriculum": {"name": "full"},
    "training": {"steps": 6, "batch_size": 10, "evaluate_every": 2, "diagnose_every": 2},
    "diagnostics": [{"name": "update_size"}, {"name": "layer_outputs"}],
}


def rehearse(runs, data_root, checkpoint=None):
    """Train runs on the rehearsed GPU; return their records and the rehearsal."""
    with Rehearsal() as rehearsal:
        finished = list(trainer.execute(runs, data_root=data_root, device=CUDA, threads=1, checkpoint=checkpoint))
    return finished, rehearsal


def with_steps(run, steps):
    """Return a run of `steps` updates after the stages of its curriculum, observed before the first and after the last.

    A run that updates nothing is returned unchanged.
    """
    training = run.parts["training"]
    if "optimizer" not in run.parts or not (training.get("steps") or training.get("epochs")):
        return run
    kept = {key: training[key] for key in training if key not in ("epochs", "evaluate_every", "diagnose_every")}
    stages = sum(run.parts["curriculum"].get("stage_steps", []))
    return studies.Run(run.parts | {"training": kept | {"steps": stages + steps}}, run.seed, run.labels)


def kind(run):
    """Return what determines the operations of a run: all its parts without their numbers."""

    def without_numbers(value):
        if isinstance(value, dict):
            return {key: without_numbers(part) for key, part in value.items() if key not in ("steps", "epochs")}
        if isinstance(value, list):
            return [without_numbers(part) for part in value if isinstance(part, dict | str)]
        return None if isinstance(value, int | float) and not isinstance(value, bool) else value

    return json.dumps(without_numbers(studies.fill(run.parts)), sort_keys=True)


@pytest.fixture(scope="module")
def page():
    """Return the rows of a page, which is written to the file that GOODINIT_REHEARSAL names."""
    rows = {}
    yield rows
    if file := os.environ.get("GOODINIT_REHEARSAL"):
        lines = [
            "# The rehearsal of every study on a GPU",
            "",
            "Trained on the CPU, with storages assigned to a GPU (`tests/rehearsal.py`); written by",
            "`make test-rehearsal`. Kinds are runs at demo scale that differ in more than numbers. Waits are copies",
            "and results for which the host waits until the GPU has finished: an update has none, as a test asserts;",
            "setting up, evaluations and diagnostics have some. Numbers are those of the kind with most.",
            "",
            "| study | kinds | operators | operations in an update | waits outside updates |",
            "|---|---:|---:|---:|---:|",
            *(f"| `{name}` | {' | '.join(map(str, row))} |" for name, row in sorted(rows.items())),
        ]
        Path(file).write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_trains_on_a_gpu_as_on_the_cpu_without_waiting_in_an_update(name, data_root, page):
    study = studies.load(CONFIGS / f"{name}.yaml")
    runs = {kind(run): run for job in study.jobs("demo") for run in job.runs}
    operators, operations, outside = set(), [0], [0]
    for run in runs.values():
        short, long = with_steps(run, 2), with_steps(run, 4)
        (record,), first = rehearse([short], data_root)
        operators |= set(first.operators)
        outside.append(first.waits.total())
        if short is not run:
            (cpu_record,) = execute([short], data_root)
            assert record.status == cpu_record.status
            if record.provenance["precision"] == cpu_record.provenance["precision"]:
                np.testing.assert_array_equal(record.series["loss"].values, cpu_record.series["loss"].values)
            _, second = rehearse([long], data_root)
            assert second.waits == first.waits  # two more updates, no more waits
            operations.append((second.operators.total() - first.operators.total()) // 2)
    page[name] = len(runs), len(operators), max(operations), max(outside)
    assert operators


def test_augmented_training_with_lsuv_and_diagnostics_on_a_gpu(data_root):
    run = studies.Run(CONVOLUTIONS, 0, {})
    (record,), rehearsal = rehearse([run], data_root)
    (on_cpu,) = execute([run], data_root)
    for metric in ("loss", "update_size", "output_variance"):
        np.testing.assert_array_equal(record.series[metric].values, on_cpu.series[metric].values)
    assert record.provenance["device"] == "rehearsed GPU"
    assert rehearsal.operators["convolution_backward"] == 6 * 17


def test_a_stack_on_a_gpu(data_root):
    parts = CONVOLUTIONS | {
        "data": {"name": "digits", "train_examples": 200, "test_examples": 50},
        "model": {"name": "mlp", "hidden": [16, 16], "dropout": 0.2, "batch_norm": True},
        "init": {"name": "he_normal"},
        "diagnostics": [],
    }
    runs = [studies.Run(parts, seed, {}) for seed in range(3)]
    finished, _ = rehearse(runs, data_root)
    assert [record.provenance["trained_together"] for record in finished] == [3, 3, 3]
    for record, on_cpu in zip(finished, execute(runs, data_root), strict=True):
        np.testing.assert_array_equal(record.series["loss"].values, on_cpu.series["loss"].values)


def test_a_run_that_is_stopped_on_a_gpu_continues(data_root, tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(clock)))
    run = studies.Run(CONVOLUTIONS, 0, {})
    (whole,), _ = rehearse([run], data_root)
    for _ in range(CONVOLUTIONS["training"]["steps"]):  # the training stops after its next update
        with pytest.raises(Stopped), Checkpoint(tmp_path / "job.json", stop_requested=lambda: True) as checkpoint:
            rehearse([run], data_root, checkpoint)
    with Checkpoint(tmp_path / "job.json") as checkpoint:
        (continued,), _ = rehearse([run], data_root, checkpoint)
    assert continued.seconds["training"] > whole.seconds["training"]  # it includes the time before the last stop
    assert_equal_numbers(whole, continued)


def _plant_unmoved_indices(patch):
    patch.setattr(batches, "to_device", lambda tensor, device: tensor)


def _plant_unmoved_windows(patch):
    patch.setattr(preprocessing, "to_device", lambda tensor, device: tensor)


def _plant_unmoved_model(patch):
    patch.setattr(nn.Module, "to", lambda self, *args, **options: self)


def _plant_initialization_on_the_gpu(patch):
    """The probe of LSUV stays on the GPU, and the model is initialized on the CPU."""
    to = Examples.to
    patch.setattr(Examples, "to", lambda self, device: to(self, CUDA))


def _plant_array_of_an_evaluation(patch):
    patch.setattr(torch.Tensor, "cpu", lambda self: self)


def _plant_masked_loss(patch):
    def objective(parts):
        return lambda model, batch: (model(batch.images).mean() * torch.ones(3).mean(0, keepdim=True), {})

    patch.setattr(build, "objective", objective)


PLANTED = {
    "indices of a batch on the CPU": _plant_unmoved_indices,
    "windows of an augmentation on the CPU": _plant_unmoved_windows,
    "model on the CPU": _plant_unmoved_model,
    "LSUV's examples on the GPU, its model on the CPU": _plant_initialization_on_the_gpu,
    "metrics of an evaluation as an array": _plant_array_of_an_evaluation,
    "a factor of the loss on the CPU": _plant_masked_loss,
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_rehearsal_finds_a_planted_fault(name, data_root, monkeypatch):
    PLANTED[name](monkeypatch)
    with pytest.raises(RehearsalError, match=r"same device|numpy"):
        rehearse([studies.Run(CONVOLUTIONS, 0, {})], data_root)


def test_a_loss_that_is_read_in_each_update_is_counted(data_root, monkeypatch):
    add = loop.Loop.add
    monkeypatch.setattr(loop.Loop, "add", lambda self, metrics: (float(metrics["loss"]), add(self, metrics))[1])
    run = studies.Run(CONVOLUTIONS, 0, {})
    counts = [rehearse([with_steps(run, steps)], data_root)[1].waits for steps in (2, 4)]
    assert counts[1] - counts[0] == Counter({"_local_scalar_dense": 2})
