"""Which layers LSUV initializes, and why it does not initialize others."""

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.initializers.report import LayerRow
from goodinit.methods.layers import Layer, has_frozen_weight, unsupported_layer, unsupported_model, weight_key

__all__ = ["select_layers"]


def select_layers(model: nn.Module, include_frozen: bool) -> tuple[dict[Layer, LayerRow], list[LayerRow]]:
    """Return {layer: row} for the layers to initialize, in the model's order, and the rows of all others.

    The others are layers whose weight is frozen or cannot be set, and parameters with at least two dimensions of
    modules that are not linear or convolutional.

    Args:
        model: not changed.
        include_frozen: also select layers whose weight does not require a gradient.

    Raises:
        InputError: no layer can be initialized; the message gives the reason.
    """
    if reason := unsupported_model(model):
        raise InputError(f"lsuv: {reason}")
    selected: dict[Layer, LayerRow] = {}
    others: list[LayerRow] = []
    scripted: tuple[str, ...] = ()  # prefixes of the names of submodules of scripted modules
    shared = _weights_of_other_modules(model)
    for name, module in model.named_modules():
        if name.startswith(scripted):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted += (f"{name}.",)
            others.append(LayerRow(name, (), note="not initialized: its layers are scripted"))
        elif isinstance(module, Layer):
            row = LayerRow(name or type(module).__name__, tuple(module.weight.shape))
            row.note = unsupported_layer(module) or shared.get(weight_key(module), "")
            if not row.note and has_frozen_weight(module) and not include_frozen:
                row.note = "frozen: its weight requires no gradient; include_frozen=True initializes it"
            if row.note:
                others.append(row)
            else:
                selected[module] = row
        else:
            others += _rows_of_parameters(name, module)
    if not selected:
        reason = f": {others[0].name}: {others[0].note}" if others else ""
        raise InputError(f"lsuv: {type(model).__name__} has no linear or convolutional layer to initialize{reason}")
    return selected, others


def _weights_of_other_modules(model: nn.Module) -> dict[int, str]:
    """Return {weight_key: note} for the parameters of modules that are not initialized, which layers may share."""
    return {
        parameter.data_ptr(): f"not initialized: shares its weight with {name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if not isinstance(module, Layer | torch.jit.ScriptModule | nn.utils.parametrize.ParametrizationList)
        for parameter in module._parameters.values()
        if parameter is not None and parameter.numel()
    }


def _rows_of_parameters(name: str, module: nn.Module) -> list[LayerRow]:
    if isinstance(module, nn.utils.parametrize.ParametrizationList):
        return []
    return [
        LayerRow(
            f"{name}.{parameter_name}".lstrip("."),
            tuple(parameter.shape),
            note=f"not initialized: {type(module).__name__} is not a linear or convolutional layer",
        )
        for parameter_name, parameter in module._parameters.items()
        if parameter is not None and parameter.dim() > 1
    ]
