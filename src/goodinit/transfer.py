"""Copies of tensors from the host's memory to a GPU."""

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a copy to a GPU does not wait for its earlier work.

    CUDA copies asynchronously only from page-locked memory, so the tensor is first copied there.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
