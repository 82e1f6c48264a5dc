"""The layers that initializers and diagnostics use, and how their weights and biases are read and set."""

import contextlib
import math
from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm

from goodinit.errors import InputError, is_out_of_memory

__all__ = [
    "Layer",
    "divide_weight",
    "fans",
    "has_frozen_weight",
    "layers_to_initialize",
    "preserve_buffers",
    "set_bias",
    "set_weight",
    "unsupported_layer",
    "unsupported_model",
    "weight_key",
]

Layer: TypeAlias = nn.Linear | _ConvNd  # the only list of the layer types that initializers and diagnostics include

DISTRIBUTED = {"DistributedDataParallel", "FullyShardedDataParallel"}


def layers_to_initialize(initializer: str, model: nn.Module) -> list[tuple[str, Layer]]:
    """Return (name, layer) for each linear and convolutional layer, in the order of `model.named_modules()`.

    Of several layers that share a weight, only the first is returned.

    Args:
        initializer: name of the initializer, for error messages.
        model: any module.

    Raises:
        InputError: the model has no such layer, or the weight of a layer cannot be set, see `unsupported_layer`.
    """
    if reason := unsupported_model(model):
        raise InputError(f"{initializer}: {reason}")
    layers: dict[int, tuple[str, Layer]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, Layer):
            if reason := unsupported_layer(layer):
                raise InputError(f"{initializer}: layer {name or type(layer).__name__}: {reason}")
            layers.setdefault(weight_key(layer), (name, layer))
    if not layers:
        raise InputError(f"{initializer}: {type(model).__name__} has no linear or convolutional layer to initialize")
    return list(layers.values())


def unsupported_model(model: nn.Module) -> str:
    """Return why no layer of a model can be initialized, or an empty string."""
    if isinstance(model, torch.jit.ScriptModule):
        return "the layers of a scripted or traced model are not accessible: initialize it before torch.jit.script"
    wrappers = {type(module).__name__ for module in model.modules()} & DISTRIBUTED
    if wrappers:
        wrapper = min(wrappers)
        return f"initialize the model before wrapping it in {wrapper}, so that all processes start with equal weights"
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if reason := _unsupported_tensor(name, tensor):
            return reason
    return ""


def _unsupported_tensor(name: str, tensor: Tensor) -> str:
    if nn.parameter.is_lazy(tensor):
        return f"the shape of {name} is not known yet: run the model on one batch first"
    if tensor.is_meta:
        return f"{name} is on the meta device and has no values: call model.to_empty(device=...) first"
    if hasattr(tensor, "device_mesh"):
        return f"{name} is a distributed tensor: initialize the model before sharding it"
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return f"{name} was created in torch.inference_mode and cannot be changed: create the model outside of it"
    return ""


def unsupported_layer(layer: Layer) -> str:
    """Return why the weight of a layer cannot be set, or an empty string.

    A weight that is computed from other parameters is supported if any value can be assigned to it, as with
    `weight_norm`, whose weight is computed again here. For a parametrization of torch, this is tested by assigning a
    random weight; the original weight is then restored.
    """
    weight = layer._parameters.get("weight")
    if weight is None:
        return _unsupported_computed_weight(layer)
    if not weight.is_floating_point():
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}, not a real floating-point number"
    return ""


def _unsupported_computed_weight(layer: Layer) -> str:
    if (hook := _weight_norm_hook(layer)) is not None:
        with torch.no_grad():
            layer.weight = hook.compute_weight(layer)  # `model.to` has converted the parameters, but not this attribute
        return ""
    if parametrize.is_parametrized(layer, "weight"):
        if _accepts_any_weight(layer):
            return ""
        causes = [type(module).__name__.lstrip("_") for module in _weight_parametrization(layer).children()]
    else:
        causes = [type(hook).__name__ for hook in layer._forward_pre_hooks.values()]
    if not causes:
        return "its weight is not a parameter and cannot be set"
    names = " and ".join(causes)
    return f"its weight is computed by {names} and cannot be set: apply {names} after the initialization"


@torch.no_grad()
def _accepts_any_weight(layer: Layer) -> bool:
    """Return whether a random weight can be set through torch's parametrization; restore the original weight."""
    parameters = list(_weight_parametrization(layer).parameters())
    originals = [(parameter.detach(), parameter.clone()) for parameter in parameters]
    with preserve_buffers(layer):
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(layer.weight.shape, generator=generator, device="cpu").to(layer.weight)
        try:
            layer.weight = weight.clone()
            return _is_close(layer.weight, weight)
        except (RuntimeError, ValueError, NotImplementedError) as error:  # no inverse, or none for this weight
            if is_out_of_memory(error):
                raise
            return False
        finally:
            for parameter, (storage, value) in zip(parameters, originals, strict=True):
                parameter.data = storage.copy_(value)  # torch may have replaced the storage


@contextlib.contextmanager
def preserve_buffers(model: nn.Module) -> Iterator[None]:
    """Restore all buffers of a model after the block: the values and the identity of the tensors."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and not nn.parameter.is_lazy(buffer)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                if buffer.shape == value.shape:
                    buffer.copy_(value)
                else:
                    buffer.data = value
                module._buffers[name] = buffer


@torch.no_grad()
def set_weight(layer: Layer, value: Tensor) -> None:
    """Set the weight of a layer, which may be a parameter or computed from other parameters.

    Args:
        layer: linear or convolutional.
        value: tensor with the shape of the weight, on any device.

    Raises:
        InputError: the weight does not equal `value` after the assignment.
    """
    value = value.to(layer.weight)
    if "weight" in layer._parameters:
        layer.weight.copy_(value)
        return
    if hook := _weight_norm_hook(layer):
        layer.get_parameter("weight_v").copy_(value)
        layer.get_parameter("weight_g").copy_(torch.norm_except_dim(value, 2, hook.dim))
        layer.weight = hook.compute_weight(layer)
    else:
        layer.weight = value.clone()
    if not _is_close(layer.weight, value):
        raise InputError(f"{type(layer).__name__}: its weight cannot be set: it is computed from other parameters")


@torch.no_grad()
def divide_weight(layer: Layer, divisor: float) -> None:
    """Divide the weight of a layer by a number; raises as `set_weight` does."""
    if "weight" in layer._parameters:
        layer.weight.div_(divisor)
    else:
        set_weight(layer, layer.weight / divisor)


@torch.no_grad()
def set_bias(layer: Layer, value: float) -> None:
    """Set all elements of the bias of a layer, if it has one; it may be computed from other parameters.

    Raises:
        InputError: the bias does not equal `value` after the assignment.
    """
    if layer.bias is None:
        return
    if "bias" in layer._parameters:
        layer.bias.fill_(value)
        return
    with contextlib.suppress(RuntimeError, NotImplementedError, ValueError):  # no inverse, or none for this bias
        layer.bias = torch.full_like(layer.bias, value)  # through torch's parametrization, or until the next call
    for name, parameter in layer._parameters.items():
        if name.startswith("bias_") and parameter is not None:  # the name that pruning uses
            parameter.fill_(value)
    if not torch.eq(layer.bias, value).all():
        raise InputError(f"{type(layer).__name__}: its bias cannot be set: it is computed from other parameters")


def weight_key(layer: Layer) -> int:
    """Return a number that is equal for two layers if and only if they share a weight, also if one is transposed."""
    weight = next(iter(_weight_parameters(layer)), None)
    return id(layer) if weight is None else weight.data_ptr() or id(weight)


def has_frozen_weight(layer: Layer) -> bool:
    """Return whether no parameter that determines the weight of a layer requires a gradient."""
    return not any(parameter.requires_grad for parameter in _weight_parameters(layer))


def fans(layer: Layer) -> tuple[float, float]:
    r"""Return the fan-in and the fan-out of a layer.

    Those of linear layers and convolutions are those of `torch.nn.init`, in which the fan-out of a convolution ignores
    its groups and strides. Of a transposed convolution, the fan-in is the number of inputs that contribute to an
    output, averaged over the outputs away from the borders, and the fan-out the number of outputs to which an input
    contributes. With C channels, G groups, kernel sizes K and strides S, they are

    .. math::
        n_\mathrm{in} = \frac{C_\mathrm{in}}{G} \prod_i \frac{K_i}{S_i}, \qquad
        n_\mathrm{out} = \frac{C_\mathrm{out}}{G} \prod_i K_i

    because each input contributes to :math:`\prod K_i` positions of an output channel, and there are
    :math:`\prod S_i` times as many output positions as input positions. With this fan-in,
    :math:`\mathrm{Var}(w) = 2 / n_\mathrm{in}` preserves the variance of rectified signals, as derived by He et al.,
    section 2.2.

    Deviation: `torch.nn.init` uses dimension 1 of every weight as the number of inputs, which in a transposed
    convolution is the number of outputs, and does not divide by the stride.

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


def _is_close(weight: Tensor, expected: Tensor) -> bool:
    precision = torch.finfo(expected.dtype)
    return torch.allclose(weight, expected, rtol=8 * precision.eps, atol=precision.tiny)


def _weight_norm_hook(layer: Layer) -> WeightNorm | None:
    """Return the hook of `torch.nn.utils.weight_norm` that computes the weight of a layer."""
    hooks = layer._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, WeightNorm) and hook.name == "weight"), None)


def _weight_parametrization(layer: Layer) -> nn.Module:
    return layer.get_submodule("parametrizations.weight")


def _weight_parameters(layer: Layer) -> list[nn.Parameter]:
    """Return the parameters that determine the weight of a layer: the weight itself, or those it is computed from."""
    weight = layer._parameters.get("weight")
    if weight is not None:
        return [weight]
    if parametrize.is_parametrized(layer, "weight"):
        return list(_weight_parametrization(layer).parameters())
    return [value for name, value in layer._parameters.items() if name.startswith("weight") and value is not None]
