"""Examples, the parts of a data set, their batches, and how their images become inputs."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["HELD", "Examples", "Preprocessing", "Splits", "batches", "stack"]

HELD = 4 * 2**30  # bytes: a larger part of a set is left where it is mapped, and moved to a device batch by batch


class Examples(NamedTuple):
    """Images, uint8 or float32 (N, C, H, W), or float32 (N, features); labels, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def to(self, device):
        """Return the same examples on `device`."""
        return Examples(self.images.to(device), self.labels.to(device))

    def with_tensors(self, images, labels):
        """Return examples with other images and labels."""
        return Examples(images, labels)


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
        windows = self.draw_windows(examples.images.shape, generator)
        return self.cut(examples, *(drawn.to(examples.images.device) for drawn in windows))

    def draw_windows(self, shape, generator):
        """Return what `cut` needs for images of the shape (N, C, H, W).

        Returns:
            The upper left corners of the windows in the padded images, int64 (2, N, 1), and, where half of the images
            are mirrored, which, bool (N, 1).
        """
        count, _, side, _ = shape
        corners = torch.randint(side + 2 * self.pad - (self.crop or side) + 1, (2, count, 1), generator=generator)
        return (corners, torch.rand(count, 1, generator=generator) < 0.5) if self.mirror else (corners,)

    def cut(self, examples, corners, mirrored=None):
        """Return normalized examples, (N, C, H, W), cut to these windows and mirrored, see `draw_windows`."""
        images = examples.images
        if self.pad:  # zeros are those of normalized images; without them pixels are fewer once they are cut
            images = functional.pad(self._pixels(images), [self.pad] * 4)
        count, channels, *padded = images.shape
        height, width = (self.crop or side - 2 * self.pad for side in padded)
        rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
        rows, columns = corners[0] + rows, corners[1] + columns
        if mirrored is not None:
            columns = torch.where(mirrored, columns.flip(1), columns)
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

    def to(self, device, moved=None):
        """Return the same splits on `device`, but for parts too large to be held there.

        Args:
            device: where to.
            moved: a dictionary that the calls for several splits share, so that what they have in common is moved once.
        """
        moved = {} if moved is None else moved

        def move(tensor):
            key = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
            if key not in moved:
                moved[key] = tensor, tensor.to(device)  # both, so that no other gets the first one's address
            return moved[key][1]

        parts = (self.train, self.validation, self.test)
        parts = (part if part.images.nbytes > HELD else Examples(*map(move, part)) for part in parts)
        return Splits(*parts, self.classes, self.checksum, self.preprocessing.to(device))


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
