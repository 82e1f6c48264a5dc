"""Run a model without side effects: modes, buffers and random states are restored afterwards."""

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from goodinit.methods.contracts import DrawsRandomNumbers
from goodinit.methods.layers import preserve_buffers

__all__ = ["preserve_data_state", "preserve_model_state", "preserve_random_state", "set_mode"]


@contextlib.contextmanager
def preserve_random_state(devices: set[torch.device], seed: int | None = None) -> Iterator[None]:
    """Restore the global random states of Python, NumPy and torch, of the CPU and of CUDA, after the block.

    Args:
        devices: devices whose random states are restored; those of other GPUs are not, nor those of devices of other
            types, such as MPS.
        seed: seed of torch's global generators within the block; None keeps their states.
    """
    gpus = [device for device in devices if device.type == "cuda"]
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(gpus):
            if seed is not None:
                torch.default_generator.manual_seed(seed)
                for device in gpus:
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(seed)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@contextlib.contextmanager
def preserve_data_state(data: Any, seed: int | None) -> Iterator[None]:
    """Restore the global random states and, of a DataLoader, its generators and workers after the block.

    Args:
        data: a DataLoader or anything else.
        seed: seed of torch's global generator within the block; it determines the order of a shuffling DataLoader
            without a generator.
    """
    generators = {getattr(source, "generator", None) for source in _with_samplers(data)}
    states = [(item, item.get_state()) for item in generators if isinstance(item, torch.Generator)]
    workers = data._iterator if isinstance(data, DataLoader) else None
    try:
        if isinstance(data, DataLoader):
            data._iterator = None  # workers that persist would keep the random states of this block
        with preserve_random_state(set(), seed):
            yield
    finally:
        if isinstance(data, DataLoader):
            data._iterator = workers
        for generator, state in states:
            generator.set_state(state)


@contextlib.contextmanager
def preserve_model_state(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every module, the buffers, and the layers' own generators after the block.

    Within the block, gradients are disabled, compiled code runs uncompiled, and transformer layers call their
    submodules, which torch's fast path for evaluation does not.
    """
    modes = [(module, module.training) for module in model.modules()]
    generators = [generator for module in model.modules() for generator in _generators(module)]
    states = [generator.get_state() for generator in generators]
    fastpath, autocast_cache = torch.backends.mha.get_fastpath_enabled(), torch.is_autocast_cache_enabled()
    compiled = "torch._dynamo" in sys.modules  # otherwise nothing is compiled; importing the compiler takes seconds
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_autocast_cache_enabled(False)  # the cache would contain weights from before they were set
        torch.clear_autocast_cache()
        with (
            torch.no_grad(),
            preserve_buffers(model),
            torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext(),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        torch.set_autocast_cache_enabled(autocast_cache)
        for module, training in modes:
            module.training = training
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def set_mode(model: nn.Module, training: bool) -> None:
    """Set the mode of a model; submodules in evaluation mode within a model in training mode keep their mode."""
    frozen = [module for module in model.modules() if not module.training] if model.training else []
    model.train(training)
    for module in frozen:
        module.training = False


def _with_samplers(source: Any) -> Iterator[Any]:
    """Yield a DataLoader or sampler and the samplers that it uses."""
    if source is not None:
        yield source
        for name in ("sampler", "batch_sampler"):
            yield from _with_samplers(getattr(source, name, None))


def _generators(module: nn.Module) -> list[torch.Generator]:
    """Return the generators of a layer that draws random numbers; `generators` may be anything in a user's module."""
    generators = module.generators if isinstance(module, DrawsRandomNumbers) else []
    return [item for item in generators if isinstance(item, torch.Generator)] if isinstance(generators, list) else []
