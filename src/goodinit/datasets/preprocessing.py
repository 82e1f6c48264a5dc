"""How images become the inputs of a model: normalization, random crops and mirroring, enlarging."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from goodinit.datasets.tensors import Examples
from goodinit.transfer import to_device

__all__ = ["Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of images, uint8 (..., C, H, W), to inputs, float32 of the same shape.

    Args:
        scale: factor of the pixels; None means 1 / 255.
        contrast: global contrast normalization: subtract each image's mean, divide the image by its Euclidean norm,
            and multiply it by this number; None leaves the contrast unchanged.
        mean: mean of the training images after this, (C, H, W) or (C, 1, 1), which is subtracted, or None.
        sd: their standard deviation, of the same shape, by which the difference is divided, or None.
        pad: number of zeros on each side of a training image, from which a random window is cropped; None leaves
            training images unchanged.
        size: height and width to which the images are finally enlarged, bicubically, or None.
        crop: height and width of the window; None means those of the image. Images that are not for training are
            cropped at their center.
        mirror: whether half of the training images are mirrored, if `pad` is given.
    """

    scale: float | None = None
    contrast: float | None = None
    mean: Tensor | None = None
    sd: Tensor | None = None
    pad: int | None = None
    size: int | None = None
    crop: int | None = None
    mirror: bool = True

    def to(self, device: torch.device | str) -> "Preprocessing":
        """Return the same preprocessing on `device`."""
        mean, sd = (None if tensor is None else tensor.to(device) for tensor in (self.mean, self.sd))
        return replace(self, mean=mean, sd=sd)

    def normalize(self, examples: Examples) -> Examples:
        """Return examples with float32 images; float images are returned unchanged."""
        images = examples.images
        if images.dtype != torch.uint8:
            return examples
        if self.crop is not None:
            top, left = ((side - self.crop) // 2 for side in images.shape[-2:])
            images = images[..., top : top + self.crop, left : left + self.crop]
        if images.stride(0) == 0:  # the same images for every model of a stack: convert them once
            pixels = self._enlarge(self._scale(images[0]))
            return Examples(pixels.expand(len(images), *pixels.shape), examples.labels)
        return Examples(self._enlarge(self._scale(images)), examples.labels)

    def augment(self, examples: Examples, generator: torch.Generator) -> Examples:
        """Return normalized training examples, (N, C, H, W), randomly cropped and mirrored.

        Args:
            examples: on any device; `pad` must be given.
            generator: on the CPU.
        """
        windows = self._draw_windows(examples.images.shape, generator)
        return self._cut(examples, *(to_device(numbers, examples.images.device) for numbers in windows))

    def shape(self, images: Tensor) -> torch.Size:
        """Return the shape of one input, (C, H, W) or (features,), that one of these images becomes."""
        side = self.size or self.crop
        return images.shape[1:] if side is None else torch.Size((images.shape[1], side, side))

    def _draw_windows(self, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random arguments of `_cut` for training images of the shape (N, C, H, W).

        Returns:
            The upper left corners of the windows in the padded images, int64 (2, N, 1), and, if `mirror` is set,
            which images are mirrored, bool (N, 1).
        """
        count, _, side, _ = shape
        assert self.pad is not None
        corners = torch.randint(side + 2 * self.pad - (self.crop or side) + 1, (2, count, 1), generator=generator)
        return (corners, torch.rand(count, 1, generator=generator) < 0.5) if self.mirror else (corners,)

    def _cut(self, examples: Examples, corners: Tensor, mirrored: Tensor | None = None) -> Examples:
        """Return normalized examples, (N, C, H, W), cropped to these windows and mirrored, see `_draw_windows`."""
        images, pad = examples.images, self.pad or 0
        if pad:  # the zeros are those of normalized images; without padding, the crop has fewer pixels to normalize
            images = functional.pad(self._scale(images), [pad] * 4)
        count, channels, *padded = images.shape
        height, width = (self.crop or side - 2 * pad for side in padded)
        rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
        rows, columns = corners[0] + rows, corners[1] + columns
        if mirrored is not None:
            columns = torch.where(mirrored, columns.flip(1), columns)
        indices = rows[:, :, None] * padded[1] + columns[:, None, :]
        cut = images.flatten(2).gather(2, indices.view(count, 1, -1).expand(-1, channels, -1))
        cut = cut.view(count, channels, height, width)
        return Examples(self._enlarge(cut if pad else self._scale(cut)), examples.labels)

    def _enlarge(self, pixels: Tensor) -> Tensor:
        if self.size is None or self.size == pixels.shape[-1]:
            return pixels
        enlarged = functional.interpolate(pixels.flatten(0, -4), size=self.size, mode="bicubic")
        return enlarged.view(*pixels.shape[:-2], self.size, self.size)

    def _scale(self, images: Tensor) -> Tensor:
        pixels = images.float()
        pixels = pixels.div_(255) if self.scale is None else pixels.mul_(self.scale)
        if self.contrast is not None:
            pixels -= pixels.mean((-3, -2, -1), keepdim=True)
            norm = torch.linalg.vector_norm(pixels, dim=(-3, -2, -1), keepdim=True)
            pixels *= self.contrast / norm.clamp_min_(1e-8)  # an image of one color becomes 0
        if self.mean is not None:
            pixels -= self.mean
        return pixels if self.sd is None else pixels.div_(self.sd)
