"""Architectures, without initialization: each is a function (shape, classes, **options) -> nn.Module."""

from goodinit.methods.models.mlp import mlp
from goodinit.methods.models.quadratic import quadratic

__all__ = ["mlp", "quadratic"]
