"""Data sets of image files of any size, in folders.

All take the options

    size: when the data set is prepared, reduce the shorter side of the images to this, and crop the center.
    crop: crop a random window of this height and width from each training image, and the center of other images.
    mirror: mirror half of the training images, at random.
    scale: factor of the pixels; None means 1 / 255.
    center: subtract each channel's mean over all training images, after scaling.
    standardize: instead of `scale` and `center`, subtract each channel's mean over all training images, and divide by
        its standard deviation.
    train_examples: use only the first training images, in the prepared order, which is random.
    test_examples: use only the first test images.
    validation_examples: hold out this number of the training images in use, the last ones.

All raise OSError if files cannot be read or written; and ValueError if there is no such image folder, too many images
cannot be read, there are fewer examples than requested, or options are out of range or exclude each other.
"""

from pathlib import Path

import torch

from goodinit.datasets import catalog
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.splits import ExampleCounts, Splits, channel_statistics, check_positive, load_examples
from goodinit.datasets.tensors import Examples

__all__ = ["folder", "imagenette", "pictures"]


def folder(
    root: str | Path,
    generator: torch.Generator,
    *,
    path: str,
    size: int = 144,
    crop: int | None = None,
    mirror: bool = False,
    scale: float | None = None,
    center: bool = False,
    standardize: bool = False,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
) -> Splits:
    """Any image folder, such as ImageNet, uint8 (N, 3, size, size), with one class for each of its folders.

    The images are in train/<class>/ and val/<class>/ (or test/<class>/), at any depth; they are converted to RGB.

    Args:
        root: the data folder; the image folder is in its folder `folders`.
        generator: not used, because the prepared order is random.
        path: name of the image folder, which may be a link; that of ImageNet is `imagenet`.
        size, crop, mirror, scale, center, standardize: see the module.
        train_examples, test_examples, validation_examples: see the module.
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    name = catalog.PREPARED_PER_OPTIONS["folder"].format(path=path, size=size)
    return _load("folder", name, root, counts, size, crop, mirror, scale, center, standardize)


def imagenette(
    root: str | Path,
    generator: torch.Generator,
    *,
    size: int = 144,
    crop: int | None = None,
    mirror: bool = False,
    scale: float | None = None,
    center: bool = False,
    standardize: bool = False,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
) -> Splits:
    """Imagenette: 9,469 + 3,925 images of ten classes of ImageNet, uint8 (N, 3, size, size).

    The images are those of the published version with the next larger shorter side, 160 or 320 pixels, or as in
    ImageNet; they are downloaded if they are missing. The arguments are those of `folder`.

    Reference: Howard, Imagenette (2019), https://github.com/fastai/imagenette.
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    name = catalog.PREPARED_PER_OPTIONS["imagenette"].format(size=size)
    return _load("imagenette", name, root, counts, size, crop, mirror, scale, center, standardize)


def pictures(
    root: str | Path,
    generator: torch.Generator,
    *,
    size: int = 144,
    crop: int | None = None,
    mirror: bool = False,
    scale: float | None = None,
    center: bool = False,
    standardize: bool = False,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
) -> Splits:
    """400 + 100 procedural JPEG files of shapes, uint8 (N, 3, size, size), 10 classes: a substitute for ImageNet.

    They are those of `shapes`, larger and of several sizes, in an image folder that is prepared like any other. The
    arguments are those of `folder`.
    """
    counts = ExampleCounts(train_examples, test_examples, validation_examples)
    name = catalog.PREPARED_PER_OPTIONS["pictures"].format(size=size)
    return _load("pictures", name, root, counts, size, crop, mirror, scale, center, standardize)


def _load(
    label: str,
    name: str,
    root: str | Path,
    counts: ExampleCounts,
    size: int,
    crop: int | None,
    mirror: bool,
    scale: float | None,
    center: bool,
    standardize: bool,
) -> Splits:
    check_positive(label, size=size, crop=crop, scale=scale)
    if crop is not None and crop > size:
        raise ValueError(f"{label}: crop: {crop} is more than the size, {size}")
    if standardize and (center or scale is not None):
        raise ValueError(f"{label}: standardize, and scale with center exclude each other: give one")
    train, test, manifest = load_examples(label, name, root, counts)
    mean, sd = channel_statistics(manifest, scale=scale, center=center, standardize=standardize)
    kept = len(train.labels) - counts.validation
    validation = Examples(train.images[kept:], train.labels[kept:])
    train = Examples(train.images[:kept], train.labels[:kept])
    preprocessing = Preprocessing(
        scale, mean=mean, sd=sd, pad=0 if mirror or crop is not None else None, crop=crop, mirror=mirror
    )
    return Splits(train, validation, test, manifest["classes"], manifest["sha256"], preprocessing)
