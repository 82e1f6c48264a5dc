"""Reconstructions and samples of a variational auto-encoder."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from goodinit.methods.contracts import Examples, GenerativeModel, Observe
from goodinit.methods.diagnostics.model_copy import copied_model

__all__ = ["reconstructions"]


@contextlib.contextmanager
def reconstructions(
    model: nn.Module, batch: Examples, generator: torch.Generator, *, images: int = 6, size: int = 32
) -> Iterator[Observe]:
    """Reconstructions of the first images of `batch` by a variational auto-encoder, and samples from it.

    Args:
        model: a variational auto-encoder, such as `models.resnet_vae`.
        batch: images, float (N, C, H, W) in [0, 1].
        generator: draws the latent numbers, the same at every step.
        images: number of images, at most that of the training set.
        size: larger images are reduced to this height and width.

    Yields:
        A function of the step that returns `reconstructions`, uint8 (3, images, C, height, width): the images, their
        reconstructions, and samples.

    Raises:
        ValueError: the model does not generate images, or an option is less than 1.
    """
    if not isinstance(model, GenerativeModel):
        raise ValueError("reconstructions: needs a variational auto-encoder, such as resnet_vae")
    if min(images, size) < 1:
        raise ValueError("reconstructions: images and size must be at least 1")
    originals, state = batch.images[:images].clone(), generator.get_state()

    def observe(step: int) -> dict[str, Any]:
        generator.set_state(state)
        with copied_model(model) as model_copy, torch.no_grad():
            model_copy.eval()
            assert isinstance(model_copy, GenerativeModel)
            samples = model_copy.sample(len(originals), generator)
            rows = torch.stack([originals, model_copy(originals).images, samples])
        rows = functional.adaptive_avg_pool2d(rows.flatten(0, 1).float(), min(size, originals.shape[-1]))
        rows = rows.clamp(0, 1).mul(255).round().to(torch.uint8)
        return {"reconstructions": rows.view(3, len(originals), *rows.shape[1:]).cpu().numpy()}

    yield observe
