"""Find the non-linearity that follows each layer, whether it is a module or a function."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from goodinit.methods.layers import Layer

__all__ = ["NonLinearity", "following"]

_OUTPUT = object()  # stands for the layer's output in the arguments of what takes it


@dataclass
class NonLinearity:
    """A module or function that takes a layer's output.

    Args:
        name: of the function or of the module's class.
        call: the function or the module's `forward`.
        arguments: positional and keyword arguments, with a placeholder for the layer's output.
        suitable: whether it is a non-linearity of the layer's output alone; decided when its result is known.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    suitable: bool = False

    def __call__(self, output: Tensor) -> Tensor:
        """Return what it makes of a layer's output, which is not changed."""
        output = output.clone()  # the function may work in place
        args, kwargs = tree_map(lambda leaf: output if leaf is _OUTPUT else leaf, self.arguments)
        return self.call(*args, **kwargs)


@dataclass
class _Pending:
    """A layer's output and what has taken it so far, in the order in which they began."""

    output: Tensor | None  # None once a function has taken it: whatever comes later does not follow it directly
    shape: torch.Size
    takers: list[NonLinearity] = field(default_factory=list)

    def add(self, name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> NonLinearity | None:
        """Return a new taker, if the output is among the arguments, and parameters are the only other tensors."""
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if self.output is None or not any(leaf is self.output for leaf in leaves):
            return None
        alone = all(leaf is self.output or isinstance(leaf, nn.Parameter) for leaf in leaves)
        arguments = tree_map(lambda leaf: _OUTPUT if leaf is self.output else leaf, (args, kwargs)) if alone else ()
        self.takers.append(NonLinearity(name, call, arguments))
        return self.takers[-1]

    def decide(self, taker: NonLinearity, result: Any) -> None:
        """Say whether a taker is suitable, now that its result is known."""
        gated = taker.name.lower() == "glu"  # the only one of torch that changes the shape
        same_shape = isinstance(result, Tensor) and (gated or result.shape == self.shape)
        taker.suitable = bool(taker.arguments) and same_shape and not _is_linear(taker.name)


def _is_linear(name: str) -> bool:
    """Say whether a function, or a module without layers, is no non-linearity although the shape may be the same."""
    name = name.lower()
    products = ("linear", "bilinear", "matmul", "mm", "bmm", "addmm", "einsum", "identity")
    return name in products or any(word in name for word in ("norm", "dropout", "conv"))


class _Functions(TorchFunctionMode):
    """Note every function of torch that takes a pending output."""

    def __init__(self, pending: list[_Pending]) -> None:
        super().__init__()
        self.pending = pending

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call the function, and note what it took."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "function").strip("_")
        takers = [(one, one.add(name, func, args, kwargs)) for one in self.pending]
        result = func(*args, **kwargs)
        for one, taker in takers:
            if taker is None:
                continue
            if isinstance(result, Tensor):
                one.decide(taker, result)
                one.output = None
            else:
                one.takers.remove(taker)  # it asked for the size, say
        return result


def following(
    model: nn.Module, layers: Iterable[nn.Module], run: Callable[[], object]
) -> dict[nn.Module, NonLinearity]:
    """Return {layer: the non-linearity that its output goes straight into}.

    The non-linearity is the first module, or else the first function, that takes the output, takes no other tensor
    but parameters, and returns a tensor of the same shape.  Normalization, dropout, pooling and sums are none: a layer
    that they follow is not in the result.

    A custom module without such parts counts as one function, whatever it computes.

    Args:
        model: runs without gradients.
        layers: whose outputs are followed, on their first call.
        run: runs the model once.
    """
    pending: dict[nn.Module, _Pending] = {}
    running: list[list[tuple[_Pending, NonLinearity]]] = []

    def give(layer: nn.Module, args: Any, output: Any) -> None:
        if layer not in pending and isinstance(output, Tensor):
            pending[layer] = _Pending(output, output.shape)
            mode.pending.append(pending[layer])

    def close(module: nn.Module, args: Any, kwargs: Any) -> None:
        for one in mode.pending:
            if one.add("", module.forward, args, kwargs):
                one.output = None

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        takers = [(one, one.add(type(module).__name__, module.forward, args, kwargs)) for one in mode.pending]
        running.append([(one, taker) for one, taker in takers if taker is not None])

    def end(module: nn.Module, args: Any, output: Any) -> None:
        for one, taker in running.pop():
            one.decide(taker, output)

    mode = _Functions([])
    handles = [layer.register_forward_hook(give) for layer in layers]
    for module in model.modules():
        if _is_opaque(module):
            handles.append(module.register_forward_pre_hook(close, with_kwargs=True))
        elif not any(map(_is_opaque, module.modules())):
            handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
            handles.append(module.register_forward_hook(end))
    try:
        with mode:
            run()
    finally:
        for handle in handles:
            handle.remove()
    found = {layer: next((taker for taker in one.takers if taker.suitable), None) for layer, one in pending.items()}
    return {layer: taker for layer, taker in found.items() if taker is not None}


def _is_opaque(module: nn.Module) -> bool:
    """Say whether a module is a layer, a normalization or dropout, by its name where it is not torch's."""
    return isinstance(module, Layer) or (not isinstance(module, nn.Identity) and _is_linear(type(module).__name__))
