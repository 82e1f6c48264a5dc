"""Every study trains on a rehearsed GPU as it does on the CPU, and no update waits for the GPU.

`make test-rehearsal` writes the counts to docs/rehearsal.md.
"""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from rehearsal import CPU, CUDA, NONDETERMINISTIC, Rehearsal, RehearsalError
from sample_training import assert_equal_numbers, execute
from torch import nn
from torch.nn import functional

from goodinit import studies
from goodinit.datasets import preprocessing
from goodinit.datasets.tensors import Examples
from goodinit.methods.curricula import batches
from goodinit.training import build, loop, trainer
from goodinit.training.checkpoint import Checkpoint, Stopped

CONFIGS = Path(__file__).parents[2] / "configs"
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
        finished = list(
            trainer.execute(runs, data_root=data_root, device=CUDA, threads=1, checkpoint=checkpoint, progress=None)
        )
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
            "and results for which the host waits until the GPU has finished: an update has none; evaluations,",
            "diagnostics and initializers have some. Numbers are those of the kind with most.",
            "",
            "| study | kinds | operators | operations in an update | waits in an update | outside updates |",
            "|---|---:|---:|---:|---:|---:|",
            *(f"| `{name}` | {' | '.join(map(str, row))} |" for name, row in sorted(rows.items())),
        ]
        Path(file).write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_trains_on_a_gpu_as_on_the_cpu_without_waiting_in_an_update(name, data_root, page):
    study = studies.load(CONFIGS / f"{name}.yaml")
    runs = {kind(run): run for job in study.jobs("demo") for run in job.runs}
    operators, waits, operations, outside = set(), [0], [0], [0]
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
            waits.append((second.waits.total() - first.waits.total()) // 2)
            operations.append((second.operators.total() - first.operators.total()) // 2)
    page[name] = len(runs), len(operators), max(operations), max(waits), max(outside)
    assert operators
    assert not max(waits)


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


def test_a_run_that_is_stopped_on_a_gpu_continues(data_root, tmp_path):
    run = studies.Run(CONVOLUTIONS, 0, {})
    (whole,), _ = rehearse([run], data_root)
    for _ in range(CONVOLUTIONS["training"]["steps"]):  # the training stops after its next update
        with pytest.raises(Stopped), Checkpoint(tmp_path / "job.json", stop_requested=lambda: True) as checkpoint:
            rehearse([run], data_root, checkpoint)
    with Checkpoint(tmp_path / "job.json") as checkpoint:
        (continued,), _ = rehearse([run], data_root, checkpoint)
    assert continued.seconds["training"] > whole.seconds["training"]  # it includes the time before the last stop
    assert_equal_numbers(whole, continued)


def test_every_operator_that_torch_documents_as_nondeterministic_is_refused():
    text = torch.use_deterministic_algorithms.__doc__
    text = text.partition("operations will throw a")[2].partition("In addition")[0]
    items = [line for line in text.splitlines() if line.strip().startswith("*")]
    documented = {item.partition("`")[2].partition("`")[0] for item in items}
    assert documented
    assert documented <= set(NONDETERMINISTIC)
    names = {name for names in NONDETERMINISTIC.values() for name in names}
    for name in names:
        packet, _, overload = name.partition(".")
        assert not overload or overload in getattr(torch.ops.aten, packet).overloads(), name


def on_gpu(*shape):
    return torch.ones(shape, device=CUDA)


FAULTS = {  # code that fails on a GPU: the message of the rehearsal
    "indices on the CPU": (lambda: on_gpu(3).index_select(0, torch.arange(2)), "same device"),
    "a mask on the CPU": (lambda: on_gpu(3) * (torch.rand(3) > 0.5), "same device"),
    "statistics on the CPU": (lambda: on_gpu(3).sub_(torch.ones(3)), "same device"),
    "a number on the CPU among others": (lambda: torch.stack([on_gpu(), torch.zeros(())]), "same device"),
    "a result on another device": (lambda: torch.add(on_gpu(3), 1, out=torch.empty(3)), "same device"),
    "a model on the CPU": (lambda: nn.Linear(3, 2)(on_gpu(4, 3)), "same device"),
    "labels on the CPU": (lambda: functional.cross_entropy(on_gpu(2, 3), torch.tensor([0, 1])), "same device"),
    "a loss of two devices": (lambda: functional.mse_loss(on_gpu(3), torch.zeros(3)), "same device"),
    "momentum on the CPU": (lambda: torch.zeros(3).mul_(0.9).add_(on_gpu(3)), "same device"),
    "a generator of the CPU for new numbers": (
        lambda: torch.randn(3, generator=torch.Generator(), device=CUDA),
        "generator",
    ),
    "a generator of the CPU for weights": (
        lambda: nn.init.normal_(on_gpu(3), generator=torch.Generator()),
        "generator",
    ),
    "an array": (lambda: on_gpu(3).numpy(), "numpy"),
    "an array, without its name": (lambda: __import__("numpy").asarray(on_gpu(3)), "numpy"),
    "page-locked memory of a GPU": (lambda: on_gpu(3).pin_memory(), "page-locked"),
    "histogram": (lambda: torch.histc(on_gpu(3)), "deterministic"),
    "median with indices": (lambda: on_gpu(3).median(0), "deterministic"),
    "put": (lambda: on_gpu(3).put_(torch.zeros(1, dtype=torch.int64, device=CUDA), on_gpu(1)), "deterministic"),
    "cumulative sum": (lambda: on_gpu(3).cumsum(0), "deterministic"),
    "gradient of adaptive pooling": (
        lambda: functional.adaptive_avg_pool2d(on_gpu(1, 1, 4, 4).requires_grad_(), 2).sum().backward(),
        "deterministic",
    ),
    "gradient of bicubic enlarging": (
        lambda: functional.interpolate(on_gpu(1, 1, 4, 4).requires_grad_(), size=8, mode="bicubic").sum().backward(),
        "deterministic",
    ),
    "gradient of reflecting": (
        lambda: functional.pad(on_gpu(1, 1, 4, 4).requires_grad_(), [1] * 4, mode="reflect").sum().backward(),
        "deterministic",
    ),
    "loss of every pixel": (
        lambda: functional.cross_entropy(on_gpu(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64, device=CUDA)),
        "deterministic",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_rehearsal_refuses_what_fails_on_a_gpu(name):
    fault, message = FAULTS[name]
    with Rehearsal(), pytest.raises(RehearsalError, match=message):
        fault()


def _plant_unmoved_indices(patch):
    patch.setattr(batches, "to_device", lambda tensor, device: tensor)


def _plant_unmoved_windows(patch):
    patch.setattr(preprocessing, "to_device", lambda tensor, device: tensor)


def _plant_unmoved_model(patch):
    patch.setattr(nn.Module, "to", lambda self, *args, **options: self)


def _plant_initialization_on_the_gpu(patch):
    """The probe of LSUV stays on the GPU, and the model is initialized on the CPU."""
    patch.setattr(Examples, "to", lambda self, device: self.to_device(CUDA))


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


WAITS = {
    "a loss that is printed": lambda: float(on_gpu()),
    "a condition": lambda: bool(on_gpu() > 0),
    "a list": lambda: on_gpu(3).tolist(),
    "selection by a mask": lambda: on_gpu(3)[on_gpu(3) > 0],
    "indices of nonzero elements": lambda: on_gpu(3).nonzero(),
    "a copy to the GPU": lambda: torch.ones(3).to(CUDA),
    "an asynchronous copy from memory that is not page-locked": lambda: torch.ones(3).to(CUDA, non_blocking=True),
    "a number that is created on the GPU": lambda: torch.tensor(1.0, device=CUDA),
    "a copy from the GPU": lambda: on_gpu(3).cpu(),
    "a copy into memory of the CPU": lambda: torch.empty(3).copy_(on_gpu(3)),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_rehearsal_counts_waits(name):
    with Rehearsal() as rehearsal:
        WAITS[name]()
    assert rehearsal.waits.total() == 1, rehearsal.waits


def test_the_rehearsal_counts_no_asynchronous_copy():
    with Rehearsal() as rehearsal:
        moved = torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
        assert (moved.device, (moved + 1).device, moved[1:].device, moved.cpu().device) == (CUDA, CUDA, CUDA, CPU)
    assert rehearsal.waits == Counter({"copy from the GPU": 1})


def test_a_loss_that_is_read_in_each_update_is_counted(data_root, monkeypatch):
    add = loop.Loop.add
    monkeypatch.setattr(loop.Loop, "add", lambda self, metrics: (float(metrics["loss"]), add(self, metrics))[1])
    run = studies.Run(CONVOLUTIONS, 0, {})
    counts = [rehearse([with_steps(run, steps)], data_root)[1].waits for steps in (2, 4)]
    assert counts[1] - counts[0] == Counter({"_local_scalar_dense": 2})
