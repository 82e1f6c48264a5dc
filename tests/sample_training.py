"""A small study of trainings, and functions that train its runs and compare their records."""

import numpy as np
import torch

from goodinit.training import trainer

CPU = torch.device("cpu")
STUDY = """
title: Two initializers on digits
source: {work: work, where: here}
question: Which is better?
fixed:
  data: {name: digits, train_examples: 300, validation_examples: 60}
  model: {name: mlp, hidden: [20, 20]}
  optimizer: {name: sgd, lr: 0.1}
  training: {steps: 40, batch_size: 30, evaluate_every: 20}
compare: {init: {small: {name: gaussian, std: 0.01}, He: he_normal}}
seeds: 3
pack: 6
table: [{metric: test_accuracy}]
"""


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
