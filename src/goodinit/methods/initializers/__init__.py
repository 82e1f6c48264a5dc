"""Initializers: functions that set the weights and biases of a model in place.

All have the signature `(model, batch, generator, *, options)`. Only `lsuv` uses `batch`; see
`contracts.requested_examples` for how an initializer requests a number of examples. Layers are initialized in the
order in which the model lists them, so that, with the same seed, two initializers with normal distributions draw the
same standard normal numbers and differ only in scale.
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

# The names that a study can use.
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
