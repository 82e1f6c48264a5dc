"""Training steps of FitNet-4 with our maxout and with `torch.maximum`, alternately, on one CPU thread.

Prints the number of operators of the backward pass and the ratio of the durations of a step, in single precision and
in bfloat16, which is slow on a processor that emulates it.
"""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models, objectives
from goodinit.methods.models import fitnet
from goodinit.methods.models.maxout import maxout
from goodinit.training.precision import Precision, autocast

BATCH_SIZE = 32
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
IMPLEMENTATIONS: dict[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "torch.maximum": functools.partial(functools.reduce, torch.maximum),
    "maxout": maxout,
}


def step(model: nn.Module, batch: Examples, implementation: str) -> None:
    with patch.object(fitnet, "maxout", IMPLEMENTATIONS[implementation]):
        objectives.cross_entropy(model, batch)[0].backward()
    model.zero_grad()


def seconds(model: nn.Module, batch: Examples, implementation: str) -> float:
    start = time.perf_counter()
    step(model, batch, implementation)
    return time.perf_counter() - start


def count_operators(model: nn.Module, batch: Examples, implementation: str) -> int:
    """Return the number of operators that a backward pass calls."""
    with patch.object(fitnet, "maxout", IMPLEMENTATIONS[implementation]):
        loss, _ = objectives.cross_entropy(model, batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        loss.backward()
    return sum(event.name.startswith("aten::") for event in profiler.events())


def main(repeats: int = 15) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = models.fitnet4((3, 32, 32), 10)
    initializers.he_normal(model, None, generator)
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH_SIZE, 3, 32, 32, generator=generator)
    batch = Examples(images, torch.randint(10, (BATCH_SIZE,), generator=generator))
    before, after = (count_operators(model, batch, implementation) for implementation in IMPLEMENTATIONS)
    print(f"operators of a backward pass: {before} with torch.maximum, {after} with maxout")
    for precision in PRECISIONS:
        with autocast(precision, torch.device("cpu")):
            pairs = [[seconds(model, batch, name) for name in IMPLEMENTATIONS] for _ in range(repeats)]
        ratios = [other / ours for other, ours in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"duration of a step in {precision} with torch.maximum: {statistics.median(ratios):.2f} times that with "
            f"maxout ({spread})",
            flush=True,
        )


if __name__ == "__main__":
    main()
