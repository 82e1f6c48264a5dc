"""Run a model without a trace: modes, buffers and random numbers are afterwards what they were before."""

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from goodinit.methods.layers import kept_buffers

__all__ = ["data_state", "preserved", "random_state", "set_mode"]


@contextlib.contextmanager
def random_state(devices: set[torch.device], seed: int | None = None) -> Iterator[None]:
    """Restore the state of Python's, NumPy's and torch's global generators after the block.

    Args:
        devices: those whose generators are restored; other GPUs are not touched.
        seed: what torch's generators start from within the block; None leaves them.
    """
    gpus = [device for device in devices if device.type == "cuda"]
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(gpus):
            if seed is not None:
                torch.default_generator.manual_seed(seed)
                for device in gpus:
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


@contextlib.contextmanager
def data_state(data: Any, seed: int | None) -> Iterator[None]:
    """Restore the global random states, and the generators of a DataLoader and its samplers, after the block.

    Args:
        data: a DataLoader or anything else.
        seed: of the global random numbers within the block, which shuffle a DataLoader that has no generator.
    """
    samplers = [data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)]
    streams = {getattr(one, "generator", None) for one in samplers} - {None}
    states = [(stream, stream.get_state()) for stream in streams]
    try:
        with random_state(set(), seed):
            yield
    finally:
        for stream, state in states:
            stream.set_state(state)


@contextlib.contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every module, the buffers and the dropout layers' own generators after the block.

    Within it no gradients are computed, what is compiled runs as it was written, and transformer layers call their
    submodules, which torch's fast path for evaluation does not.
    """
    modes = [(module, module.training) for module in model.modules()]
    streams = [stream for module in model.modules() for stream in getattr(module, "generators", ())]
    states = [stream.get_state() for stream in streams]
    fast, cached = torch.backends.mha.get_fastpath_enabled(), torch.is_autocast_cache_enabled()
    compiled = "torch._dynamo" in sys.modules  # else nothing is compiled, and importing the compiler takes seconds
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_autocast_cache_enabled(False)  # it would hold weights from before they were written
        torch.clear_autocast_cache()
        with (
            torch.no_grad(),
            kept_buffers(model),
            torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext(),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.set_autocast_cache_enabled(cached)
        for module, training in modes:
            module.training = training
        for stream, state in zip(streams, states, strict=True):
            stream.set_state(state)


def set_mode(model: nn.Module, training: bool) -> None:
    """Set the mode of a model, but leave what is in evaluation mode within a model in training mode as it is."""
    frozen = [module for module in model.modules() if not module.training] if model.training else []
    model.train(training)
    for module in frozen:
        module.training = False
