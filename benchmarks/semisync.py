"""A training step of VGG-16, synchronous and semi-synchronous in four ways, on one CPU thread.

`masked` sets the rows of inactive groups of the dense gradient to 0; `SGD` is `goodinit.semi_synchronous` with
torch.optim.SGD, and `SGD, sparse` the same with sparse gradients.

Seconds of one step at a batch of 32, in turn, as ratios to the synchronous one; and the most memory that a process
of its own needs for a few steps.
"""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

import goodinit
from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models, objectives, optimizers, updates

BATCH = 32
KINDS = ("synchronous", "semi-synchronous", "masked", "SGD", "SGD, sparse")


class Update(Protocol):
    """What applies and clears the gradients of a model."""

    def step(self) -> object:
        """Apply the gradients and clear them."""


Training = tuple[nn.Module, Examples, Update]


class Masked:
    """The dense gradient, with the rows of all inactive groups set to 0."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, names: Sequence[str]) -> None:
        self.optimizer, self.updates = optimizer, 0
        self.layers = [layer for name, layer in model.named_modules() if name in names and isinstance(layer, nn.Linear)]

    def step(self) -> None:
        """Apply the gradients of the active group, clear them, and activate the next group."""
        for layer in self.layers:
            groups = int(layer.out_features**0.5)
            mask = torch.zeros(layer.out_features)
            mask.view(groups, -1)[self.updates % groups] = 1
            for parameter, part in ((layer.weight, mask[:, None]), (layer.bias, mask)):
                assert parameter.grad is not None
                parameter.grad *= part
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.updates += 1


class Public:
    """What `goodinit.semi_synchronous` returns, clearing the gradients at each step as the others do."""

    def __init__(self, model: nn.Module, names: Sequence[str], *, sparse: bool = False) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
        self.update = goodinit.semi_synchronous(model, optimizer, layers=names, sparse=sparse)

    def step(self) -> None:
        """Apply the gradients and clear them."""
        self.update.step()
        self.update.zero_grad()


def build(part: str, kind: str) -> Training:
    """Return a model, a batch for it and an update."""
    generator = torch.Generator().manual_seed(0)
    model: nn.Module
    shape: tuple[int, ...]
    if part == "whole":
        model, shape = models.vgg16((3, 32, 32), 10), (3, 32, 32)
    else:  # as they stand in the net for images of 224 x 224
        fc1, fc2, fc3 = nn.Linear(25088, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 10)
        model, shape = nn.Sequential(fc1, nn.ReLU(), fc2, nn.ReLU(), fc3), (25088,)
    initializers.he_normal(model, None, generator)
    model = model.to(memory_format=torch.channels_last)
    optimizer = optimizers.momentum(model.named_parameters(), lr=0.001)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][:-1]
    kinds: dict[str, Callable[[], Update]] = {
        "SGD": lambda: Public(model, names),
        "SGD, sparse": lambda: Public(model, names, sparse=True),
        "synchronous": lambda: updates.synchronous(model, optimizer, generator),
        "semi-synchronous": lambda: updates.semi_synchronous(model, optimizer, generator),
        "masked": lambda: Masked(model, optimizer, names),
    }
    # What comes from the convolutions takes part in the backward pass.
    images = torch.randn(BATCH, *shape, generator=generator).requires_grad_(part == "fully-connected")
    return model, Examples(images, torch.randint(10, (BATCH,), generator=generator)), kinds[kind]()


def step(model: nn.Module, batch: Examples, update: Update) -> None:
    objectives.cross_entropy(model, batch)[0].backward()
    update.step()


def seconds(training: Training) -> float:
    start = time.perf_counter()
    step(*training)
    return time.perf_counter() - start


def peak_memory(part: str, kind: str) -> int:
    """Return the most memory of a process that does nothing else, in MiB."""
    command = [sys.executable, __file__, part, kind]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak_memory(part: str, kind: str, steps: int = 3) -> None:
    """Train for a few steps and print the most memory of this process, in MiB; on Linux only."""
    training = build(part, kind)
    for _ in range(steps):
        step(*training)
    status = Path("/proc/self/status").read_text()  # getrusage counts the parent's memory before exec
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    print(int(match[1]) // 1024)


def main(repeats: int = 9) -> None:
    for part in ("fully-connected", "whole"):
        trainings = {kind: build(part, kind) for kind in KINDS}
        for training in trainings.values():
            step(*training)
        rounds = [{kind: seconds(trainings[kind]) for kind in KINDS} for _ in range(repeats)]
        base = statistics.median(durations["synchronous"] for durations in rounds)
        del trainings, training
        print(f"{part}: synchronous {base * 1000:.0f} ms, {peak_memory(part, 'synchronous')} MiB", flush=True)
        for kind in KINDS[1:]:
            ratios = [durations[kind] / durations["synchronous"] for durations in rounds]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(
                f"  {kind}: {statistics.median(ratios):.2f} ({spread}) of that, {peak_memory(part, kind)} MiB",
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 1:
        main()
    else:
        print_peak_memory(sys.argv[1], sys.argv[2])
