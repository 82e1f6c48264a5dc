"""The implementation of LSUV: initialize all layers, run the model once, and scale each layer when it is called."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from goodinit.errors import InputError
from goodinit.methods.initializers.measurement import is_constant, mini_batch, variance_of
from goodinit.methods.initializers.non_linearities import NonLinearity, find_non_linearities
from goodinit.methods.initializers.orthogonal import set_orthonormal
from goodinit.methods.initializers.preserve import preserve_model_state, preserve_random_state, set_mode
from goodinit.methods.initializers.published import set_biases
from goodinit.methods.initializers.report import LayerRow, LSUVReport
from goodinit.methods.initializers.selection import select_layers
from goodinit.methods.initializers.variance_scaling import set_lecun_normal
from goodinit.methods.layers import Layer, divide_weight, weight_key

__all__ = ["Options", "unit_variance"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

# If the variance differs from 1 by more than MIN_DISTANCE, and a rescaling reduces this distance by less than the
# fraction MIN_PROGRESS, the variance does not depend on the scale of the weight.
MIN_DISTANCE = 0.05
MIN_PROGRESS = 0.001


@dataclass(frozen=True)
class Options:
    """The options of LSUV, see `lsuv`.

    Args:
        start, tolerance, max_iterations, dropout, measure, biases, decomposition: as in `lsuv`.
        batch_size: number of examples drawn for each measurement; None measures on all examples.
        include_frozen: also initialize parameters that do not require a gradient.

    Raises:
        InputError: `tolerance` or `max_iterations` is out of range.
    """

    start: Literal["orthonormal", "lecun_normal"] = "orthonormal"
    tolerance: float = 0.05
    max_iterations: int = 100
    batch_size: int | None = None
    dropout: bool = True
    measure: Literal["before", "after"] = "before"
    biases: Literal["zero", "published"] = "zero"
    decomposition: Literal["qr", "svd"] = "qr"
    include_frozen: bool = False

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise InputError(f"lsuv: tolerance must be more than 0, not {self.tolerance}")
        if not self.max_iterations >= 1:
            raise InputError(f"lsuv: max_iterations must be at least 1, not {self.max_iterations}")


@dataclass(frozen=True)
class _Call:
    """A call of a layer that has just been computed."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any


def unit_variance(
    model: nn.Module,
    generator: torch.Generator,
    options: Options,
    run: Callable[[], object],
    run_few: Callable[[], object],
) -> LSUVReport:
    """Initialize a model with LSUV.

    Args:
        model: initialized in place; modes, hooks, buffers and global random states are restored, also after an error.
        generator: draws the weights, the mini-batches and the seed of the forward pass.
        options: the options of LSUV.
        run: runs the model on the examples.
        run_few: runs the model on a few examples, to find the non-linearity that follows each layer.

    Returns:
        A row for each layer.

    Raises:
        InputError: see `lsuv`.
    """
    with preserve_model_state(model):  # reading a computed weight may change buffers
        rows, others = select_layers(model, options.include_frozen)
    keys = {layer: weight_key(layer) for layer in rows}
    _set_unscaled(rows, keys, generator, options)
    devices = {parameter.device for parameter in model.parameters()}
    non_linearities: dict[nn.Module, NonLinearity] = {}
    if options.measure == "after":
        with preserve_random_state(devices), preserve_model_state(model):
            set_mode(model, options.dropout)
            non_linearities = find_non_linearities(model, rows, run_few)
    calls: Counter[Layer] = Counter()
    scaled: dict[int, Layer] = {}  # by weight_key, in the order of the forward pass
    constant: list[Layer] = []  # with constant outputs so far, such as a recurrent layer in a state of zeros

    def scale(layer: Layer, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
        if isinstance(output, Tensor) and not output.numel():  # such as that of an expert without tokens
            return None
        calls[layer] += 1
        if keys[layer] in scaled:
            return None
        non_linearity, row = non_linearities.get(layer), rows[layer]
        late = f"scaled at call {calls[layer]}, because earlier outputs are constant" if layer in constant else ""
        row.note = _join(f"measured after {non_linearity.name}" if non_linearity else "", late)
        try:
            output = _scale(layer, row, _Call(args, kwargs, output), non_linearity, generator, options)
            scaled[keys[layer]] = layer
        except _ConstantOutputError:
            constant.append(layer)
        return output

    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with preserve_random_state(devices, seed), preserve_model_state(model), _hooks(rows, scale):
        set_mode(model, options.dropout)
        run()
    for layer in constant:
        if keys[layer] not in scaled:
            raise _variance_error(rows[layer], 0)
    return _report(rows, others, keys, scaled, calls)


@contextlib.contextmanager
def _hooks(layers: Iterable[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Call a hook after the forward pass of each layer, before the user's own hooks, which receive its result."""
    handles = [layer.register_forward_hook(hook, prepend=True, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _ConstantOutputError(Exception):
    """The output of a layer is constant before it is scaled."""


def _variance_error(row: LayerRow, variance: float) -> InputError:
    return InputError(
        f"lsuv: layer {row.name}: the variance of its output is {variance}; it must be finite and more than 0: "
        "check the data and the layers before it"
    )


def _set_unscaled(
    rows: Mapping[Layer, LayerRow], keys: Mapping[Layer, int], generator: torch.Generator, options: Options
) -> None:
    """Set every weight to its value before scaling, and every bias to its final value."""
    with_bias = [
        (row.name, layer)
        for layer, row in rows.items()
        if layer.bias is None or layer.bias.requires_grad or options.include_frozen
    ]
    set_biases("lsuv", with_bias, options.biases)
    initialized = set()
    for layer in rows:
        if keys[layer] in initialized:
            continue
        initialized.add(keys[layer])
        if options.start == "orthonormal":
            set_orthonormal(layer, generator, 1.0, options.decomposition)
        else:
            set_lecun_normal(layer, generator)


def _scale(
    layer: Layer,
    row: LayerRow,
    call: _Call,
    non_linearity: NonLinearity | None,
    generator: torch.Generator,
    options: Options,
) -> Any:
    """Divide the weight of a layer until its output has unit variance, and return the scaled output.

    Args:
        layer: has just been called.
        row: receives the measurements.
        call: the arguments and the output of the call.
        non_linearity: if given, its output is measured.
        generator: draws the mini-batches.
        options: the options of LSUV.

    Raises:
        _ConstantOutputError: the output is constant before the first rescaling; then nothing is changed.
        InputError: the output is not finite, or becomes constant.
    """
    output = call.output
    if not isinstance(output, Tensor) or not output.is_floating_point():
        row.note = "initialized but not scaled: its output is not a floating-point tensor"
        return output
    rescalings, previous, total_divisor, power = 0, None, 1.0, 1.0
    while True:
        sample = mini_batch(output, options.batch_size, generator)
        measured = sample if non_linearity is None else non_linearity(sample)
        variance = variance_of(measured)
        if rescalings == 0 and is_constant(measured, variance):
            raise _ConstantOutputError
        if not 0 < variance < math.inf:
            raise _variance_error(row, variance)
        row.rescalings, row.std_after = rescalings, math.sqrt(variance)
        if row.std_before is None:
            row.std_before = row.std_after
        if abs(variance - 1) <= options.tolerance:
            return output
        if options.batch_size is None or len(output) <= options.batch_size:  # all measurements use the same examples
            if previous is not None and MIN_DISTANCE < abs(previous - 1) > abs(variance - previous) / MIN_PROGRESS:
                divide_weight(layer, 1 / total_divisor)
                row.rescalings, row.std_after = None, row.std_before
                row.note = _join("initialized but not scaled: no scale of its weight gives a variance of 1", row.note)
                return layer.forward(*call.args, **call.kwargs)
            if previous is not None and math.log(variance) / math.log(previous) < -0.5:
                power /= 2  # it overshoots: the measured value grows faster than the weight, such as its square
        if rescalings == options.max_iterations:
            row.note = _join(row.note, f"not within the tolerance after {rescalings} rescalings")
            return output
        divisor = row.std_after**power
        divide_weight(layer, divisor)
        previous, total_divisor, rescalings = variance, total_divisor * divisor, rescalings + 1
        output = _rescaled_output(layer, call, output, divisor, options)


def _rescaled_output(layer: Layer, call: _Call, output: Tensor, divisor: float, options: Options) -> Tensor:
    """Return the output of a layer whose weight has been divided: the divided output if it is linear, or a new one."""
    if options.batch_size is None and _is_linear(layer, call, output):
        divided = output / divisor
        expected = layer.forward(call.args[0][:1])
        if (expected - divided[:1]).norm() <= 1e-3 * divided[:1].norm():
            return divided
    recomputed: Tensor = layer.forward(*call.args, **call.kwargs)
    return recomputed


def _is_linear(layer: Layer, call: _Call, output: Tensor) -> bool:
    """Return whether the output of a call is proportional to the weight, and examples are computed independently."""
    standard = type(layer) in (nn.Linear, *CONVOLUTIONS) and "forward" not in vars(layer)
    if not standard or "weight" not in layer._parameters or call.kwargs or len(call.args) != 1:
        return False
    if output.requires_grad or output.dtype.itemsize < 4:
        return False
    dimensions = 2 if isinstance(layer, nn.Linear) else len(layer.kernel_size) + 2
    return call.args[0].dim() >= dimensions and (layer.bias is None or not layer.bias.any())


def _join(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _report(
    rows: Mapping[Layer, LayerRow],
    others: Iterable[LayerRow],
    keys: Mapping[Layer, int],
    scaled: Mapping[int, Layer],
    calls: Mapping[Layer, int],
) -> LSUVReport:
    """Complete the notes and sort the rows."""
    for layer, row in rows.items():
        owner = scaled.get(keys[layer])
        if owner is None:
            row.note = (
                "initialized but not scaled: not called with examples (unused, or its parent uses the weight directly)"
            )
        elif owner is not layer:
            row.note = f"shares its weight with {rows[owner].name}"
        elif calls[layer] > 1:
            first = "" if "scaled at call" in row.note or not row.scaled else ", scaled at the first"
            row.note = _join(row.note, f"called {calls[layer]} times{first}")
    in_order = [rows[layer] for layer in scaled.values() if rows[layer].scaled]
    not_scaled = [row for row in rows.values() if not row.scaled]
    report = LSUVReport((*in_order, *not_scaled, *others))
    if not report.scaled:
        raise InputError(f"lsuv: no layer was scaled: {report.rows[0].name}: {report.rows[0].note}")
    return report
