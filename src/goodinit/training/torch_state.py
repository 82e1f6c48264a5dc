"""The global state of torch during a training run: determinism, precision, threads and random numbers."""

import contextlib
import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from goodinit.training.precision import Precision

__all__ = ["torch_state"]


@contextlib.contextmanager
def torch_state(device: torch.device, precision: Precision = "fp32", threads: int | None = None) -> Iterator[None]:
    """Make torch deterministic inside the block; afterwards, also after an exception, restore its global state.

    The state comprises the current GPU, the deterministic mode, the precision of matrix products on a GPU, the number
    of CPU threads, the generators of the CPU and of the device, and the environment variable that cuBLAS reads.

    Args:
        device: the device of the training run.
        precision: the precision of the training run; TF32 is used only if it is `tf32`.
        threads: number of CPU threads, or None to leave it unchanged.
    """
    with contextlib.ExitStack() as stack:
        if device.index is not None and torch.cuda.is_available():
            stack.enter_context(torch.cuda.device(device))  # for which torch.cuda.synchronize waits
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(_environment({"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}))
        # The mode is set in this way because torch.use_deterministic_algorithms imports the compiler.
        stack.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        torch.set_deterministic_debug_mode("error")
        # No code reads uninitialized memory, and filling it takes a tenth of the time of a training run.
        stack.enter_context(_attributes(torch.utils.deterministic, fill_uninitialized_memory=False))
        for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
            stack.enter_context(_attributes(backend, allow_tf32=precision == "tf32"))
        for method in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad):
            # These import the compiler, which takes a second, only to exempt themselves from it, unless they find an
            # exempted version of themselves. Nothing is compiled here.
            function = inspect.unwrap(method)
            if not hasattr(function, "__dynamo_disable"):
                stack.enter_context(_attributes(function, __dynamo_disable=function))
        if threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        yield


_MISSING = object()


@contextlib.contextmanager
def _attributes(target: Any, **values: Any) -> Iterator[None]:
    """Set attributes of an object inside the block."""
    before = {name: getattr(target, name, _MISSING) for name in values}
    for name, value in values.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _MISSING:
                delattr(target, name)
            else:
                setattr(target, name, value)


@contextlib.contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set inside the block."""
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
