"""The precision in which a model is trained."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

__all__ = ["Precision", "arithmetic", "autocast", "effective_precision"]

Precision = Literal["fp32", "tf32", "bf16"]
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # as torch.cpu.get_capabilities names them


def effective_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision in which a device computes what a run asks for.

    A CPU without instructions for bfloat16 emulates them, more slowly than it computes in single precision, and
    therefore computes in single precision. TF32 is a precision of GPUs.

    Args:
        precision: what the run asks for.
        device: where it is trained.
    """
    if precision == "fp32" or device.type == "cuda":
        return precision
    capabilities = torch.cpu.get_capabilities()
    native = any(capabilities.get(name) for name in BF16_INSTRUCTIONS)
    return "bf16" if precision == "bf16" and native else "fp32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return a context in which models compute in a precision; weights, losses and statistics stay in fp32."""
    # A cache would keep the casts of the initial weights for the whole of training.
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


@contextlib.contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let matrix products on a GPU use TF32 in the block if that is the precision, and only then."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = precision == "tf32"
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed
