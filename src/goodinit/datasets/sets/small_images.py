"""Data sets of small images, downloaded or embedded.

All take the options

    train_examples: use only the first training examples, in the published order.
    test_examples: use only the first test examples.
    validation_examples: hold out this number of the training examples in use, at random.
    scale: factor of the pixels; None means 1 / 255.

and those of color images also

    center: subtract each channel's mean over all training images, after scaling.
    standardize: instead of `scale` and `center`, subtract each channel's mean over all training images, and divide by
        its standard deviation.
    contrast: instead of these, global contrast normalization: subtract each image's mean, scale the image to this
        Euclidean norm, and subtract the mean of all training images so normalized. With 55, the variance of CIFAR-10
        is 0.958.
    pad: pad each training image with this number of zeros on each side, crop a random window of the original size, and
        mirror half of the images.
    size: enlarge the images bicubically to this height and width, batch by batch.

All raise OSError if files are missing and cannot be downloaded, or cannot be read or written; and ValueError if a file
is damaged, there are fewer examples than requested, or options are out of range or exclude each other.
"""

import functools
from pathlib import Path

import torch

from goodinit.datasets import cache
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.splits import ExampleCounts, Splits, channel_statistics, check_positive, load_examples
from goodinit.datasets.tensors import Examples, batches

__all__ = ["cifar10", "cifar100", "digits", "mnist", "shapes"]


def mnist(
    root: str | Path,
    generator: torch.Generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    scale: float | None = None,
) -> Splits:
    """MNIST: 60,000 + 10,000 handwritten digits, uint8 (N, 1, 28, 28), 10 classes.

    Args:
        root: the data folder, in torchvision's layout; missing files are downloaded.
        generator: draws the validation examples.
        train_examples, test_examples, validation_examples, scale: see the module.

    Reference: LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition (1998).
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    return _load("mnist", root, generator, counts, scale=scale)


def cifar10(
    root: str | Path,
    generator: torch.Generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
) -> Splits:
    """CIFAR-10: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 10 classes.

    Args:
        root, generator: as in `mnist`.
        train_examples, test_examples, validation_examples: see the module.
        contrast, standardize, scale, center, pad, size: see the module.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    return _load("cifar10", root, generator, counts, contrast, standardize, scale, center, pad, size)


def cifar100(
    root: str | Path,
    generator: torch.Generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
) -> Splits:
    """CIFAR-100: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 100 classes.

    The arguments are those of `cifar10`.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    return _load("cifar100", root, generator, counts, contrast, standardize, scale, center, pad, size)


def digits(
    root: str | Path,
    generator: torch.Generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    scale: float | None = None,
) -> Splits:
    """Scikit-learn's 1,797 digits, enlarged to uint8 (N, 1, 28, 28), 10 classes: a substitute for MNIST.

    The first 1,437 are for training, and the last 360, by other writers, for testing. They are embedded in
    scikit-learn, so that no network is needed. The arguments are those of `mnist`.

    Reference: Alpaydin & Kaynak, Optical recognition of handwritten digits (1998).
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    return _load("digits", root, generator, counts, scale=scale)


def shapes(
    root: str | Path,
    generator: torch.Generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
) -> Splits:
    """5,000 + 1,000 procedural color images of shapes, uint8 (N, 3, 32, 32), 10 classes: a substitute for CIFAR-10.

    Position, size, both colors and the noise are random; the images are the same on every machine. The arguments are
    those of `cifar10`.
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    return _load("shapes", root, generator, counts, contrast, standardize, scale, center, pad, size)


def _load(
    name: str,
    root: str | Path,
    generator: torch.Generator,
    counts: ExampleCounts,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
) -> Splits:
    check_positive(name, scale=scale, contrast=contrast, pad=pad, size=size)
    if (contrast is not None) + standardize + (center or scale is not None) > 1:
        raise ValueError(f"{name}: contrast, standardize, and scale with center exclude each other: give one")
    train, test, manifest = load_examples(name, name, root, counts)
    mean, sd = channel_statistics(manifest, scale=scale, center=center, standardize=standardize)
    if contrast is not None:
        mean = _mean_image(name, str(root), contrast)
    if counts.validation:
        order = torch.randperm(len(train.labels), generator=generator)
        held_out, kept = order[: counts.validation], order[counts.validation :]
        validation = Examples(train.images[held_out], train.labels[held_out])
        train = Examples(train.images[kept], train.labels[kept])
    else:
        validation = Examples(train.images[:0], train.labels[:0])
    preprocessing = Preprocessing(scale, contrast, mean, sd, pad, size)
    return Splits(train, validation, test, manifest["classes"], manifest["sha256"], preprocessing)


@functools.lru_cache(maxsize=4)
def _mean_image(name: str, root: str, contrast: float) -> torch.Tensor:
    """Return the mean of all training images of a data set after contrast normalization, (C, H, W)."""
    images, labels, *_ = map(torch.from_numpy, cache.load(name, root).arrays)
    normalize = Preprocessing(contrast=contrast).normalize
    total = torch.zeros(images.shape[1:], dtype=torch.float64)
    for batch in batches(Examples(images, labels), 1000):
        total += normalize(batch).images.sum(0, dtype=torch.float64)
    return (total / len(images)).float()
