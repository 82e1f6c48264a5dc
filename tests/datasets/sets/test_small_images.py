"""Data sets of small images: sizes, splits, and normalization by statistics of the training images."""

import hashlib
import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from goodinit.datasets import sets, tensors
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples

OPTIONS = [(name, "scale") for name in ("mnist", "digits")]
OPTIONS += [(name, option) for name in ("cifar10", "cifar100", "shapes") for option in ("contrast", "pad", "size")]


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "shape", "counts"), [("digits", (1, 28, 28), (1437, 360)), ("shapes", (3, 32, 32), (5000, 1000))]
)
def test_embedded_data_sets_have_their_shapes_classes_and_statistics(data_root, name, shape, counts):
    splits = getattr(sets, name)(data_root, _generator())
    for split, count in zip((splits.train, splits.test), counts, strict=True):
        assert split.images.shape == (count, *shape)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert split.labels.unique().tolist() == list(range(10))
    assert len(splits.validation.labels) == 0
    assert splits.classes == 10
    manifest = json.loads((data_root / "prepared" / name / "manifest.json").read_text())
    assert manifest["sha256"] == splits.checksum
    pixels = splits.train.images.double() / 255
    assert np.allclose(manifest["mean"], pixels.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(manifest["sd"], pixels.std((0, 2, 3), correction=0), atol=1e-6)


@pytest.mark.parametrize(("name", "least"), [("digits", 0.9), ("shapes", 0.3)])
def test_nearest_neighbors_classify_more_images_than_chance_would(data_root, name, least):
    from sklearn.neighbors import KNeighborsClassifier

    splits = getattr(sets, name)(data_root, _generator())
    images = [split.images.flatten(1).numpy() for split in (splits.train, splits.test)]
    score = KNeighborsClassifier(1).fit(images[0], splits.train.labels).score(images[1], splits.test.labels)
    assert least < score < 1


def test_the_images_of_shapes_are_the_same_on_every_machine(data_root):
    images = sets.shapes(data_root, _generator()).train.images.numpy()
    expected = "0296681d63ba07cffddcbcf1f1f3b8350b4c61161f8e6a704a3e6ec789027b2a"
    assert hashlib.sha256(images.tobytes()).hexdigest() == expected


def test_first_examples_are_used_and_validation_examples_are_drawn_from_them(data_root):
    whole = sets.digits(data_root, _generator())
    fewer = sets.digits(data_root, _generator(1), train_examples=500, test_examples=50, validation_examples=100)
    assert torch.equal(fewer.test.images, whole.test.images[:50])
    used = torch.cat([fewer.train.images, fewer.validation.images]).flatten(1)
    assert (len(fewer.train.labels), len(fewer.validation.labels)) == (400, 100)
    assert torch.equal(used.sort(0).values, whole.train.images[:500].flatten(1).sort(0).values)
    again = sets.digits(data_root, _generator(1), train_examples=500, validation_examples=100)
    other = sets.digits(data_root, _generator(2), train_examples=500, validation_examples=100)
    assert torch.equal(again.validation.images, fewer.validation.images)
    assert not torch.equal(other.validation.images, fewer.validation.images)


@pytest.mark.parametrize("contrast", [55.0, 3.0])
def test_contrast_normalization_and_mean_image_equal_a_slow_transcription(data_root, contrast):
    splits = sets.shapes(data_root, _generator(), contrast=contrast)
    before = splits.train.images.clone()

    def normalized(image):
        image = image.numpy() / 255
        image = image - image.mean()
        return contrast * image / np.sqrt((image**2).sum())

    mean = sum(normalized(image) for image in splits.train.images) / 5000
    np.testing.assert_allclose(splits.preprocessing.mean, mean, atol=1e-6 * contrast)
    for split in (splits.train, splits.test):
        inputs = splits.preprocessing.normalize(Examples(split.images[:300], split.labels[:300]))
        expected = np.stack([normalized(image) for image in split.images[:300]]) - mean
        assert inputs.images.dtype == torch.float32
        assert torch.equal(inputs.labels, split.labels[:300])
        np.testing.assert_allclose(inputs.images, expected, atol=1e-6 * contrast)
    assert torch.equal(splits.train.images, before)


def test_contrast_is_the_norm_of_each_image_before_the_mean_is_subtracted(data_root):
    train = sets.shapes(data_root, _generator()).train
    images = Preprocessing(contrast=55.0).normalize(train).images.double()
    torch.testing.assert_close(images.flatten(1).norm(dim=1), torch.full((5000,), 55.0).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(images.mean((1, 2, 3)), torch.zeros(5000).double(), atol=1e-6, rtol=0)
    assert float(images.var(correction=0)) == pytest.approx(55**2 / 3072, rel=1e-6)


def test_mean_of_each_pixel_is_0_after_the_mean_is_subtracted(data_root):
    splits = sets.shapes(data_root, _generator(), contrast=55.0)
    images = splits.preprocessing.normalize(splits.train).images
    torch.testing.assert_close(images.mean(0, dtype=torch.float64), torch.zeros(3, 32, 32).double(), atol=1e-5, rtol=0)
    assert images.var() < 55**2 / 3072


def test_mean_image_is_that_of_all_training_images_even_if_few_are_used(data_root):
    whole = sets.shapes(data_root, _generator(), contrast=55.0)
    few = sets.shapes(data_root, _generator(), contrast=55.0, train_examples=20, validation_examples=5)
    assert torch.equal(few.preprocessing.mean, whole.preprocessing.mean)


def test_scale_multiplies_raw_pixels(data_root):
    scaled, plain = sets.digits(data_root, _generator(), scale=0.004), sets.digits(data_root, _generator())
    raw = plain.test.images
    assert torch.equal(scaled.preprocessing.normalize(scaled.test).images, raw.float() * 0.004)
    assert torch.equal(plain.preprocessing.normalize(plain.test).images, raw.float() / 255)
    assert torch.equal(scaled.test.images, raw)


def test_standardized_training_images_have_mean_0_and_deviation_1_in_each_channel(data_root):
    splits = sets.shapes(data_root, _generator(), standardize=True)
    images = splits.preprocessing.normalize(splits.train).images
    assert images.mean((0, 2, 3)).abs().max() < 1e-4
    assert (images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    assert splits.preprocessing.normalize(splits.test).images.mean().abs() > 1e-4  # by the statistics of training


@pytest.mark.parametrize("scale", [None, 1.0, 0.5])
def test_centered_training_images_have_mean_0_in_each_channel_and_keep_their_scale(data_root, scale):
    splits = sets.shapes(data_root, _generator(), scale=scale, center=True)
    images = splits.preprocessing.normalize(splits.train).images
    factor = 1 / 255 if scale is None else scale
    assert images.mean((0, 2, 3)).abs().max() < 255 * factor * 1e-4
    expected = splits.train.images.float().std((0, 2, 3), correction=0) * factor
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), expected, rtol=1e-4, atol=0)


def test_images_are_normalized_and_then_enlarged_bicubically(data_root):
    splits = sets.shapes(data_root, _generator(), standardize=True, size=70)
    small = sets.shapes(data_root, _generator(), standardize=True).preprocessing
    assert splits.preprocessing.shape(splits.train.images) == (3, 70, 70)
    assert small.shape(splits.train.images) == (3, 32, 32)
    few = Examples(splits.train.images[:20], splits.train.labels[:20])
    inputs = splits.preprocessing.normalize(few).images
    expected = functional.interpolate(small.normalize(few).images, size=(70, 70), mode="bicubic", align_corners=False)
    assert torch.equal(inputs, expected)


def test_options_that_exclude_each_other_are_rejected(data_root):
    with pytest.raises(ValueError, match="exclude each other: give one"):
        sets.shapes(data_root, _generator(), contrast=55.0, standardize=True)
    for options in ({"contrast": 55.0, "scale": 1.0}, {"standardize": True, "center": True}):
        with pytest.raises(ValueError, match="exclude each other: give one"):
            sets.shapes(data_root, _generator(), **options)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_options_that_are_not_more_than_0_are_rejected(tmp_path, name, option, value):
    with pytest.raises(ValueError, match=f"{name}: {option} must be more than 0, not {value}"):
        getattr(sets, name)(tmp_path, _generator(), **{option: value})


@pytest.mark.real_data
def test_published_data_sets(real_data):
    mnist, cifar10 = sets.mnist(real_data, _generator()), sets.cifar10(real_data, _generator())
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert (mnist.train.labels[:1000] == 0).float().mean() == torch.tensor(0.097)  # as in the book's code
    assert mnist.train.images.shape == (60000, 1, 28, 28)
    assert cifar10.train.images.shape == (50000, 3, 32, 32)
    assert cifar10.test.labels.bincount().tolist() == [1000] * 10
    manifest = json.loads((real_data / "prepared" / "mnist" / "manifest.json").read_text())
    assert np.allclose([*manifest["mean"], *manifest["sd"]], [0.1307, 0.3081], atol=1e-4)


@pytest.mark.real_data
def test_variance_of_cifar10_with_contrast_55(real_data):
    splits = sets.cifar10(real_data, _generator(), contrast=55.0)
    total = sum(
        float(splits.preprocessing.normalize(batch).images.double().square().sum())
        for batch in tensors.batches(splits.train, 5000)
    )
    mean_image = float(splits.preprocessing.mean.double().square().mean())
    assert mean_image == pytest.approx(0.0265, abs=1e-4)
    assert total / splits.train.images.numel() == pytest.approx(55**2 / 3072 - mean_image, rel=1e-5)  # 0.958
