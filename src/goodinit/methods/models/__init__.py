"""Architectures, without initialization: each is a function (shape, classes, **options) -> nn.Module."""

from goodinit.methods.models.mlp import mlp

__all__ = ["mlp"]
