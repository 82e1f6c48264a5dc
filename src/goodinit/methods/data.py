"""Data sets as tensors, mapped into memory; their parts, batches and pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit import prepared

__all__ = ["cifar10", "digits", "empty", "gaussian", "mnist", "shapes"]

DRAWN = ("empty", "gaussian")  # each run makes these anew; all others are prepared once


class Examples(NamedTuple):
    """Images, uint8 or float32 (N, C, H, W), or float32 (N, features); labels, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def to(self, device):
        """Return the same examples on `device`."""
        return Examples(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set.  `classes` is 0 where the labels mean nothing."""

    train: Examples
    validation: Examples
    test: Examples
    classes: int
    checksum: str | None = None

    def to(self, device):
        """Return the same splits on `device`."""
        parts = (part.to(device) for part in (self.train, self.validation, self.test))
        return Splits(*parts, self.classes, self.checksum)


def mnist(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
):
    """MNIST: 60,000 + 10,000 handwritten digits, uint8 (N, 1, 28, 28), 10 classes.

    Args:
        root: the data folder, in torchvision's layout; downloaded into where it is empty.
        generator: draws which training examples are held out for validation.
        train_examples: keep the first so many training examples, in the official order.
        test_examples: keep the first so many test examples.
        validation_examples: hold out so many of the kept training examples, at random.

    Raises:
        OSError: the files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged, or more examples are asked for than there are.

    Reference: LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document
        recognition (1998).
    """
    return _splits("mnist", root, generator, train_examples, test_examples, validation_examples)


def cifar10(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
):
    """CIFAR-10: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 10 classes.

    Arguments and errors are those of `mnist`.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    return _splits("cifar10", root, generator, train_examples, test_examples, validation_examples)


def digits(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
):
    """Scikit-learn's 1,797 real 8 x 8 digits, enlarged to uint8 (N, 1, 28, 28): MNIST's stand-in.

    The first 1,437 are for training and the last 360, by other writers, for testing.  Embedded in
    scikit-learn, so no network is needed.  Arguments and errors are those of `mnist`.

    Reference: Alpaydin & Kaynak, Optical recognition of handwritten digits (1998).
    """
    return _splits("digits", root, generator, train_examples, test_examples, validation_examples)


def shapes(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
):
    """5,000 + 1,000 procedural color shapes, uint8 (N, 3, 32, 32), 10 classes: CIFAR-10's stand-in.

    Position, size, both colors and the noise are random; the set is the same on every machine.
    Arguments and errors are those of `mnist`.
    """
    return _splits("shapes", root, generator, train_examples, test_examples, validation_examples)


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


def pixels(examples):
    """Return the examples with float32 images: uint8 is divided by 255 into [0, 1], float left as it is."""
    images = examples.images
    if images.dtype != torch.uint8:
        return examples
    if images.stride(0) == 0:  # the same images for every net of a stack are converted once
        return Examples(images[0].float().div_(255).expand(images.shape), examples.labels)
    return Examples(images.float().div_(255), examples.labels)


def batches(examples, size):
    """Yield consecutive batches of at most `size` examples."""
    for start in range(0, len(examples.labels), size):
        batch = slice(start, start + size)
        yield Examples(examples.images[batch], examples.labels[batch])


def stack(parts):
    """Join S batches of the same size into one with S in front: images (S, N, ...), labels (S, N).

    Where all S are one and the same part of a set, nothing is copied.
    """
    first, count = parts[0], len(parts)
    if all(part.images.data_ptr() == first.images.data_ptr() for part in parts):
        return Examples(first.images.expand(count, *first.images.shape), first.labels.expand(count, -1))
    return Examples(torch.stack([part.images for part in parts]), torch.stack([part.labels for part in parts]))


def _splits(name, root, generator, train_examples, test_examples, validation_examples):
    arrays, facts = prepared.load(name, str(root))
    images, labels, *rest = map(torch.from_numpy, arrays)
    train, test = Examples(images, labels), Examples(*rest)
    train, test = _first(name, "train", train, train_examples), _first(name, "test", test, test_examples)
    if not 0 <= validation_examples < len(train.labels):
        raise ValueError(
            f"{name}: validation_examples: {validation_examples} leaves nothing of "
            f"{len(train.labels)} training examples; at most {len(train.labels) - 1}"
        )
    if validation_examples:
        order = torch.randperm(len(train.labels), generator=generator)
        held_out, kept = order[:validation_examples], order[validation_examples:]
        validation = Examples(train.images[held_out], train.labels[held_out])
        train = Examples(train.images[kept], train.labels[kept])
    else:
        validation = Examples(train.images[:0], train.labels[:0])
    return Splits(train, validation, test, facts["classes"], facts["sha256"])


def _first(name, part, examples, count):
    if count is None:
        return examples
    if not 1 <= count <= len(examples.labels):
        raise ValueError(f"{name}: {part}_examples: {count} is not between 1 and {len(examples.labels)}")
    return Examples(examples.images[:count], examples.labels[:count])
