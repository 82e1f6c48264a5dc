"""Progressive Data Increasing: nested stages, selections against slow ones, and an optimizer that starts anew."""

import itertools

import numpy as np
import pytest
import torch

from goodinit import studies
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula
from goodinit.training import trainer

SELECTIONS = list(curricula.SELECTIONS)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _examples(count=200, classes=4, size=8, seed=0):
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=_generator(seed))
    images[:, :, 0, 0] = torch.arange(count)[:, None]  # tells the examples apart
    return Examples(images, torch.randint(classes, (count,), generator=_generator(seed + 1)))


def _progressive(train, seed=0, **options):
    options = {"batch_size": 16, "steps": 40, "fractions": [0.1, 0.5], "stage_steps": [10, 10]} | options
    return curricula.progressive(train, generator=_generator(seed), subset_generator=_generator(seed + 9), **options)


def _seen(batches):
    return {int(place) for batch in batches for place in batch.images[:, 0, 0, 0]}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_stages_are_nested_and_the_last_is_everything(selection):
    course = _progressive(_examples(), selection=selection, batch_size=10)
    stages = [_seen(itertools.islice(course, count)) for count in (10, 10, 20)]
    assert [len(stage) for stage in stages] == [20, 100, 200]
    assert stages[0] < stages[1] < stages[2]
    assert stages[0] == set(course.subset[:20].tolist())
    assert stages[1] == set(course.subset.tolist())
    assert course.starts == (10, 20)
    assert next(course, None) is None


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_selection_follows_from_its_own_stream(selection):
    train = _examples()
    first, same = (_progressive(train, 1, selection=selection).subset for _ in range(2))
    assert torch.equal(first, same)
    assert len(first.unique()) == 100
    if selection != "herding":  # which has nothing to draw
        assert not torch.equal(first, _progressive(train, 2, selection=selection).subset)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_on_everything_the_batches_are_those_of_training_without_a_subset(selection, fraction):
    train = _examples()
    course = _progressive(train, 1, selection=selection, fractions=[fraction], stage_steps=[7])
    plain = curricula.full(train, batch_size=16, steps=33, generator=_generator(1))
    for batch, expected in zip(itertools.islice(course, 7, None), plain, strict=True):
        assert torch.equal(batch.images, expected.images)


def test_balanced_subsets_have_as_many_of_each_class_as_there_are():
    labels = torch.tensor([0] * 150 + [1] * 40 + [2] * 10)
    train = Examples(_examples().images, labels)
    subset = _progressive(train, selection="class_balanced").subset
    assert labels[subset[:21]].bincount().tolist() == [7, 7, 7]
    assert labels[subset].bincount().tolist() == [50, 40, 10]


def _rows(train):
    return (train.images.double() / 255).flatten(1).numpy()


def test_k_center_is_the_farthest_point_by_brute_force():
    train = _examples(60)
    subset = _progressive(train, selection="k_center", fractions=[0.5], stage_steps=[1]).subset.tolist()
    rows = _rows(train)
    for count in range(1, 30):
        distances = np.linalg.norm(rows[:, None] - rows[subset[:count]], axis=2).min(1)
        assert distances[subset[count]] == pytest.approx(distances.max(), rel=1e-4)


def test_herding_is_the_nearest_mean_by_brute_force():
    train = _examples(60)
    subset = _progressive(train, selection="herding", fractions=[0.5], stage_steps=[1]).subset.tolist()
    rows = _rows(train)
    for count in range(30):
        left = [place for place in range(60) if place not in subset[:count]]
        means = (rows[subset[:count]].sum(0) + rows[left]) / (count + 1)
        distances = np.linalg.norm(means - rows.mean(0), axis=1)
        assert distances[left.index(subset[count])] == pytest.approx(distances.min(), rel=1e-4)
    shuffled = [torch.randperm(60, generator=_generator(seed))[:30] for seed in range(9)]
    herded, *random = (np.linalg.norm(rows[one].mean(0) - rows.mean(0)) for one in (subset, *shuffled))
    assert herded < 0.8 * min(random)


def test_images_alike_are_not_taken_twice():
    train = Examples(torch.zeros(20, 3, 8, 8, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64))
    for selection in SELECTIONS:
        subset = _progressive(train, selection=selection, fractions=[0.5], stage_steps=[1]).subset
        assert len(subset.unique()) == 10


def test_a_batch_of_a_small_stage_has_all_of_it():
    course = _progressive(_examples(), fractions=[0.01], stage_steps=[3])
    assert [len(next(course).labels) for _ in range(4)] == [2, 2, 2, 16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage_steps": [5]}, "2 fractions and 1 stage_steps"),
        ({"stage_steps": [30, 11]}, "not at least 0 and together at most 40"),
        ({"stage_steps": [-1, 3]}, "not at least 0"),
        ({"fractions": [0.5, 0.1]}, "not more than 0, at most 1, and growing"),
        ({"fractions": [0.0, 0.1]}, "not more than 0"),
        ({"fractions": [0.5, 1.5]}, "at most 1"),
        (
            {"fractions": [0.01, 0.5], "selection": "class_balanced"},
            "0.01 of 200 examples is 2, fewer than the 4 classes",
        ),
    ],
)
def test_stages_that_cannot_be_are_refused(options, message):
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


def _run(data_root, seed=0, training=PARTS["training"], **course):
    run = studies.Run(PARTS | {"curriculum": course, "training": training}, seed, {})
    (found,) = trainer.execute([run], data_root=str(data_root), device=torch.device("cpu"))
    return found


def test_one_stage_of_everything_is_plain_training_to_the_bit(data_root):
    plain = _run(data_root, name="full")
    for course in (
        {"fractions": [], "stage_steps": []},
        {"fractions": [0.1], "stage_steps": [0], "carry_optimizer": True},
    ):
        found = _run(data_root, name="progressive", **course)
        for name in ("loss", "position"):
            np.testing.assert_array_equal(found.series[name].values, plain.series[name].values)
    assert "subset" not in plain.series


def test_a_stage_starts_the_optimizer_anew_unless_it_is_carried_on(data_root):
    options = {"name": "progressive", "fractions": [0.1], "stage_steps": [10]}
    anew, carried = _run(data_root, **options), _run(data_root, **options, carry_optimizer=True)
    positions = [found.series["position"].values for found in (anew, carried)]
    np.testing.assert_array_equal(positions[0][:11], positions[1][:11])
    moved = [abs(position[11] - position[10]).max() for position in positions]
    assert moved[0] == pytest.approx(0.01, rel=1e-3)  # Adam's first step is the learning rate
    assert moved[1] != pytest.approx(0.01, rel=1e-3)


def test_the_record_has_the_subset(data_root):
    found = _run(data_root, name="progressive", fractions=[0.01, 0.1], stage_steps=[5, 5])
    subset = found.series["subset"]
    assert (subset.dimensions, subset.values.shape) == (("example",), (1, round(0.1 * 1437)))
    assert len(np.unique(subset.values)) == subset.values.size
