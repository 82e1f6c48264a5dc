"""The implementation of LSUV: fill the layers, run the model once, and scale each layer when its output is known."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.initializers.following import following
from goodinit.methods.initializers.orthogonal import set_orthonormal
from goodinit.methods.initializers.preserved import preserved, random_state, set_mode
from goodinit.methods.initializers.published import set_biases
from goodinit.methods.initializers.report import LayerRow, LSUVReport
from goodinit.methods.initializers.selection import select
from goodinit.methods.initializers.variance_scaling import set_lecun_normal
from goodinit.methods.layers import set_weight, weight_key

__all__ = ["Options", "unit_variance"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FAR = 0.05  # a variance that differs from 1 by more, and that a rescaling
STUCK = 0.001  # brings less than this share of the way to 1, does not depend on the scale of the weight
NOTHING = "lsuv: layer {}: the variance of its output is {}: nothing to divide by"


@dataclass(frozen=True)
class Options:
    """What LSUV does; see `lsuv`.

    Args:
        start, tolerance, max_iterations, dropout, measure, biases, decomposition: as in `lsuv`.
        batch_size: examples that each measurement draws from all; None measures on all.
        include_frozen: whether layers are initialized whose weight requires no gradient.

    Raises:
        InputError: `tolerance` or `max_iterations` is out of its range.
    """

    start: str = "orthonormal"
    tolerance: float = 0.05
    max_iterations: int = 100
    batch_size: int | None = None
    dropout: bool = True
    measure: str = "before"
    biases: str = "zero"
    decomposition: str = "qr"
    include_frozen: bool = False

    def __post_init__(self) -> None:
        if self.tolerance <= 0 or self.max_iterations < 1:
            raise InputError("lsuv: tolerance must be more than 0; max_iterations, batch_size and batches at least 1")


def unit_variance(
    model: nn.Module,
    generator: torch.Generator,
    options: Options,
    run: Callable[[], object],
    run_briefly: Callable[[], object],
) -> LSUVReport:
    """Initialize a model as `lsuv` says.

    Args:
        model: initialized in place; modes, hooks, buffers and global random states are restored, also after an error.
        generator: draws the weights, the mini-batches and the seed of the forward pass.
        options: of the method.
        run: runs the model on the examples.
        run_briefly: runs it on a few, to see what follows each layer.

    Returns:
        A row for each layer.

    Raises:
        InputError: see `lsuv`.
    """
    with preserved(model):  # a weight that is computed may change buffers whenever it is read
        chosen, others = select(model, options.include_frozen)
    keys = {layer: weight_key(layer) for layer in chosen}
    _fill(chosen, keys, generator, options)
    devices = {parameter.device for parameter in model.parameters()}
    non_linearities = {}
    if options.measure == "after":
        with random_state(devices), preserved(model):
            set_mode(model, True)
            non_linearities = following(model, chosen, run_briefly)
    calls: Counter[nn.Module] = Counter()
    scaled: dict[int, nn.Module] = {}  # by the key of the weight, in the order of the forward pass
    constant: dict[nn.Module, None] = {}  # whose first output was, as that of a recurrent layer on a state of zeros

    def scale(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        calls[layer] += 1
        if keys[layer] in scaled:
            return None
        non_linearity = non_linearities.get(layer)
        after = f"measured after {non_linearity.name}" if non_linearity else ""
        late = f"scaled for its call {calls[layer]}, constant before" if layer in constant else ""
        chosen[layer].note = _joined(after, late)
        call = args, kwargs, output
        try:
            output = _scale(layer, chosen[layer], call, non_linearity or _same, generator, options)
            scaled[keys[layer]] = layer
        except _ConstantOutputError:
            constant[layer] = None
        return output

    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with random_state(devices, seed), preserved(model), _hooked(chosen, scale):
        set_mode(model, options.dropout)
        run()
    for layer in constant:
        if keys[layer] not in scaled:
            raise InputError(NOTHING.format(chosen[layer].name, 0))
    return _report(chosen, others, keys, scaled, calls)


@contextlib.contextmanager
def _hooked(layers: Iterable[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Call a hook after the forward pass of each layer, before the user's own hooks, which see what it returns."""
    handles = [layer.register_forward_hook(hook, prepend=True, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _ConstantOutputError(Exception):
    """The variance of a layer's output is 0 before it is scaled."""


def _same(output: Tensor) -> Tensor:
    return output


def _fill(
    chosen: dict[nn.Module, LayerRow], keys: dict[nn.Module, int], generator: torch.Generator, options: Options
) -> None:
    """Give every weight its values before scaling, and every bias its final one."""
    layers = list({keys[layer]: layer for layer in reversed(chosen)}.values())[::-1]  # the first with each weight
    biased = [
        (row.name, layer)
        for layer, row in chosen.items()
        if layer.bias is None or layer.bias.requires_grad or options.include_frozen
    ]
    set_biases("lsuv", biased, options.biases)
    for layer in layers:
        if options.start == "orthonormal":
            set_orthonormal(layer, generator, 1.0, options.decomposition)
        else:
            set_lecun_normal(layer, generator)


def _scale(
    layer: nn.Module,
    row: LayerRow,
    call: tuple[Any, Any, Any],
    non_linearity: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    options: Options,
) -> Any:
    """Divide a layer's weight until its output has unit variance; return its last output.

    Args:
        layer: about to return from its first call.
        row: what is measured is noted there.
        call: positional arguments, keyword arguments and the output of that call.
        non_linearity: what is measured, as a function of the output.
        generator: draws the mini-batches.
        options: of the method.

    Raises:
        _ConstantOutputError: the output has no variance; nothing is changed.
        InputError: it is not finite, or has none any more.
    """
    args, kwargs, output = call
    if not isinstance(output, Tensor) or not output.is_floating_point():
        row.note = "filled, but not scaled: its output is not a floating-point tensor"
        return output
    row.rescalings, previous, divisor, power = 0, None, 1.0, 1.0
    while True:
        variance = _variance(non_linearity(_mini_batch(output, options.batch_size, generator)))
        if variance == 0 and row.rescalings == 0:
            row.rescalings = None
            raise _ConstantOutputError
        if not 0 < variance < math.inf:
            raise InputError(NOTHING.format(row.name, variance))
        row.std_after = math.sqrt(variance)
        if row.std_before is None:
            row.std_before = row.std_after
        if abs(variance - 1) <= options.tolerance:
            return output
        whole = options.batch_size is None or len(output) <= options.batch_size  # the measurements are on the same data
        if whole and previous is not None and FAR < abs(previous - 1) > abs(variance - previous) / STUCK:
            _set_scaled(layer, 1 / divisor)
            row.rescalings, row.std_after = None, row.std_before
            row.note = _joined("filled, but not scaled: no scale of its weight gives a variance of 1", row.note)
            return layer.forward(*args, **kwargs)
        if row.rescalings == options.max_iterations:
            row.note = _joined(row.note, f"not within the tolerance after {row.rescalings} rescalings")
            return output
        if whole and previous is not None and math.log(variance) / math.log(previous) < -0.5:
            power /= 2  # it overshoots: what is measured grows faster than the weight, such as its square
        step = row.std_after**power
        _set_scaled(layer, step)
        previous, divisor = variance, divisor * step
        row.rescalings += 1
        scaled = output / step if options.batch_size is None and _is_linear(layer, args, kwargs, output) else None
        if scaled is None or not _agrees(layer.forward(args[0][:1]), scaled[:1]):
            scaled = layer.forward(*args, **kwargs)
        output = scaled


def _is_linear(layer: nn.Module, args: Any, kwargs: Any, output: Tensor) -> bool:
    """Say whether scaling the weight scales the output of a call by as much, and each example is computed by itself."""
    own = type(layer) in (nn.Linear, *CONVOLUTIONS) and "forward" not in vars(layer) and "weight" in layer._parameters
    if not own or kwargs or len(args) != 1 or output.requires_grad or output.dtype.itemsize < 4:
        return False
    dimensions = 2 if isinstance(layer, nn.Linear) else len(layer.kernel_size) + 2
    return args[0].dim() >= dimensions and (layer.bias is None or not layer.bias.any())


def _agrees(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= 1e-3 * other.norm())


def _mini_batch(output: Tensor, batch_size: int | None, generator: torch.Generator) -> Tensor:
    """Return a mini-batch's part of a layer's output, drawn at random."""
    if batch_size is None:
        return output
    drawn = torch.randperm(len(output), generator=generator, device=generator.device)[:batch_size]
    return output[drawn.to(output.device)] if len(output) > batch_size else output


def _variance(output: Tensor) -> float:
    """Return the variance over all elements; that of half precision may have no representation there."""
    output = output.detach()
    return float((output if output.dtype.itemsize > 2 else output.float()).var(correction=0))


@torch.no_grad()
def _set_scaled(layer: nn.Module, divisor: float) -> None:
    if "weight" in layer._parameters:
        layer.weight /= divisor
    else:
        set_weight(layer, layer.weight / divisor)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _report(
    chosen: dict[nn.Module, LayerRow],
    others: list[LayerRow],
    keys: dict[nn.Module, int],
    scaled: dict[int, nn.Module],
    calls: Counter[nn.Module],
) -> LSUVReport:
    """Complete the notes, and put the rows in order."""
    for layer, row in chosen.items():
        owner = scaled.get(keys[layer])
        if owner is None:
            row.note = "filled, but not scaled: not called (unused, or its parent uses the weight directly)"
        elif owner is not layer:
            row.note = f"shares its weight with {chosen[owner].name}"
        elif calls[layer] > 1:
            which = "" if "constant before" in row.note else ", scaled for the first"
            row.note = _joined(row.note, f"called {calls[layer]} times{which}")
    first = [chosen[layer] for layer in scaled.values() if chosen[layer].scaled]
    rest = [row for row in chosen.values() if not row.scaled]
    report = LSUVReport((*first, *rest, *others))
    if not report.scaled:
        raise InputError(f"lsuv: no layer was scaled: {report.rows[0].name}: {report.rows[0].note}")
    return report
