"""Sets that need no network: scikit-learn's digits, and shapes that are drawn, as arrays and as picture files."""

import os
import shutil
from pathlib import Path

import numpy as np

from goodinit.datasets import catalog

__all__ = ["digits", "pictures", "shapes"]

CLASSES = (
    "disk",
    "ring",
    "square",
    "frame",
    "diamond",
    "triangle",
    "plus",
    "cross",
    "horizontal_bars",
    "vertical_bars",
)


def digits(root: Path) -> tuple[np.ndarray, ...]:
    """Return the training and test images of `data.digits`, and their labels."""
    import torch
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate

    small, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(small).reshape(-1, 1, 8, 8) * (255 / 16)
    images = interpolate(small, size=28, mode="bicubic").clamp(0, 255).round().to(torch.uint8).numpy()
    labels = labels.astype(np.int64)
    return images[:1437], labels[:1437], images[1437:], labels[1437:]


def shapes(root: Path, count: int = 6000, size: int = 32) -> tuple[np.ndarray, ...]:
    """Return the arrays of `data.shapes`, drawn: the class is the shape, everything else is noise."""
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


def pictures(root: Path, folder: None, size: int) -> Path:
    """Draw the shapes larger, as JPEG files of different sizes, in a folder for each class; return the image folder.

    Args:
        root: the data folder, which gets a folder `pictures`; where it has none and is not written to, see
            `catalog.writable_root`.
        folder: not used.
        size: not used.

    Raises:
        OSError: a file cannot be written.
    """
    from PIL import Image

    if (root / "pictures").is_dir():
        return root / "pictures"
    root = catalog.writable_root(root)
    tree = root / "pictures"
    if tree.is_dir():
        return tree
    _, kept, tested = catalog.PICTURES["pictures"]
    part = root / f".pictures.{os.getpid()}.part"
    images, labels, *_ = shapes(root, kept + tested, 96)
    try:
        for number, (image, label) in enumerate(zip(images.transpose(0, 2, 3, 1), labels, strict=True)):
            file = part / ("train" if number < kept else "val") / CLASSES[label] / f"{number:03}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            turn = number // len(CLASSES)
            width, height = 96 + 16 * (turn % 5), 96 + 16 * (turn % 3)
            Image.fromarray(image).resize((width, height)).save(file, quality=90)
        part.rename(tree)
    except OSError:
        if not tree.is_dir():  # drawn by another process in the meantime
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return tree
