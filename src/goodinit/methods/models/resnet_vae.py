r"""A variational auto-encoder of residual blocks."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

__all__ = ["resnet_vae"]

SMALLEST = 4  # pixels of the innermost feature maps


class Encoded(NamedTuple):
    """Reconstruction (N, C, H, W) in [0, 1]; mean and logarithm of the variance of the latent numbers, (N, latent)."""

    images: Tensor
    mean: Tensor
    log_variance: Tensor


def resnet_vae(
    shape,
    classes,
    *,
    blocks: int = 26,
    width: int = 32,
    widest: int = 512,
    latent: int = 128,
    batch_norm: bool = True,
    checkpointing: bool = False,
):
    r"""Variational auto-encoder whose encoder and decoder are residual nets of bottleneck blocks.

    The encoder is a 3 x 3 convolution, the blocks, and two affine layers for the mean and for the logarithm of the
    variance; the decoder an affine layer, a 3 x 3 convolution, the blocks, and a 3 x 3 convolution to colors, with a
    sigmoid.  Each block has three convolutions, 1 x 1, 3 x 3 and 1 x 1.  Counting these, and not the 1 x 1
    convolutions in shortcuts that change shape, as He et al. count, there are :math:`6 \mathrm{blocks} + 6` weighted
    layers, half of them in each part: 162 with 26 blocks.  Feature maps are halved, and doubled again, between 4 x 4
    and the image's size; the blocks are spread evenly over these sizes.

    In training a latent number is drawn, :math:`z = \mu + \sigma \epsilon`; in evaluation it is the mean.

    Deviation: of its net the paper says that it is a deep ResNet of 162 layers for images of 1024 x 1024; all the rest
    is open.

    Args:
        shape: of one image, (channels, size, size), where size is 4 times a power of 2, at least 8.
        classes: not used.
        blocks: of the encoder, and as many of the decoder; at least as many as there are halvings.
        width: channels of the feature maps at the image's size; doubled at each halving.
        widest: the most channels.
        latent: how many latent numbers.
        batch_norm: normalize before each rectifier.
        checkpointing: keep only the blocks' inputs for the backward pass and compute the rest again, for a third more
            time; batch normalization then updates its running statistics twice.

    Returns:
        A module that maps images (N, C, H, W) to an `Encoded`, with `encode`, `decode` and `sample(count, generator)`.

    Raises:
        ValueError: the image is of another shape, or an option is out of its range.

    Reference: Sato & Kimura, Progressive Data Increasing (2019), section 3.2; Kingma & Welling, Auto-encoding
        variational Bayes (2014); He, Zhang, Ren & Sun, Deep residual learning for image recognition (2016).
    """
    channels, *size = shape
    halvings = round(math.log2(size[0] / SMALLEST)) if size else 0
    if len(size) != 2 or size[0] != size[1] or halvings < 1 or size[0] != SMALLEST * 2**halvings:
        raise ValueError(f"resnet_vae: takes square images of 8, 16, 32 ... pixels, not of shape {tuple(shape)}")
    if blocks < halvings or min(width, latent) < 1 or widest < width:
        raise ValueError(
            f"resnet_vae: blocks must be at least {halvings}, width and latent at least 1, widest at least width"
        )
    widths = [min(width * 2**level, widest) for level in range(halvings + 1)]
    return _ResNetVAE(channels, widths, blocks, latent, batch_norm, checkpointing)


class _ResNetVAE(nn.Module):
    def __init__(self, channels, widths, blocks, latent, batch_norm, checkpointing):
        super().__init__()
        self.latent, self.checkpointing = latent, checkpointing
        halvings = len(widths) - 1
        shares = [blocks // halvings + (level < blocks % halvings) for level in range(halvings)]
        down, up = [], []
        for level, share in enumerate(shares):
            outer, inner = widths[level], widths[level + 1]
            down += [_Block(outer if i == 0 else inner, inner, 0.5 if i == 0 else 1, batch_norm) for i in range(share)]
            last = share - 1
            block = [
                _Block(inner, outer if i == last else inner, 2 if i == last else 1, batch_norm) for i in range(share)
            ]
            up = block + up
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(down)
        features = widths[-1] * SMALLEST**2
        self.mean = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)
        self.unfold = nn.Linear(latent, features)
        self.first = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.up = nn.ModuleList(up)
        self.colors = nn.Conv2d(widths[0], channels, 3, padding=1)
        self.norms = nn.ModuleList(_norm(width, batch_norm) for width in (widths[-1], widths[0]))

    def forward(self, images):
        mean, log_variance = self.encode(images)
        drawn = mean
        if self.training:
            drawn = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return Encoded(self.decode(drawn), mean, log_variance)

    def encode(self, images):
        """Return mean and logarithm of the variance, both (N, latent), of images (N, C, H, W)."""
        features = self._through(self.down, self.stem(images))
        features = functional.relu(self.norms[0](features)).flatten(1)
        return self.mean(features), self.log_variance(features)

    def decode(self, latent):
        """Return images (N, C, H, W) in [0, 1] of latent numbers (N, latent)."""
        features = self.unfold(latent).view(len(latent), -1, SMALLEST, SMALLEST)
        features = self._through(self.up, self.first(features))
        return torch.sigmoid(self.colors(functional.relu(self.norms[1](features))))

    def sample(self, count, generator):
        """Return `count` images decoded from standard normal latent numbers."""
        latent = torch.randn(count, self.latent, generator=generator)
        return self.decode(latent.to(self.unfold.weight))

    def _through(self, blocks, features):
        for block in blocks:
            if self.checkpointing and torch.is_grad_enabled():
                features = checkpoint(block, features, use_reentrant=False)
            else:
                features = block(features)
        return features


class _Block(nn.Module):
    """A bottleneck with normalization and rectifier before each convolution, added to its input.

    Its size changes by the factor `scale`, 1/2, 1 or 2: on the way in by the stride, on the way out by repetition.
    """

    def __init__(self, inputs, outputs, scale, batch_norm):
        super().__init__()
        narrow, stride = max(outputs // 4, 1), 2 if scale < 1 else 1
        self.larger = nn.Upsample(scale_factor=2) if scale > 1 else nn.Identity()
        widths = [inputs, narrow, narrow, outputs]
        self.norms = nn.ModuleList(_norm(width, batch_norm) for width in widths[:3])
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(inputs, narrow, 1),
                nn.Conv2d(narrow, narrow, 3, stride, padding=1),
                nn.Conv2d(narrow, outputs, 1),
            ]
        )
        same = inputs == outputs and scale == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, inputs):
        outputs = inputs
        for place, (norm, convolution) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            outputs = functional.relu(norm(outputs))
            if place == 1:
                outputs = self.larger(outputs)
            outputs = convolution(outputs)
        return outputs + self.larger(self.shortcut(inputs))


def _norm(channels, batch_norm):
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
