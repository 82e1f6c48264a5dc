"""Data sets: shapes, splits, and preparing them once."""

import json

import numpy as np
import pytest
import torch

from goodinit.datasets import cache, sets, tensors
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "shape", "counts"), [("digits", (1, 28, 28), (1437, 360)), ("shapes", (3, 32, 32), (5000, 1000))]
)
def test_embedded_sets(data_root, name, shape, counts):
    splits = getattr(sets, name)(data_root, _generator())
    for part, count in zip((splits.train, splits.test), counts, strict=True):
        assert part.images.shape == (count, *shape)
        assert part.images.dtype == torch.uint8
        assert part.labels.dtype == torch.int64
        assert part.labels.unique().tolist() == list(range(10))
    assert len(splits.validation.labels) == 0
    assert splits.classes == 10
    facts = json.loads((data_root / "prepared" / name / "manifest.json").read_text())
    assert facts["sha256"] == splits.checksum
    pixels = splits.train.images.double() / 255
    assert np.allclose(facts["mean"], pixels.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(facts["sd"], pixels.std((0, 2, 3), correction=0), atol=1e-6)


def test_a_linear_classifier_tells_the_shapes_and_digits_apart_but_not_perfectly(data_root):
    from sklearn.neighbors import KNeighborsClassifier

    splits = sets.digits(data_root, _generator())
    images = [part.images.flatten(1).numpy() for part in (splits.train, splits.test)]
    score = KNeighborsClassifier(1).fit(images[0], splits.train.labels).score(images[1], splits.test.labels)
    assert 0.9 < score < 1


def test_first_examples_and_validation(data_root):
    whole = sets.digits(data_root, _generator())
    some = sets.digits(data_root, _generator(1), train_examples=500, test_examples=50, validation_examples=100)
    assert torch.equal(some.test.images, whole.test.images[:50])
    together = torch.cat([some.train.images, some.validation.images]).flatten(1)
    assert (len(some.train.labels), len(some.validation.labels)) == (400, 100)
    assert torch.equal(together.sort(0).values, whole.train.images[:500].flatten(1).sort(0).values)
    again = sets.digits(data_root, _generator(1), train_examples=500, validation_examples=100)
    other = sets.digits(data_root, _generator(2), train_examples=500, validation_examples=100)
    assert torch.equal(again.validation.images, some.validation.images)
    assert not torch.equal(other.validation.images, some.validation.images)


def test_gaussian_inputs():
    splits = sets.gaussian(None, _generator(), examples=2000, features=50)
    assert splits.classes == 0
    assert abs(splits.train.images.var() - 1) < 4 * (2 / 100_000) ** 0.5
    assert torch.equal(splits.train.images, sets.gaussian(None, _generator(), examples=2000, features=50).train.images)


def test_empty_is_one_example_without_features_and_classes():
    splits = sets.empty(None, _generator())
    assert splits.train.images.shape == (1, 0)
    assert [len(part.labels) for part in (splits.train, splits.validation, splits.test)] == [1, 0, 0]
    assert splits.classes == 0


def test_pixels_and_batches_cover_everything_once(data_root):
    test = sets.digits(data_root, _generator()).test
    parts = list(tensors.batches(test, 100))
    assert [len(part.labels) for part in parts] == [100, 100, 100, 60]
    assert torch.equal(torch.cat([part.images for part in parts]), test.images)
    floats = Preprocessing().normalize(test)
    assert floats.images.dtype == torch.float32
    assert torch.equal(floats.images, test.images / 255)
    assert Preprocessing().normalize(floats) is floats


def test_a_stack_of_one_part_is_what_a_stack_of_its_copies_is(data_root):
    test = sets.digits(data_root, _generator()).test
    copies = [Examples(test.images.clone(), test.labels.clone()) for _ in range(3)]
    for one, other in zip(
        Preprocessing().normalize(tensors.stack([test] * 3)),
        Preprocessing().normalize(tensors.stack(copies)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_preparing_again_changes_nothing(data_root):
    manifest = cache.prepare("digits", data_root)
    stamps = {path: path.stat().st_mtime_ns for path in manifest.parent.iterdir()}
    assert cache.prepare("digits", data_root) == manifest
    assert {path: path.stat().st_mtime_ns for path in manifest.parent.iterdir()} == stamps


@pytest.mark.real_data
def test_the_official_sets(real_data):
    mnist, cifar10 = sets.mnist(real_data, _generator()), sets.cifar10(real_data, _generator())
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert (mnist.train.labels[:1000] == 0).float().mean() == torch.tensor(0.097)  # what the book's code meets
    assert mnist.train.images.shape == (60000, 1, 28, 28)
    assert cifar10.train.images.shape == (50000, 3, 32, 32)
    assert cifar10.test.labels.bincount().tolist() == [1000] * 10
    facts = json.loads((real_data / "prepared" / "mnist" / "manifest.json").read_text())
    assert np.allclose([*facts["mean"], *facts["sd"]], [0.1307, 0.3081], atol=1e-4)


def test_what_several_splits_have_in_common_is_moved_once(data_root):
    options = {"train_examples": 100, "test_examples": 50}
    one, other = (sets.digits(data_root, _generator(), **options) for _ in range(2))
    held_out = sets.digits(data_root, _generator(), **options, validation_examples=10)
    moved = {}
    one, other, held_out = (splits.to("meta", moved) for splits in (one, other, held_out))
    for part in ("train", "test"):
        assert getattr(one, part).images is getattr(other, part).images
        assert getattr(one, part).labels is getattr(other, part).labels
    assert held_out.test.images is one.test.images
    assert held_out.train.images.shape == (90, 1, 28, 28)
