"""The arrays of a prepared data set."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "checksum", "map_arrays"]


class Arrays(NamedTuple):
    """Images, uint8 (N, C, H, W), and labels, int64 (N,), of training and testing."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def map_arrays(folder: Path, *, writable: bool = False) -> Arrays:
    """Map the arrays of a folder into memory; changes to writable ones are not saved."""
    mode: Literal["c", "r"] = "c" if writable else "r"
    return Arrays(*(np.load(folder / f"{name}.npy", mmap_mode=mode) for name in Arrays._fields))


def checksum(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the SHA-256, in hexadecimal, of the numbers of some arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
