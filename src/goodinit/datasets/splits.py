"""Splits of a data set into training, validation and test examples."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit.datasets import cache
from goodinit.datasets.catalog import Manifest
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples

__all__ = [
    "MAX_DEVICE_BYTES",
    "Copies",
    "ExampleCounts",
    "Splits",
    "channel_statistics",
    "check_positive",
    "load_examples",
]

# Images of a split with more bytes stay mapped from their file, and are moved to the device batch by batch.
MAX_DEVICE_BYTES = 4 * 2**30

# {address and layout of a tensor: the tensor, and its copy on a device}
Copies = dict[tuple[object, ...], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Splits:
    """The splits of a data set.

    Args:
        train, validation, test: the examples of each.
        classes: number of classes; 0 if the labels have no meaning.
        checksum: SHA-256 of the prepared arrays, if there are any.
        preprocessing: how images become inputs.
    """

    train: Examples
    validation: Examples
    test: Examples
    classes: int
    checksum: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def to(self, device: torch.device | str, copies: Copies | None = None) -> "Splits":
        """Return the same splits on `device`, except for those of more than `MAX_DEVICE_BYTES`.

        Args:
            device: the device of the result.
            copies: the same dictionary in calls for several data sets, so that their common tensors are copied once.
        """
        copies = {} if copies is None else copies

        def move(tensor: Tensor) -> Tensor:
            key = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
            if key not in copies:
                copies[key] = tensor, tensor.to(device)  # the original, too, so that its address is not reused
            return copies[key][1]

        train, validation, test = (
            split if split.images.nbytes > MAX_DEVICE_BYTES else Examples(*map(move, split))
            for split in (self.train, self.validation, self.test)
        )
        return Splits(train, validation, test, self.classes, self.checksum, self.preprocessing.to(device))


class ExampleCounts(NamedTuple):
    """How many examples are used: the first of each split, or all (None); and how many of training for validation."""

    train: int | None
    test: int | None
    validation: int


def load_examples(
    label: str, name: str, root: str | Path, counts: ExampleCounts
) -> tuple[Examples, Examples, Manifest]:
    """Return the selected training examples, with those for validation, and test examples of a prepared data set.

    Args:
        label: the name of the data set in error messages.
        name: the name under which it is prepared.
        root: the data folder.
        counts: the numbers of examples.

    Returns:
        The training examples, the test examples, and the manifest.

    Raises:
        OSError: as in `cache.load`.
        ValueError: as in `cache.load`, or there are fewer examples than selected.
    """
    arrays, manifest = cache.load(name, str(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about maps that are read only: nothing writes to them
        images, labels, test_images, test_labels = map(torch.from_numpy, arrays)
    train = _first(label, "train", Examples(images, labels), counts.train)
    test = _first(label, "test", Examples(test_images, test_labels), counts.test)
    if not 0 <= counts.validation < len(train.labels):
        raise ValueError(
            f"{label}: validation_examples: {counts.validation} leaves nothing of "
            f"{len(train.labels)} training examples; at most {len(train.labels) - 1}"
        )
    return train, test, manifest


def channel_statistics(
    manifest: Manifest, *, scale: float | None, center: bool, standardize: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the mean that is subtracted from scaled pixels, and the standard deviation that divides them.

    Returns:
        Each (C, 1, 1), or None for nothing to subtract or no division.
    """
    if not (center or standardize):
        return None, None
    mean, sd = (torch.tensor(manifest[key]).view(-1, 1, 1) for key in ("mean", "sd"))
    if standardize:
        return mean, sd
    return mean if scale is None else mean * (255 * scale), None


def check_positive(label: str, **options: float | None) -> None:
    """Raise ValueError for an option that is given and not more than 0."""
    for option, value in options.items():
        if value is not None and not value > 0:
            raise ValueError(f"{label}: {option} must be more than 0, not {value}")


def _first(label: str, split: str, examples: Examples, count: int | None) -> Examples:
    if count is None:
        return examples
    if not 1 <= count <= len(examples.labels):
        most = len(examples.labels)
        raise ValueError(f"{label}: {split}_examples must be at least 1 and at most {most}, not {count}")
    return Examples(examples.images[:count], examples.labels[:count])
