"""How much faster five small nets are trained together than in turn, on one CPU thread."""

import statistics
import time

import torch

from goodinit import studies
from goodinit.studies import settings
from goodinit.training import trainer


def seconds(runs, together):
    trainer.MAX_STACK_SIZE = together
    start = time.perf_counter()
    for _ in trainer.execute(runs, data_root=settings.data_root(), device=torch.device("cpu")):
        pass
    return time.perf_counter() - start


def main(repeats=5):
    torch.set_num_threads(1)
    runs = studies.find("configs", "xavier_he/mnist").runs("demo")
    runs = [studies.Run(runs[0].parts, seed, {}) for seed in range(5)]
    seconds(runs, 5)  # the data are prepared, the caches warm
    ratios = [seconds(runs, 1) / seconds(runs, 5) for _ in range(repeats)]
    print(f"five in turn / five together: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
