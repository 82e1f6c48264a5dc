"""What an auto-encoder makes of images, and out of nothing."""

import contextlib

import torch
from torch.nn import functional

from goodinit.methods.diagnostics.probe import probe

__all__ = ["reconstructions"]


@contextlib.contextmanager
def reconstructions(model, batch, generator, *, images: int = 6, size: int = 32):
    """What a variational auto-encoder makes of the first images of `batch`, and images that it draws.

    Args:
        model: see `models.resnet_vae`.
        batch: images, float (N, C, H, W) in [0, 1].
        generator: draws the latent numbers, the same at every step.
        images: how many.
        size: larger images are reduced to this height and width.

    Yields:
        A function of the step that gives `reconstructions`, uint8 (3, images, C, height, width): the images,
        their reconstructions, and samples.

    Raises:
        ValueError: the model draws no samples, or an option is less than 1.
    """
    if not hasattr(model, "sample"):
        raise ValueError("reconstructions: needs a variational auto-encoder, such as resnet_vae")
    if min(images, size) < 1:
        raise ValueError("reconstructions: images and size must be at least 1")
    originals, state = batch.images[:images].clone(), generator.get_state()

    def observe(step):
        generator.set_state(state)
        with probe(model) as twin, torch.no_grad():
            twin.eval()
            rows = torch.stack([originals, twin(originals).images, twin.sample(len(originals), generator)])
        rows = functional.adaptive_avg_pool2d(rows.flatten(0, 1).float(), min(size, originals.shape[-1]))
        rows = rows.clamp(0, 1).mul(255).round().to(torch.uint8)
        return {"reconstructions": rows.unflatten(0, (3, len(originals))).cpu().numpy()}

    yield observe
