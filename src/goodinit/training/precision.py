"""The precision in which a model is trained."""

from typing import Literal

import torch

__all__ = ["Precision", "autocast", "bf16_instructions", "effective_precision"]

Precision = Literal["fp32", "tf32", "bf16"]
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # names in torch.cpu.get_capabilities


def effective_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision in which a device computes when a run requests a precision.

    A CPU without bfloat16 instructions emulates them more slowly than it computes in single precision, so it computes
    in single precision. TF32 is a precision of GPUs.

    Args:
        precision: the precision that the run requests.
        device: the device on which it is trained.
    """
    if precision == "fp32" or device.type == "cuda":
        return precision
    return "bf16" if precision == "bf16" and bf16_instructions() else "fp32"


def bf16_instructions() -> list[str]:
    """Return the names of the bfloat16 instructions that the CPU has."""
    capabilities = torch.cpu.get_capabilities()
    return [name for name in BF16_INSTRUCTIONS if capabilities.get(name)]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return a context in which models compute in a precision; weights, losses and statistics remain in fp32."""
    # The cache is off because it would keep the casts of the initial weights during the whole training.
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
