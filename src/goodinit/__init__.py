"""Goodinit: five works on how to start and steady the training of neural networks, replicated.

The methods for one's own models are imported on first use, so that `import goodinit` does not import torch.
"""

import importlib
from typing import Any

__all__ = ["__version__", "lsuv", "progressive", "semi_synchronous"]

__version__ = "0.1.0"

# The methods for code of one's own, and their modules, which import torch.
_PUBLIC = {
    "lsuv": "goodinit.methods.initializers.public",
    "progressive": "goodinit.methods.curricula.sampler",
    "semi_synchronous": "goodinit.methods.semi_synchronous",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
