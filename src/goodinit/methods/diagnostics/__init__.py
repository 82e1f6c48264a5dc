"""Diagnostics: observations of a model in training, which they do not change.

Each is a context manager, `(model, batch, generator, *, options)`, that yields a function of the step, which returns
{name: array or number}. `DIMENSIONS` names the axes of every array. See `contracts.requested_examples` for how a
diagnostic requests a number of examples.
"""

from goodinit.methods.diagnostics.check import gradient_check
from goodinit.methods.diagnostics.images import reconstructions
from goodinit.methods.diagnostics.signals import activations, gradients, layer_outputs
from goodinit.methods.diagnostics.weights import path, update_size, weight_variance

__all__ = [
    "activations",
    "gradient_check",
    "gradients",
    "layer_outputs",
    "path",
    "reconstructions",
    "update_size",
    "weight_variance",
]

DIMENSIONS = {
    "activation_mean": ("layer",),
    "activation_sd": ("layer",),
    "activation_sd_over_inputs": ("layer",),
    "activation_entropy": ("layer",),
    "share_low": ("layer",),
    "share_high": ("layer",),
    "share_saturated": ("layer",),
    "share_zero": ("layer",),
    "share_dead": ("layer",),
    "activation_count": ("layer", "bin"),
    "activation_edge": ("layer", "bin"),
    "gradient_variance": ("layer",),
    "gradient_median": ("layer",),
    "share_vanished": ("layer",),
    "weight_gradient_variance": ("layer",),
    "output_variance": ("layer",),
    "weight_sd": ("layer",),
    "update_size": ("layer",),
    "weight_variance_ratio": ("layer",),
    "reconstructions": ("kind", "image", "channel", "row", "column"),
    "gradient_error": ("parameter",),
    "gradient_size": ("parameter",),
    "position": ("coordinate",),
}
