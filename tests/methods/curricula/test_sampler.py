"""Progressive Data Increasing as a batch sampler for plain PyTorch code."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import goodinit
from goodinit.datasets.tensors import Examples
from goodinit.errors import InputError
from goodinit.methods import curricula
from goodinit.methods.curricula import data_arguments
from goodinit.seeds import stream_seed

COUNT, CLASSES = 120, 4
OPTIONS = {"batch_size": 16, "steps": 30, "fractions": [0.1, 0.5], "stage_steps": [7, 9]}


def _examples():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (COUNT, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return Examples(images, torch.randint(CLASSES, (COUNT,), generator=generator))


def _sampler(train, **changes):
    return goodinit.progressive(train.labels, **OPTIONS | {"labels": train.labels, "features": train.images} | changes)


@pytest.mark.parametrize("selection", list(curricula.SELECTIONS))
@pytest.mark.parametrize("seed", [0, 3])
def test_the_same_seed_gives_the_batches_of_a_study(selection, seed):
    train = _examples()
    generators = [torch.Generator().manual_seed(stream_seed(seed, purpose)) for purpose in ("order", "subset")]
    options = {"fractions": OPTIONS["fractions"], "stage_steps": OPTIONS["stage_steps"], "selection": selection}
    schedule = curricula.progressive(train, OPTIONS["batch_size"], OPTIONS["steps"], *generators, **options)
    sampler = _sampler(train, selection=selection, seed=seed)
    assert (sampler.reset_steps, len(sampler)) == (schedule.reset_steps, 30)
    assert torch.equal(sampler.subset, schedule.subset)
    for indices, batch in zip(sampler, schedule, strict=True):
        assert torch.equal(train.images[indices], batch.images)
        assert torch.equal(train.labels[indices], batch.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_loader_gives_the_same_batches_with_and_without_workers(workers):
    train = _examples()
    sampler = _sampler(train, seed=5)
    context = "forkserver" if workers else None  # Python warns when a process with threads forks
    loader = DataLoader(
        TensorDataset(*train), batch_sampler=sampler, num_workers=workers, multiprocessing_context=context
    )
    assert len(loader) == 30
    for (images, labels), indices in zip(loader, sampler, strict=True):
        assert torch.equal(images, train.images[indices])
        assert torch.equal(labels, train.labels[indices])


def test_the_optimizer_is_reset_where_stages_begin():
    sampler = _sampler(_examples())
    stages = [list(itertools.islice(iter(sampler), first, last)) for first, last in [(0, 7), (7, 16), (16, 30)]]
    assert sampler.reset_steps == (7, 16)
    assert [len(batches[0]) for batches in stages] == [12, 16, 16]
    first, second, third = (set(itertools.chain(*batches)) for batches in stages)
    assert first == set(sampler.subset[:12].tolist())
    assert first < second <= set(sampler.subset.tolist())
    assert not third <= second


@pytest.mark.parametrize("position", [0, 3, 7, 20, 30])
def test_a_pass_can_start_after_any_batch(position):
    complete, resumed = list(_sampler(_examples())), _sampler(_examples())
    resumed.set_position(position)
    assert len(resumed) == 30 - position
    for _ in range(2):  # every pass
        assert list(resumed) == complete[position:]


def test_stage_epochs_set_the_lengths_of_stages():
    options = {"fractions": [0.005, 0.1, 0.5], "stage_epochs": [3, 2, 0.5]}
    sampler = goodinit.progressive(1000, batch_size=10, steps=100, **options)
    assert sampler.reset_steps == (3, 3 + 20, 3 + 20 + 25)


def test_a_stage_of_0_epochs_has_no_batches():
    sampler = goodinit.progressive(1000, batch_size=50, steps=10, fractions=[0.001, 0.1], stage_epochs=[0, 0.5])
    assert sampler.reset_steps == (0, 1)


def test_batches_depend_on_the_seed_and_not_on_the_global_random_state():
    torch.manual_seed(1)
    first = list(_sampler(_examples(), seed=1))
    torch.manual_seed(2)
    assert list(_sampler(_examples(), seed=1)) == first
    assert list(_sampler(_examples(), seed=2)) != first


@pytest.mark.parametrize("kind", [list, np.asarray, torch.as_tensor])
def test_labels_can_be_any_sequence(kind):
    labels = [0] * 90 + [1] * 20 + [2] * 10
    options = OPTIONS | {"selection": "class_balanced", "labels": kind(labels)}
    subset = goodinit.progressive(labels, **options).subset
    assert np.bincount(np.asarray(labels)[subset[:12]]).tolist() == [4, 4, 4]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64])
def test_features_can_be_vectors_with_any_magnitude(dtype):
    generator = torch.Generator().manual_seed(0)
    vectors = (1e6 * torch.randn(60, 5, generator=generator, dtype=torch.float64)).to(dtype)
    vectors[30:] = vectors[:30]  # every vector twice
    for selection in ("k_center", "herding"):
        sampler = goodinit.progressive(60, **OPTIONS, selection=selection, features=vectors)
        assert len(sampler.subset.unique()) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "class_balanced", "labels": None}, r"class_balanced needs labels, integers of shape \(120,\)"),
        ({"selection": "class_balanced", "labels": [0] * 119}, r"needs labels.*not \(119,\)"),
        ({"selection": "k_center", "features": None}, "k_center compares features: images of shape"),
        ({"selection": "herding", "features": torch.zeros(120)}, r"herding compares features.*not \(120,\)"),
        ({"selection": "herding", "features": torch.zeros(12, 3)}, r"herding compares features.*not \(12, 3\)"),
        ({"selection": "nearest"}, "'nearest': allowed: random, class_balanced, k_center, herding"),
        ({"stage_steps": None}, "give either stage_steps or stage_epochs"),
        ({"stage_epochs": [1, 2]}, "give either stage_steps or stage_epochs"),
        ({"stage_steps": None, "stage_epochs": [1]}, "2 fractions and 1 stage_epochs"),
        ({"stage_steps": [1]}, "2 fractions and 1 stage_steps"),
        ({"stage_steps": [20, 20]}, "in total at most 30"),
        *[({"batch_size": size}, f"batch_size must be .*at most 120.*, not {size}") for size in (0, 121, math.nan)],
        *[({"steps": steps}, f"steps must be a whole number, at least 0, not {steps}") for steps in (-1, math.nan)],
        ({"fractions": [math.nan, math.nan]}, "fractions: .*more than 0"),
        ({"stage_steps": [math.nan, 1]}, "stage_steps: .*at least 0"),
        ({"stage_steps": [1, math.nan]}, "stage_steps: .*at least 0"),
        *[
            ({"stage_steps": None, "stage_epochs": [1, epochs]}, f"stage_epochs: must be .*finite, not {epochs}")
            for epochs in (-1, math.nan, math.inf)
        ],
        (
            {"stage_steps": None, "stage_epochs": [0.5, 1]},
            r"stage_epochs: 0.5 epochs are less than one step \(1 per epoch\): give more epochs, or 0",
        ),
        ({"fractions": [0.5, 2]}, "at most 1"),
        ({"fractions": [0.5] * 1000}, "1000 fractions"),
        ({"fractions": [0.0] * 1000, "stage_steps": [0] * 1000}, "more than 0"),
    ],
)
def test_invalid_arguments_are_rejected_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        _sampler(_examples(), **options)
    assert len(str(error.value)) <= 300
    assert "\n" not in str(error.value)


def test_a_position_outside_the_training_is_rejected():
    with pytest.raises(
        ValueError, match="set_position: steps must be a whole number, at least 0 and at most 30, not 31"
    ):
        _sampler(_examples()).set_position(31)


@pytest.mark.parametrize("wrap", [float, np.int64, np.float32, np.array, torch.tensor, lambda number: [number]])
def test_numbers_can_be_of_any_type(wrap):
    batches = list(goodinit.progressive(1000, batch_size=50, steps=300, fractions=[0.25], stage_steps=[50], seed=3))
    one = wrap if wrap(1) != [1] else int
    share = float if wrap is np.int64 else wrap
    sampler = goodinit.progressive(
        one(1000), batch_size=one(50), steps=one(300), fractions=share(0.25), stage_steps=wrap(50), seed=one(3)
    )
    assert list(sampler) == batches
    epochs = goodinit.progressive(1000, batch_size=50, steps=300, fractions=share(0.25), stage_epochs=wrap(10), seed=3)
    assert list(epochs) == batches
    sampler.set_position(one(120))
    assert list(sampler) == batches[120:]


@pytest.mark.parametrize("wrap", [tuple, np.array, torch.tensor, iter])
def test_lists_of_numbers_can_be_of_any_type(wrap):
    expected = list(_sampler(_examples()))
    assert list(_sampler(_examples(), fractions=wrap([0.1, 0.5]), stage_steps=wrap([7, 9]))) == expected


def test_labels_can_be_strings():
    train = _examples()
    names = [f"class {label}" for label in train.labels]
    expected = _sampler(train, selection="class_balanced").subset
    for labels in (names, np.array(names), np.array(names, dtype=object)):
        assert torch.equal(_sampler(train, selection="class_balanced", labels=labels).subset, expected)


class _Endless(IterableDataset):
    def __iter__(self):
        return iter(range(120))

    def __len__(self):
        return 120


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            DataLoader(list(range(120)), batch_size=4),
            "DataLoader, whose length is a number of batches: pass the data set",
        ),
        (_Endless(), "IterableDataset, whose examples have no index: .* pass it or its number of examples"),
        (DataLoader(_Endless()), "pass the data set, or its number of examples"),
        *[(data, "pass the data set, or its number of examples") for data in ({"x": 1}, "cifar10", None, 0, 1.5, True)],
        (iter([1, 2]), "pass the data set, or its number of examples"),
        ([], "a whole number, at least 1, not 0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_data_without_a_number_of_examples_are_rejected(data, message):
    with pytest.raises(InputError, match=message) as error:
        goodinit.progressive(data, **OPTIONS)
    assert len(str(error.value)) <= 280


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": "16"}, "batch_size must be a whole number, .* not '16'"),
        ({"batch_size": 16.5}, "batch_size must be a whole number, .* not 16.5"),
        ({"batch_size": True}, "batch_size must be a whole number, .* not True"),
        ({"steps": None}, "steps must be a whole number, at least 0, not None"),
        ({"seed": "a"}, "seed must be a whole number, not 'a'"),
        ({"fractions": "0.1"}, "fractions must be a list of numbers, or one number, not '0.1'"),
        ({"fractions": ["0.1", 0.5]}, "fractions must be a list of numbers, or one number, not "),
        ({"fractions": None}, "fractions must be a list of numbers, or one number, not None"),
        ({"fractions": torch.zeros(2, 2)}, "fractions must be a list of numbers"),
        ({"stage_steps": [7, "9"]}, "stage_steps must be a list of numbers"),
        ({"stage_steps": [7, 9.5]}, "stage_steps: each must be a whole number, at least 0, not 9.5"),
        ({"stage_steps": None, "stage_epochs": "12"}, "stage_epochs must be a list of numbers"),
        ({"labels": [None] * 120}, "labels must be integers or strings"),
        ({"labels": [[1], [1, 2]]}, "labels must be integers or strings"),
        ({"features": ["a"] * 120}, "features must be a tensor or an array"),
        ({"features": torch.zeros(120, 3).to_sparse()}, "features must be dense and real, not sparse"),
        ({"features": torch.zeros(120, 3, dtype=torch.complex64)}, "features must be dense and real, not complex"),
    ],
    ids=str,
)
def test_arguments_of_other_types_are_rejected_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as error:
        _sampler(_examples(), **options)
    assert str(error.value).startswith("progressive: ")


@pytest.mark.parametrize("selection", ["k_center", "herding"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (64, 48, 4)])
@pytest.mark.parametrize("kind", [torch.as_tensor, np.asarray])
def test_images_with_the_channels_last_are_rejected(selection, shape, kind):
    features = kind(np.zeros((COUNT, *shape), dtype=np.uint8))
    with pytest.raises(InputError, match=r"channels in the last dimension; images must be .*permute") as error:
        _sampler(_examples(), selection=selection, features=features)
    assert "..." not in str(error.value)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 32, 3), (64, 1, 1), (64, 3, 3), (64, 8, 8)])
def test_images_and_feature_maps_with_the_channels_first_are_accepted(shape):
    features = torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(0))
    assert len(_sampler(_examples(), selection="k_center", features=features).subset) == 60


def test_features_that_require_gradients_are_detached():
    assert not data_arguments.as_features(torch.zeros(4, 3, requires_grad=True)).requires_grad
