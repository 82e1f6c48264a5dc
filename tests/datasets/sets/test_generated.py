"""Inputs that each run generates."""

import pytest
import torch

from goodinit.datasets import sets


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gaussian_inputs_have_variance_1_and_depend_on_the_generator_only():
    splits = sets.gaussian(None, _generator(), examples=2000, features=50)
    assert splits.classes == 0
    assert abs(splits.train.images.var() - 1) < 4 * (2 / 100_000) ** 0.5
    assert torch.equal(splits.train.images, sets.gaussian(None, _generator(), examples=2000, features=50).train.images)


def test_empty_is_one_example_without_features_and_classes():
    splits = sets.empty(None, _generator())
    assert splits.train.images.shape == (1, 0)
    assert [len(split.labels) for split in (splits.train, splits.validation, splits.test)] == [1, 0, 0]
    assert splits.classes == 0


@pytest.mark.parametrize("options", [{"examples": 0}, {"features": 0}])
def test_sizes_of_0_are_rejected(options):
    with pytest.raises(ValueError, match="gaussian: examples and features must be at least 1"):
        sets.gaussian(None, _generator(), **options)
