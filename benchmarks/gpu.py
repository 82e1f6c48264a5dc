"""Test and time a GPU; on a machine without one, a reduced form on the CPU in about a minute.

1. Milliseconds per update, and the share of the rate of large matrix products, of a perceptron and stacks of it,
   FitNet-4, VGG-16 and the variational auto-encoder, by precision and memory format.
2. One run of each kind of every study at demo scale, trained twice and once more with an interruption: the numbers must
   be equal, bit by bit.

Needs only the package and torch, no data: `PYTHONPATH=src python benchmarks/gpu.py`.
"""

import argparse
import functools
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from goodinit import records, studies
from goodinit.datasets.tensors import Examples
from goodinit.methods import models, objectives, optimizers, updates
from goodinit.studies import Training
from goodinit.training import devices, operations, stacking, timing, trainer
from goodinit.training.checkpoint import Checkpoint, Stopped
from goodinit.training.loop import fit
from goodinit.training.precision import Precision, autocast, effective_precision
from goodinit.training.torch_state import torch_state

CONFIGS = Path(__file__).parents[1] / "configs"
UPDATES = 5  # of the runs that are compared, after the stages of their curriculum
PRECISIONS: dict[str, list[Precision]] = {"cuda": ["fp32", "tf32", "bf16"], "cpu": ["fp32"]}
FORMATS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
Case = tuple[str, dict[str, Any], tuple[int, ...], int]  # model, options, shape of an image, batch size
LARGE: list[Case] = [
    ("fitnet4", {"activation": "maxout"}, (3, 32, 32), 128),
    ("vgg16", {}, (3, 32, 32), 128),
    ("vgg16", {}, (3, 224, 224), 128),
    ("resnet_vae", {}, (3, 32, 32), 32),
]
SMALL: list[Case] = [
    ("fitnet4", {"width": 0.25}, (3, 32, 32), 16),
    ("vgg16", {"width": 0.125, "units": 256}, (3, 32, 32), 16),
    ("resnet_vae", {"blocks": 4, "width": 8}, (3, 32, 32), 8),
]


def train(run: studies.Run, data_root: str, device: torch.device, stop: bool = False) -> records.RunRecord:
    """Return the record of a run; with `stop`, it is stopped after its first update and continued."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        if stop:
            try:
                with Checkpoint(file, stop_requested=lambda: True) as checkpoint:
                    list(trainer.execute([run], data_root=data_root, device=device, checkpoint=checkpoint))
            except Stopped:
                if unfinished := records.find_trained(file, [run.id]):
                    return next(iter(unfinished.values()))
        with Checkpoint(file) as checkpoint:
            return next(trainer.execute([run], data_root=data_root, device=device, checkpoint=checkpoint))


def short_runs(every: int) -> Iterator[tuple[str, studies.Run]]:
    """Yield a run, with few updates, of each combination of methods in each study, or in every `every`-th study."""
    for file in sorted(CONFIGS.glob("*/*.yaml"))[::every]:
        study = studies.load(file)
        seen: set[tuple[Any, ...]] = set()
        for run in study.runs("demo"):
            names = tuple(part.get("name") for part in run.parts.values() if isinstance(part, dict))
            if names in seen:
                continue
            seen.add(names)
            training = dict(run.parts["training"])
            if "optimizer" in run.parts and (training.pop("epochs", None) or training.get("steps")):
                training["steps"] = sum(run.parts["curriculum"].get("stage_steps", [])) + UPDATES
            yield study.full_name, studies.Run({**run.parts, "training": training}, run.seed, run.labels)


def differences(first: records.RunRecord, second: records.RunRecord) -> list[str]:
    """Return the names of the series that differ in any bit."""
    return [
        name
        for name, series in first.series.items()
        if not np.array_equal(series.values, second.series[name].values, equal_nan=series.values.dtype.kind == "f")
    ]


def compare(device: torch.device, every: int) -> int:
    """Train each run three times; return the number of runs that differ or fail."""
    faults = 0
    with tempfile.TemporaryDirectory() as data_root:
        for name, run in short_runs(every):
            start, label = time.perf_counter(), f"{name}, {run.parts['init']['name']}, {run.parts['model']['name']}"
            try:
                first, second, stopped = (train(run, data_root, device, stop) for stop in (False, False, True))
                different = differences(first, second) + differences(first, stopped)
                result = f"differ: {', '.join(sorted(set(different)))}" if different else "equal"
            except Exception as error:  # every run is tried, and all faults are printed
                result = f"{type(error).__name__}: {error}"
            faults += result != "equal"
            print(f"{label}: {result} ({time.perf_counter() - start:.1f} s)", flush=True)
    return faults


def milliseconds(
    model: nn.Module, batch: Examples, objective: Any, precision: Precision, device: torch.device
) -> float:
    """Return the milliseconds of one update with momentum."""
    optimizer = optimizers.momentum(model.named_parameters(), lr=1e-6)
    update = updates.synchronous(model, optimizer, None)

    def seconds(steps: int) -> float:
        training = Training(steps=steps, stop_when_diverged=False)
        return fit(model, objective, itertools.repeat(batch, steps), update, training).seconds["training"] / steps

    with torch_state(device, precision), autocast(effective_precision(precision, device), device):
        seconds(3)
        return 1000 * seconds(min(max(3, round(1 / seconds(2))), 200))


def random_batch(size: Sequence[int], shape: Sequence[int], device: torch.device) -> Examples:
    """Return random examples of a shape: a batch of `size` (N,), or of (S, N) for a stack."""
    return Examples(torch.rand(*size, *shape), torch.randint(10, tuple(size))).to(device)


def time_stacks(device: torch.device, sizes: Sequence[int]) -> None:
    """Print the milliseconds of one update of stacks of perceptrons of different sizes."""
    for size in sizes:
        members = [models.mlp((784,), 10, hidden=[100] * 5) for _ in range(size)]
        model = stacking.stack(members).to(device)
        batch = random_batch((size, 128), (784,), device)
        each = milliseconds(model, batch, objectives.cross_entropy, "fp32", device) / size
        print(f"perceptron, stack of {size}: {each:.3f} ms per update and network", flush=True)


def time_models(device: torch.device, cases: Sequence[Case]) -> None:
    """Print the milliseconds of one update of models by precision and memory format, and their share of the rate."""
    rate = timing.measure_rate(device)
    print(f"{devices.name_of(device)}: {rate / 1e12:.2f} TFLOP/s for large products in fp32")
    for name, options, shape, size in cases:
        objective = objectives.elbo if name == "resnet_vae" else objectives.cross_entropy
        build = functools.partial(getattr(models, name), shape, 10, **options)
        needed = operations.count(build, objective, torch.Size(shape), size, backward=True).operations
        for precision, (label, memory_format) in itertools.product(PRECISIONS[device.type], FORMATS.items()):
            case = f"{name} {shape[-1]} x {shape[-1]}, {size} images, {precision}, {label}"
            try:
                model = build().to(device).to(memory_format=memory_format)
                each = milliseconds(model, random_batch((size,), shape, device), objective, precision, device)
            except torch.OutOfMemoryError:
                print(f"{case}: out of memory", flush=True)
            else:
                print(f"{case}: {each:.2f} ms, {needed / (each / 1000) / rate:.2f} of the rate", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    device = devices.choose_device(parser.parse_args().device)
    on_gpu = device.type == "cuda"
    if not on_gpu:
        torch.set_num_threads(1)
    time_stacks(device, [1, 5, 50] if on_gpu else [1, 5])
    time_models(device, LARGE if on_gpu else SMALL)
    faults = compare(device, 1 if on_gpu else 4)
    print(f"{faults} runs differ or fail")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
