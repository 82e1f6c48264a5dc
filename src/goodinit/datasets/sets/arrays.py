"""Sets of small images, downloaded or embedded, and what is drawn anew in each run."""

import functools

import torch

from goodinit.datasets import cache
from goodinit.datasets.sets.parts import channels, check_positive, parts_of
from goodinit.datasets.tensors import Examples, Preprocessing, Splits

__all__ = ["cifar10", "cifar100", "digits", "empty", "gaussian", "mnist", "shapes"]


def mnist(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    scale: float | None = None,
):
    """MNIST: 60,000 + 10,000 handwritten digits, uint8 (N, 1, 28, 28), 10 classes.

    Args:
        root: the data folder, in torchvision's layout; downloaded into where it is empty.
        generator: draws which training examples are held out for validation.
        train_examples: keep the first so many training examples, in the official order.
        test_examples: keep the first so many test examples.
        validation_examples: hold out so many of the kept training examples, at random.
        scale: what pixels are multiplied by; none divides them by 255.

    Raises:
        OSError: the files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged, more examples are asked for than there are, or `scale` is not more than 0.

    Reference: LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document
        recognition (1998).
    """
    parts = train_examples, test_examples, validation_examples
    return _splits("mnist", root, generator, parts, scale=scale)


def cifar10(
    root,
    generator,
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
):
    """CIFAR-10: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 10 classes.

    Args:
        root, generator, train_examples, test_examples, validation_examples: as in `mnist`.
        contrast: global contrast normalization: each image, less its mean, gets this Euclidean norm, and the mean
            of all training images so normalized is subtracted.  With 55 the variance is 0.958.
        standardize: instead, subtract each channel's mean over all training images, and divide by its standard
            deviation.
        scale: instead, what pixels are multiplied by, as in `mnist`.
        center: subtract each channel's mean over all training images, so scaled.
        pad: cut each training image at random from itself with so many zeros on each side, and mirror every second.
        size: enlarge the images bicubically to this height and width, batch by batch.

    Raises:
        OSError: as in `mnist`.
        ValueError: as in `mnist`, or `contrast` is not more than 0, or `pad` or `size` is less than 1, or two
            of `contrast`, `standardize`, and `scale` with `center` are given.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    parts = train_examples, test_examples, validation_examples
    pixels = {"contrast": contrast, "standardize": standardize, "scale": scale, "center": center}
    return _splits("cifar10", root, generator, parts, **pixels, pad=pad, size=size)


def cifar100(
    root,
    generator,
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
):
    """CIFAR-100: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 100 classes.

    Arguments and errors are those of `cifar10`.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    parts = train_examples, test_examples, validation_examples
    pixels = {"contrast": contrast, "standardize": standardize, "scale": scale, "center": center}
    return _splits("cifar100", root, generator, parts, **pixels, pad=pad, size=size)


def digits(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    scale: float | None = None,
):
    """Scikit-learn's 1,797 real 8 x 8 digits, enlarged to uint8 (N, 1, 28, 28): MNIST's stand-in.

    The first 1,437 are for training and the last 360, by other writers, for testing.  Embedded in
    scikit-learn, so no network is needed.  Arguments and errors are those of `mnist`.

    Reference: Alpaydin & Kaynak, Optical recognition of handwritten digits (1998).
    """
    parts = train_examples, test_examples, validation_examples
    return _splits("digits", root, generator, parts, scale=scale)


def shapes(
    root,
    generator,
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
):
    """5,000 + 1,000 procedural color shapes, uint8 (N, 3, 32, 32), 10 classes: CIFAR-10's stand-in.

    Position, size, both colors and the noise are random; the set is the same on every machine.
    Arguments and errors are those of `cifar10`.
    """
    parts = train_examples, test_examples, validation_examples
    pixels = {"contrast": contrast, "standardize": standardize, "scale": scale, "center": center}
    return _splits("shapes", root, generator, parts, **pixels, pad=pad, size=size)


def empty(root, generator):
    """One example without features, float32 (1, 0), for models that are functions of their parameters alone.

    Args:
        root, generator: not used.
    """
    train = Examples(torch.empty(1, 0), torch.zeros(1, dtype=torch.int64))
    none = Examples(train.images[:0], train.labels[:0])
    return Splits(train, none, none, classes=0)


def gaussian(root, generator, *, examples: int = 1000, features: int = 100):
    """Inputs drawn from N(0, 1), float32 (examples, features), without classes.

    Args:
        root: not used; nothing is read.
        generator: draws the inputs.
        examples: how many inputs.
        features: the length of an input.

    Raises:
        ValueError: `examples` or `features` is less than 1.
    """
    if examples < 1 or features < 1:
        raise ValueError(f"gaussian: examples and features must be at least 1, not {examples}, {features}")
    inputs = torch.randn(examples, features, generator=generator)
    train = Examples(inputs, torch.zeros(examples, dtype=torch.int64))
    none = Examples(inputs[:0], train.labels[:0])
    return Splits(train, none, none, classes=0)


def _splits(
    name, root, generator, parts, scale=None, contrast=None, standardize=False, center=False, pad=None, size=None
):
    check_positive(name, scale=scale, contrast=contrast, pad=pad, size=size)
    if (contrast is not None) + standardize + (center or scale is not None) > 1:
        raise ValueError(f"{name}: contrast, standardize, and scale or center do the same in three ways: give one")
    train, test, facts = parts_of(name, name, root, parts)
    mean, sd = channels(facts, scale, center, standardize)
    if contrast is not None:
        mean = _mean_image(name, str(root), contrast)
    if validation_examples := parts[2]:
        order = torch.randperm(len(train.labels), generator=generator)
        held_out, kept = order[:validation_examples], order[validation_examples:]
        validation = Examples(train.images[held_out], train.labels[held_out])
        train = Examples(train.images[kept], train.labels[kept])
    else:
        validation = Examples(train.images[:0], train.labels[:0])
    preprocessing = Preprocessing(scale, contrast, mean, sd, pad, size)
    return Splits(train, validation, test, facts["classes"], facts["sha256"], preprocessing)


@functools.lru_cache(maxsize=4)
def _mean_image(name, root, contrast):
    """Return the mean of all training images of a set after contrast normalization, (C, H, W)."""
    arrays, _ = cache.load(name, root)
    images = torch.from_numpy(arrays[0])
    normalized = Preprocessing(contrast=contrast)
    total = sum(normalized._pixels(part).sum(0, dtype=torch.float64) for part in images.split(1000))
    return (total / len(images)).float()
