"""Image files and image folders, for tests of the data sets."""

import io

import numpy as np
from PIL import Image

COLORS = {"gato": (200, 30, 30), "кошка": (30, 200, 30), "猫": (30, 30, 200)}  # of the classes, sorted by name


def encode(color=(200, 30, 30), size=(20, 20), mode="RGB", suffix="jpeg", **options):
    """Return the content of an image file of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).convert(mode).save(file, suffix, **options)
    return file.getvalue()


def encode_pixels(pixels, suffix="png", **options):
    """Return the content of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix, **options)
    return file.getvalue()


def write_cats(root, train=8, val=3):
    """Write noisy images of several sizes to the image folder `cats`, whose classes differ in color; return its path.

    Args:
        root: the data folder.
        train, val: number of images of each class.
    """
    random = np.random.default_rng(0)
    tree = root / "folders" / "cats"
    for split, count in (("train", train), ("val", val)):
        for label, color in COLORS.items():
            folder = tree / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                noise = random.integers(-20, 20, (30 + number % 9, 40 - number % 7, 3))
                Image.fromarray((np.array(color) + noise).astype(np.uint8)).save(folder / f"{number}.JPEG")
    return tree


def write_pets(root, count=2):
    """Write `count` images of one color to each class folder of the image folder `pets`; return its path.

    Args:
        root: the data folder.
        count: number of images.
    """
    tree = root / "folders" / "pets"
    for folder in (tree / split / label for split in ("train", "val") for label in ("a", "b")):
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.JPEG").write_bytes(encode())
    return tree
