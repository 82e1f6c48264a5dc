"""Counting the floating-point operations and the memory of a model on one batch, without computing anything."""

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from goodinit.datasets.tensors import Examples
from goodinit.methods.contracts import Objective

__all__ = ["Count", "count"]


class Count(NamedTuple):
    """The cost of one batch.

    Args:
        operations: floating-point operations.
        memory: maximum number of bytes of tensors, besides parameters, buffers and the batch, that exist at once.
        parameter_bytes: bytes of the parameters.
    """

    operations: int
    memory: int
    parameter_bytes: int


def count(
    build_model: Callable[[], nn.Module], objective: Objective, shape: torch.Size, batch_size: int, *, backward: bool
) -> Count:
    """Return the cost of a model and an objective on a batch.

    Args:
        build_model: returns the model.
        objective: (model, batch) -> (loss, metrics).
        shape: the shape of one input.
        batch_size: number of inputs.
        backward: count the forward and the backward pass, instead of the forward pass.
    """
    with _frozen_garbage(), torch.device("meta"):
        model = build_model()
        batch = Examples(torch.empty(batch_size, *shape), torch.empty(batch_size, dtype=torch.int64))
        inputs = [*model.parameters(), *model.buffers(), batch.images, batch.labels]
        with _PeakMemory(inputs) as memory, FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
            loss, _ = objective(model, batch)
            if backward:
                loss.backward()
    return Count(counter.get_total_flops(), memory.peak, sum(parameter.nbytes for parameter in model.parameters()))


@contextlib.contextmanager
def _frozen_garbage() -> Iterator[None]:
    """Exempt objects that exist before the block from garbage collection inside it, which makes it faster."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _PeakMemory(TorchDispatchMode):
    """Determines the maximum number of bytes of storage, allocated inside the block, that exist at once.

    Args:
        inputs: tensors whose storages are not counted.
    """

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.peak = 0
        self._bytes = 0
        self._inputs = {storage.cdata: storage for storage in map(_storage, inputs)}
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}  # those that exist, and their sizes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        for tensor in tree_leaves((result,)):
            if isinstance(tensor, Tensor):
                storage = _storage(tensor)
                if storage.cdata not in self._inputs and storage.cdata not in self._storages:
                    self._storages[storage.cdata] = storage, tensor.untyped_storage().nbytes()
                    self._bytes += self._storages[storage.cdata][1]
        if self._bytes > self.peak and self._remove_expired() > self.peak:
            # Recomputed activations are in reference cycles, which the garbage collector frees at an unpredictable
            # time, possibly in several passes.
            before = None
            while before != self._bytes:
                before = self._bytes
                gc.collect()
                self._remove_expired()
            self.peak = max(self.peak, self._bytes)
        return result

    def _remove_expired(self) -> int:
        """Remove the storages that no longer exist; return the bytes of the others."""
        self._storages = {key: item for key, item in self._storages.items() if not item[0].expired()}
        self._bytes = sum(size for _, size in self._storages.values())
        return self._bytes


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())
