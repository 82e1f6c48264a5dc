"""Copies of tensors from the host's memory to a GPU."""

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on a device; a copy to a GPU does not wait for the work that was launched before it.

    CUDA copies asynchronously only from page-locked memory, to which a tensor of the CPU is copied first.

    Args:
        tensor: a tensor of any shape, on any device.
        device: the device of the result, which is the tensor itself if it is there.
    """
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
