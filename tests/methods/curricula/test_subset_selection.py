"""Selections of subsets, compared with brute force."""

import numpy as np
import pytest
import torch
from sample_models import seeded

from goodinit.methods.curricula.subset_selection import SELECTIONS, select


def _images(count):
    return torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=seeded(1))


def _select(selection, images, size, labels=None):
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    return select(selection, len(images), size, seeded(9), labels=labels, features=images)


def test_balanced_subsets_have_equally_many_of_each_class_while_there_are_any():
    labels = torch.tensor([0] * 150 + [1] * 40 + [2] * 10)
    subset = _select("class_balanced", _images(200), 100, labels)
    assert labels[subset[:21]].bincount().tolist() == [7, 7, 7]
    assert labels[subset].bincount().tolist() == [50, 40, 10]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64, torch.bool])
def test_labels_may_be_of_any_integer_type(dtype):
    labels = (torch.arange(2000) >= 1800).to(dtype)
    subset = select("class_balanced", 2000, 300, seeded(), labels=labels)
    assert labels[subset].long().bincount().tolist() == [150, 150]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_k_center_does_not_depend_on_the_mean_of_the_features(offset):
    features = torch.randn(500, 20, generator=seeded(1), dtype=torch.float64).float()
    exact = (features + offset).double().numpy()
    subset = select("k_center", 500, 100, seeded(), features=features + offset).tolist()
    for count in range(1, 100):
        distances = np.linalg.norm(exact[:, None] - exact[subset[:count]], axis=2).min(1)
        assert distances[subset[count]] == pytest.approx(distances.max(), rel=1e-5)


@pytest.mark.parametrize("selection", ["k_center", "herding"])
def test_features_that_are_not_finite_are_rejected(selection):
    features = torch.zeros(20, 3)
    features[7, 1] = float("nan")
    with pytest.raises(ValueError, match="some are NaN or infinite"):
        select(selection, 20, 5, seeded(), features=features)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_default_type_of_torch_does_not_matter(selection):
    labels = torch.arange(60) % 3
    expected = select(selection, 60, 20, seeded(), labels=labels, features=_images(60))
    torch.set_default_dtype(torch.float64)
    try:
        subset = select(selection, 60, 20, seeded(), labels=labels, features=_images(60))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(subset, expected)


def _vectors(images):
    return (images.double() / 255).flatten(1).numpy()


def test_k_center_is_the_farthest_point_by_brute_force():
    images = _images(60)
    subset, vectors = _select("k_center", images, 30).tolist(), _vectors(images)
    for count in range(1, 30):
        distances = np.linalg.norm(vectors[:, None] - vectors[subset[:count]], axis=2).min(1)
        assert distances[subset[count]] == pytest.approx(distances.max(), rel=1e-4)


def test_herding_is_the_nearest_mean_by_brute_force():
    images = _images(60)
    subset, vectors = _select("herding", images, 30).tolist(), _vectors(images)
    for count in range(30):
        left = [index for index in range(60) if index not in subset[:count]]
        means = (vectors[subset[:count]].sum(0) + vectors[left]) / (count + 1)
        distances = np.linalg.norm(means - vectors.mean(0), axis=1)
        assert distances[left.index(subset[count])] == pytest.approx(distances.min(), rel=1e-4)
    random_subsets = [torch.randperm(60, generator=seeded(seed))[:30] for seed in range(9)]
    herding, *random = (
        np.linalg.norm(vectors[indices].mean(0) - vectors.mean(0)) for indices in (subset, *random_subsets)
    )
    assert herding < 0.8 * min(random)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_equal_images_are_not_selected_twice(selection):
    subset = _select(selection, torch.zeros(20, 3, 8, 8, dtype=torch.uint8), 10)
    assert len(subset.unique()) == 10


@pytest.mark.parametrize("selection", ["k_center", "herding"])
@pytest.mark.parametrize("shape", [(5, 3, 3), (5, 1, 7)])
def test_small_feature_maps_are_compared_unchanged(selection, shape):
    maps = torch.randn(60, *shape, generator=seeded(1))
    subsets = [select(selection, 60, 30, seeded(), features=features) for features in (maps, maps.flatten(1) / 255)]
    assert torch.equal(*subsets)


@pytest.mark.parametrize("selection", ["k_center", "herding"])
def test_large_images_are_compared_at_8_by_8_pixels(selection):
    """Enlarging each pixel to a block changes no mean of a block, and so no selection."""
    images = _images(40)
    enlarged = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
    assert torch.equal(_select(selection, images, 20), _select(selection, enlarged, 20))
