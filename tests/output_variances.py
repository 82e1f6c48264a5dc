"""The variances of the outputs of a model's layers."""

import torch

from goodinit.methods.initializers.preserve import preserve_random_state
from goodinit.methods.layers import Layer

__all__ = ["output_variances"]


def output_variances(model, data):
    """Return {name of a layer: variance of its output at its first call}, in the order of the forward pass."""
    variances = {}
    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, Layer)}

    def record(layer, inputs, output):
        variances.setdefault(names[layer], float(output.var(correction=0)))

    handles = [layer.register_forward_hook(record) for layer in names]
    with torch.no_grad(), preserve_random_state(set(), 0):
        model(data)
    for handle in handles:
        handle.remove()
    return variances
