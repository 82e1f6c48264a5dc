"""Which layers LSUV initializes, and why it leaves others alone."""

import torch
from torch import nn

from goodinit.errors import InputError
from goodinit.methods.initializers.report import LayerRow
from goodinit.methods.layers import Layer, is_frozen, refusal, unsupported_model, weight_key

__all__ = ["select"]


def select(model: nn.Module, include_frozen: bool) -> tuple[dict[nn.Module, LayerRow], list[LayerRow]]:
    """Return {layer: its row} for the layers to initialize, in the model's order, and the rows of all others.

    The others are layers that cannot be written or are frozen, and parameters of at least two dimensions that belong to
    no linear or convolutional layer.

    Args:
        model: not changed.
        include_frozen: whether layers are initialized whose weight requires no gradient.

    Raises:
        InputError: nothing is to be initialized; the message gives the reason.
    """
    if reason := unsupported_model(model):
        raise InputError(f"lsuv: {reason}")
    chosen, others, scripted = {}, [], ()
    owners = _owners(model)
    for name, module in model.named_modules():
        if name.startswith(scripted):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted += (f"{name}.",)
            others.append(LayerRow(name, (), note="scripted: its layers are left as they are"))
        elif isinstance(module, Layer):
            row = LayerRow(name or type(module).__name__, tuple(module.weight.shape))
            row.note = refusal(module) or owners.get(weight_key(module), "")
            if not row.note and is_frozen(module) and not include_frozen:
                row.note = "frozen: its weight requires no gradient; include_frozen=True initializes it"
            if row.note:
                others.append(row)
            else:
                chosen[module] = row
        else:
            others += _own_parameters(name, module)
    if not chosen:
        reason = f": {others[0].name}: {others[0].note}" if others else ""
        raise InputError(f"lsuv: {type(model).__name__} has no linear or convolutional layer to initialize{reason}")
    return chosen, others


def _owners(model: nn.Module) -> dict[int, str]:
    """Return {key of a parameter of a module that is not initialized: what to say of a layer with that weight}."""
    return {
        parameter.data_ptr(): f"its weight is also that of {name} ({type(module).__name__}), which is not scaled"
        for name, module in model.named_modules()
        if not isinstance(module, Layer | torch.jit.ScriptModule | nn.utils.parametrize.ParametrizationList)
        for parameter in module._parameters.values()
        if parameter is not None and parameter.numel()
    }


def _own_parameters(name: str, module: nn.Module) -> list[LayerRow]:
    if isinstance(module, nn.utils.parametrize.ParametrizationList):
        return []
    return [
        LayerRow(
            f"{name}.{parameter_name}".lstrip("."),
            tuple(parameter.shape),
            note=f"left as it is: {type(module).__name__} is not a linear or convolutional layer",
        )
        for parameter_name, parameter in module._parameters.items()
        if parameter is not None and parameter.dim() > 1
    ]
