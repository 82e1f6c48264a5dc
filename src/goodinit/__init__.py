"""Goodinit: five works on how to start and steady the training of neural networks, replicated."""

__all__ = ["__version__"]

__version__ = "0.1.0"
