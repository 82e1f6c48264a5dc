"""Data sets as tensors, mapped into memory; their parts, batches and pixels."""

import functools
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from goodinit import prepared

__all__ = ["cifar10", "cifar100", "digits", "empty", "folder", "gaussian", "imagenette", "mnist", "pictures", "shapes"]

DRAWN = ("empty", "gaussian")  # each run makes these anew; all others are prepared once
# What is prepared is called like the set, but for these, of which what is prepared depends on options.
PREPARED = {"folder": "folder-{path}-{size}", "imagenette": "imagenette-{size}", "pictures": "pictures-{size}"}
HELD = 4 * 2**30  # bytes: a larger part of a set is left where it is mapped, and moved to a device batch by batch


class Examples(NamedTuple):
    """Images, uint8 or float32 (N, C, H, W), or float32 (N, features); labels, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def to(self, device):
        """Return the same examples on `device`."""
        return Examples(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Preprocessing:
    """How images, uint8 (..., C, H, W), become a net's inputs, float32 of the same shape.

    Args:
        scale: what pixels are multiplied by; none divides them by 255.
        contrast: global contrast normalization: each image, less its mean, is divided by its Euclidean norm and
            multiplied by this; none leaves contrast as it is.
        mean: the mean of the training images so normalized, (C, H, W) or (C, 1, 1), which is subtracted; or none.
        sd: their standard deviation, of the same shape, which they are divided by then; or none.
        pad: zeros around a training image, of which a window is cut at random; none leaves training images as they
            are.
        crop: height and width of the window; none are those of the image.  Of others than training images it is the
            center.
        mirror: mirror half of the training images, where `pad` does not leave them as they are.
        size: at the end, enlarge images bicubically to this height and width; none leaves them as they are.
    """

    scale: float | None = None
    contrast: float | None = None
    mean: Tensor | None = None
    sd: Tensor | None = None
    pad: int | None = None
    size: int | None = None
    crop: int | None = None
    mirror: bool = True

    def to(self, device):
        """Return the same on `device`."""
        moved = {name: getattr(self, name) for name in ("mean", "sd")}
        return replace(self, **{name: value.to(device) for name, value in moved.items() if value is not None})

    def normalize(self, examples):
        """Return examples with float32 images; those that are float already are left as they are."""
        images = examples.images
        if images.dtype != torch.uint8:
            return examples
        if self.crop is not None:
            top, left = ((side - self.crop) // 2 for side in images.shape[-2:])
            images = images[..., top : top + self.crop, left : left + self.crop]
        if images.stride(0) == 0:  # the same images for every net of a stack are converted once
            pixels = self._enlarged(self._pixels(images[0]))
            return Examples(pixels.expand(len(images), *pixels.shape), examples.labels)
        return Examples(self._enlarged(self._pixels(images)), examples.labels)

    def augment(self, examples, generator):
        """Return normalized training examples, (N, C, H, W), cut and mirrored at random, all at once."""
        images = examples.images
        if self.pad:  # zeros are those of normalized images; without them pixels are fewer once they are cut
            images = functional.pad(self._pixels(images), [self.pad] * 4)
        count, channels, *padded = images.shape
        height, width = (self.crop or side - 2 * self.pad for side in padded)
        top, left = torch.randint(padded[0] - height + 1, (2, count, 1), generator=generator).to(images.device)
        rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
        rows, columns = top + rows, left + columns
        if self.mirror:
            mirrored = torch.rand(count, 1, generator=generator) < 0.5
            columns = torch.where(mirrored.to(images.device), columns.flip(1), columns)
        places = rows[:, :, None] * padded[1] + columns[:, None, :]
        cut = images.flatten(2).gather(2, places.view(count, 1, -1).expand(-1, channels, -1))
        cut = cut.view(count, channels, height, width)
        return Examples(self._enlarged(cut if self.pad else self._pixels(cut)), examples.labels)

    def shape(self, images):
        """Return the shape of one input, (C, H, W) or (features,), made of one of these images."""
        side = self.size or self.crop
        return images.shape[1:] if side is None else torch.Size((images.shape[1], side, side))

    def _enlarged(self, pixels):
        if self.size in (None, pixels.shape[-1]):
            return pixels
        enlarged = functional.interpolate(pixels.flatten(0, -4), size=self.size, mode="bicubic")
        return enlarged.view(*pixels.shape[:-2], self.size, self.size)

    def _pixels(self, images):
        pixels = images.float()
        pixels = pixels.div_(255) if self.scale is None else pixels.mul_(self.scale)
        if self.contrast is not None:
            pixels -= pixels.mean((-3, -2, -1), keepdim=True)
            norm = torch.linalg.vector_norm(pixels, dim=(-3, -2, -1), keepdim=True)
            pixels *= self.contrast / norm.clamp_min_(1e-8)  # an image of one color is 0
        if self.mean is not None:
            pixels -= self.mean
        return pixels if self.sd is None else pixels.div_(self.sd)


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set.  `classes` is 0 where the labels mean nothing."""

    train: Examples
    validation: Examples
    test: Examples
    classes: int
    checksum: str | None = None
    preprocessing: Preprocessing = Preprocessing()

    def to(self, device):
        """Return the same splits on `device`, but for parts too large to be held there."""
        parts = (self.train, self.validation, self.test)
        parts = (part if part.images.nbytes > HELD else part.to(device) for part in parts)
        return Splits(*parts, self.classes, self.checksum, self.preprocessing.to(device))


def mnist(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    scale: float | None = None,
):
    """MNIST: 60,000 + 10,000 handwritten digits, uint8 (N, 1, 28, 28), 10 classes.

    Args:
        root: the data folder, in torchvision's layout; downloaded into where it is empty.
        generator: draws which training examples are held out for validation.
        train_examples: keep the first so many training examples, in the official order.
        test_examples: keep the first so many test examples.
        validation_examples: hold out so many of the kept training examples, at random.
        scale: what pixels are multiplied by; none divides them by 255.

    Raises:
        OSError: the files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged, more examples are asked for than there are, or `scale` is not more than 0.

    Reference: LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document
        recognition (1998).
    """
    parts = train_examples, test_examples, validation_examples
    return _splits("mnist", root, generator, parts, scale=scale)


def cifar10(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
):
    """CIFAR-10: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 10 classes.

    Args:
        root, generator, train_examples, test_examples, validation_examples: as in `mnist`.
        contrast: global contrast normalization: each image, less its mean, gets this Euclidean norm, and the mean
            of all training images so normalized is subtracted.  With 55 the variance is 0.958.
        standardize: instead, subtract each channel's mean over all training images, and divide by its standard
            deviation.
        scale: instead, what pixels are multiplied by, as in `mnist`.
        center: subtract each channel's mean over all training images, so scaled.
        pad: cut each training image at random from itself with so many zeros on each side, and mirror every second.
        size: enlarge the images bicubically to this height and width, batch by batch.

    Raises:
        OSError: as in `mnist`.
        ValueError: as in `mnist`, or `contrast` is not more than 0, or `pad` or `size` is less than 1, or two
            of `contrast`, `standardize`, and `scale` with `center` are given.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    parts = train_examples, test_examples, validation_examples
    pixels = {"contrast": contrast, "standardize": standardize, "scale": scale, "center": center}
    return _splits("cifar10", root, generator, parts, **pixels, pad=pad, size=size)


def cifar100(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
):
    """CIFAR-100: 50,000 + 10,000 color images, uint8 (N, 3, 32, 32), 100 classes.

    Arguments and errors are those of `cifar10`.

    Reference: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    parts = train_examples, test_examples, validation_examples
    pixels = {"contrast": contrast, "standardize": standardize, "scale": scale, "center": center}
    return _splits("cifar100", root, generator, parts, **pixels, pad=pad, size=size)


def digits(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    scale: float | None = None,
):
    """Scikit-learn's 1,797 real 8 x 8 digits, enlarged to uint8 (N, 1, 28, 28): MNIST's stand-in.

    The first 1,437 are for training and the last 360, by other writers, for testing.  Embedded in
    scikit-learn, so no network is needed.  Arguments and errors are those of `mnist`.

    Reference: Alpaydin & Kaynak, Optical recognition of handwritten digits (1998).
    """
    parts = train_examples, test_examples, validation_examples
    return _splits("digits", root, generator, parts, scale=scale)


def shapes(
    root,
    generator,
    *,
    train_examples: int | None = None,
    test_examples: int | None = None,
    validation_examples: int = 0,
    contrast: float | None = None,
    standardize: bool = False,
    scale: float | None = None,
    center: bool = False,
    pad: int | None = None,
    size: int | None = None,
):
    """5,000 + 1,000 procedural color shapes, uint8 (N, 3, 32, 32), 10 classes: CIFAR-10's stand-in.

    Position, size, both colors and the noise are random; the set is the same on every machine.
    Arguments and errors are those of `cifar10`.
    """
    parts = train_examples, test_examples, validation_examples
    pixels = {"contrast": contrast, "standardize": standardize, "scale": scale, "center": center}
    return _splits("shapes", root, generator, parts, **pixels, pad=pad, size=size)


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
    name = PREPARED["folder"].format(path=path, size=size)
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
    name = PREPARED["imagenette"].format(size=size)
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
    name = PREPARED["pictures"].format(size=size)
    return _picture_splits("pictures", name, root, parts, size, crop, mirror, scale, center, standardize)


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


def _splits(
    name, root, generator, parts, scale=None, contrast=None, standardize=False, center=False, pad=None, size=None
):
    for option, value in (("scale", scale), ("contrast", contrast), ("pad", pad), ("size", size)):
        if value is not None and value <= 0:
            raise ValueError(f"{name}: {option}: {value} is not more than 0")
    if (contrast is not None) + standardize + (center or scale is not None) > 1:
        raise ValueError(f"{name}: contrast, standardize, and scale or center do the same in three ways: give one")
    train, test, facts = _parts(name, name, root, parts)
    mean = None if contrast is None else _mean_image(name, str(root), contrast)
    sd = None
    if standardize:
        mean, sd = (torch.tensor(facts[what]).view(-1, 1, 1) for what in ("mean", "sd"))
    if center:
        mean = torch.tensor(facts["mean"]).view(-1, 1, 1) * (1 if scale is None else 255 * scale)
    if validation_examples := parts[2]:
        order = torch.randperm(len(train.labels), generator=generator)
        held_out, kept = order[:validation_examples], order[validation_examples:]
        validation = Examples(train.images[held_out], train.labels[held_out])
        train = Examples(train.images[kept], train.labels[kept])
    else:
        validation = Examples(train.images[:0], train.labels[:0])
    preprocessing = Preprocessing(scale, contrast, mean, sd, pad, size)
    return Splits(train, validation, test, facts["classes"], facts["sha256"], preprocessing)


def _picture_splits(label, name, root, parts, size, crop, mirror, scale, center, standardize):
    for option, value in (("size", size), ("crop", crop), ("scale", scale)):
        if value is not None and value <= 0:
            raise ValueError(f"{label}: {option}: {value} is not more than 0")
    if crop is not None and crop > size:
        raise ValueError(f"{label}: crop: {crop} is more than the size, {size}")
    if standardize and (center or scale is not None):
        raise ValueError(f"{label}: standardize does what center and scale do: give it, or these")
    train, test, facts = _parts(label, name, root, parts)
    mean = sd = None
    if center or standardize:
        mean, sd = (torch.tensor(facts[what]).view(-1, 1, 1) for what in ("mean", "sd"))
    if center:
        mean, sd = mean if scale is None else mean * 255 * scale, None
    kept = len(train.labels) - parts[2]
    validation = Examples(train.images[kept:], train.labels[kept:])
    train = Examples(train.images[:kept], train.labels[:kept])
    pad = 0 if mirror or crop is not None else None
    preprocessing = Preprocessing(scale, None, mean, sd, pad, None, crop, mirror)
    return Splits(train, validation, test, facts["classes"], facts["sha256"], preprocessing)


def _parts(label, name, root, parts):
    """Return the training and test examples that are kept, and the manifest, of a prepared set."""
    arrays, facts = prepared.load(name, str(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of maps that must not be written to: no one does
        images, labels, *rest = map(torch.from_numpy, arrays)
    train_examples, test_examples, validation_examples = parts
    train, test = Examples(images, labels), Examples(*rest)
    train, test = _first(label, "train", train, train_examples), _first(label, "test", test, test_examples)
    if not 0 <= validation_examples < len(train.labels):
        raise ValueError(
            f"{label}: validation_examples: {validation_examples} leaves nothing of "
            f"{len(train.labels)} training examples; at most {len(train.labels) - 1}"
        )
    return train, test, facts


@functools.lru_cache(maxsize=4)
def _mean_image(name, root, contrast):
    """Return the mean of all training images of a set after contrast normalization, (C, H, W)."""
    arrays, _ = prepared.load(name, root)
    images = torch.from_numpy(arrays[0])
    normalized = Preprocessing(contrast=contrast)
    total = sum(normalized._pixels(part).sum(0, dtype=torch.float64) for part in images.split(1000))
    return (total / len(images)).float()


def _first(name, part, examples, count):
    if count is None:
        return examples
    if not 1 <= count <= len(examples.labels):
        raise ValueError(f"{name}: {part}_examples: {count} is not between 1 and {len(examples.labels)}")
    return Examples(examples.images[:count], examples.labels[:count])
