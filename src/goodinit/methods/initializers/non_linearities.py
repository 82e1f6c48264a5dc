"""Find the non-linearity that follows each layer, which may be a module or a function."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from goodinit.methods.layers import Layer

__all__ = ["NonLinearity", "find_non_linearities"]

_OUTPUT = object()  # placeholder for the output of the layer in the arguments of its consumer


@dataclass
class NonLinearity:
    """A module or function that takes the output of a layer.

    Args:
        name: the name of the function or of the module's class.
        call: the function or the module's `forward`.
        arguments: positional and keyword arguments, with a placeholder for the output of the layer; None if other
            arguments are tensors that are not parameters.
        after: the linear functions through which the output of the layer passes first, such as a product with a number.
        suitable: whether it is a non-linear function of the layer's output alone; determined from its result.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None
    after: tuple["NonLinearity", ...] = ()
    suitable: bool = False

    def __call__(self, output: Tensor) -> Tensor:
        """Return the result for an output of the layer, which is not modified."""
        for function in self.after:
            output = function.apply(output)
        return self.apply(output)

    def apply(self, output: Tensor) -> Tensor:
        """Return the result for a tensor that has passed through the functions before this one."""
        output = output.clone()  # the function may work in place
        args, kwargs = tree_map(lambda leaf: output if leaf is _OUTPUT else leaf, self.arguments)
        result: Tensor = self.call(*args, **kwargs)
        return result

    def is_linear(self, result: Tensor) -> bool:
        """Return whether f(x) - f(0) is odd and proportional to the scale of x, for random x like a given result."""
        inputs = torch.randn_like(result)
        offset, positive, negative, doubled = (self.apply(factor * inputs) for factor in (0, 1, -1, 2))
        tolerance = 0.02 * (positive - offset).abs().max()  # more than the rounding errors of bfloat16
        differences = positive + negative - 2 * offset, doubled - 2 * positive + offset
        return all(bool((difference.abs() <= tolerance).all()) for difference in differences)


@dataclass
class _TrackedOutput:
    """The output of a layer and its consumers so far, in the order in which their calls began.

    Args:
        output: the output of the layer, or of linear functions that follow it; None after another function has taken
            it: later consumers do not follow the layer directly.
        shape: the shape of the output of the layer.
        after: these linear functions.
        consumers: the modules and functions that take the output.
        taken: the tensors that functions have taken as the output since the last layer was called.
    """

    output: Tensor | None
    shape: torch.Size
    after: tuple[NonLinearity, ...] = ()
    consumers: list[NonLinearity] = field(default_factory=list)
    taken: list[Tensor] = field(default_factory=list)

    def add_consumer(
        self, name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NonLinearity | None:
        """Add and return a consumer if the output is among the arguments."""
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if self.output is None or not any(leaf is self.output for leaf in leaves):
            return None
        arguments = None
        if all(leaf is self.output or isinstance(leaf, nn.Parameter) for leaf in leaves):
            arguments = tree_map(lambda leaf: _OUTPUT if leaf is self.output else leaf, (args, kwargs))
        self.consumers.append(NonLinearity(name, call, arguments, self.after))
        return self.consumers[-1]

    def end_consumer(self, consumer: NonLinearity, result: Any) -> None:
        """Set whether a consumer is suitable, given its result; if it is linear, track the result instead."""
        is_glu = consumer.name.lower() == "glu"  # torch's only non-linearity that changes the shape
        same_shape = isinstance(result, Tensor) and (is_glu or result.shape == self.shape)
        consumer.suitable = consumer.arguments is not None and same_shape and not _ends_tracking_by_name(consumer.name)
        if consumer.suitable and not is_glu and consumer.is_linear(result):
            consumer.suitable = False
            self.output, self.after = result, (*consumer.after, consumer)

    def end_function(self, consumer: NonLinearity | None, leaves: Iterable[Any], result: Tensor) -> None:
        """Track a function whose arguments have these leaves; it is a consumer unless that is None.

        The output has no non-linearity of its own if it is taken again, such as in a product with its sigmoid.
        """
        if any(leaf is tensor for leaf in leaves for tensor in self.taken):
            self.output = None
            for earlier in self.consumers:
                earlier.suitable = False
        elif consumer is not None and self.output is not None:
            self.taken += [self.output] if result is not self.output else []
            self.output = None
            self.end_consumer(consumer, result)


class _FunctionMode(TorchFunctionMode):
    """Add every torch function that takes a tracked output to the consumers of this output."""

    def __init__(self) -> None:
        super().__init__()
        self.tracked: list[_TrackedOutput] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function and track its arguments."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "function").strip("_")
        consumers = [(tracked, tracked.add_consumer(name, func, args, kwargs)) for tracked in self.tracked]
        result = func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs))
        for tracked, consumer in consumers:
            if isinstance(result, Tensor) and result.is_floating_point():
                tracked.end_function(consumer, leaves, result)
            elif consumer is not None:
                tracked.consumers.remove(consumer)  # for example, a query of the shape, or a comparison
        return result


def find_non_linearities(
    model: nn.Module, layers: Iterable[nn.Module], run: Callable[[], object]
) -> dict[nn.Module, NonLinearity]:
    """Return {layer: non-linearity that directly takes its output}.

    The non-linearity is the first module, or otherwise the first function, that takes the output, takes no other
    tensors except parameters, and returns a tensor of the same shape. Linear functions before it that fulfill the same
    conditions, such as a product with a number or a conversion of the type, belong to it. Normalization, dropout,
    pooling and sums are not non-linearities; a layer followed by one of these is not in the result. Neither is a layer
    whose output another function takes, too, before the next layer is called, as in the product with its sigmoid.

    A custom module that contains no layers, normalization or dropout counts as one function.

    Args:
        model: runs without gradients.
        layers: layers whose first output is tracked.
        run: runs the model once.
    """
    outputs: dict[nn.Module, _TrackedOutput] = {}
    active: list[list[tuple[_TrackedOutput, NonLinearity]]] = []  # for each module call in progress, its consumers
    mode = _FunctionMode()

    def track(layer: nn.Module, args: Any, output: Any) -> None:
        if layer not in outputs and isinstance(output, Tensor):
            outputs[layer] = _TrackedOutput(output, output.shape)
            mode.tracked.append(outputs[layer])

    def end_tracking(module: nn.Module, args: Any, kwargs: Any) -> None:
        for tracked in mode.tracked:
            if tracked.add_consumer("", module.forward, args, kwargs):
                tracked.output = None
            if isinstance(module, Layer):
                tracked.taken.clear()

    def begin_module(module: nn.Module, args: Any, kwargs: Any) -> None:
        name = type(module).__name__
        consumers = [(tracked, tracked.add_consumer(name, module.forward, args, kwargs)) for tracked in mode.tracked]
        active.append([(tracked, consumer) for tracked, consumer in consumers if consumer is not None])

    def end_module(module: nn.Module, args: Any, output: Any) -> None:
        for tracked, consumer in active.pop():
            tracked.end_consumer(consumer, output)

    handles = [layer.register_forward_hook(track) for layer in layers]
    for module in model.modules():
        if _ends_tracking(module):
            handles.append(module.register_forward_pre_hook(end_tracking, with_kwargs=True))
        elif not any(map(_ends_tracking, module.modules())):
            handles.append(module.register_forward_pre_hook(begin_module, with_kwargs=True))
            handles.append(module.register_forward_hook(end_module))
    try:
        with mode:
            run()
    finally:
        for handle in handles:
            handle.remove()
    first = {
        layer: next((consumer for consumer in tracked.consumers if consumer.suitable), None)
        for layer, tracked in outputs.items()
    }
    return {layer: consumer for layer, consumer in first.items() if consumer is not None}


def _ends_tracking_by_name(name: str) -> bool:
    """Return whether the name is that of a product, normalization, dropout or a convolution, which may keep shapes."""
    name = name.lower()
    products = ("linear", "bilinear", "matmul", "mm", "bmm", "addmm", "einsum")
    return name in products or any(word in name for word in ("norm", "dropout", "conv"))


def _ends_tracking(module: nn.Module) -> bool:
    """Return whether a module is a layer, a normalization or dropout; custom modules are identified by their names."""
    return isinstance(module, Layer) or _ends_tracking_by_name(type(module).__name__)
