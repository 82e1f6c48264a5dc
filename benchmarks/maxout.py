"""A training step of FitNet-4 with maxout as it is and with `torch.maximum`, on one CPU thread.

Operations of the backward pass, and how many more steps are done in the same time, both in turn.
"""

import functools
import statistics
import time

import torch
from torch.profiler import ProfilerActivity, profile

from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models, objectives
from goodinit.methods.models import fitnet

BATCH = 32
WAYS = {"torch.maximum": functools.partial(functools.reduce, torch.maximum), "maxout": fitnet.maxout}


def step(net, batch, way):
    fitnet.maxout = WAYS[way]
    objectives.cross_entropy(net, batch)[0].backward()
    net.zero_grad()


def operations(net, batch, way):
    """Return the number of operators that a backward pass calls."""
    fitnet.maxout = WAYS[way]
    loss, _ = objectives.cross_entropy(net, batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        loss.backward()
    return sum(event.name.startswith("aten::") for event in profiler.events())


def main(repeats=15):
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    net = models.fitnet4((3, 32, 32), 10)
    initializers.he_normal(net, None, generator)
    net = net.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    batch = Examples(images, torch.randint(10, (BATCH,), generator=generator))
    before, after = (operations(net, batch, way) for way in WAYS)
    ratios = []
    for _ in range(repeats):
        seconds = {}
        for way in WAYS:
            start = time.perf_counter()
            step(net, batch, way)
            seconds[way] = time.perf_counter() - start
        ratios.append(seconds["torch.maximum"] / seconds["maxout"])
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"operations of a backward pass: {before} with torch.maximum, {after} with maxout")
    print(f"steps in the same time: {statistics.median(ratios):.2f} times as many ({spread})")


if __name__ == "__main__":
    main()
