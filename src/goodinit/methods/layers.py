"""Which layers of a model are initialized, and how their weights and biases are read and written."""

import contextlib
import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm

from goodinit.errors import InputError

__all__ = [
    "Batch",
    "Layer",
    "Published",
    "fans",
    "is_frozen",
    "kept_buffers",
    "layers_of",
    "refusal",
    "set_bias",
    "set_weight",
    "unsupported_model",
    "weight_key",
]

Layer = nn.Linear | _ConvNd
DISTRIBUTED = {"DistributedDataParallel", "FullyShardedDataParallel"}


class Batch(Protocol):
    """Examples that a data-dependent initializer looks at: images, float (N, ...)."""

    images: Tensor


class Published(Protocol):
    """A layer that says how its authors initialized it.

    `published` has the keys `distribution` ("normal" or "uniform"), `std` (of the weight) and `bias` (a constant).
    """

    published: dict[str, str | float]


def layers_of(initializer: str, model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, layer) for every layer that an initializer fills, each weight once, in the order of `modules()`.

    Args:
        initializer: named in messages.
        model: its linear and convolutional layers are meant.

    Raises:
        InputError: the model has no such layer, or has one whose weight cannot be written, see `refusal`.
    """
    if reason := unsupported_model(model):
        raise InputError(f"{initializer}: {reason}")
    weights = set()
    for name, layer in model.named_modules():
        if isinstance(layer, Layer):
            if reason := refusal(layer):
                raise InputError(f"{initializer}: layer {name or type(layer).__name__}: {reason}")
            if weight_key(layer) not in weights:
                weights.add(weight_key(layer))
                yield name, layer
    if not weights:
        raise InputError(f"{initializer}: {type(model).__name__} has no linear or convolutional layer to initialize")


def unsupported_model(model: nn.Module) -> str:
    """Return why none of a model's layers can be initialized, or an empty string."""
    if isinstance(model, torch.jit.ScriptModule):
        return "a scripted or traced model has no layers to initialize: initialize the model before torch.jit.script"
    wrappers = {type(module).__name__ for module in model.modules()} & DISTRIBUTED
    if wrappers:
        name = min(wrappers)
        return f"initialize the model before it is wrapped in {name}, so that all processes start from the same weights"
    for name, parameter in model.named_parameters():
        if nn.parameter.is_lazy(parameter):
            return f"the shape of {name} is not known yet: run the model on one batch first"
        if parameter.is_meta:
            return f"{name} is on the meta device and has no values: call model.to_empty(device=...) first"
        if hasattr(parameter, "device_mesh"):
            return f"{name} is a distributed tensor: initialize the model before it is sharded"
    return ""


def refusal(layer: nn.Module) -> str:
    """Return why the weight of a linear or convolutional layer cannot be written, or an empty string.

    A weight that is computed from other parameters can be written if it can take any value, as with `weight_norm`.
    The parametrization of torch is tried with a random weight, and left as it was.
    """
    weight = layer._parameters.get("weight")
    if weight is None:
        return _refusal_of_computed(layer)
    if not weight.is_floating_point():
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}, not a real floating-point number"
    return ""


def _refusal_of_computed(layer: nn.Module) -> str:
    if _weight_norm(layer) is not None:
        return ""
    if parametrize.is_parametrized(layer, "weight"):
        if _takes_any_weight(layer):
            return ""
        kinds = [type(module).__name__.lstrip("_") for module in layer.parametrizations["weight"]]
    else:
        kinds = [type(hook).__name__ for hook in layer._forward_pre_hooks.values()] or ["its own forward"]
    return f"its weight is computed by {' and '.join(kinds)} and cannot be set: initialize it before that is applied"


@torch.no_grad()
def _takes_any_weight(layer: nn.Module) -> bool:
    """Write a random weight through torch's parametrization, look whether it is there, and restore the old one."""
    parameters = list(layer.parametrizations["weight"].parameters())
    before = [(parameter.detach(), parameter.clone()) for parameter in parameters]
    with kept_buffers(layer):
        wanted = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)).to(layer.weight)
        try:
            layer.weight = wanted.clone()
            return _equal(layer.weight, wanted)
        except (RuntimeError, ValueError, NotImplementedError):  # no inverse, or none for this weight
            return False
        finally:
            for parameter, (storage, value) in zip(parameters, before, strict=True):
                parameter.set_(storage.copy_(value))  # torch may have given it another storage


@contextlib.contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Restore the buffers of a model after the block, their values and which tensors they are."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                buffer.copy_(value) if buffer.shape == value.shape else buffer.set_(value)
                module._buffers[name] = buffer


def _equal(weight: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(weight, wanted, rtol=8 * torch.finfo(wanted.dtype).eps, atol=torch.finfo(wanted.dtype).tiny)


def _weight_norm(layer: nn.Module) -> WeightNorm | None:
    """Return the hook of `torch.nn.utils.weight_norm` that computes the layer's weight."""
    hooks = layer._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, WeightNorm) and hook.name == "weight"), None)


@torch.no_grad()
def set_weight(layer: nn.Module, value: Tensor) -> None:
    """Set a layer's weight, whether it is a parameter or is computed from others.

    Args:
        layer: linear or convolutional.
        value: of the weight's shape, on any device.

    Raises:
        InputError: the weight has another value afterwards.
    """
    value = value.to(layer.weight)
    if "weight" in layer._parameters:
        layer.weight.copy_(value)
        return
    if hook := _weight_norm(layer):
        layer.weight_v.copy_(value)
        layer.weight_g.copy_(torch.norm_except_dim(value, 2, hook.dim))
        layer.weight = hook.compute_weight(layer)
    else:
        layer.weight = value.clone()
    if not _equal(layer.weight, value):
        raise InputError(f"{type(layer).__name__}: its weight cannot be set: it is computed from other parameters")


@torch.no_grad()
def set_bias(layer: nn.Module, value: float) -> None:
    """Set every element of a layer's bias, if it has one, whether it is a parameter or is computed from others.

    Raises:
        InputError: the bias has another value afterwards.
    """
    if layer.bias is None:
        return
    if "bias" in layer._parameters:
        layer.bias.fill_(value)
        return
    with contextlib.suppress(RuntimeError, NotImplementedError, ValueError):  # no inverse, or none for this bias
        layer.bias = torch.full_like(layer.bias, value)  # through torch's parametrization, or until the next call
    for name, parameter in layer._parameters.items():
        if name.startswith("bias_"):  # as pruning calls it
            parameter.fill_(value)
    if not (layer.bias == value).all():
        raise InputError(f"{type(layer).__name__}: its bias cannot be set: it is computed from other parameters")


def _stored(layer: nn.Module) -> list[Tensor]:
    """Return the parameters that a layer's weight is, or is computed from."""
    if "weight" in layer._parameters:
        return [layer._parameters["weight"]]
    if parametrize.is_parametrized(layer, "weight"):
        return list(layer.parametrizations["weight"].parameters())
    return [value for name, value in layer._parameters.items() if name.startswith("weight") and value is not None]


def weight_key(layer: nn.Module) -> int:
    """Return what is equal for two layers if and only if they share one weight, also a transposed one."""
    weight = next(iter(_stored(layer)), None)
    return id(layer) if weight is None else weight.data_ptr() or id(weight)


def is_frozen(layer: nn.Module) -> bool:
    """Say whether training leaves a layer's weight alone: no parameter behind it requires a gradient."""
    return not any(parameter.requires_grad for parameter in _stored(layer))


def fans(layer: nn.Module) -> tuple[float, float]:
    r"""Return how many inputs an output of a layer sums, and, as torch counts them, how many outputs an input reaches.

    With C channels, G groups, kernel sizes K and strides S, a transposed convolution has

    .. math::
        n_\mathrm{in} = \frac{C_\mathrm{in}}{G} \prod_i \frac{K_i}{S_i}, \qquad
        n_\mathrm{out} = \frac{C_\mathrm{out}}{G} \prod_i K_i

    An input contributes to :math:`\prod K_i` places of each output channel, and there are :math:`\prod S_i` times as
    many outputs as inputs; borders aside, this is the mean number of terms in the forward sum of He et al., section
    2.2, so that :math:`\mathrm{Var}(w) = 2 / n_\mathrm{in}` keeps the variance of rectified signals.

    Deviation: `torch.nn.init` takes dimension 1 of any weight as inputs, which are the outputs of a transposed
    convolution, and does not divide by the stride.  For all other layers the counts are those of `torch.nn.init`.

    Args:
        layer: linear or convolutional.

    Returns:
        Fan-in and fan-out.

    Reference: He, Zhang, Ren & Sun, Delving deep into rectifiers (2015), equations 10 and 14.
    """
    if isinstance(layer, _ConvTransposeNd):
        kernel = math.prod(layer.kernel_size)
        return (
            layer.in_channels / layer.groups * kernel / math.prod(layer.stride),
            layer.out_channels / layer.groups * kernel,
        )
    return nn.init._calculate_fan_in_and_fan_out(layer.weight)
