r"""A variational auto-encoder with residual blocks."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

__all__ = ["Encoded", "resnet_vae"]

MIN_SIZE = 4  # height and width of the smallest feature maps


class Encoded(NamedTuple):
    """Reconstruction (N, C, H, W) in [0, 1]; mean and logarithm of the variance of the latent variables (N, latent)."""

    images: Tensor
    mean: Tensor
    log_variance: Tensor


def resnet_vae(
    shape: Sequence[int],
    classes: int,
    *,
    blocks: int = 26,
    width: int = 32,
    widest: int = 512,
    latent: int = 128,
    batch_norm: bool = True,
    checkpointing: bool = False,
) -> nn.Module:
    r"""Variational auto-encoder whose encoder and decoder are residual networks of bottleneck blocks.

    The encoder consists of a 3 x 3 convolution, the blocks, and two linear layers, for the mean and for the logarithm
    of the variance; the decoder of a linear layer, a 3 x 3 convolution, the blocks, and a 3 x 3 convolution with a
    sigmoid. Each block has three convolutions, 1 x 1, 3 x 3 and 1 x 1. Without the 1 x 1 convolutions of shortcuts that
    change the shape, which He et al. do not count either, there are :math:`6 \mathrm{blocks} + 6` layers with weights,
    half of them in the encoder: 162 with 26 blocks. The size of feature maps is halved in the encoder from that of the
    image to 4 x 4, and doubled in the decoder; the blocks are distributed evenly over these sizes.

    In training mode, the latent variables are drawn, :math:`z = \mu + \sigma \epsilon`; in evaluation mode, they equal
    the mean.

    Deviation: the paper specifies only that the network is a ResNet with 162 layers for images of 1024 x 1024.

    Args:
        shape: the shape of an image, (channels, size, size); size is 4 times a power of 2, at least 8.
        classes: not used.
        blocks: number of blocks of the encoder, and of the decoder; at least the number of halvings.
        width: number of channels of the largest feature maps; each halving of the size doubles it.
        widest: maximum number of channels.
        latent: number of latent variables.
        batch_norm: apply batch normalization before each rectifier.
        checkpointing: store only the inputs of the blocks for the backward pass and recompute the rest, which takes a
            third more time; batch normalization then updates its running statistics twice.

    Returns:
        A module that maps images (N, C, H, W) to `Encoded`, with the methods `encode`, `decode` and
        `sample(count, generator)`.

    Raises:
        ValueError: the image has another shape, or an option is out of range.

    Reference: Sato & Kimura, Progressive Data Increasing (2019), section 3, Figure 2; Kingma & Welling, Auto-encoding
        variational Bayes (2014); He, Zhang, Ren & Sun, Identity mappings in deep residual networks (2016).
    """
    channels, *size = shape
    halvings = round(math.log2(size[0] / MIN_SIZE)) if size else 0
    if len(size) != 2 or size[0] != size[1] or halvings < 1 or size[0] != MIN_SIZE * 2**halvings:
        raise ValueError(f"resnet_vae: images must be square with 8, 16, 32 ... pixels, not of shape {tuple(shape)}")
    if blocks < halvings or min(width, latent) < 1 or widest < width:
        raise ValueError(
            f"resnet_vae: blocks must be at least {halvings}, width and latent at least 1, widest at least width"
        )
    widths = [min(width * 2**level, widest) for level in range(halvings + 1)]
    return _ResNetVAE(channels, widths, blocks, latent, batch_norm, checkpointing)


class _ResNetVAE(nn.Module):
    def __init__(
        self, channels: int, widths: Sequence[int], blocks: int, latent: int, batch_norm: bool, checkpointing: bool
    ) -> None:
        super().__init__()
        self.latent, self.checkpointing = latent, checkpointing
        halvings = len(widths) - 1
        counts = [blocks // halvings + (level < blocks % halvings) for level in range(halvings)]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for (outer, inner), count in zip(itertools.pairwise(widths), counts, strict=True):
            down += [_Block(inner if i else outer, inner, 1 if i else 0.5, batch_norm) for i in range(count)]
            same_size = [_Block(inner, inner, 1, batch_norm) for _ in range(count - 1)]
            up = [*same_size, _Block(inner, outer, 2, batch_norm), *up]
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(down)
        features = widths[-1] * MIN_SIZE**2
        self.mean = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)
        self.project = nn.Linear(latent, features)
        self.decoder_stem = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.up = nn.ModuleList(up)
        self.to_image = nn.Conv2d(widths[0], channels, 3, padding=1)
        self.norms = nn.ModuleList(_normalization(width, batch_norm) for width in (widths[-1], widths[0]))

    def forward(self, images: Tensor) -> Encoded:
        mean, log_variance = self.encode(images)
        latent = mean
        if self.training:
            latent = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return Encoded(self.decode(latent), mean, log_variance)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance, both (N, latent), for images (N, C, H, W)."""
        features = self._apply_blocks(self.down, self.stem(images))
        features = functional.relu(self.norms[0](features)).flatten(1)
        return self.mean(features), self.log_variance(features)

    def decode(self, latent: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] for latent variables (N, latent)."""
        features = self.project(latent).view(len(latent), -1, MIN_SIZE, MIN_SIZE)
        features = self._apply_blocks(self.up, self.decoder_stem(features))
        return torch.sigmoid(self.to_image(functional.relu(self.norms[1](features))))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` images decoded from standard normal latent variables."""
        latent = torch.randn(count, self.latent, generator=generator)
        return self.decode(latent.to(self.project.weight))

    def _apply_blocks(self, blocks: Iterable[nn.Module], features: Tensor) -> Tensor:
        for block in blocks:
            if self.checkpointing and torch.is_grad_enabled():
                # A block draws no random numbers, so their state need not be kept, which would copy it from a GPU.
                features = checkpoint(block, features, use_reentrant=False, preserve_rng_state=False)
            else:
                features = block(features)
        return features


class _Block(nn.Module):
    """A bottleneck block with normalization and rectifier before each convolution, and a shortcut.

    It changes the size of feature maps by the factor `scale`: 1/2 by strided convolution, or 2 by nearest-neighbor
    interpolation.
    """

    def __init__(self, inputs: int, outputs: int, scale: float, batch_norm: bool) -> None:
        super().__init__()
        narrow, stride = max(outputs // 4, 1), 2 if scale < 1 else 1
        self.larger = nn.Upsample(scale_factor=2) if scale > 1 else nn.Identity()
        widths = [inputs, narrow, narrow, outputs]
        self.norms = nn.ModuleList(_normalization(width, batch_norm) for width in widths[:3])
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(inputs, narrow, 1),
                nn.Conv2d(narrow, narrow, 3, stride, padding=1),
                nn.Conv2d(narrow, outputs, 1),
            ]
        )
        same_shape = inputs == outputs and scale == 1
        self.shortcut = nn.Identity() if same_shape else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = inputs
        for index, (norm, convolution) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            outputs = functional.relu(norm(outputs))
            if index == 1:
                outputs = self.larger(outputs)
            outputs = convolution(outputs)
        shortcut: Tensor = self.larger(self.shortcut(inputs))
        return outputs + shortcut


def _normalization(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
