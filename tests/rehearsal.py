"""A rehearsal of training on a GPU, on a machine without one.

All numbers are computed on the CPU, but each storage is assigned to a device, so that code sees tensors on `cuda:0`
where it would see them on a GPU, and operations that would fail there fail here: operands on two devices, generators of
another device, access from NumPy, and operators without a deterministic implementation. Copies that wait for the GPU
are counted.
"""

import contextlib
from collections import Counter
from unittest import mock

import torch
from nondeterministic_operators import REFUSED
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import clip_grad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

__all__ = ["CPU", "CUDA", "Rehearsal", "RehearsalError"]

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PINNED = torch.device("cpu", 0)  # page-locked memory of the CPU
GROUP = "_group_tensors_by_device_and_dtype"  # of clip_grad

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero"}
JOINING = {"cat", "stack"}  # do not accept a number on another device
INTERCEPTED = {"pin_memory", "is_pinned", "numpy", "__array__", "tolist", "cpu", "cuda", "to", "one_hot"}


class RehearsalError(Exception):
    """An operation that fails on a GPU."""


class Rehearsal(contextlib.ExitStack):
    """A context in which `cuda:0` is a rehearsed device.

    Attributes:
        waits: how often each operation waited for the GPU: copies from and to the host's memory, except asynchronous
            ones from page-locked memory, and operations whose result is a number, or a tensor of unknown size.
        operators: how often each operator ran on the device.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.operators = Counter(), Counter()
        self.requested = CPU  # device of new tensors in the current call of a factory
        self._devices = {}  # by address of the storage: (a weak reference, which keeps the address, device)

    def __enter__(self):
        super().__enter__()
        generator = torch.Generator().manual_seed(0)
        for name, function in {
            "get_rng_state": lambda device=CUDA: generator.get_state(),
            "set_rng_state": lambda state, device=CUDA: generator.set_state(state),
            "get_device_name": lambda device=CUDA: "rehearsed GPU",
            "device": lambda device=CUDA: contextlib.nullcontext(),
        }.items():
            self.enter_context(mock.patch.object(torch.cuda, name, function))
        autocast = torch.autocast
        self.enter_context(
            mock.patch.object(torch, "autocast", lambda device, *args, **options: autocast("cpu", *args, **options))
        )
        self.enter_context(mock.patch.object(torch.Tensor, "__deepcopy__", self._deepcopy(torch.Tensor.__deepcopy__)))
        self.enter_context(mock.patch.object(clip_grad, GROUP, self._group(getattr(clip_grad, GROUP))))
        self.enter_context(_Functions(self))
        self.enter_context(_Operators(self))
        return self

    def device_of(self, tensor):
        """Return the device of a tensor; that of page-locked memory is `PINNED`."""
        storage = (tensor._values() if tensor.is_sparse else tensor).untyped_storage()
        return self._devices.get(storage._cdata, (None, CPU))[1]

    def place(self, tensor, device):
        """Assign the storage of a tensor to a device, or to `PINNED` memory."""
        for part in (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,):
            storage = part.untyped_storage()
            self._devices[storage._cdata] = StorageWeakRef(storage), device

    def is_placed(self, tensor):
        """Return whether a device was assigned to the storage of a tensor."""
        return not tensor.is_sparse and tensor.untyped_storage()._cdata in self._devices

    def transfer(self, source, target, *, asynchronous):
        """Count a copy between devices."""
        if source != target and not asynchronous:
            self.waits["copy to the GPU" if target == CUDA else "copy from the GPU"] += 1

    def _deepcopy(self, function):
        """Return a function that copies a tensor on its device; torch copies the storage without an operator."""

        def deepcopy(tensor, memo):
            device, result = self.device_of(tensor), function(tensor, memo)
            self.place(result, device)
            return result

        return deepcopy

    def _group(self, function):
        """Return a function that groups tensors by device and type; that of torch asks for the device in C++."""

        def group(lists, *options):
            groups = function(lists, *options)
            return {
                (self.device_of(tensors[0][0]), dtype): (tensors, indices)
                for (_, dtype), (tensors, indices) in groups.items()
            }

        return group


def _without_index(device):
    return CPU if device == PINNED else device


class _Functions(TorchFunctionMode):
    """Python functions that ask for a device or name one."""

    def __init__(self, rehearsal):
        super().__init__()
        self.rehearsal = rehearsal

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "__get__" and isinstance(args[0], torch.Tensor):
            attribute = getattr(func.__self__, "__name__", "")
            if attribute in ("device", "is_cuda", "is_cpu"):
                device = _without_index(self.rehearsal.device_of(args[0]))
                return {"device": device, "is_cuda": device == CUDA, "is_cpu": device == CPU}[attribute]
        method = getattr(self, f"_{name.strip('_')}", None) if name in INTERCEPTED else None
        if method is not None:
            return method(func, args, kwargs)
        device = kwargs.pop("device", None)
        if device is None:
            return func(*args, **kwargs)
        before, self.rehearsal.requested = self.rehearsal.requested, _normalized(device)
        try:
            result = func(*args, **kwargs)
        finally:
            self.rehearsal.requested = before
        if isinstance(result, torch.Tensor):
            if name in ("tensor", "as_tensor") and _normalized(device) == CUDA:
                self.rehearsal.waits["copy to the GPU"] += 1
            self.rehearsal.place(result, _normalized(device))
        return result

    def _to(self, func, args, kwargs):
        tensor, *others = args
        target = kwargs.pop("device", None)
        rest = []
        for other in others:
            if isinstance(other, str | torch.device):
                target = other
            elif isinstance(other, torch.Tensor):
                target = self.rehearsal.device_of(other)
                kwargs["dtype"] = other.dtype
            elif other is None:
                continue
            elif isinstance(other, bool):
                kwargs["copy" if "non_blocking" in kwargs else "non_blocking"] = other
            else:
                rest.append(other)
        source = self.rehearsal.device_of(tensor)
        asynchronous = kwargs.get("non_blocking", False) and source == PINNED
        target = _without_index(source) if target is None else _normalized(target)
        if target == _without_index(source):
            return func(tensor, *rest, **kwargs) if rest or kwargs else tensor
        self.rehearsal.transfer(_without_index(source), target, asynchronous=asynchronous)
        result = func(tensor, *rest, **kwargs | {"copy": True})
        self.rehearsal.place(result, target)
        return result

    def _cpu(self, func, args, kwargs):
        return self._to(torch.Tensor.to, (args[0], CPU), kwargs)

    def _cuda(self, func, args, kwargs):
        return self._to(torch.Tensor.to, (args[0], CUDA), kwargs)

    def _pin_memory(self, func, args, kwargs):
        if self.rehearsal.device_of(args[0]) == CUDA:
            raise RehearsalError("pin_memory: only memory of the CPU can be page-locked")
        result = args[0].clone()
        self.rehearsal.place(result, PINNED)
        return result

    def _is_pinned(self, func, args, kwargs):
        return self.rehearsal.device_of(args[0]) == PINNED

    def _numpy(self, func, args, kwargs):
        if self.rehearsal.device_of(args[0]) == CUDA:
            raise RehearsalError("can't convert cuda:0 device type tensor to numpy")
        return func(*args, **kwargs)

    _array = _numpy

    def _tolist(self, func, args, kwargs):
        self.rehearsal.transfer(self.rehearsal.device_of(args[0]), CPU, asynchronous=False)
        return func(*args, **kwargs)

    def _one_hot(self, func, args, kwargs):
        """Do not count the checks of the classes, which only the CPU does."""
        waits, requested = self.rehearsal.waits.copy(), self.rehearsal.requested
        self.rehearsal.requested = self.rehearsal.device_of(args[0])
        try:
            return func(*args, **kwargs)
        finally:
            self.rehearsal.waits, self.rehearsal.requested = waits, requested


class _Operators(TorchDispatchMode):
    """Operators, also those of the backward pass."""

    def __init__(self, rehearsal):
        super().__init__()
        self.rehearsal = rehearsal

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        rehearsal, name = self.rehearsal, func.name().removeprefix("aten::")
        base = name.partition(".")[0]
        operands = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        devices = [_without_index(rehearsal.device_of(tensor)) for tensor in operands]
        on_gpu = CUDA in devices
        if base == "copy_":
            source, target = devices[1], devices[0]
            pinned = rehearsal.device_of(operands[1]) == PINNED
            rehearsal.transfer(source, target, asynchronous=pinned and kwargs.get("non_blocking", len(args) > 2))
            return func(*args, **kwargs)
        if on_gpu:
            self._check(name, base, operands, devices)
            rehearsal.operators[base] += 1
        if (on_gpu or (not operands and rehearsal.requested == CUDA)) and kwargs.get("generator") is not None:
            raise RehearsalError(f"{name}: expected a 'cuda' device type for generator but found 'cpu'")
        result = func(*args, **kwargs)
        device = CUDA if on_gpu else CPU if operands else rehearsal.requested

        def place(tensor):
            if not rehearsal.is_placed(tensor):
                rehearsal.place(tensor, device)
            return tensor

        tree_map_only(torch.Tensor, place, result)
        return result

    def _check(self, name, base, operands, devices):
        """Refuse what fails on a GPU, and count what waits for it."""
        rehearsal = self.rehearsal
        if {name, base} & REFUSED:
            raise RehearsalError(f"{base}_cuda does not have a deterministic implementation")
        if base in WAITING:
            rehearsal.waits[base] += 1
        index = base in ("index", "index_put_", "_unsafe_index", "_index_put_impl_")
        if index and any(tensor.dtype == torch.bool for tensor in operands[1:]):
            rehearsal.waits["index with a mask"] += 1
        for tensor, device in zip(operands, devices, strict=True):
            if device == CUDA or (not tensor.ndim and base not in JOINING):
                continue
            if index and tensor is not operands[0] and not tensor.is_floating_point():
                rehearsal.waits["copy to the GPU"] += 1  # indices may be on the CPU
                continue
            raise RehearsalError(f"{name}: expected all tensors to be on the same device, but found cuda:0 and cpu")


def _normalized(device):
    """Return a device with an index."""
    device = torch.device(device)
    return CUDA if device.type == "cuda" else CPU
