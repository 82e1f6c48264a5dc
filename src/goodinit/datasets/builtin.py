"""Data sets that need no network: scikit-learn's digits, and procedural shapes, as arrays and as image files."""

import os
import shutil
from pathlib import Path

import numpy as np

from goodinit.datasets import catalog
from goodinit.datasets.arrays import Arrays

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


def digits(root: Path) -> Arrays:
    """Return the arrays of scikit-learn's digits, enlarged to 28 x 28.

    Args:
        root: not used.
    """
    import torch
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate

    pixels, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(pixels).reshape(-1, 1, 8, 8) * (255 / 16)
    images = interpolate(small, size=28, mode="bicubic").clamp(0, 255).round().to(torch.uint8).numpy()
    labels = labels.astype(np.int64)
    return Arrays(images[:1437], labels[:1437], images[1437:], labels[1437:])


def shapes(root: Path, count: int = 6000, size: int = 32) -> Arrays:
    """Return arrays of random images, whose class is a shape; everything else is noise.

    Args:
        root: not used.
        count: number of images; all after the first 5,000 are for testing.
        size: height and width of an image.
    """
    random = np.random.default_rng(0)
    labels = np.arange(count) % 10
    center = random.uniform(0.35, 0.65, (2, count, 1, 1)) * size
    radius = random.uniform(0.2, 0.32, (count, 1, 1)) * size
    row, column = (np.mgrid[:size, :size][:, None] - center) / radius
    distance, square = np.hypot(row, column), np.maximum(abs(row), abs(column))
    inside = np.select(
        [labels[:, None, None] == i for i in range(10)],
        [  # in the order of CLASSES
            distance < 1,
            (distance < 1) & (distance > 0.6),
            square < 0.85,
            (square < 0.9) & (square > 0.55),
            abs(row) + abs(column) < 1.1,
            (row < 0.8) & (abs(column) < (row + 1) * 0.55),
            (np.minimum(abs(row), abs(column)) < 0.28) & (square < 1),
            (np.minimum(abs(row - column), abs(row + column)) < 0.4) & (square < 0.9),
            (square < 1) & (np.sin(row * 8) > 0),
            (square < 1) & (np.sin(column * 8) > 0),
        ],
    )
    background, foreground = random.uniform(0, 1, (2, count, 3, 1, 1))
    foreground = (background + 0.25 + foreground * 0.5) % 1  # never close to the color of the background
    images = np.where(inside[:, None], foreground, background) + random.normal(0, 0.06, (count, 3, size, size))
    images = (images.clip(0, 1) * 255).round().astype(np.uint8)
    return Arrays(images[:5000], labels[:5000], images[5000:], labels[5000:])


def pictures(root: Path, folder: str | None, size: int) -> Path:
    """Write larger shapes as JPEG files of several sizes, unless they exist; return the path of their image folder.

    Args:
        root: the data folder, in which the folder `pictures` is created; if it cannot be written, see
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
    counts = catalog.COUNTS["pictures"]
    temporary = root / f".pictures.{os.getpid()}.part"
    arrays = shapes(root, counts.train_examples + counts.test_examples, 96)
    try:
        for number, image in enumerate(arrays.train_images.transpose(0, 2, 3, 1)):
            split = "train" if number < counts.train_examples else "val"
            file = temporary / split / CLASSES[arrays.train_labels[number]] / f"{number:03}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            variant = number // len(CLASSES)
            width, height = 96 + 16 * (variant % 5), 96 + 16 * (variant % 3)
            Image.fromarray(image).resize((width, height)).save(file, quality=90)
        temporary.rename(tree)
    except OSError:
        if not tree.is_dir():  # otherwise, another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tree
