"""Speedup of training five small models as one stack, instead of one after the other, on one CPU thread."""

import statistics
import time
from collections.abc import Sequence

import torch

from goodinit import studies
from goodinit.studies import settings
from goodinit.training import trainer


def seconds(runs: Sequence[studies.Run], stack_size: int) -> float:
    trainer.MAX_STACK_SIZE["cpu"] = stack_size
    start = time.perf_counter()
    for _ in trainer.execute(runs, data_root=settings.data_root(), device=torch.device("cpu"), threads=1):
        pass
    return time.perf_counter() - start


def main(repeats: int = 5) -> None:
    first = studies.find("configs", "xavier_he/mnist").runs("demo")[0]
    runs = [studies.Run(first.parts, seed, {}) for seed in range(5)]
    seconds(runs, 5)  # prepares the data and fills the caches
    ratios = [seconds(runs, 1) / seconds(runs, 5) for _ in range(repeats)]
    print(f"one after the other / stacked: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
