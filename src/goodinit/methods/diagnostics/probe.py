"""Looking through a model without changing it."""

import contextlib
import copy

import numpy as np
import torch
from torch import nn

__all__ = ["is_dropout", "outputs_of", "probe", "stacked"]


def is_dropout(module):
    """Say whether a module drops units at random."""
    return isinstance(module, nn.Dropout) or hasattr(module, "generators")


@contextlib.contextmanager
def probe(model):
    """Give a copy of the model to look through, and leave the random numbers as they were."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices):
        twin = copy.deepcopy(model)
        twin.zero_grad()
        for module in twin.modules():
            if hasattr(module, "all_at_once"):  # a layer whose neurons take turns
                module.all_at_once()
        yield twin


def outputs_of(model, kinds, images, propagate=None, keep=lambda module, output: output):
    """Run `images` through the model; return what is kept of its modules of these kinds, in call order, and its output.

    With `propagate`, a function of the model's output that runs the backward pass, the outputs hold their gradients.
    """
    outputs = []

    def look(module, inputs, output):
        if propagate is not None:
            output.retain_grad()
        outputs.append(keep(module, output))
        return output.clone() if propagate is not None else None  # a non-linearity may work in place

    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(look)
    result = model(images)
    if propagate is not None:
        propagate(result)
    return outputs, result


def stacked(layers):
    """Turn a sequence of {name: value} into {name: array with the sequence as its first axis}."""
    layers = list(layers)
    return {name: np.array([layer[name] for layer in layers]) for name in layers[0]}
