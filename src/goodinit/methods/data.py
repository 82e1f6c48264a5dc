"""Data sets as tensors: prepared once as arrays on disk, mapped into memory by every job."""

import errno
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["cifar10", "digits", "gaussian", "mnist", "shapes"]

DRAWN = ("gaussian",)  # each run draws these anew; all others are prepared once

# SHA-256 over the four arrays of the official sets, in the order of ARRAYS: the files behind them are
# the ones that their authors published, whichever way they came here.
OFFICIAL = {
    "mnist": "1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    "cifar10": "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
}
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


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


def pixels(images):
    """Return images as float32: uint8 is divided by 255 into [0, 1], float is left as it is."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def batches(examples, size):
    """Yield consecutive batches of at most `size` examples."""
    for start in range(0, len(examples.labels), size):
        batch = slice(start, start + size)
        yield Examples(examples.images[batch], examples.labels[batch])


def stack(parts):
    """Join S batches of the same size into one with S in front: images (S, N, ...), labels (S, N)."""
    return Examples(torch.stack([part.images for part in parts]), torch.stack([part.labels for part in parts]))


def prepare(name, root):
    """Write a set's arrays and manifest below `root`, unless they are there; return the manifest's path.

    The manifest comes last, so a set that has one is whole.

    Args:
        name: one of `mnist`, `cifar10`, `digits`, `shapes`.
        root: the data folder.

    Raises:
        OSError, ValueError: as in `mnist`.
    """
    folder = Path(root) / "prepared" / name
    manifest = folder / "manifest.json"
    if manifest.exists():
        return manifest
    arrays = dict(zip(ARRAYS, _SOURCES[name](Path(root)), strict=True))
    checksum = _checksum(arrays.values())
    if checksum != OFFICIAL.get(name, checksum):
        raise ValueError(f"{name}: the files in {root} are not the official ones: delete them and run again")
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        _write(folder / f"{key}.npy", lambda file, array=array: np.save(file, array))
    images = arrays["train_images"]
    channels = tuple(i for i in range(images.ndim) if i != 1)
    facts = {
        "name": name,
        "sha256": checksum,
        "shape": list(images.shape[1:]),
        "classes": int(arrays["train_labels"].max()) + 1,
        "train_examples": len(images),
        "test_examples": len(arrays["test_images"]),
        "mean": (images.mean(channels) / 255).round(6).tolist(),
        "sd": (images.std(channels) / 255).round(6).tolist(),
    }
    _write(manifest, lambda file: file.write((json.dumps(facts, indent=2) + "\n").encode()))
    return manifest


def _write(path, write):
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except OSError as error:  # neither a full disk nor numpy says where
        raise OSError(error.errno or errno.ENOSPC, error.strerror or str(error), str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def _checksum(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=4)
def _prepared(name, root):
    """Map a prepared set into memory and check it against its manifest."""
    manifest = prepare(name, root)
    mend = f"delete {manifest.parent} and run again"
    try:
        facts = json.loads(manifest.read_text())
        arrays = [np.load(manifest.with_name(f"{key}.npy"), mmap_mode="c") for key in ARRAYS]
        whole = _checksum(arrays) == facts["sha256"] and facts["classes"]
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as error:
        raise ValueError(f"{name}: the prepared arrays are damaged or incomplete ({error}): {mend}") from None
    if not whole:
        raise ValueError(f"{name}: the prepared arrays do not match their manifest's checksum: {mend}")
    return [torch.from_numpy(array) for array in arrays], facts


def _splits(name, root, generator, train_examples, test_examples, validation_examples):
    arrays, facts = _prepared(name, str(root))
    train, test = Examples(*arrays[:2]), Examples(*arrays[2:])
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


def _mnist_arrays(root):
    from torchvision.datasets import MNIST

    files = {root / "MNIST" / "raw" / file: md5 for file, md5 in MNIST.resources}
    train, test = _official("MNIST", files, lambda train: MNIST(root, train=train, download=True))
    for part in (train, test):
        yield part.data.numpy()[:, None]
        yield part.targets.numpy()


def _cifar10_arrays(root):
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    files = {folder / file: md5 for file, md5 in CIFAR10.train_list + CIFAR10.test_list}
    train, test = _official("CIFAR-10", files, lambda train: CIFAR10(root, train=train, download=True))
    for part in (train, test):
        yield part.data.transpose(0, 3, 1, 2)
        yield np.array(part.targets)


def _official(title, files, load):
    """Load both parts of a torchvision set, downloading what is missing; say which file is damaged."""
    from torchvision.datasets.utils import check_integrity

    for path, md5 in files.items():
        if path.exists() and not check_integrity(path, md5):
            raise ValueError(
                f"{title}: {path} is damaged: its MD5 is not {md5}: delete it and run again to download it"
            )
    try:
        return load(True), load(False)
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        missing = next((path for path in files if not path.exists()), None)
        if missing is not None:
            raise OSError(
                f"{title}: {missing} is missing and cannot be downloaded: put the official file there, or let "
                f"GOODINIT_DATA name a folder that has it ({error})"
            ) from None
        raise ValueError(
            f"{title}: the files in {next(iter(files)).parent} cannot be read ({error}): "
            "delete them and run again to download them"
        ) from None


def _digits_arrays(root):
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(small).reshape(-1, 1, 8, 8) * (255 / 16)
    images = torch.nn.functional.interpolate(small, size=28, mode="bicubic").clamp(0, 255)
    images, labels = images.round().to(torch.uint8).numpy(), labels.astype(np.int64)
    return images[:1437], labels[:1437], images[1437:], labels[1437:]


def _shapes_arrays(root, count=6000, size=32):
    """Draw `count` images: the class is the shape, everything else is noise."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 10
    center = random.uniform(0.35, 0.65, (2, count, 1, 1)) * size
    radius = random.uniform(0.2, 0.32, (count, 1, 1)) * size
    row, column = (np.mgrid[:size, :size][:, None] - center) / radius
    distance, square = np.hypot(row, column), np.maximum(abs(row), abs(column))
    inside = np.select(
        [labels[:, None, None] == i for i in range(10)],
        [
            distance < 1,  # disk
            (distance < 1) & (distance > 0.6),  # ring
            square < 0.85,  # square
            (square < 0.9) & (square > 0.55),  # frame
            abs(row) + abs(column) < 1.1,  # diamond
            (row < 0.8) & (abs(column) < (row + 1) * 0.55),  # triangle
            (np.minimum(abs(row), abs(column)) < 0.28) & (square < 1),  # plus
            (np.minimum(abs(row - column), abs(row + column)) < 0.4) & (square < 0.9),  # cross
            (square < 1) & (np.sin(row * 8) > 0),  # horizontal bars
            (square < 1) & (np.sin(column * 8) > 0),  # vertical bars
        ],
    )
    back, front = random.uniform(0, 1, (2, count, 3, 1, 1))
    front = (back + 0.25 + front * 0.5) % 1  # never close to the background's color
    images = np.where(inside[:, None], front, back) + random.normal(0, 0.06, (count, 3, size, size))
    images = (images.clip(0, 1) * 255).round().astype(np.uint8)
    return images[:5000], labels[:5000], images[5000:], labels[5000:]


_SOURCES = {
    "mnist": _mnist_arrays,
    "cifar10": _cifar10_arrays,
    "digits": _digits_arrays,
    "shapes": _shapes_arrays,
}
