"""Data sets on disk: downloaded and checked, or made, once; kept as arrays that every job maps into memory."""

import errno
import functools
import hashlib
import json
import os
from pathlib import Path

import numpy as np

__all__ = ["load", "prepare"]

# SHA-256 over the four arrays of the official sets, in the order of ARRAYS: the files behind them are
# the ones that their authors published, whichever way they came here.  torchvision checks CIFAR-100's files.
OFFICIAL = {
    "mnist": "1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    "cifar10": "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
}
# Shape of an image, classes, training and test examples: what is known of a set before it is here.
SIZES = {
    "mnist": ((1, 28, 28), 10, 60000, 10000),
    "cifar10": ((3, 32, 32), 10, 50000, 10000),
    "cifar100": ((3, 32, 32), 100, 50000, 10000),
    "digits": ((1, 28, 28), 10, 1437, 360),
    "shapes": ((3, 32, 32), 10, 5000, 1000),
}
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def prepare(name, root):
    """Write a set's arrays and manifest below `root`, unless they are there; return the manifest's path.

    The manifest comes last, so a set that has one is whole.

    Args:
        name: one of `mnist`, `cifar10`, `cifar100`, `digits`, `shapes`.
        root: the data folder.

    Raises:
        OSError, ValueError: as in `load`.
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


@functools.lru_cache(maxsize=4)
def load(name, root):
    """Map a set's arrays into memory, preparing it first where that has not been done.

    Args:
        name: of the set.
        root: the data folder, as text.

    Returns:
        The four arrays in the order of ARRAYS, images uint8 (N, C, H, W), labels int64 (N,), and the manifest.

    Raises:
        OSError: the files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged.
    """
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
    return arrays, facts


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


def _mnist_arrays(root):
    from torchvision.datasets import MNIST

    files = {root / "MNIST" / "raw" / file: md5 for file, md5 in MNIST.resources}
    train, test = _official("MNIST", files, lambda train: MNIST(root, train=train, download=True))
    for part in (train, test):
        yield part.data.numpy()[:, None]
        yield part.targets.numpy()


def _cifar_arrays(root, classes):
    from torchvision import datasets

    made_by = getattr(datasets, f"CIFAR{classes}")
    folder = root / made_by.base_folder
    files = {folder / file: md5 for file, md5 in made_by.train_list + made_by.test_list}
    train, test = _official(f"CIFAR-{classes}", files, lambda train: made_by(root, train=train, download=True))
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
    import torch
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate

    small, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(small).reshape(-1, 1, 8, 8) * (255 / 16)
    images = interpolate(small, size=28, mode="bicubic").clamp(0, 255).round().to(torch.uint8).numpy()
    labels = labels.astype(np.int64)
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
    "cifar10": functools.partial(_cifar_arrays, classes=10),
    "cifar100": functools.partial(_cifar_arrays, classes=100),
    "digits": _digits_arrays,
    "shapes": _shapes_arrays,
}
