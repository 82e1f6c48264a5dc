"""Sets of pictures of any size, of folders."""

from goodinit.datasets import catalog
from goodinit.datasets.sets.parts import channels, check_positive, parts_of
from goodinit.datasets.tensors import Examples, Preprocessing, Splits

__all__ = ["folder", "imagenette", "pictures"]


def folder(
    root,
    generator,
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
):
    """Any folder of pictures, such as ImageNet's, uint8 (N, 3, size, size), with as many classes as it has folders.

    The pictures lie in train/<class>/ and val/<class>/ (or test/<class>/), in any depth; what is not RGB is made so.

    Args:
        root: the data folder; the pictures are in its `folders`.
        generator: not used: the prepared order of the pictures is random already.
        path: the name of the folder in `folders`, where it may be a link; ImageNet's is `imagenet`.
        size: reduce the shorter side to this, and cut out the center; once, when the set is prepared.
        crop: cut each training image at random to this height and width, and all others to their centers.
        mirror: mirror every second training image.
        scale: what pixels are multiplied by; none divides them by 255.
        center: subtract each channel's mean over all training images.
        standardize: do that, and divide by each channel's standard deviation.
        train_examples: keep the first so many training images, in the prepared order.
        test_examples: keep the first so many test images.
        validation_examples: hold out the last so many of the kept training images.

    Raises:
        OSError: files cannot be read or written.
        ValueError: there is no such folder of pictures, or too many cannot be read; more examples are asked for than
            there are; a number is not more than 0, `crop` is larger than `size`, or `standardize` is given with
            `scale` or `center`.
    """
    parts = train_examples, test_examples, validation_examples
    name = catalog.PREPARED_PER_OPTIONS["folder"].format(path=path, size=size)
    return _picture_splits("folder", name, root, parts, size, crop, mirror, scale, center, standardize)


def imagenette(
    root,
    generator,
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
):
    """Imagenette: 9,469 + 3,925 pictures of ten classes of ImageNet, uint8 (N, 3, size, size).

    Made of the version whose shorter side is the next larger: 160, 320, or as in ImageNet.  Arguments and errors are
    those of `folder`, and an OSError where the pictures are missing and cannot be downloaded.

    Reference: Howard, Imagenette (2019), https://github.com/fastai/imagenette.
    """
    parts = train_examples, test_examples, validation_examples
    name = catalog.PREPARED_PER_OPTIONS["imagenette"].format(size=size)
    return _picture_splits("imagenette", name, root, parts, size, crop, mirror, scale, center, standardize)


def pictures(
    root,
    generator,
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
):
    """400 + 100 procedural shapes, drawn as JPEG files, uint8 (N, 3, size, size), 10 classes: ImageNet's stand-in.

    They are those of `shapes`, larger and of different sizes, in a folder that is prepared as any other.  Arguments and
    errors are those of `folder`.
    """
    parts = train_examples, test_examples, validation_examples
    name = catalog.PREPARED_PER_OPTIONS["pictures"].format(size=size)
    return _picture_splits("pictures", name, root, parts, size, crop, mirror, scale, center, standardize)


def _picture_splits(label, name, root, parts, size, crop, mirror, scale, center, standardize):
    check_positive(label, size=size, crop=crop, scale=scale)
    if crop is not None and crop > size:
        raise ValueError(f"{label}: crop: {crop} is more than the size, {size}")
    if standardize and (center or scale is not None):
        raise ValueError(f"{label}: standardize does what center and scale do: give it, or these")
    train, test, facts = parts_of(label, name, root, parts)
    mean, sd = channels(facts, scale, center, standardize)
    kept = len(train.labels) - parts[2]
    validation = Examples(train.images[kept:], train.labels[kept:])
    train = Examples(train.images[:kept], train.labels[:kept])
    pad = 0 if mirror or crop is not None else None
    preprocessing = Preprocessing(scale, None, mean, sd, pad, None, crop, mirror)
    return Splits(train, validation, test, facts["classes"], facts["sha256"], preprocessing)
