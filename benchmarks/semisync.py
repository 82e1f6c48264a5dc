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
from pathlib import Path

import torch
from torch import nn

import goodinit
from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models, objectives, optimizers, updates

BATCH = 32


class Masked:
    """The dense gradient, with the rows of all inactive groups set to 0."""

    def __init__(self, model, optimizer, names):
        self.optimizer, self.updates = optimizer, 0
        self.layers = [model.get_submodule(name) for name in names]

    def step(self):
        """Apply the gradients of the active group, clear them, and activate the next group."""
        for layer in self.layers:
            groups = int(layer.out_features**0.5)
            mask = torch.zeros(layer.out_features)
            mask.view(groups, -1)[self.updates % groups] = 1
            layer.weight.grad *= mask[:, None]
            layer.bias.grad *= mask
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.updates += 1


class Public:
    """What `goodinit.semi_synchronous` returns, clearing the gradients at each step as the others do."""

    def __init__(self, model, names, **options):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
        self.update = goodinit.semi_synchronous(model, optimizer, layers=names, **options)

    def step(self):
        """Apply the gradients and clear them."""
        self.update.step()
        self.update.zero_grad()


def build(part, kind):
    """Return a model, a batch for it and an update."""
    generator = torch.Generator().manual_seed(0)
    if part == "whole":
        model, shape = models.vgg16((3, 32, 32), 10), (3, 32, 32)
    else:  # as they stand in the net for images of 224 x 224
        fc1, fc2, fc3 = nn.Linear(25088, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 10)
        model, shape = nn.Sequential(fc1, nn.ReLU(), fc2, nn.ReLU(), fc3), (25088,)
    initializers.he_normal(model, None, generator)
    model = model.to(memory_format=torch.channels_last)
    optimizer = optimizers.momentum(model.named_parameters(), lr=0.001)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][:-1]
    update = {
        "SGD": lambda: Public(model, names),
        "SGD, sparse": lambda: Public(model, names, sparse=True),
        "synchronous": lambda: updates.synchronous(model, optimizer, generator),
        "semi-synchronous": lambda: updates.semi_synchronous(model, optimizer, generator),
        "masked": lambda: Masked(model, optimizer, names),
    }[kind]()
    # What comes from the convolutions takes part in the backward pass.
    images = torch.randn(BATCH, *shape, generator=generator).requires_grad_(part == "fully-connected")
    return model, Examples(images, torch.randint(10, (BATCH,), generator=generator)), update


def step(model, batch, update):
    objectives.cross_entropy(model, batch)[0].backward()
    update.step()


def seconds(made):
    start = time.perf_counter()
    step(*made)
    return time.perf_counter() - start


def peak(part, kind):
    """Return the most memory of a process that does nothing else, in MiB."""
    command = [sys.executable, __file__, part, kind]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(repeats=9):
    kinds = ("synchronous", "semi-synchronous", "masked", "SGD", "SGD, sparse")
    for part in ("fully-connected", "whole"):
        made = {kind: build(part, kind) for kind in kinds}
        for one in made.values():
            step(*one)
        rounds = [{kind: seconds(made[kind]) for kind in kinds} for _ in range(repeats)]
        base = statistics.median(one["synchronous"] for one in rounds)
        del made
        print(f"{part}: synchronous {base * 1000:.0f} ms, {peak(part, 'synchronous')} MiB", flush=True)
        for kind in kinds[1:]:
            ratios = [one[kind] / one["synchronous"] for one in rounds]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"  {kind}: {statistics.median(ratios):.2f} ({spread}) of that, {peak(part, kind)} MiB", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 1:
        main()
    else:
        made = build(*sys.argv[1:])
        for _ in range(3):
            step(*made)
        status = Path("/proc/self/status").read_text()  # Linux; getrusage counts the parent's memory before exec
        print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024)
