"""Functions that train runs and compare their records."""

import numpy as np
import torch

from goodinit.training import trainer

CPU = torch.device("cpu")


def execute(runs, data_root):
    """Train runs on one CPU thread, so that the results do not depend on how many are trained together."""
    return list(trainer.execute(runs, data_root=data_root, device=CPU, threads=1))


def assert_equal_numbers(first, second):
    """Compare the outcome and the series of two records, bit by bit."""
    for field in ("id", "status", "diverged_at", "steps"):
        assert getattr(first, field) == getattr(second, field)
    assert first.series.keys() == second.series.keys()
    for name, series in first.series.items():
        assert series.values.dtype == second.series[name].values.dtype
        np.testing.assert_array_equal(series.steps, second.series[name].steps, name)
        np.testing.assert_array_equal(series.values, second.series[name].values, name)
