"""Progressive Data Increasing: nested stages, and runs in which each stage resets the optimizer."""

import itertools

import numpy as np
import pytest
import torch
from sample_models import seeded

from goodinit import studies
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula
from goodinit.training import trainer

SELECTIONS = list(curricula.SELECTIONS)


def _examples(count=200, classes=4, size=8, seed=0):
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=seeded(seed))
    images[:, :, 0, 0] = torch.arange(count)[:, None]  # identifies the example
    return Examples(images, torch.randint(classes, (count,), generator=seeded(seed + 1)))


def _progressive(train, seed=0, batch_size=16, **options):
    options = {"fractions": [0.1, 0.5], "stage_steps": [10, 10]} | options
    return curricula.progressive(train, batch_size, 40, seeded(seed), seeded(seed + 9), **options)


def _indices(batches):
    return {int(index) for batch in batches for index in batch.images[:, 0, 0, 0]}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_stages_are_nested_and_the_last_has_all_examples(selection):
    schedule = _progressive(_examples(), selection=selection, batch_size=10)
    stages = [_indices(itertools.islice(schedule, count)) for count in (10, 10, 20)]
    assert [len(stage) for stage in stages] == [20, 100, 200]
    assert stages[0] < stages[1] < stages[2]
    assert stages[0] == set(schedule.subset[:20].tolist())
    assert stages[1] == set(schedule.subset.tolist())
    assert schedule.reset_steps == (10, 20)
    assert next(schedule, None) is None


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_selection_depends_on_the_subset_generator(selection):
    train = _examples()
    first, same = (_progressive(train, 1, selection=selection).subset for _ in range(2))
    assert torch.equal(first, same)
    assert len(first.unique()) == 100
    if selection != "herding":  # which draws nothing
        assert not torch.equal(first, _progressive(train, 2, selection=selection).subset)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_batches_of_the_last_stage_are_those_of_full(selection, fraction):
    train = _examples()
    schedule = _progressive(train, 1, selection=selection, fractions=[fraction], stage_steps=[7])
    plain = curricula.full(train, batch_size=16, steps=33, generator=seeded(1))
    for batch, expected in zip(itertools.islice(schedule, 7, None), plain, strict=True):
        assert torch.equal(batch.images, expected.images)


def test_a_batch_of_a_small_stage_has_all_its_examples():
    schedule = _progressive(_examples(), fractions=[0.01], stage_steps=[3])
    assert [len(next(schedule).labels) for _ in range(4)] == [2, 2, 2, 16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage_steps": [5]}, "2 fractions and 1 stage_steps"),
        ({"stage_steps": [30, 11]}, "must be at least 0, in total at most 40"),
        ({"stage_steps": [-1, 3]}, "must be at least 0"),
        ({"fractions": [0.5, 0.1]}, "must be more than 0, at most 1, and not decrease"),
        ({"fractions": [0.0, 0.1]}, "must be more than 0"),
        ({"fractions": [0.5, 1.5]}, "at most 1"),
        (
            {"fractions": [0.01, 0.5], "selection": "class_balanced"},
            "0.01 of 200 examples is 2, fewer than the 4 classes",
        ),
    ],
)
def test_invalid_stages_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        _progressive(_examples(), **options)


PARTS = {
    "data": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [16]},
    "init": {"name": "he_normal"},
    "objective": {"name": "cross_entropy"},
    "update": {"name": "synchronous"},
    "optimizer": {"name": "adam", "lr": 0.01},
    "diagnostics": [{"name": "path"}],
    "training": {"steps": 30, "batch_size": 20, "diagnose_every": 1},
}


def _run(data_root, seed=0, **curriculum):
    run = studies.Run(PARTS | {"curriculum": curriculum}, seed, {})
    (record,) = trainer.execute([run], data_root=str(data_root), device=torch.device("cpu"))
    return record


def test_without_updates_on_a_subset_training_is_bit_equal_to_full(data_root):
    plain = _run(data_root, name="full")
    for options in ({"fractions": [], "stage_steps": []}, {"fractions": [0.1], "stage_steps": [0]}):
        record = _run(data_root, name="progressive", **options)
        for name in ("loss", "position"):
            np.testing.assert_array_equal(record.series[name].values, plain.series[name].values)
    assert "subset" not in plain.series


def test_a_stage_begins_with_a_reset_optimizer(data_root):
    record = _run(data_root, name="progressive", fractions=[0.1], stage_steps=[10])
    changes = abs(np.diff(record.series["position"].values, axis=0)).max(1)
    assert changes[[0, 10]] == pytest.approx(0.01, rel=1e-3)  # the first step of Adam is the learning rate
    assert changes[9] != pytest.approx(0.01, rel=0.01)


def test_the_record_contains_the_subset(data_root):
    record = _run(data_root, name="progressive", fractions=[0.01, 0.1], stage_steps=[5, 5])
    subset = record.series["subset"]
    assert (subset.dimensions, subset.values.shape) == (("example",), (1, round(0.1 * 1437)))
    assert len(np.unique(subset.values)) == subset.values.size
