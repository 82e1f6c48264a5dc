"""Normalization of images, and random windows and mirroring of training images."""

import numpy as np
import torch
from torch.nn import functional

from goodinit.datasets import tensors
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _random_images(count, shape, seed=1):
    """Return images without the value 0, in which no two windows are equal."""
    images = torch.randint(1, 256, (count, *shape), generator=_generator(seed), dtype=torch.uint8)
    return Examples(images, torch.arange(count))


def _windows(images, pad):
    """Return all windows of padded images, and their mirrors: (N, 2, 2 pad + 1, 2 pad + 1, C, H, W)."""
    height, width = images.shape[2:]
    padded = np.pad(images, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    rows = [
        np.stack([padded[:, :, top : top + height, left : left + width] for left in range(2 * pad + 1)], 1)
        for top in range(2 * pad + 1)
    ]
    windows = np.stack(rows, 1)
    return np.stack([windows, windows[..., ::-1]], 1)


def _locate(images, cut, pad):
    """Return (mirrored, top, left) of each window, (3, N); each must be in its image exactly once."""
    same = (_windows(images, pad) == cut[:, None, None, None]).all((4, 5, 6))
    assert (same.sum((1, 2, 3)) == 1).all()
    return np.array(np.nonzero(same))[1:]


def test_pixels_are_divided_by_255_and_float_images_are_unchanged():
    examples = _random_images(10, (1, 4, 4))
    normalized = Preprocessing().normalize(examples)
    assert normalized.images.dtype == torch.float32
    assert torch.equal(normalized.images, examples.images / 255)
    assert Preprocessing().normalize(normalized) is normalized


def test_image_of_one_color_becomes_0_with_contrast_normalization():
    gray = Examples(torch.full((2, 3, 4, 4), 77, dtype=torch.uint8), torch.zeros(2).long())
    assert not Preprocessing(contrast=55.0).normalize(gray).images.any()


def test_enlarged_constant_image_stays_constant():
    even = Preprocessing(size=64).normalize(Examples(torch.full((1, 3, 32, 32), 51, dtype=torch.uint8), None))
    torch.testing.assert_close(even.images, torch.full((1, 3, 64, 64), 0.2))


def test_training_images_are_cropped_before_they_are_enlarged():
    examples = _random_images(50, (1, 8, 8))
    large = Preprocessing(pad=2, size=16).augment(examples, _generator(5)).images
    cut = Preprocessing(pad=2).augment(examples, _generator(5)).images
    assert torch.equal(large, functional.interpolate(cut, size=16, mode="bicubic"))


def test_stack_is_enlarged_like_each_of_its_batches():
    batches = [_random_images(6, (3, 8, 8), seed) for seed in (1, 2)]
    preprocessing = Preprocessing(size=16)
    for stacked in (batches, [batches[0]] * 2):
        enlarged = preprocessing.normalize(tensors.stack(stacked)).images
        assert enlarged.shape == (2, 6, 3, 16, 16)
        for images, batch in zip(enlarged, stacked, strict=True):
            assert torch.equal(images, preprocessing.normalize(batch).images)


def test_augmented_images_are_windows_of_padded_images_all_equally_likely():
    examples, pad = _random_images(5000, (2, 5, 4)), 2
    cut = Preprocessing(pad=pad).augment(examples, _generator())
    assert cut.images.shape == examples.images.shape
    assert torch.equal(cut.labels, examples.labels)
    mirrored, top, left = _locate((examples.images / 255).numpy(), cut.images.numpy(), pad)
    counts = np.bincount((mirrored * 5 + top) * 5 + left, minlength=50)
    assert ((counts - 100) ** 2 / 100).sum() < 49 + 4 * (2 * 49) ** 0.5  # chi-squared with 49 degrees of freedom
    assert abs(mirrored.mean() - 0.5) < 4 * (0.25 / 5000) ** 0.5
    for offsets in (top, left):
        assert abs(offsets.mean() - pad) < 4 * (2 / 5000) ** 0.5  # the variance of 0 to 4 is 2


def test_windows_of_neighboring_images_are_independent():
    examples, pad = _random_images(5000, (1, 4, 4)), 2
    cut = Preprocessing(pad=pad).augment(examples, _generator())
    windows = _locate((examples.images / 255).numpy(), cut.images.numpy(), pad)
    for window, share in zip(windows, (0.5, 0.2, 0.2), strict=True):
        assert abs((window[1:] == window[:-1]).mean() - share) < 4 * (share * (1 - share) / 4999) ** 0.5


def test_windows_depend_on_the_generator_only():
    examples, preprocessing = _random_images(50, (3, 8, 8)), Preprocessing(pad=4)
    generator = _generator()
    first, second = (preprocessing.augment(examples, generator).images for _ in range(2))
    assert torch.equal(first, preprocessing.augment(examples, _generator()).images)
    assert not torch.equal(first, second)
    assert not torch.equal(first, preprocessing.augment(examples, _generator(1)).images)


def test_images_are_normalized_before_they_are_padded_with_zeros():
    examples, preprocessing = _random_images(40, (3, 32, 32)), Preprocessing(contrast=55.0, pad=8)
    normalized = preprocessing.normalize(examples).images.numpy()
    assert (normalized != 0).all()
    cut = preprocessing.augment(examples, _generator()).images.numpy()
    _, top, left = _locate(normalized, cut, 8)
    inside = (32 - abs(top - 8)) * (32 - abs(left - 8))
    assert ((cut == 0).sum((1, 2, 3)) == 3 * (1024 - inside)).all()
    assert {0, 16} <= set(top) | set(left)


def test_crop_without_padding_is_a_window_of_the_image_all_equally_likely():
    examples = _random_images(400, (3, 8, 8))
    preprocessing = Preprocessing(pad=0, crop=5)
    assert preprocessing.shape(examples.images) == (3, 5, 5)
    center = preprocessing.normalize(examples).images
    assert torch.equal(center, examples.images[:, :, 1:6, 1:6] / 255)
    cut = preprocessing.augment(examples, _generator())
    assert torch.equal(cut.labels, examples.labels)
    counts = torch.zeros(2, 4, 4)
    for image, window in zip(examples.images / 255, cut.images, strict=True):
        windows = image.unfold(1, 5, 1).unfold(2, 5, 1).permute(1, 2, 0, 3, 4)
        same = torch.stack([(each == window).flatten(2).all(2) for each in (windows, windows.flip(-1))])
        assert same.sum() == 1
        counts += same
    assert (counts > 0).all()  # one of 32 equally likely windows is missing in 1 of 10,000 cases
    assert abs(counts[1].sum() - 200) < 4 * 10


def test_crop_without_mirroring():
    examples = _random_images(60, (3, 8, 8))
    cut = Preprocessing(pad=0, crop=5, mirror=False).augment(examples, _generator()).images
    windows = (examples.images / 255).unfold(2, 5, 1).unfold(3, 5, 1).permute(0, 2, 3, 1, 4, 5)
    assert ((windows == cut[:, None, None]).flatten(3).all(3).flatten(1).sum(1) == 1).all()


def test_mirroring_without_crop():
    examples = _random_images(60, (3, 8, 8))
    mirrored = Preprocessing(pad=0).augment(examples, _generator()).images
    original = examples.images / 255
    same = (mirrored == original).flatten(1).all(1)
    assert (same != (mirrored == original.flip(-1)).flatten(1).all(1)).all()
    assert 10 < same.sum() < 50


def test_stack_is_normalized_like_each_of_its_batches():
    preprocessing = Preprocessing(contrast=55.0, mean=torch.ones(3, 8, 8))
    batches = [_random_images(6, (3, 8, 8), seed) for seed in (1, 2, 3)]
    for stacked in (batches, batches[:1] * 3):
        inputs = preprocessing.normalize(tensors.stack(stacked)).images
        for images, batch in zip(inputs, stacked, strict=True):
            assert torch.equal(images, preprocessing.normalize(batch).images)
