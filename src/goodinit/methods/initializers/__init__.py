"""Initializers: each sets the weights and biases of a model in place, except `as_built`.

All take the same arguments, `(model, batch, generator, *, options)`.  Only `lsuv` depends on `batch`.  Layers are
filled in the order in which the model lists them, so at one seed two Gaussian schemes draw the same standard normal
numbers and differ in scale alone.
"""

from goodinit.methods.initializers.lsuv import lsuv
from goodinit.methods.initializers.orthogonal import orthonormal
from goodinit.methods.initializers.published import published
from goodinit.methods.initializers.variance_scaling import (
    as_built,
    gaussian,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)

# What a study may name.
__all__ = [
    "as_built",
    "gaussian",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "lsuv",
    "orthonormal",
    "published",
]
